"""A sandbox in this process, the real SDK that asks it, and an endpoint that it tells of events.

Every answer is checked against the shapes that Stripe publishes, on its way to the test.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import stripe
from aiohttp import web
from pydantic import SecretStr

from stripe_sandbox.app import Running, running
from stripe_sandbox.settings import SandboxSettings
from tests.stripe_sandbox.shapes import assert_error_shape, assert_shape

KEY = "sk_test_of_these_tests"

RETURN = "https://shop.test/back"

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Nothing here speaks TLS; reading the machine's certificates takes longer than most tests."""

Json = dict[str, Any]


def checked(status: int, body: bytes) -> None:
    """An answer has its published shape."""
    answer = json.loads(body)
    if status < 400:
        assert_shape(answer)
    else:
        assert_error_shape(answer)


class CheckedHttpClient(stripe.AIOHTTPClient):
    """The SDK's own, which checks every answer."""

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> Any:
        body, status, received = await super().request_async(method, url, headers, post_data)
        checked(status, body)
        return body, status, received


@asynccontextmanager
async def client_of(
    url: str, key: str = KEY, *, retries: int = 0, wait_seconds: float = 30
) -> AsyncIterator[stripe.StripeClient]:
    """The SDK; without its own retries, unless asked for."""
    http = CheckedHttpClient(
        connector=aiohttp.TCPConnector(ssl=False), timeout=aiohttp.ClientTimeout(wait_seconds)
    )
    try:
        yield stripe.StripeClient(
            key, base_addresses={"api": url}, max_network_retries=retries, http_client=http
        )
    finally:
        await http.close_async()  # type: ignore[no-untyped-call]  # so in the SDK


class Sandbox:
    """A sandbox that can be ended and started again on the same state."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        self._stack = AsyncExitStack()
        self._http = httpx.AsyncClient(timeout=30, verify=NO_TLS)
        self.running: Running
        self.client: stripe.StripeClient

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.running.url

    async def start(self) -> None:
        """Begin, with a client that knows the new port."""
        self.running = await self._stack.enter_async_context(running(self.settings))
        self.client = await self._stack.enter_async_context(client_of(self.url))

    async def stop(self) -> None:
        """End it cleanly."""
        await self._stack.aclose()

    async def restart(self) -> None:
        """End it and begin again."""
        await self.stop()
        await self.start()

    async def close(self) -> None:
        """No more."""
        await self.stop()
        await self._http.aclose()

    async def control(self, method: str, path: str, body: Json | None = None) -> Json:
        """What is no part of Stripe's API."""
        answer = await self._http.request(method, f"{self.url}/sandbox/{path}", json=body)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def post_control(self, path: str, body: bytes) -> httpx.Response:
        """A body of any kind, told to what is no part of Stripe's API."""
        return await self._http.post(f"{self.url}/sandbox/{path}", content=body)

    async def forward(self, seconds: int) -> None:
        """It is so much later, and all that was due until then has happened."""
        await self.control("POST", "clock", {"seconds": seconds})

    async def add_fault(self, fault: str, **rule: Any) -> None:
        """The next request or event that fits is troubled."""
        await self.control("POST", "faults", {"fault": fault, **rule})

    async def raw(
        self, method: str, path: str, *, key: str | None = KEY, **request: Any
    ) -> httpx.Response:
        """A request that the SDK would not make."""
        headers = dict(request.pop("headers", {}))
        if key is not None:
            headers.setdefault("Authorization", f"Bearer {key}")
        answer = await self._http.request(method, f"{self.url}{path}", headers=headers, **request)
        if method != "HEAD":
            checked(answer.status_code, answer.content)
        return answer

    async def page(self, url: str, outcome: str | bytes | None = None) -> httpx.Response:
        """What a shopper's browser gets at the page of a challenge, or for one of its buttons."""
        if outcome is None:
            return await self._http.get(url)
        form = f"outcome={outcome}".encode() if isinstance(outcome, str) else outcome
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._http.post(url, content=form, headers=kind)

    async def ledger(self) -> int:
        """The sum of all balance transactions."""
        entries = await self.client.v1.balance_transactions.list_async({"limit": 100})
        return sum([entry.net async for entry in entries.auto_paging_iter()])

    async def paid(self, method: str = "pm_card_visa", **params: Any) -> stripe.PaymentIntent:
        """An intent of 20.00 USD that is confirmed at once."""
        create: Any = {
            "amount": 2000,
            "currency": "usd",
            "payment_method": method,
            "payment_method_types": ["card"],
            "confirm": True,
            **params,
        }
        return await self.client.v1.payment_intents.create_async(create)

    async def event_types(self) -> list[str]:
        """The types of the events of the last while, the oldest first."""
        events = await self.client.v1.events.list_async({"limit": 100})
        return [event.type for event in reversed(events.data)]

    async def event(self, kind: str) -> stripe.Event:
        """The latest event of a type."""
        events = await self.client.v1.events.list_async({"type": kind})
        return events.data[0]


@pytest.fixture
def settings(tmp_path: Path) -> SandboxSettings:
    """A state of its own, any free port, and retries that come soon."""
    return SandboxSettings(
        http_port=0,
        state=tmp_path / "state.sqlite3",
        api_key=SecretStr(KEY),
        webhook_first_retry_seconds=0.05,
    )


@pytest.fixture
async def sandbox(settings: SandboxSettings) -> AsyncIterator[Sandbox]:
    """A sandbox that answers."""
    one = Sandbox(settings)
    await one.start()
    try:
        yield one
    finally:
        await one.close()


@pytest.fixture
def client(sandbox: Sandbox) -> stripe.StripeClient:
    """The SDK, asking the sandbox."""
    return sandbox.client


@dataclass
class Receiver:
    """An endpoint that keeps what it is told, and answers with `statuses`, then with 200.

    `hangs_seconds` is how long each answer takes.
    """

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    hangs_seconds: list[float] = field(default_factory=list)
    told: list[tuple[bytes, Mapping[str, str]]] = field(default_factory=list)
    wait_until: Callable[..., Awaitable[None]] | None = None

    @property
    def events(self) -> list[Json]:
        """What it was told, in that order, each in its published shape."""
        events = [json.loads(body) for body, _ in self.told]
        for event in events:
            assert_shape(event)
        return events

    @property
    def types(self) -> list[str]:
        """The types of what it was told."""
        return [event["type"] for event in self.events]

    async def received(self, count: int) -> None:
        """Waits for so many."""

        async def enough() -> bool:
            return len(self.told) >= count

        assert self.wait_until is not None
        await self.wait_until(enough, what=f"{count} webhooks, of which came {self.types}")

    async def take(self, request: web.Request) -> web.Response:
        """Keep one."""
        self.told.append((await request.read(), request.headers))
        if self.hangs_seconds:
            await asyncio.sleep(self.hangs_seconds.pop(0))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
async def receiver(wait_until: Callable[..., Awaitable[None]]) -> AsyncIterator[Receiver]:
    """An endpoint for webhooks."""
    one = Receiver(wait_until=wait_until)
    application = web.Application()
    application.router.add_post("/{tail:.*}", one.take)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield one
    await runner.cleanup()


@pytest.fixture
async def browser(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A shopper's browser, which goes nowhere by itself."""
    async with httpx.AsyncClient(base_url=sandbox.url, verify=NO_TLS, timeout=60) as http:
        yield http
