"""Webhooks of Stripe: only genuine ones are taken, each once, and they are believed nothing."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import aiohttp
import httpx
import orjson
import pytest

from contracts.ids import derived_id, new_id
from contracts.messages.payment import ReviewPayment
from messaging.clock import utc_now
from payment_service.providers.stripe.api import OF_ANOTHER_VERSION
from payment_service.providers.stripe.client import API_VERSION
from payment_service.providers.stripe.webhooks import (
    NotAnEvent,
    Notice,
    WebhookRefused,
    WronglySigned,
    WrongMode,
    notice_of,
)
from payment_service.store.webhooks import News
from payment_service.sweeper import heed_webhooks
from stripe_sandbox.app import Running
from stripe_sandbox.database import Object
from stripe_sandbox.webhooks import signature
from tests.payment_service.cashdesk import CashDesk, settled, soon
from tests.payment_service.stripe_page import pay_at

WaitUntil = Callable[..., Awaitable[None]]
SECRET, OLD_SECRET = "whsec_new", "whsec_old"
INTENT = {"id": "pi_1", "object": "payment_intent", "metadata": {"charge_key": "p:1:charge"}}


def event(about: Any = INTENT, **other: Any) -> bytes:
    """An event, as Stripe sends it."""
    return orjson.dumps(
        {
            "id": "evt_1",
            "object": "event",
            "type": "payment_intent.succeeded",
            "livemode": False,
            "data": {"object": about},
            **other,
        }
    )


def signed(body: bytes, secret: str = SECRET, age_seconds: int = 0) -> str:
    """Its signature."""
    return signature(secret, body, int(time.time()) - age_seconds)


def read(body: bytes, header: str | None, *, production: bool = False) -> Notice:
    """As the endpoint reads it, while the secret is changed."""
    return notice_of(body, header, (SECRET, OLD_SECRET), production=production)


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_while_the_secret_is_changed_both_are_good(secret: str) -> None:
    body = event()

    notice = read(body, signed(body, secret))

    news = News("payment", unless=("succeeded",))
    assert notice == Notice("evt_1", "payment_intent.succeeded", "pi_1", "p:1:charge", news)


@pytest.mark.parametrize(
    ("about", "payment", "key"),
    [
        ({"object": "charge", "id": "ch_1", "payment_intent": "pi_1"}, "pi_1", None),
        ({"object": "refund", "id": "re_1", "payment_intent": {"id": "pi_1"}}, "pi_1", None),
        ({"object": "payment_intent", "id": "pi_1", "metadata": {}}, "pi_1", None),
        ({"object": "charge", "id": "ch_1", "payment_intent": None}, None, None),
        ({"object": "checkout.session", "id": "cs_1", "payment_intent": None}, "cs_1", None),
        ({"object": "checkout.session", "id": "cs_1", "payment_intent": "pi_1"}, "pi_1", None),
        ({"object": "customer", "id": "cus_1", "metadata": {"charge_key": 7}}, None, None),
        ({}, None, None),
    ],
)
def test_it_is_about_the_payment_that_its_object_belongs_to(
    about: Object, payment: str | None, key: str | None
) -> None:
    body = event(about)

    notice = read(body, signed(body))

    assert (notice.provider_payment_id, notice.charge_key) == (payment, key)


PAYMENT_ID = derived_id(new_id(), "payment")


@pytest.mark.parametrize(
    ("labels", "key", "payment_id"),
    [
        ({"payment_id": str(PAYMENT_ID)}, None, PAYMENT_ID),
        ({"payment_id": str(PAYMENT_ID), "attempt": "2"}, f"{PAYMENT_ID}:2:charge", None),
        ({"payment_id": str(PAYMENT_ID), "attempt": "two"}, None, PAYMENT_ID),
        ({"payment_id": str(PAYMENT_ID), "charge_key": "p:1:charge"}, "p:1:charge", None),
        ({"payment_id": "an order of 2019"}, None, None),
        ({"payment_id": 7}, None, None),
        ({"attempt": "1"}, None, None),
    ],
)
def test_what_bears_only_some_of_our_labels_is_ours(
    labels: dict[str, Any], key: str | None, payment_id: UUID | None
) -> None:
    body = event({"object": "payment_intent", "id": "pi_1", "metadata": labels})

    notice = read(body, signed(body))

    assert (notice.charge_key, notice.payment_id) == (key, payment_id)


@pytest.mark.parametrize(
    ("version", "other"), [(API_VERSION, None), (None, None), ("2020-08-27", "2020-08-27")]
)
def test_an_event_of_another_version_is_known(version: str | None, other: str | None) -> None:
    body = event(api_version=version)

    assert read(body, signed(body)).other_version == other


def test_what_happens_to_a_connected_account_is_none_of_ours() -> None:
    body = event(account="acct_of_another")

    notice = read(body, signed(body))

    assert (notice.provider_payment_id, notice.charge_key) == (None, None)


GENUINE = event()


@pytest.mark.parametrize(
    "header", [None, "", "t=1,v1=", "t=x,v1=y", "v1=00", "t=1,v1=\xe9", f"t={'9' * 5000},v1=00"]
)
def test_without_a_signature_it_is_refused(header: str | None) -> None:
    with pytest.raises(WronglySigned):
        read(GENUINE, header)


def test_signed_by_another_or_long_ago_or_for_something_else_it_is_refused() -> None:
    for header in (
        signed(GENUINE, "whsec_of_another"),
        signed(GENUINE, age_seconds=400),
        signed(GENUINE, age_seconds=-400),
        f"t={int(time.time())},{signed(GENUINE, age_seconds=-400)}",
        signed(GENUINE.replace(b"pi_1", b"pi_2")),
    ):
        with pytest.raises(WronglySigned):
            read(GENUINE, header)


def test_clocks_may_disagree_a_little() -> None:
    for age_seconds in (-200, 200):
        assert read(GENUINE, signed(GENUINE, age_seconds=age_seconds)).event_id == "evt_1"


def test_bytes_that_are_no_text_are_signed_by_nobody() -> None:
    with pytest.raises(WronglySigned):
        read(b"\xff", "t=1,v1=00")


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"", NotAnEvent),
        (b"[]", NotAnEvent),
        (b"{}", NotAnEvent),
        (event("text"), NotAnEvent),
        (event(type=7), NotAnEvent),
        (event(livemode=True), WrongMode),
        (event(livemode=None), WrongMode),
    ],
)
def test_what_is_signed_and_no_event_for_us_is_refused(
    body: bytes, refusal: type[WebhookRefused]
) -> None:
    with pytest.raises(refusal):
        read(body, signed(body))


def test_test_money_is_refused_in_production() -> None:
    with pytest.raises(WrongMode):
        read(GENUINE, signed(GENUINE), production=True)


@pytest.fixture
async def desk(payment_databases: tuple[str, str], sandbox: Running) -> AsyncIterator[CashDesk]:
    """Asks of itself only once an hour: only a webhook can make it ask sooner."""
    desk = CashDesk(
        *payment_databases,
        stripe_api_key="sk_test_sandbox",
        stripe_base_url=sandbox.url,
        stripe_webhook_secrets=[SECRET],
        ask_first_seconds=3600,
        ask_longest_seconds=3600,
    )
    await desk.empty()
    yield desk
    await desk.close()


async def tell(desk: CashDesk, body: bytes, header: str | None = None) -> httpx.Response:
    """Send a webhook."""
    headers = {"Stripe-Signature": header or signed(body)}
    return await desk.http.post("/webhooks/stripe", content=body, headers=headers)


async def states(desk: CashDesk) -> list[tuple[str, str]]:
    """What was kept, and what became of it."""
    rows = await desk.query("SELECT event_id, state FROM webhooks ORDER BY event_id")
    return [tuple(row) for row in rows]


@pytest.mark.integration
async def test_after_the_shopper_has_acted_a_webhook_brings_the_money_at_once(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    desk.worker().start()
    async with desk.pumping():
        await desk.tell(soon(checkout, method="pm_card_threeDSecure2Required", provider="stripe"))

        async def asked_to_act() -> bool:
            return [name for name, _, _ in await desk.replies()] == ["PaymentActionRequired"]

        await wait_until(asked_to_act, what="the bank's question")
        with sandbox.database.transaction() as transaction:
            (intent,) = transaction.all_of("payment_intent")
        async with aiohttp.ClientSession() as browser:
            url = f"{sandbox.url}/authenticate/{intent['client_secret']}"
            async with browser.post(url, data={"outcome": "complete"}, allow_redirects=False) as ok:
                assert ok.status == 303
        with sandbox.database.transaction() as transaction:
            happened = orjson.dumps(transaction.all_of("event")[-1])
        assert [(await tell(desk, happened)).status_code for _ in range(3)] == [200] * 3
        await wait_until(lambda: settled(desk), what="the money")

    assert [name for name, _, _ in await desk.replies()][-1] == "PaymentSucceeded"
    assert (await desk.payment(derived_id(checkout, "payment"))).amounts.captured_minor == 1000
    assert [state for _, state in await states(desk)] == ["heeded"]


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["checkout.session.completed", "payment_intent.succeeded"])
async def test_after_the_page_is_paid_any_webhook_brings_the_money_at_once(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil, kind: str
) -> None:
    checkout = new_id()
    desk.worker().start()
    async with desk.pumping():
        await desk.tell(soon(checkout, hosted=True, provider="stripe"))

        async def sent() -> bool:
            return await desk.statuses() == ["due"] and await desk.replies() != []

        await wait_until(sent, what="where to send the shopper")
        with sandbox.database.transaction() as transaction:
            (page,) = transaction.all_of("checkout.session")
        assert await pay_at(page["url"]) == 303
        with sandbox.database.transaction() as transaction:
            (happened,) = [one for one in transaction.all_of("event") if one["type"] == kind]
        assert (await tell(desk, orjson.dumps(happened))).status_code == 200
        await wait_until(lambda: settled(desk), what="the money")

    assert [name for name, _, _ in await desk.replies()][-1] == "PaymentSucceeded"
    assert [state for _, state in await states(desk)] == ["heeded"]


@pytest.mark.integration
async def test_what_a_webhook_says_is_not_believed(desk: CashDesk, wait_until: WaitUntil) -> None:
    checkout = new_id()
    payment_id = derived_id(checkout, "payment")
    desk.worker().start()
    async with desk.pumping():
        await desk.tell(soon(checkout, method="pm_card_threeDSecure2Required", provider="stripe"))

        async def waits() -> bool:
            return await desk.statuses() == ["due"] and await desk.replies() != []

        await wait_until(waits, what="the bank's question")
        about = {
            "object": "payment_intent",
            "status": "succeeded",
            "amount_received": 1_000_000,
            "metadata": {"charge_key": f"{payment_id}:1:charge"},
        }
        assert (await tell(desk, event(about))).status_code == 200

        async def asked() -> bool:
            rows = await desk.query("SELECT asks FROM operations")
            return rows[0]["asks"] == 1 and await desk.statuses() == ["due"]

        await wait_until(asked, what="the question")

    assert (await desk.payment(payment_id)).amounts.captured_minor == 0


async def paid(desk: CashDesk, wait_until: WaitUntil, method: str) -> UUID:
    """A payment that Stripe has taken, and whose worker goes on working; its id."""
    checkout = new_id()
    desk.worker().start()
    await desk.tell(soon(checkout, method=method, provider="stripe"))

    async def there() -> bool:
        await desk.pump()
        return await settled(desk) and await desk.replies() != []

    await wait_until(there, what="the money")
    return derived_id(checkout, "payment")


async def told_of(desk: CashDesk, sandbox: Running, *types: str) -> None:
    """Stripe sends what has happened there of these kinds, newest first: order is not promised."""
    with sandbox.database.transaction() as transaction:
        events = [one for one in transaction.all_of("event") if one["type"].startswith(types)]
    for one in reversed(events):
        assert (await tell(desk, orjson.dumps(one))).status_code == 200


@pytest.mark.integration
async def test_a_webhook_that_tells_what_we_did_leads_to_no_review(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    await paid(desk, wait_until, "pm_card_visa")

    await told_of(desk, sandbox, "payment_intent", "charge")
    await desk.pump()

    assert [row["kind"] for row in await desk.query("SELECT kind FROM operations")] == ["charge"]


@pytest.mark.integration
async def test_money_that_a_bank_withdraws_is_known_from_a_webhook_on(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    payment_id = await paid(desk, wait_until, "pm_card_createDispute")

    async def disputed() -> bool:
        await told_of(desk, sandbox, "charge.dispute")
        await desk.pump()
        return (await desk.payment(payment_id)).amounts.disputed_minor == 1000

    await wait_until(disputed, what="the dispute")
    assert await desk.notices() == ["DisputeMoved"]


@pytest.mark.integration
async def test_a_refund_made_in_stripes_dashboard_is_booked_once(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    payment_id = await paid(desk, wait_until, "pm_card_visa")
    name = (await desk.payment(payment_id)).attempts[0].provider_payment_id
    async with aiohttp.ClientSession() as dashboard:
        sent = dashboard.post(
            f"{sandbox.url}/v1/refunds",
            data={"payment_intent": name or "", "amount": "400"},
            headers={"Authorization": "Bearer sk_test_sandbox"},
        )
        async with sent as answer:
            assert answer.status == 200

    async def refunded() -> bool:
        await told_of(desk, sandbox, "refund", "charge.refund")
        await desk.pump()
        return (await desk.payment(payment_id)).amounts.refunded_minor == 400

    await wait_until(refunded, what="the refund")
    await told_of(desk, sandbox, "refund", "charge.refund")
    await wait_until(lambda: at_rest(desk), what="the review")
    assert (await desk.payment(payment_id)).amounts.refunded_minor == 400
    assert await desk.notices() == ["RefundMade"]


async def at_rest(desk: CashDesk) -> bool:
    """Whether everything sent is decided upon, and nothing is open."""
    await desk.pump()
    return await settled(desk)


@pytest.mark.integration
async def test_one_that_is_ahead_of_its_payment_is_looked_at_again(desk: CashDesk) -> None:
    checkout = new_id()
    key = f"{derived_id(checkout, 'payment')}:1:charge"
    early = event({"object": "payment_intent", "id": "pi_1", "metadata": {"charge_key": key}})
    heed = heed_webhooks(desk.settings)

    assert (await tell(desk, early)).status_code == 200
    assert await states(desk) == [("evt_1", "waiting")]
    assert await heed(desk.database) == 0  # not yet due
    await desk.query("UPDATE webhooks SET due_at = now()")
    assert await heed(desk.database) == 1
    assert await states(desk) == [("evt_1", "waiting")]

    await desk.tell(soon(checkout, method="pm_card_visa", provider="stripe"))
    await desk.query("UPDATE webhooks SET due_at = now()")
    await heed(desk.database)

    assert await states(desk) == [("evt_1", "heeded")]


@pytest.mark.integration
@pytest.mark.parametrize("labels", [{}, {"attempt": "1"}])
async def test_one_that_bears_our_payment_id_alone_is_ours(
    desk: CashDesk, wait_until: WaitUntil, labels: dict[str, str]
) -> None:
    checkout = new_id()
    labels = {"payment_id": str(derived_id(checkout, "payment")), **labels}
    about = event({"object": "payment_intent", "id": "pi_of_another", "metadata": labels})
    heed = heed_webhooks(desk.settings)

    await tell(desk, about)
    assert await states(desk) == [("evt_1", "waiting")]
    await desk.tell(soon(checkout, method="pm_card_visa", provider="stripe"))
    await desk.query("UPDATE webhooks SET due_at = now()")
    await heed(desk.database)

    assert await states(desk) == [("evt_1", "heeded")]
    assert [one.payment_id for one in await desk.sent(ReviewPayment)] == [
        derived_id(checkout, "payment")
    ]


@pytest.mark.integration
async def test_one_of_another_version_is_counted_and_heeded(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    payment = await desk.payment(await paid(desk, wait_until, "pm_card_visa"))
    name = payment.attempts[0].provider_payment_id

    counted = OF_ANOTHER_VERSION.labels("stripe")._value
    before = counted.get()
    about = {"object": "dispute", "id": "dp_1", "payment_intent": name}
    await tell(desk, event(about, api_version="2020-08-27"))
    await tell(desk, event(about, id="evt_2", api_version=API_VERSION))

    assert counted.get() == before + 1
    assert await states(desk) == [("evt_1", "heeded"), ("evt_2", "heeded")]


@pytest.mark.integration
async def test_of_an_unknown_kind_one_that_names_no_payment_is_foreign(desk: CashDesk) -> None:
    about = {"object": "some.newer_object", "id": "new_1", "metadata": {"order": "4711"}}

    assert (await tell(desk, event(about, type="some.newer_object.changed"))).status_code == 200

    assert await states(desk) == [("evt_1", "foreign")]
    assert await desk.sent(ReviewPayment) == []


@pytest.mark.integration
async def test_of_an_unknown_kind_one_that_names_ours_is_a_hint_and_nothing_else(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    desk.worker().start()
    await desk.tell(soon(checkout, method="pm_card_threeDSecure2Required", provider="stripe"))

    async def waits() -> bool:
        await desk.pump()
        return await desk.statuses() == ["due"] and await desk.replies() != []

    await wait_until(waits, what="the bank's question")
    before = await desk.payment(derived_id(checkout, "payment"))
    name = before.attempts[0].provider_payment_id
    about = {"object": "some.newer_object", "id": "new_1", "payment_intent": name, "amount": 1}

    assert (await tell(desk, event(about, type="some.newer_object.paid"))).status_code == 200

    async def asked() -> bool:
        rows = await desk.query("SELECT asks FROM operations")
        return [row["asks"] for row in rows] == [1] and await desk.statuses() == ["due"]

    await wait_until(asked, what="the question")
    after = await desk.payment(before.payment_id)
    assert await states(desk) == [("evt_1", "heeded")]
    assert (after.attempts, after.ledger) == (before.attempts, before.ledger)


@pytest.mark.integration
async def test_one_whose_payment_never_comes_is_given_up_and_later_forgotten(
    desk: CashDesk,
) -> None:
    heed = heed_webhooks(desk.settings)
    await tell(desk, event())
    await tell(desk, event({"object": "customer", "id": "cus_1"}, id="evt_2"))

    await desk.query("UPDATE webhooks SET due_at = now(), received_at = $1", ago(days=3))
    await heed(desk.database)
    assert await states(desk) == [("evt_1", "given_up"), ("evt_2", "foreign")]

    await desk.query("UPDATE webhooks SET received_at = $1", ago(days=31))
    await heed(desk.database)
    assert await states(desk) == []


def ago(*, days: int) -> Any:
    """That time."""
    return utc_now() - timedelta(days=days)


@pytest.mark.integration
async def test_a_shopper_who_comes_back_is_thanked_whatever_the_address_says(
    desk: CashDesk,
) -> None:
    page = await desk.http.get(
        desk.settings.stripe_returns_to.removeprefix("http://shop.example"),
        params={"payment_intent": "pi_1", "redirect_status": "succeeded"},
    )

    assert page.status_code == 200
    assert "Thank you" in page.text
    assert await states(desk) == []


@pytest.mark.integration
async def test_a_refused_webhook_leaves_nothing(desk: CashDesk) -> None:
    forged = await tell(desk, event(), signed(event(), "whsec_of_another"))
    huge = await tell(desk, b"x" * 600_000)

    assert (forged.status_code, forged.json()["type"].rpartition("/")[2]) == (
        400,
        "webhook-signature",
    )
    assert huge.status_code == 413
    assert await states(desk) == []
