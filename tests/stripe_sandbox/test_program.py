"""The sandbox as a process, and on the wire, where callers do as they like."""

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from stripe_sandbox import parameters, resources
from stripe_sandbox.settings import API_VERSION
from tests.stripe_sandbox.conftest import KEY, Sandbox, checked, client_of

Wait = Callable[..., Awaitable[None]]

STARTS_SECONDS = 60


def environment(**variables: str) -> dict[str, str]:
    """Of a process that the tests start."""
    return {**os.environ, "STRIPE_SANDBOX_API_KEY": KEY, **variables}


def command(port: int, state: Path) -> list[str]:
    """How it is started."""
    return [
        *(sys.executable, "-m", "stripe_sandbox"),
        *("--port", str(port), "--state", str(state)),
    ]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Process:
    """`python -m stripe_sandbox`, which answers."""

    def __init__(self, state: Path, wait_until: Wait) -> None:
        self.state = state
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._wait_until = wait_until
        self._process: subprocess.Popen[bytes] | None = None

    def _begin(self) -> None:
        self._process = subprocess.Popen(
            command(self.port, self.state),
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    async def start(self) -> None:
        """Start it and wait until it answers."""
        self._begin()

        async def answers() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, "it has ended"
            async with httpx.AsyncClient() as http:
                try:
                    return (await http.get(f"{self.url}/health/ready")).status_code == 200
                except httpx.TransportError:
                    return False

        await self._wait_until(answers, what="the sandbox answers")

    async def end(self, how: signal.Signals) -> int:
        """End it; its exit code."""
        assert self._process is not None
        self._process.send_signal(how)
        return await asyncio.to_thread(self._process.wait, STARTS_SECONDS)

    def kill(self) -> None:
        """Whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
async def process(tmp_path: Path, wait_until: Wait) -> AsyncIterator[Process]:
    """A process that answers."""
    one = Process(tmp_path / "process.sqlite3", wait_until)
    try:
        await one.start()
        yield one
    finally:
        one.kill()


async def test_sigterm_ends_it_cleanly_and_its_state_stays(
    process: Process, wait_until: Wait
) -> None:
    async with client_of(process.url) as client:
        customer = await client.v1.customers.create_async({"name": "Ada"})
        hangs: Any = {"headers": {"Sandbox-Fault": "timeout_after_effect"}}
        hanging = asyncio.create_task(client.v1.customers.create_async({"name": "Bob"}, hangs))

        async def is_hanging() -> bool:
            return len((await client.v1.customers.list_async()).data) == 2

        await wait_until(is_hanging, what="the second has its effect")
        assert await process.end(signal.SIGTERM) == 0
        with pytest.raises(stripe.APIConnectionError):
            await hanging
        assert not process.state.with_name(process.state.name + "-wal").exists()
        await process.start()
        assert (await client.v1.customers.retrieve_async(customer.id)).name == "Ada"


async def test_unless_asked_for_it_listens_on_loopback_alone(process: Process) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.close()

    # Another address of this machine, which whoever listens on all of them answers at.
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.2", process.port)


async def test_sigkill_loses_nothing_that_was_answered(process: Process) -> None:
    """In the middle of requests, as it comes."""
    answered: list[str] = []

    async def create(client: stripe.StripeClient, number: int) -> None:
        for one in range(100):
            create: Any = {"metadata": {"number": f"{number}-{one}"}}
            key: Any = {"idempotency_key": f"{number}-{one}"}
            answered.append((await client.v1.customers.create_async(create, key)).id)
            if len(answered) == 40:
                await process.end(signal.SIGKILL)

    async with client_of(process.url) as client:
        results = await asyncio.gather(
            *(create(client, number) for number in range(4)), return_exceptions=True
        )
        assert any(isinstance(one, stripe.APIConnectionError) for one in results)
        await process.start()
        pages = await client.v1.customers.list_async({"limit": 100})
        kept = {one.id: one async for one in pages.auto_paging_iter()}
        assert set(answered) <= kept.keys()
        assert len(kept) <= len(answered) + 4
        numbers = [one.to_dict()["metadata"]["number"] for one in kept.values()]
        assert len(set(numbers)) == len(numbers)
        # Whoever had no answer asks again under the same key, and has one customer in the end.
        for number in range(4):
            for one in range(3):
                again: Any = {"metadata": {"number": f"{number}-{one}"}}
                key: Any = {"idempotency_key": f"{number}-{one}"}
                assert (await client.v1.customers.create_async(again, key)).id in kept
        events = [one async for one in (await client.v1.events.list_async()).auto_paging_iter()]
        assert len(events) == len(kept)


def refusal(arguments: list[str], **variables: str) -> tuple[int, str]:
    """The exit code and what is said by a process that does not start."""
    ended = subprocess.run(
        arguments,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=STARTS_SECONDS,
        check=False,
    )
    return ended.returncode, ended.stderr


def test_it_takes_no_live_key(tmp_path: Path) -> None:
    live = "sk_live_51abcdefghijklmnop"
    code, said = refusal(command(0, tmp_path / "s"), STRIPE_SANDBOX_API_KEY=live)
    assert code == 2
    assert "test key" in said
    assert live not in said
    assert not (tmp_path / "s").exists()


async def test_a_state_is_of_one_process(sandbox: Sandbox) -> None:
    code, said = await asyncio.to_thread(refusal, command(0, sandbox.settings.state))
    assert code == 1
    assert "in use" in said
    assert "Traceback" not in said
    await sandbox.client.v1.customers.create_async({})


async def test_a_taken_port_is_told(sandbox: Sandbox, tmp_path: Path) -> None:
    port = int(sandbox.url.rpartition(":")[2])
    code, said = await asyncio.to_thread(refusal, command(port, tmp_path / "other"))
    assert code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert "Traceback" not in said


@pytest.fixture(params=["text", "directory", "nowhere", "other"])
def unreadable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What is no state."""
    path = tmp_path / "state"
    match request.param:
        case "text":
            path.write_text("This is no database. " * 100)
        case "directory":
            path.mkdir()
        case "nowhere":
            path = path / "missing" / "state"
        case "other":
            with sqlite3.connect(path) as other:
                other.execute("CREATE TABLE objects (something TEXT)")
            other.close()
    return path


def test_a_file_that_is_no_state_is_told(unreadable: Path) -> None:
    code, said = refusal(command(0, unreadable))
    assert code == 1
    assert "cannot hold the state" in said
    assert "Traceback" not in said


# The wire.


@pytest.mark.parametrize(
    ("authorization", "says"),
    [
        (None, "no API key"),
        ("", "no API key"),
        ("Bearer", "no API key"),
        ("Bearer sk_test_of_somebody_else", "not the one"),
        ("Bearer sk_live_abc", "live key"),
        ("Bearer rk_live_abc", "live key"),
        ("Bearer pk_test_abc", "not the one"),
        ("Basic c2tfdGVzdF94Og==", "not the one"),
        ("Basic !!!", "no API key"),
        ("Basic /w==", "no API key"),
        (b"Bearer sk_test_\xff\xfe", "not the one"),
    ],
)
async def test_who_has_no_key_is_not_let_in(
    sandbox: Sandbox, authorization: str | bytes | None, says: str
) -> None:
    headers: Any = {} if authorization is None else {"Authorization": authorization}
    answer = await sandbox.raw("GET", "/v1/customers", key=None, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="Stripe"'
    assert says in answer.json()["error"]["message"]
    assert "abc" not in answer.text


async def test_the_sdk_tells_a_wrong_key(sandbox: Sandbox) -> None:
    async with client_of(sandbox.url, "sk_test_wrong") as client:
        with pytest.raises(stripe.AuthenticationError):
            await client.v1.balance.retrieve_async()


async def test_basic_authentication_is_taken(sandbox: Sandbox) -> None:
    answer = await sandbox.raw("GET", "/v1/customers", key=None, auth=(KEY, ""))
    assert answer.status_code == 200


async def test_answers_say_who_gave_them(sandbox: Sandbox) -> None:
    for path, status in (("/v1/customers", 200), ("/v1/customers/cus_none", 404)):
        answer = await sandbox.raw("GET", path, headers={"Stripe-Version": API_VERSION})
        assert answer.status_code == status
        assert answer.headers["Request-Id"].startswith("req_")
        assert answer.headers["Stripe-Version"] == API_VERSION
        assert answer.headers["Content-Type"].startswith("application/json")


def test_every_operation_is_described() -> None:
    assert resources.OPERATIONS.keys() <= parameters.OPERATIONS.keys()


async def test_another_account_is_refused(sandbox: Sandbox) -> None:
    async with client_of(sandbox.url) as client:
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await client.v1.balance.retrieve_async({}, {"stripe_account": "acct_1"})
    assert caught.value.param == "Stripe-Account"


async def test_parameters_in_the_query_of_a_post_count(sandbox: Sandbox) -> None:
    answer = await sandbox.raw("POST", "/v1/customers?name=Ada", data={"phone": "1"})
    assert (answer.json()["name"], answer.json()["phone"]) == ("Ada", "1")
    assert (await sandbox.raw("POST", "/v1/customers?colour=red")).status_code == 400


async def test_another_version_is_refused(sandbox: Sandbox) -> None:
    answer = await sandbox.raw("GET", "/v1/customers", headers={"Stripe-Version": "2020-08-27"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v1/"),
        ("GET", "/v2/customers"),
        ("GET", "/v1/unicorns"),
        ("GET", "/v1/customers/%2e%2e/%2e%2e/etc"),
        ("GET", "/v1/customers/a/b/c/d/e"),
        ("PUT", "/v1/customers"),
        ("PATCH", "/v1/customers/cus_1"),
        ("OPTIONS", "/v1/customers"),
        ("TRACE", "/v1/customers"),
        ("DELETE", "/v1/payment_intents/pi_1"),
        ("POST", "/v1/account"),
        ("GET", "/v1/customers/" + "x" * 6000),
        ("GET", "/v1/customers/%00"),
        ("GET", "/v1/customers/%ff"),
        ("GET", "/v1/customers/';DROP TABLE objects;--"),
    ],
)
async def test_what_is_not_there_is_not_found(sandbox: Sandbox, method: str, path: str) -> None:
    answer = await sandbox.raw(method, path)
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_a_head_has_no_body(sandbox: Sandbox) -> None:
    answer = await sandbox.raw("HEAD", "/v1/customers")
    assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"name=%ff", 400),
        (b"name=\xff\xfe", 400),
        (b"\x00\x01\x02", 400),
        (b"name[=x", 400),
        (b"name=a&name=b", 400),
        (b"&".join([b"metadata[a%d]=1" % number for number in range(51)]), 400),
        (b"metadata[" + b"[" * 50 + b"=1", 400),
        (b"name=" + b"x" * 20_000, 400),
        (b"name=" + b"x" * 1_100_000, 413),
        (b"description=%00", 200),
        (b"name=%F0%9F%98%80", 200),
        (b"", 200),
    ],
)
async def test_bodies_of_all_kinds(sandbox: Sandbox, body: bytes, status: int) -> None:
    answer = await sandbox.raw(
        "POST",
        "/v1/customers",
        content=body,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == status, answer.text
    assert (await sandbox.raw("GET", "/v1/customers")).status_code == 200


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data", "x"])
async def test_a_body_is_a_form(sandbox: Sandbox, kind: str) -> None:
    answer = await sandbox.raw(
        "POST", "/v1/customers", content=b'{"name": "Ada"}', headers={"Content-Type": kind}
    )
    assert answer.status_code == 400
    assert "application/x-www-form-urlencoded" in answer.json()["error"]["message"]


async def test_a_body_may_name_its_charset(sandbox: Sandbox) -> None:
    kind = "application/x-www-form-urlencoded; charset=utf-8"
    answer = await sandbox.raw(
        "POST", "/v1/customers", content=b"name=Ada", headers={"Content-Type": kind}
    )
    assert answer.json()["name"] == "Ada"


async def test_what_stands_in_a_query_is_read_as_it_was_sent(sandbox: Sandbox) -> None:
    answer = await sandbox.raw("GET", "/v1/customers?limit=1%26limit%3D2")
    assert answer.status_code == 400
    answer = await sandbox.raw("GET", "/v1/customers?limit=%31&expand[]=data.nothing%ff")
    assert answer.status_code == 400


async def test_a_client_that_goes_in_the_middle_of_its_request_harms_nobody(
    sandbox: Sandbox,
) -> None:
    port = int(sandbox.url.rpartition(":")[2])
    for sent in (b"POST /v1/customers HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nname", b"G"):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        await writer.drain()
        writer.transport.abort()
    assert (await sandbox.raw("GET", "/v1/customers")).json()["data"] == []


async def test_health_and_clock(sandbox: Sandbox) -> None:
    before = (await sandbox.control("GET", "clock"))["now"]
    await sandbox.forward(1000)
    after = await sandbox.control("GET", "clock")
    assert 1000 <= after["now"] - before < 1100
    assert after["api_version"] == API_VERSION
    await sandbox.restart()
    assert (await sandbox.control("GET", "clock"))["now"] >= after["now"]
    for wrong in (b"", b'{"seconds": -1}', b'{"seconds": 1e12}', b'{"minutes": 1}', b"\xff"):
        answer = await sandbox.post_control("clock", wrong)
        assert answer.status_code == 400


async def test_a_page_of_nothing_is_not_found(sandbox: Sandbox) -> None:
    for secret in ("pi_none_secret_x", "x", "%ff", "<script>"):
        answer = await sandbox.page(f"{sandbox.url}/authenticate/{secret}")
        assert answer.status_code == 404
        assert "<script>" not in answer.text
    with pytest.raises(ValueError, match="Expecting"):
        checked(200, answer.content)


async def test_a_full_disk_is_an_error_that_passes(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    def room(pages: int) -> None:
        with sandbox.running.database.transaction() as transaction:
            transaction.sql(f"PRAGMA max_page_count = {pages}")

    made: list[str] = []
    room(1)  # as many as there are

    async def create() -> None:
        number = str(len(made))
        params: Any = {"description": number * 1000}
        key: Any = {"idempotency_key": number}
        made.append((await client.v1.customers.create_async(params, key)).id)

    async def create_many() -> None:
        for _ in range(500):
            await create()

    with pytest.raises(stripe.APIError):
        await create_many()
    room(1_000_000)
    await create()
    await sandbox.forward(5)
    pages = await client.v1.customers.list_async({"limit": 100})
    assert [one.id async for one in pages.auto_paging_iter()] == made[::-1]
    events = await client.v1.events.list_async({"limit": 100})
    assert len([one async for one in events.auto_paging_iter()]) == len(made)
    await sandbox.restart()
