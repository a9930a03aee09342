"""The same request under the same key is carried out once, and its first answer stays."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import stripe

from stripe_sandbox.idempotency import KEPT_SECONDS, LONGEST_KEY
from tests.stripe_sandbox.conftest import Sandbox, client_of

CUSTOMERS = "/v1/customers"


async def post(
    sandbox: Sandbox,
    key: str,
    data: dict[str, Any] | None = None,
    path: str = CUSTOMERS,
    **more: Any,
) -> httpx.Response:
    """A request under a key."""
    headers = {"Idempotency-Key": key, **more.pop("headers", {})}
    return await sandbox.raw("POST", path, data=data or {}, headers=headers, **more)


async def begun(
    sandbox: Sandbox,
    wait_until: Callable[..., Awaitable[None]],
    fault: str,
    milliseconds: int,
    data: dict[str, Any] | None = None,
) -> "asyncio.Task[httpx.Response]":
    """A request under the key `k` that is in trouble by now."""
    await sandbox.add_fault(fault, operation="POST *", milliseconds=milliseconds)
    task = asyncio.create_task(post(sandbox, "k", data))

    async def is_in_trouble() -> bool:
        return not (await sandbox.control("GET", "faults"))["faults"]

    await wait_until(is_in_trouble, what="the request is in trouble")
    return task


async def count(sandbox: Sandbox) -> int:
    """How many customers there are."""
    return len((await sandbox.client.v1.customers.list_async({"limit": 100})).data)


async def test_the_first_answer_is_given_again(sandbox: Sandbox) -> None:
    first = await post(sandbox, "k", {"name": "Ada", "metadata[b]": "2", "metadata[a]": "1"})
    again = await post(sandbox, "k", {"metadata[a]": "1", "metadata[b]": "2", "name": "Ada"})
    assert again.content == first.content
    assert (await count(sandbox)) == 1
    assert first.headers["Idempotency-Key"] == again.headers["Idempotency-Key"] == "k"
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.headers["Original-Request"] == first.headers["Request-Id"]
    assert again.headers["Original-Request"] == first.headers["Request-Id"]
    assert again.headers["Request-Id"] != first.headers["Request-Id"]


async def test_the_sdk_s_own_option_is_heeded(client: stripe.StripeClient) -> None:
    create: Any = {"amount": 2000, "currency": "usd"}
    options: Any = {"idempotency_key": "order-1"}
    first = await client.v1.payment_intents.create_async(create, options)
    assert (await client.v1.payment_intents.create_async(create, options)).id == first.id
    events = await client.v1.events.list_async({"type": "payment_intent.created"})
    [event] = [one.to_dict() for one in events.data]
    assert event["request"]["idempotency_key"] == "order-1"


async def test_a_decline_is_given_again(sandbox: Sandbox) -> None:
    data = {
        "amount": 2000,
        "currency": "usd",
        "confirm": "true",
        "payment_method": "pm_card_visa_chargeDeclined",
        "payment_method_types[]": "card",
    }
    first = await post(sandbox, "k", data, "/v1/payment_intents")
    again = await post(sandbox, "k", data, "/v1/payment_intents")
    assert (first.status_code, again.content) == (402, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    charges = await sandbox.client.v1.charges.list_async()
    assert len(charges.data) == 1


@pytest.mark.parametrize(
    ("fault", "effects"), [("error_before_effect", 0), ("error_after_effect", 1)]
)
async def test_an_error_of_the_server_is_given_again(
    sandbox: Sandbox, fault: str, effects: int
) -> None:
    first = await post(sandbox, "k", headers={"Sandbox-Fault": fault})
    again = await post(sandbox, "k")
    assert (first.status_code, again.status_code, again.content) == (500, 500, first.content)
    assert first.json()["error"]["type"] == "api_error"
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await count(sandbox) == effects


async def test_an_answer_that_is_given_again_may_be_lost_but_not_changed(sandbox: Sandbox) -> None:
    first = await post(sandbox, "k")
    for fault in ("reset_before_effect", "reset_after_effect"):
        with pytest.raises(httpx.TransportError):
            await post(sandbox, "k", headers={"Sandbox-Fault": fault})
    limited = await post(sandbox, "k", headers={"Sandbox-Fault": "rate_limit"})
    assert limited.status_code == 429
    for fault in ("error_before_effect", "error_after_effect"):
        again = await post(sandbox, "k", headers={"Sandbox-Fault": fault})
        assert again.content == first.content
    assert await count(sandbox) == 1


async def test_a_refusal_by_the_state_is_given_again(sandbox: Sandbox) -> None:
    path = "/v1/customers/cus_none"
    first = await post(sandbox, "k", {"name": "x"}, path)
    again = await post(sandbox, "k", {"name": "x"}, path)
    assert (first.status_code, again.content) == (404, first.content)


async def test_other_parameters_are_refused(sandbox: Sandbox) -> None:
    first = await post(sandbox, "k", {"name": "Ada"})
    for data, path in (({"name": "Bob"}, CUSTOMERS), ({"name": "Ada"}, "/v1/products")):
        if path == CUSTOMERS:
            answer = await post(sandbox, "k", data, path)
            error = answer.json()["error"]
            assert (answer.status_code, error["type"]) == (400, "idempotency_error")
    other = await post(sandbox, "k", {"name": "Ada"}, f"{CUSTOMERS}/{first.json()['id']}")
    assert other.json()["error"]["type"] == "idempotency_error"
    with pytest.raises(stripe.IdempotencyError):
        await sandbox.client.v1.customers.create_async({"name": "B"}, {"idempotency_key": "k"})
    assert await count(sandbox) == 1
    assert (await post(sandbox, "k", {"name": "Ada"})).content == first.content


async def test_one_of_two_at_once_is_told_to_wait(
    sandbox: Sandbox, wait_until: Callable[..., Awaitable[None]]
) -> None:
    slow = await begun(sandbox, wait_until, "slow_before_effect", 1000)
    same = await post(sandbox, "k")
    assert (same.status_code, same.json()["error"]["code"]) == (409, "idempotency_key_in_use")
    other = await post(sandbox, "k", {"name": "Ada"})
    assert other.status_code == 400
    first = await slow
    assert first.status_code == 200
    assert (await post(sandbox, "k")).content == first.content
    assert await count(sandbox) == 1


async def test_many_at_once_have_one_effect(sandbox: Sandbox) -> None:
    answers = await asyncio.gather(*(post(sandbox, "k", {"name": "Ada"}) for _ in range(20)))
    done = {answer.json()["id"] for answer in answers if answer.status_code == 200}
    assert len(done) == 1
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert await count(sandbox) == 1


async def test_a_key_is_free_after_a_day(sandbox: Sandbox) -> None:
    first = await post(sandbox, "k", {"name": "Ada"})
    await sandbox.forward(KEPT_SECONDS - 60)
    assert (await post(sandbox, "k", {"name": "Ada"})).content == first.content
    await sandbox.forward(61)
    second = await post(sandbox, "k", {"name": "Bob"})
    assert second.json()["name"] == "Bob"
    assert (await post(sandbox, "k", {"name": "Bob"})).content == second.content


async def test_what_is_expired_is_swept(sandbox: Sandbox) -> None:
    for number in range(3):
        await post(sandbox, f"old-{number}")
    await sandbox.forward(KEPT_SECONDS + 1)
    for number in range(2):
        await post(sandbox, f"new-{number}")
    with sandbox.running.database.transaction() as transaction:
        keys = transaction.sql("SELECT key FROM answers ORDER BY key").fetchall()
    assert keys == [("new-0",), ("new-1",)]


async def test_a_get_heeds_no_key(sandbox: Sandbox) -> None:
    for _ in range(2):
        before = await sandbox.raw("GET", CUSTOMERS, headers={"Idempotency-Key": "k"})
        assert "Idempotency-Key" not in before.headers
        await post(sandbox, "another", {"name": "Ada"})
    assert len(before.json()["data"]) == 1
    made = await post(sandbox, "k", {"name": "Bob"})
    assert made.status_code == 200


@pytest.mark.parametrize(
    "data",
    [{"colour": "red"}, {"name": "x" * 10_000}, {"tax_exempt": "exempt"}],
    ids=["unknown", "too long", "not simulated"],
)
async def test_parameters_that_are_wrong_leave_the_key_free(
    sandbox: Sandbox, data: dict[str, Any]
) -> None:
    wrong = await post(sandbox, "k", data)
    assert wrong.status_code == 400
    assert (await post(sandbox, "k", {"name": "Ada"})).status_code == 200


@pytest.mark.parametrize("fault", ["rate_limit", "no_such_fault"])
async def test_what_was_not_begun_leaves_the_key_free(sandbox: Sandbox, fault: str) -> None:
    wrong = await post(sandbox, "k", {"name": "Ada"}, headers={"Sandbox-Fault": fault})
    assert wrong.status_code in (400, 429)
    assert (await post(sandbox, "k", {"name": "Bob"})).status_code == 200


@pytest.mark.parametrize("key", ["", "k" * (LONGEST_KEY + 1), "a\u200bb".encode(), b"\xff\xfe"])
async def test_a_key_is_a_short_text(sandbox: Sandbox, key: Any) -> None:
    answer = await post(sandbox, key)
    assert answer.status_code == 400
    assert await count(sandbox) == 0
    assert (await post(sandbox, "k" * LONGEST_KEY)).status_code == 200


async def test_answers_outlive_a_restart_and_held_keys_do_not(
    sandbox: Sandbox, wait_until: Callable[..., Awaitable[None]]
) -> None:
    done = await post(sandbox, "done", {"name": "Ada"})
    hanging = await begun(sandbox, wait_until, "slow_before_effect", 60_000)
    await sandbox.restart()
    with pytest.raises(httpx.TransportError):
        await hanging
    again = await post(sandbox, "done", {"name": "Ada"})
    assert (again.content, again.headers["Idempotent-Replayed"]) == (done.content, "true")
    second = await post(sandbox, "k")
    assert "Idempotent-Replayed" not in second.headers
    assert await count(sandbox) == 2


async def test_an_answer_that_was_lost_is_there_for_who_asks_again(sandbox: Sandbox) -> None:
    with pytest.raises(httpx.TransportError):
        await post(sandbox, "k", {"name": "Ada"}, headers={"Sandbox-Fault": "reset_after_effect"})
    await sandbox.restart()
    again = await post(sandbox, "k", {"name": "Ada"})
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await count(sandbox) == 1


async def test_a_request_that_hangs_before_its_effect_does_not_hold_its_key(
    sandbox: Sandbox, wait_until: Callable[..., Awaitable[None]]
) -> None:
    ada = {"name": "Ada"}
    hanging = await begun(sandbox, wait_until, "timeout_before_effect", 1000, ada)
    second = await begun(sandbox, wait_until, "slow_before_effect", 3000, ada)
    with pytest.raises(httpx.TransportError):
        await hanging
    assert not second.done()
    # The first has ended meanwhile, and has not freed the key that the second holds.
    assert (await post(sandbox, "k", {"name": "Ada"})).status_code == 409
    assert (await second).status_code == 200
    assert await count(sandbox) == 1


async def test_the_sdk_s_own_retries_have_one_effect(sandbox: Sandbox) -> None:
    await sandbox.add_fault("reset_after_effect", operation="POST /v1/customers", times=2)
    async with client_of(sandbox.url, retries=3) as client:
        customer = await client.v1.customers.create_async({"name": "Ada"})
    assert customer.name == "Ada"
    assert (await sandbox.control("GET", "faults"))["faults"] == []
    assert await count(sandbox) == 1


async def test_an_operation_that_fails_answers_keeps_nothing_and_frees_the_key(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stripe_sandbox.resources import customers

    def fails(*_: object) -> None:
        raise RuntimeError("a mistake of the sandbox")

    with monkeypatch.context() as patch:
        patch.setattr(customers, "announce", fails)
        broken = await post(sandbox, "k", {"name": "Ada"})
    assert (broken.status_code, broken.json()["error"]["type"]) == (500, "api_error")
    assert "mistake" not in broken.text
    assert await count(sandbox) == 0
    assert (await post(sandbox, "k", {"name": "Bob"})).status_code == 200
