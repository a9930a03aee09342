"""The worker with Stripe behind it, on the sandbox: killed between calls, money moves once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from contracts.ids import derived_id, new_id
from stripe_sandbox.app import Running, running
from stripe_sandbox.database import Object
from stripe_sandbox.faults import RequestFault, Rule
from stripe_sandbox.settings import SandboxSettings
from tests.payment_service.cashdesk import CashDesk, soon
from tests.payment_service.story import capture, close, refund

pytestmark = pytest.mark.integration

WaitUntil = Callable[..., Awaitable[None]]
CONFIRM = "POST /v1/payment_intents/{intent}/confirm"


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(SandboxSettings(http_port=0, state=tmp_path / "sandbox.sqlite3")) as sandbox:
        yield sandbox


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


async def settled(desk: CashDesk) -> bool:
    """Whether nothing is open any more."""
    return not {"due", "leased", "reported"} & set(await desk.statuses())


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
