"""Trouble on request: what the SDK makes of it, and what is true afterwards."""

import time
from typing import Any

import pytest
import stripe

from stripe_sandbox.faults import MOST_RULES, RequestFault
from tests.stripe_sandbox.conftest import Sandbox, client_of

FAULTS: dict[RequestFault, tuple[type[Exception] | None, int]] = {
    RequestFault.SLOW_BEFORE_EFFECT: (None, 1),
    RequestFault.SLOW_AFTER_EFFECT: (None, 1),
    RequestFault.TIMEOUT_BEFORE_EFFECT: (stripe.APIConnectionError, 0),
    RequestFault.TIMEOUT_AFTER_EFFECT: (stripe.APIConnectionError, 1),
    RequestFault.ERROR_BEFORE_EFFECT: (stripe.APIError, 0),
    RequestFault.ERROR_AFTER_EFFECT: (stripe.APIError, 1),
    RequestFault.RESET_BEFORE_EFFECT: (stripe.APIConnectionError, 0),
    RequestFault.RESET_AFTER_EFFECT: (stripe.APIConnectionError, 1),
    RequestFault.RATE_LIMIT: (stripe.RateLimitError, 0),
}
"""What the SDK raises for each, and how many effects there are."""


async def create(client: stripe.StripeClient, fault: str | None = None) -> stripe.Customer:
    """A customer, with trouble."""
    options: Any = {"headers": {"Sandbox-Fault": fault}} if fault else {}
    return await client.v1.customers.create_async({"name": "Ada"}, options)


async def count(client: stripe.StripeClient) -> int:
    """How many customers there are."""
    return len((await client.v1.customers.list_async()).data)


def test_every_fault_is_tried() -> None:
    assert FAULTS.keys() == set(RequestFault)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("by", ["header", "rule"])
async def test_a_fault_and_what_is_true_afterwards(
    sandbox: Sandbox, client: stripe.StripeClient, fault: RequestFault, by: str
) -> None:
    raised, effects = FAULTS[fault]
    began = time.monotonic()
    if by == "rule":
        await sandbox.add_fault(fault, operation="POST /v1/customers", milliseconds=150)
    header = f"{fault}; milliseconds=150" if by == "header" else None
    if raised is None:
        await create(client, header)
        assert time.monotonic() - began >= 0.15
    else:
        with pytest.raises(raised):
            await create(client, header)
    assert await count(client) == effects
    await create(client)
    assert await count(client) == effects + 1
    events = await client.v1.events.list_async({"type": "customer.created"})
    assert len(events.data) == effects + 1


async def test_a_client_that_waits_no_longer_is_not_held_up(
    sandbox: Sandbox, client: stripe.StripeClient, wait_until: Any
) -> None:
    async with client_of(sandbox.url, wait_seconds=0.3) as hasty:
        with pytest.raises(stripe.APIConnectionError):
            await create(hasty, "timeout_after_effect")

    async def is_there() -> bool:
        return await count(client) == 1

    await wait_until(is_there, what="the effect")


async def test_a_slow_effect_comes_although_nobody_waits_for_it(
    sandbox: Sandbox, client: stripe.StripeClient, wait_until: Any
) -> None:
    async with client_of(sandbox.url, wait_seconds=0.3) as hasty:
        with pytest.raises(stripe.APIConnectionError):
            await create(hasty, "slow_before_effect;milliseconds=600")

    async def is_there() -> bool:
        return await count(client) == 1

    await wait_until(is_there, what="the effect")


async def test_a_rule_is_for_so_many_of_the_requests_that_fit(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    await sandbox.add_fault("rate_limit", operation="POST /v1/cust*", contains="Ada", times=2)
    await client.v1.customers.create_async({"name": "Bob"})
    assert await count(client) == 1
    for left in ([1], []):
        with pytest.raises(stripe.RateLimitError):
            await create(client)
        rules = (await sandbox.control("GET", "faults"))["faults"]
        assert [rule["times"] for rule in rules] == left
    await create(client)


async def test_the_first_rule_that_fits_is_taken(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    await sandbox.add_fault("rate_limit", operation="GET *")
    await sandbox.add_fault("error_before_effect")
    await sandbox.add_fault("rate_limit")
    with pytest.raises(stripe.APIError):
        await create(client)
    with pytest.raises(stripe.RateLimitError):
        await create(client)
    await create(client)
    with pytest.raises(stripe.RateLimitError):
        await count(client)


async def test_an_idempotency_key_may_be_what_a_rule_looks_for(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    await sandbox.add_fault("rate_limit", contains="order-7")
    await client.v1.customers.create_async({}, {"idempotency_key": "order-6"})
    with pytest.raises(stripe.RateLimitError):
        await client.v1.customers.create_async({}, {"idempotency_key": "order-7"})


async def test_requests_that_are_wrong_use_up_no_rule(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    await sandbox.add_fault("rate_limit")
    wrong: Any = {"colour": "red"}
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.customers.create_async(wrong)
    with pytest.raises(stripe.RateLimitError):
        await create(client)


async def test_rules_outlive_a_restart(sandbox: Sandbox) -> None:
    await sandbox.add_fault("rate_limit", times=2)
    with pytest.raises(stripe.RateLimitError):
        await create(sandbox.client)
    await sandbox.restart()
    with pytest.raises(stripe.RateLimitError):
        await create(sandbox.client)
    await sandbox.restart()
    await create(sandbox.client)


async def test_trouble_is_called_off(sandbox: Sandbox, client: stripe.StripeClient) -> None:
    await sandbox.add_fault("rate_limit", times=100)
    assert await sandbox.control("DELETE", "faults") == {"faults": []}
    await create(client)


@pytest.mark.parametrize(
    "header",
    [
        "fire",
        "rate_limit;seconds=1",
        "rate_limit;milliseconds=x",
        "slow_before_effect;milliseconds=-1",
        "slow_before_effect;milliseconds=99999999999",
        "",
    ],
)
async def test_trouble_that_is_not_known_is_refused(
    sandbox: Sandbox, client: stripe.StripeClient, header: str
) -> None:
    answer = await sandbox.raw("POST", "/v1/customers", headers={"Sandbox-Fault": header})
    assert answer.status_code == 400
    assert await count(client) == 0


@pytest.mark.parametrize(
    "rule",
    [
        b"",
        b"no json",
        b"\xff",
        b"[]",
        b'{"fault": "fire"}',
        b'{"fault": "rate_limit", "times": 0}',
        b'{"fault": "rate_limit", "event": "charge.*"}',
        b'{"fault": "delayed", "operation": "GET *"}',
        b'{"fault": "rate_limit", "unknown": 1}',
        b'{"fault": "rate_limit", "milliseconds": -1}',
    ],
)
async def test_a_rule_that_means_nothing_is_refused(sandbox: Sandbox, rule: bytes) -> None:
    async with client_of(sandbox.url) as client:
        answer = await sandbox.post_control("faults", rule)
        assert answer.status_code == 400
        assert "error" in answer.json()
        await create(client)


async def test_there_are_only_so_many_rules(sandbox: Sandbox) -> None:
    with sandbox.running.database.transaction() as transaction:
        for _ in range(MOST_RULES):
            transaction.sql(
                """INSERT INTO faults (body, times_left) VALUES ('{"fault":"rate_limit"}', 1)"""
            )
    answer = await sandbox.post_control("faults", b'{"fault": "rate_limit"}')
    assert answer.status_code == 400
