"""The worker with Stripe behind it, on the sandbox: killed between calls, money moves once."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from contracts.ids import derived_id, new_id
from contracts.messages.payment import CaptureFailed, PaymentActionRequired, PaymentDeclined
from messaging.points import Point
from payment_service.domain.outcomes import Cancelled
from payment_service.sweeper import forget_methods
from stripe_sandbox.app import Running
from stripe_sandbox.database import Object
from stripe_sandbox.faults import RequestFault, Rule
from tests.payment_service.cashdesk import CashDesk, settled, soon
from tests.payment_service.story import BOUGHT, capture, close, refund
from tests.payment_service.stripe_page import pay_at
from tests.payment_service.worker_process import started

pytestmark = pytest.mark.integration

WaitUntil = Callable[..., Awaitable[None]]
CONFIRM = "POST /v1/payment_intents/{intent}/confirm"


@pytest.fixture
async def desk(payment_databases: tuple[str, str], sandbox: Running) -> AsyncIterator[CashDesk]:
    desk = CashDesk(
        *payment_databases, stripe_api_key="sk_test_sandbox", stripe_base_url=sandbox.url
    )
    await desk.empty()
    yield desk
    await desk.close()


def intents(sandbox: Running) -> list[Object]:
    """What Stripe has."""
    with sandbox.database.transaction() as transaction:
        return transaction.all_of("payment_intent")


def charges(sandbox: Running) -> list[Object]:
    """What Stripe has tried to take."""
    with sandbox.database.transaction() as transaction:
        return transaction.all_of("charge")


async def test_money_is_charged_held_captured_refunded_and_let_go(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    paid, held, dropped, poor = new_id(), new_id(), new_id(), new_id()
    desk.worker().start()

    async with desk.pumping():
        await desk.tell(
            soon(paid, method="pm_card_visa", provider="stripe"),
            soon(held, method="pm_card_visa", provider="stripe", flow="authorize"),
            soon(dropped, method="pm_card_threeDSecure2Required", provider="stripe"),
            soon(poor, method="pm_card_chargeDeclinedInsufficientFunds", provider="stripe"),
        )

        async def answered() -> bool:
            return len(await desk.replies()) == 4

        await wait_until(answered, what="an answer to each charge")
        await desk.tell(refund(amount=400, checkout=paid), capture(amount=600, checkout=held))
        await desk.tell(close(checkout=dropped))
        await wait_until(lambda: settled(desk), what="the end of all")

    assert sorted(name for name, _, _ in await desk.replies()) == [
        "PaymentActionRequired",
        "PaymentAuthorized",
        "PaymentClosed",
        "PaymentDeclined",
        "PaymentSucceeded",
        "PaymentSucceeded",
        "Refunded",
    ]
    amounts = [
        (await desk.payment(derived_id(checkout, "payment"))).amounts for checkout in (paid, held)
    ]
    assert [(one.captured_minor, one.refunded_minor) for one in amounts] == [(1000, 400), (600, 0)]
    assert sorted(one["amount_received"] for one in intents(sandbox)) == [0, 0, 600, 1000]
    assert sum(one["status"] == "canceled" for one in intents(sandbox)) == 2


async def test_money_that_was_set_aside_too_long_ago_is_not_taken(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    desk.worker().start()
    async with desk.pumping():
        await desk.tell(soon(checkout, method="pm_card_visa", provider="stripe", flow="authorize"))
        await wait_until(lambda: settled(desk), what="the hold")
        async with aiohttp.ClientSession() as http:
            past = {"seconds": 8 * 24 * 3600}
            async with http.post(f"{sandbox.url}/sandbox/clock", json=past) as answer:
                assert answer.status == 200

        await desk.tell(capture(checkout=checkout))
        await wait_until(lambda: settled(desk), what="the refusal")

    payment = await desk.payment(derived_id(checkout, "payment"))
    assert [name for name, _, _ in await desk.replies()] == [
        "PaymentAuthorized",
        "CaptureFailed",
    ]
    assert [told.code for told in await desk.sent(CaptureFailed)] == ["expired"]
    state = payment.attempts[0].state
    assert isinstance(state, Cancelled)
    assert state.reason == "expired"
    assert (payment.amounts.authorized_minor, payment.amounts.captured_minor) == (0, 0)
    assert [(fact.kind.value, fact.amount_minor) for fact in payment.ledger] == [
        ("authorized", 1000),
        ("voided", 1000),
    ]
    assert [one["amount_received"] for one in intents(sandbox)] == [0]


def pages(sandbox: Running) -> list[Object]:
    """The pages of Stripe's."""
    with sandbox.database.transaction() as transaction:
        return transaction.all_of("checkout.session")


async def test_on_the_page_money_is_paid_refunded_held_captured_and_let_go(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    paid, held, dropped = new_id(), new_id(), new_id()
    desk.worker().start()

    async with desk.pumping():
        await desk.tell(
            soon(paid, hosted=True, provider="stripe"),
            soon(held, hosted=True, provider="stripe", flow="authorize"),
            soon(dropped, hosted=True, provider="stripe"),
        )

        async def replied(many: int) -> bool:
            return len(await desk.replies()) == many

        await wait_until(lambda: replied(3), what="where to send each shopper")
        sent = {one.checkout_id: one for one in await desk.sent(PaymentActionRequired)}
        for checkout in (paid, held):
            url = sent[checkout].next_action.url
            assert url is not None
            assert await pay_at(url) == 303
        await wait_until(lambda: replied(5), what="the money")
        await desk.tell(refund(amount=400, checkout=paid), capture(amount=600, checkout=held))
        await desk.tell(close(checkout=dropped))
        await wait_until(lambda: settled(desk), what="the end of all")

    amounts = [
        (await desk.payment(derived_id(checkout, "payment"))).amounts for checkout in (paid, held)
    ]
    assert [(one.captured_minor, one.refunded_minor) for one in amounts] == [(1000, 400), (600, 0)]
    assert sorted(one["amount_received"] for one in intents(sandbox)) == [600, 1000]
    assert sorted(one["status"] for one in pages(sandbox)) == ["complete", "complete", "expired"]
    url = sent[dropped].next_action.url
    assert url is not None
    assert await pay_at(url) == 303  # back to what says that the page has expired
    assert len(intents(sandbox)) == 2


async def test_what_is_bought_comes_from_the_charge_to_the_page(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    told, untold, by_card = new_id(), new_id(), new_id()
    older = soon(untold, hosted=True, provider="stripe").model_copy(update={"lines": ()})
    desk.worker().start()

    async with desk.pumping():
        await desk.tell(
            soon(told, hosted=True, provider="stripe"),
            older,
            soon(by_card, method="pm_card_visa", provider="stripe"),
        )

        async def answered() -> bool:
            return len(await desk.replies()) == 3

        await wait_until(answered, what="an answer to each charge")

    shown = {}
    for sent in await desk.sent(PaymentActionRequired):
        url = sent.next_action.url
        assert url is not None
        async with aiohttp.ClientSession() as browser, browser.get(url) as page:
            shown[sent.checkout_id] = await page.text()
    for name in ("Teapot", "3 x Mug", "Parcel"):
        assert name in shown[told]
        assert name not in shown[untold]
    assert "Order 7Q2M-0C4X-9ZJ1" in shown[untold]
    assert (await desk.payment(derived_id(told, "payment"))).attempts[0].lines == BOUGHT
    kept = await desk.query("SELECT payment_id FROM attempts WHERE lines IS NOT NULL")
    assert [row["payment_id"] for row in kept] == [derived_id(told, "payment")]


@pytest.mark.parametrize("fault", [RequestFault.SLOW_BEFORE_EFFECT, RequestFault.SLOW_AFTER_EFFECT])
@pytest.mark.parametrize(
    "operation", ["POST /v1/checkout/sessions", "GET /v1/checkout/sessions/{session}"]
)
async def test_killed_between_any_two_calls_there_is_one_page(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil, fault: RequestFault, operation: str
) -> None:
    checkout = new_id()
    sandbox.faults.add(Rule(fault=fault, operation=operation, milliseconds=400))
    first = desk.worker().start()
    await desk.tell(soon(checkout, hosted=True, provider="stripe"))

    async def met() -> bool:
        return not sandbox.faults.left()

    await wait_until(met, what="the call")
    await first.kill()
    assert await desk.statuses() == ["leased"]
    assert await desk.replies() == []
    await desk.leases_run_out()
    desk.worker(slot=1).start()
    async with desk.pumping():

        async def sent() -> bool:
            return len(await desk.sent(PaymentActionRequired)) == 1

        await wait_until(sent, what="where to send the shopper")
        (page,) = pages(sandbox)
        ((named,),) = await desk.query("SELECT provider_payment_id FROM attempts")
        assert named == page["id"]
        assert await pay_at(page["url"]) == 303
        await wait_until(lambda: settled(desk), what="the money")

    assert (await desk.replies())[-1] == ("PaymentSucceeded", "charge", 1)
    (intent,) = intents(sandbox)
    assert intent["amount_received"] == 1000
    assert (await desk.payment(derived_id(checkout, "payment"))).amounts.captured_minor == 1000


@pytest.mark.parametrize("fault", [RequestFault.SLOW_BEFORE_EFFECT, RequestFault.SLOW_AFTER_EFFECT])
async def test_killed_while_it_confirms_the_named_intent_is_asked_about(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil, fault: RequestFault
) -> None:
    checkout = new_id()
    sandbox.faults.add(Rule(fault=fault, operation=CONFIRM, milliseconds=400))
    first = desk.worker().start()
    await desk.tell(soon(checkout, method="pm_card_visa", provider="stripe"))

    async def named() -> bool:
        rows = await desk.query("SELECT provider_payment_id FROM attempts")
        return rows[0]["provider_payment_id"] is not None

    await wait_until(named, what="the commit of the intent's id")
    await first.kill()
    assert await desk.statuses() == ["leased"]
    await desk.leases_run_out()
    desk.worker(slot=1).start()
    async with desk.pumping():
        await wait_until(lambda: settled(desk), what="the charge")

    assert (await desk.replies())[-1] == ("PaymentSucceeded", "charge", 1)
    (intent,) = intents(sandbox)
    assert intent["amount_received"] == 1000
    assert (await desk.payment(derived_id(checkout, "payment"))).amounts.captured_minor == 1000


@pytest.mark.parametrize("how", [{}, {"flow": "authorize"}, {"save": True}], ids=str)
async def test_killed_between_the_making_of_an_intent_and_its_confirmation_it_is_charged_once(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil, how: dict[str, Any]
) -> None:
    checkout = new_id()
    await desk.tell(soon(checkout, method="pm_card_visa", provider="stripe", **how))
    databases = (desk.database_url, desk.bank_url)
    first = started(databases, sandbox.url, dies_at=Point.PAYMENT_PREPARED)

    async def is_dead() -> bool:
        return first.exitcode is not None

    await wait_until(is_dead, what="the end of the process")
    assert first.exitcode == -signal.SIGKILL
    (intent,) = intents(sandbox)
    assert intent["status"] == "requires_payment_method"
    rows = await desk.query("SELECT provider_payment_id FROM attempts")
    assert [row["provider_payment_id"] for row in rows] == [intent["id"]]
    assert await desk.statuses() == ["leased"]

    desk.worker().start()  # the same instance: it takes its leases back at once
    async with desk.pumping():
        await wait_until(lambda: settled(desk), what="the charge")

    (charged,) = charges(sandbox)
    assert (charged["payment_intent"], charged["amount"]) == (intent["id"], 1000)
    (intent,) = intents(sandbox)
    assert intent["amount_received"] + intent["amount_capturable"] == 1000
    answer = "PaymentAuthorized" if "flow" in how else "PaymentSucceeded"
    assert await desk.replies() == [(answer, "charge", 1)]
    amounts = (await desk.payment(derived_id(checkout, "payment"))).amounts
    assert amounts.authorized_minor == 1000
    assert amounts.captured_minor == intent["amount_received"]


async def test_without_its_lease_a_worker_confirms_nothing(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    create = "POST /v1/payment_intents"
    sandbox.faults.add(
        Rule(fault=RequestFault.SLOW_AFTER_EFFECT, operation=create, milliseconds=600)
    )
    slow = desk.worker().start()
    await desk.tell(soon(checkout, method="pm_card_visa", provider="stripe"))

    async def made() -> bool:
        return len(intents(sandbox)) == 1

    await wait_until(made, what="the intent")
    await desk.query("UPDATE operations SET lease_token = gen_random_uuid()")

    async def came_back() -> bool:
        return not slow.worker.in_flight

    await wait_until(came_back, what="the end of the slow call")
    (intent,) = intents(sandbox)
    assert intent["status"] == "requires_payment_method"
    assert await desk.replies() == []


# Methods that are saved.


def customers(sandbox: Running) -> list[Object]:
    """The customers that Stripe has."""
    with sandbox.database.transaction() as transaction:
        return transaction.all_of("customer")


async def listed(desk: CashDesk, sub: str = "c-1") -> list[dict[str, object]]:
    """What a customer sees of theirs."""
    answer = await desk.http.get("/saved-methods", headers=desk.token(sub=sub))
    assert answer.status_code == 200
    items: list[dict[str, object]] = answer.json()["items"]
    return items


async def saved_method(desk: CashDesk, wait_until: WaitUntil, method: str) -> UUID:
    """The id of a method that the customer c-1 saves by a payment; a worker is running."""
    checkout = new_id()
    await desk.tell(soon(checkout, method=method, provider="stripe", save=True))
    await wait_until(lambda: settled(desk), what="the payment")
    (one,) = await listed(desk)
    return UUID(str(one["saved_method_id"]))


async def test_a_method_is_saved_listed_used_and_deleted(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    desk.worker().start()
    async with desk.pumping():
        saved = await saved_method(desk, wait_until, "pm_card_visa")
        (seen,) = await listed(desk)
        assert (seen["provider"], seen["brand"], seen["last4"]) == ("stripe", "visa", "4242")
        assert "token" not in seen
        assert await listed(desk, "c-2") == []

        await desk.tell(soon(new_id(), saved_method_id=saved, provider="stripe"))
        await wait_until(lambda: settled(desk), what="the payment without the customer")
        assert [one["amount_received"] for one in intents(sandbox)] == [1000, 1000]

        path = f"/saved-methods/{saved}"
        key = {"Idempotency-Key": "delete-it-once"}
        stranger = await desk.http.delete(path, headers=desk.token(sub="c-2") | key)
        assert stranger.status_code == 404
        deleted = await desk.http.delete(path, headers=desk.token(sub="c-1") | key)
        assert (deleted.status_code, deleted.json()) == (200, {"items": []})
        forget = forget_methods(desk.settings, desk.providers)
        assert [await forget(desk.database), await forget(desk.database)] == [1, 0]

        late = new_id()
        await desk.tell(soon(late, saved_method_id=saved, provider="stripe"))
        await wait_until(lambda: settled(desk), what="the refusal")

    assert (await desk.replies())[-1] == ("PaymentDeclined", "charge", 1)
    (customer,) = customers(sandbox)
    with sandbox.database.transaction() as transaction:
        assert transaction.all_of("payment_method", customer=customer["id"]) == []
    assert [one["amount_received"] for one in intents(sandbox)] == [1000, 1000, 0]


async def test_nobody_pays_with_what_another_customer_saved(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    desk.worker().start()
    async with desk.pumping():
        saved = await saved_method(desk, wait_until, "pm_card_visa")
        theirs = soon(new_id(), saved_method_id=saved, customer="c-2", provider="stripe")
        of_a_guest = soon(new_id(), saved_method_id=saved, provider="stripe")
        guests = of_a_guest.model_copy(update={"customer_id": None})
        await desk.tell(theirs, guests)
        await wait_until(lambda: settled(desk), what="the refusals")

    assert sorted(name for name, _, _ in await desk.replies()) == [
        "PaymentDeclined",
        "PaymentDeclined",
        "PaymentSucceeded",
    ]
    assert sum(one["amount_received"] for one in intents(sandbox)) == 1000


async def test_a_bank_that_wants_to_see_the_customer_declines_by_that_code(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    first, later = new_id(), new_id()
    desk.worker().start()
    async with desk.pumping():
        asks = "pm_card_authenticationRequired"
        await desk.tell(soon(first, method=asks, provider="stripe", save=True))

        async def asked() -> bool:
            return len(await desk.replies()) == 1

        await wait_until(asked, what="the bank's question")
        (sent,) = await desk.sent(PaymentActionRequired)
        async with aiohttp.ClientSession() as browser:
            done = {"outcome": "complete"}
            async with browser.post(str(sent.next_action.url), data=done, allow_redirects=False):
                pass
        await wait_until(lambda: settled(desk), what="the money")
        (seen,) = await listed(desk)
        saved = UUID(str(seen["saved_method_id"]))
        await desk.tell(soon(later, saved_method_id=saved, provider="stripe"))
        await wait_until(lambda: settled(desk), what="the refusal")

    (declined,) = await desk.sent(PaymentDeclined)
    assert declined.code == "authentication_required"


async def test_a_guest_saves_nothing(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil
) -> None:
    desk.worker().start()
    async with desk.pumping():
        asked = soon(new_id(), method="pm_card_visa", provider="stripe", save=True)
        await desk.tell(asked.model_copy(update={"customer_id": None}))
        await wait_until(lambda: settled(desk), what="the payment")

    assert customers(sandbox) == []
    assert await desk.query("SELECT * FROM saved_methods") == []


@pytest.mark.parametrize("fault", [RequestFault.SLOW_BEFORE_EFFECT, RequestFault.SLOW_AFTER_EFFECT])
@pytest.mark.parametrize(
    "operation",
    [
        "POST /v1/customers",
        "POST /v1/payment_intents",
        CONFIRM,
        "GET /v1/payment_intents/{intent}",
    ],
)
async def test_killed_between_any_two_calls_there_is_one_customer_one_method_and_one_payment(
    desk: CashDesk, sandbox: Running, wait_until: WaitUntil, fault: RequestFault, operation: str
) -> None:
    checkout = new_id()
    sandbox.faults.add(Rule(fault=fault, operation=operation, milliseconds=400))
    first = desk.worker().start()
    await desk.tell(soon(checkout, method="pm_card_visa", provider="stripe", save=True))

    async def met() -> bool:
        return not sandbox.faults.left()

    await wait_until(met, what="the call")
    await first.kill()
    await desk.leases_run_out()
    desk.worker(slot=1).start()
    async with desk.pumping():
        await wait_until(lambda: settled(desk), what="the money")

    (customer,) = customers(sandbox)
    (intent,) = intents(sandbox)
    assert (intent["customer"], intent["amount_received"]) == (customer["id"], 1000)
    rows = await desk.query("SELECT provider_customer_id FROM saved_methods")
    assert [row[0] for row in rows] == [customer["id"]]
    assert (await desk.payment(derived_id(checkout, "payment"))).amounts.captured_minor == 1000
