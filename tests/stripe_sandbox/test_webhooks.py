"""Events on their way to endpoints: signed, sent again until they are taken, and in trouble."""

import json
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import pytest
import stripe

from stripe_sandbox.app import running
from stripe_sandbox.resources.webhook_endpoints import MOST
from stripe_sandbox.settings import SandboxSettings
from tests.stripe_sandbox.conftest import Receiver, Sandbox, client_of
from tests.stripe_sandbox.shapes import assert_shape

Wait = Callable[..., Awaitable[None]]


@pytest.fixture
async def endpoint(client: stripe.StripeClient, receiver: Receiver) -> stripe.WebhookEndpoint:
    """An endpoint that is told of customers."""
    return await client.v1.webhook_endpoints.create_async(
        {"url": receiver.url, "enabled_events": ["customer.created", "customer.updated"]}
    )


async def create(client: stripe.StripeClient, name: str = "Ada") -> stripe.Customer:
    """Something that endpoints are told of."""
    return await client.v1.customers.create_async({"name": name})


def states(sandbox: Sandbox) -> list[tuple[str, int]]:
    """The states of all deliveries, and how often each was tried."""
    with sandbox.running.database.transaction() as transaction:
        rows = transaction.sql("SELECT state, attempts FROM deliveries ORDER BY number")
        return [(state, attempts) for state, attempts in rows]


def become(sandbox: Sandbox, wanted: list[tuple[str, int]]) -> Callable[[], Awaitable[bool]]:
    """Whether the deliveries have come so far."""

    async def condition() -> bool:
        return states(sandbox) == wanted

    return condition


async def test_the_sdk_verifies_what_was_signed(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    receiver: Receiver,
    endpoint: stripe.WebhookEndpoint,
    wait_until: Wait,
) -> None:
    await sandbox.forward(40 * 24 * 3600)
    customer = await create(client)
    await receiver.received(1)
    [(body, headers)] = receiver.told
    event = stripe.Webhook.construct_event(body, headers["Stripe-Signature"], str(endpoint.secret))
    assert (event.type, event.data.object["id"]) == ("customer.created", customer.id)
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["User-Agent"].startswith("Stripe/1.0")
    assert_shape(json.loads(body))
    assert (event.pending_webhooks, event.created) == (1, customer.created)
    assert event.created > time.time() + 39 * 24 * 3600

    async def is_done() -> bool:
        return (await client.v1.events.retrieve_async(event.id)).pending_webhooks == 0

    await wait_until(is_done, what="the event is known to be delivered")


async def test_the_secret_is_told_once(
    client: stripe.StripeClient, endpoint: stripe.WebhookEndpoint
) -> None:
    assert str(endpoint.secret).startswith("whsec_")
    again = await client.v1.webhook_endpoints.retrieve_async(endpoint.id)
    assert "secret" not in again.to_dict()


@pytest.mark.parametrize("status", [500, 400, 302])
async def test_what_is_not_taken_comes_again(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    receiver: Receiver,
    endpoint: stripe.WebhookEndpoint,
    wait_until: Wait,
    status: int,
) -> None:
    receiver.statuses = [status, status]
    await create(client)
    await wait_until(become(sandbox, [("delivered", 3)]), what="the third is taken")
    first, second, third = receiver.events
    assert first["id"] == second["id"] == third["id"]
    for body, headers in receiver.told:
        stripe.WebhookSignature.verify_header(
            body.decode(), headers["Stripe-Signature"], str(endpoint.secret), 300
        )


async def test_waits_between_tries_double(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    receiver: Receiver,
    endpoint: stripe.WebhookEndpoint,
    wait_until: Wait,
) -> None:
    receiver.statuses = [500] * 4
    before = time.time()
    await create(client)
    await wait_until(become(sandbox, [("delivered", 5)]), what="the fifth is taken")
    assert time.time() - before >= 0.05 + 0.1 + 0.2 + 0.4


async def test_an_event_is_given_up(sandbox: Sandbox, receiver: Receiver, wait_until: Wait) -> None:
    sandbox.settings.webhook_attempts = 3
    receiver.statuses = [500] * 3
    await sandbox.client.v1.webhook_endpoints.create_async(
        {"url": receiver.url, "enabled_events": ["*"]}
    )
    await create(sandbox.client)
    await wait_until(become(sandbox, [("given_up", 3)]), what="it is given up")
    event = await sandbox.event("customer.created")
    assert event.pending_webhooks == 1
    assert len(receiver.told) == 3
    await sandbox.control("POST", f"events/{event.id}/resend")
    await receiver.received(4)
    assert receiver.events[3]["id"] == event.id


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://[::1]:1/", "http://nowhere.test/"])
async def test_an_endpoint_that_is_not_there_holds_up_nobody(
    sandbox: Sandbox, client: stripe.StripeClient, receiver: Receiver, url: str
) -> None:
    for one in (url, receiver.url):
        await client.v1.webhook_endpoints.create_async({"url": one, "enabled_events": ["*"]})
    for _ in range(3):
        await create(client)
    await receiver.received(3)
    assert len({event["id"] for event in receiver.events}) == 3


async def test_an_endpoint_that_hangs_is_tried_again(
    sandbox: Sandbox, receiver: Receiver, wait_until: Wait
) -> None:
    sandbox.settings.webhook_timeout_seconds = 2
    await sandbox.restart()
    receiver.hangs_seconds = [30.0]
    await sandbox.client.v1.webhook_endpoints.create_async(
        {"url": receiver.url, "enabled_events": ["*"]}
    )
    await create(sandbox.client)
    await wait_until(become(sandbox, [("delivered", 2)]), what="the second is taken")


async def test_a_duplicated_event_comes_twice(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    receiver: Receiver,
    endpoint: stripe.WebhookEndpoint,
    wait_until: Wait,
) -> None:
    unreachable = await client.v1.webhook_endpoints.create_async(
        {"url": "http://127.0.0.1:1/", "enabled_events": ["customer.created"]}
    )
    await sandbox.add_fault("duplicated", event="customer.*", contains="Ada")
    await create(client)
    await receiver.received(2)
    first, second = receiver.events
    assert first["id"] == second["id"]

    async def is_noted() -> bool:
        return [state for state, _ in states(sandbox)].count("delivered") == 2

    await wait_until(is_noted, what="both are noted")
    event = await client.v1.events.retrieve_async(first["id"])
    assert event.pending_webhooks == 1, f"{unreachable.url} has not taken it"


async def test_an_overtaken_event_comes_after_the_next(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    receiver: Receiver,
    endpoint: stripe.WebhookEndpoint,
) -> None:
    await sandbox.add_fault("overtaken", event="customer.created")
    customer = await create(client)
    await client.v1.customers.update_async(customer.id, {"name": "Bob"})
    await receiver.received(2)
    assert receiver.types == ["customer.updated", "customer.created"]
    # It tells of the time when it happened, not of when it comes.
    assert receiver.events[1]["data"]["object"]["name"] == "Ada"


async def test_a_delayed_event_comes_late(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    receiver: Receiver,
    endpoint: stripe.WebhookEndpoint,
) -> None:
    await sandbox.add_fault("delayed", milliseconds=400)
    before = time.time()
    await create(client)
    await receiver.received(1)
    assert time.time() - before >= 0.4


async def test_an_event_that_is_never_sent_is_listed(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    receiver: Receiver,
    endpoint: stripe.WebhookEndpoint,
    wait_until: Wait,
) -> None:
    await sandbox.add_fault("never_sent")
    await create(client, "lost")
    await wait_until(become(sandbox, [("never", 0)]), what="it is lost")
    await create(client, "told")
    await receiver.received(1)
    assert receiver.events[0]["data"]["object"]["name"] == "told"
    events = await client.v1.events.list_async({"type": "customer.created"})
    assert len(events.data) == 2
    await sandbox.control("POST", f"events/{events.data[1].id}/resend")
    await receiver.received(2)
    assert receiver.events[1]["data"]["object"]["name"] == "lost"


async def test_a_wrongly_signed_event_is_not_verified(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    receiver: Receiver,
    endpoint: stripe.WebhookEndpoint,
) -> None:
    receiver.statuses = [400]
    await sandbox.add_fault("wrongly_signed")
    await create(client)
    await receiver.received(2)
    body, headers = receiver.told[0]
    construct: Any = stripe.Webhook.construct_event
    with pytest.raises(stripe.SignatureVerificationError):
        construct(body, headers["Stripe-Signature"], endpoint.secret)
    body, headers = receiver.told[1]
    assert construct(body, headers["Stripe-Signature"], endpoint.secret)


async def create_with(client: stripe.StripeClient, fault: str, name: str = "Ada") -> None:
    """A customer, whose events have this trouble."""
    options: Any = {"headers": {"Sandbox-Fault": fault}}
    await client.v1.customers.create_async({"name": name}, options)


async def test_the_events_of_one_request_are_never_sent(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    receiver: Receiver,
    endpoint: stripe.WebhookEndpoint,
    wait_until: Wait,
) -> None:
    await create_with(client, "never_sent", "lost")
    await wait_until(become(sandbox, [("never", 0)]), what="it is lost")
    await create(client, "told")
    await receiver.received(1)
    assert [event["data"]["object"]["name"] for event in receiver.events] == ["told"]


async def test_the_events_of_one_request_come_twice(
    client: stripe.StripeClient, receiver: Receiver, endpoint: stripe.WebhookEndpoint
) -> None:
    await create_with(client, "duplicated")
    await receiver.received(2)
    first, second = receiver.events
    assert first["id"] == second["id"]


@pytest.mark.parametrize("fault", ["delayed;milliseconds=400", "overtaken"])
async def test_the_events_of_one_request_come_after_those_of_the_next(
    client: stripe.StripeClient,
    receiver: Receiver,
    endpoint: stripe.WebhookEndpoint,
    fault: str,
) -> None:
    await create_with(client, fault, "first")
    await create(client, "second")
    await receiver.received(2)
    names = [event["data"]["object"]["name"] for event in receiver.events]
    assert names == ["second", "first"]


async def test_the_events_of_one_request_are_wrongly_signed_once(
    client: stripe.StripeClient, receiver: Receiver, endpoint: stripe.WebhookEndpoint
) -> None:
    receiver.statuses = [400]
    await create_with(client, "wrongly_signed")
    await receiver.received(2)
    construct: Any = stripe.Webhook.construct_event
    for (body, headers), is_forged in zip(receiver.told, (True, False), strict=True):
        with pytest.raises(stripe.SignatureVerificationError) if is_forged else nullcontext():
            construct(body, headers["Stripe-Signature"], endpoint.secret)


async def test_a_request_whose_events_are_troubled_can_be_troubled_by_a_rule(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    receiver: Receiver,
    endpoint: stripe.WebhookEndpoint,
    wait_until: Wait,
) -> None:
    await sandbox.add_fault("error_after_effect")
    with pytest.raises(stripe.APIError):
        await create_with(client, "never_sent")
    await wait_until(become(sandbox, [("never", 0)]), what="its event is lost")


@pytest.mark.parametrize(
    ("patterns", "told"),
    [
        (["*"], {"payment_intent.created", "charge.succeeded", "payment_intent.succeeded"}),
        (["charge.succeeded"], {"charge.succeeded"}),
        (["charge.refunded"], set()),
    ],
)
async def test_an_endpoint_is_told_what_it_wants_to_know(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    receiver: Receiver,
    patterns: Any,
    told: set[str],
) -> None:
    await client.v1.webhook_endpoints.create_async(
        {"url": receiver.url, "enabled_events": patterns}
    )
    await sandbox.paid()
    await receiver.received(len(told))
    assert set(receiver.types) == told
    assert len(states(sandbox)) == len(told)


async def test_a_disabled_endpoint_is_told_nothing(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    receiver: Receiver,
    endpoint: stripe.WebhookEndpoint,
    wait_until: Wait,
) -> None:
    receiver.statuses = [500]
    await sandbox.add_fault("delayed", milliseconds=300)
    await create(client, "waiting")
    await client.v1.webhook_endpoints.update_async(endpoint.id, {"disabled": True})
    await create(client, "meanwhile")
    await wait_until(become(sandbox, [("gone", 0)]), what="what was waiting is gone")
    enabled = await client.v1.webhook_endpoints.update_async(endpoint.id, {"disabled": False})
    assert enabled.status == "enabled"
    await create(client, "afterwards")
    await receiver.received(1)
    assert receiver.events[0]["data"]["object"]["name"] == "afterwards"


async def test_a_deleted_endpoint_is_told_nothing(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    receiver: Receiver,
    endpoint: stripe.WebhookEndpoint,
) -> None:
    await sandbox.add_fault("delayed", milliseconds=60_000)
    await create(client)
    gone = await client.v1.webhook_endpoints.delete_async(endpoint.id)
    assert gone.deleted
    await create(client)
    assert states(sandbox) == []
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.webhook_endpoints.retrieve_async(endpoint.id)
    assert caught.value.http_status == 404


async def test_what_was_being_sent_at_the_end_is_sent_again(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    receiver: Receiver,
    endpoint: stripe.WebhookEndpoint,
    wait_until: Wait,
) -> None:
    receiver.hangs_seconds = [30.0]
    await create(client)
    await receiver.received(1)
    assert states(sandbox) == [("sending", 1)]
    await sandbox.restart()
    await wait_until(become(sandbox, [("delivered", 2)]), what="it is taken")
    assert receiver.events[0]["id"] == receiver.events[1]["id"]


async def test_what_was_waiting_at_the_end_is_sent(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    receiver: Receiver,
    endpoint: stripe.WebhookEndpoint,
) -> None:
    await sandbox.add_fault("delayed", milliseconds=1)
    await sandbox.add_fault("delayed", milliseconds=300)
    for name in ("one", "two"):
        await create(client, name)
    await sandbox.restart()
    await receiver.received(2)
    await create(sandbox.client, "three")
    await receiver.received(3)


async def test_many_events_all_arrive_once(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    receiver: Receiver,
    endpoint: stripe.WebhookEndpoint,
    wait_until: Wait,
) -> None:
    sandbox.settings.webhooks_in_flight = 3
    for number in range(20):
        await create(client, str(number))
    await wait_until(become(sandbox, [("delivered", 1)] * 20), what="all are taken")
    assert len({event["id"] for event in receiver.events}) == len(receiver.told) == 20


async def test_there_are_only_so_many_endpoints(
    client: stripe.StripeClient, receiver: Receiver
) -> None:
    create: Any = {"url": receiver.url, "enabled_events": ["charge.failed"]}
    for _ in range(MOST):
        await client.v1.webhook_endpoints.create_async(create)
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.webhook_endpoints.create_async(create)


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"url": "nowhere"}, "url"),
        ({"url": "ftp://shop.test/"}, "url"),
        ({"url": "http://[::1"}, "url"),
        ({"url": "http://shop.test:99999/"}, "url"),
        ({"url": "http://shop.test/ a"}, "url"),
        ({"enabled_events": ["no.such.event"]}, "enabled_events[0]"),
        ({"api_version": "2020-08-27"}, "api_version"),
    ],
)
async def test_an_endpoint_that_cannot_be_is_refused(
    client: stripe.StripeClient, params: dict[str, Any], param: str
) -> None:
    create: Any = {"url": "http://shop.test/", "enabled_events": ["*"], **params}
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.webhook_endpoints.create_async(create)
    assert caught.value.param == param
    assert (await client.v1.webhook_endpoints.list_async()).data == []


async def test_an_unknown_event_is_not_sent_again(sandbox: Sandbox) -> None:
    answer = await sandbox.post_control("events/evt_none/resend", b"")
    assert answer.status_code == 404


async def test_an_endpoint_of_the_settings_is_told_everything_also_after_it_has_moved(
    settings: SandboxSettings, receiver: Receiver
) -> None:
    here = receiver.url.removesuffix("/hook")
    for base_url, told in (("http://127.0.0.1:9", 0), (here, 1), (here, 2)):
        given = settings.model_copy(update={"webhook_base_url": base_url})
        async with running(given) as started, client_of(started.url) as client:
            await create(client)
            await receiver.received(told)
            endpoints = await client.v1.webhook_endpoints.list_async()
            assert [one.url for one in endpoints.data] == [f"{base_url}/webhooks/stripe"]
            if told:
                body, headers = receiver.told[-1]
                construct: Any = stripe.Webhook.construct_event
                assert construct(body, headers["Stripe-Signature"], "whsec_sandbox")
