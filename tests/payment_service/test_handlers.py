"""Batches of commands on real PostgreSQL: repeated, crossing, racing, poisoned."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from contracts.ids import derived_id, new_id
from contracts.messages.base import Message
from contracts.messages.payment import (
    PaymentClosed,
    PaymentProcessing,
    ProviderReported,
    Refunded,
    RefundFailed,
)
from messaging.clock import utc_now
from tests.payment_service.cashdesk import CashDesk, soon
from tests.payment_service.story import capture, charge, close, refund

pytestmark = pytest.mark.integration

WaitUntil = Callable[..., Awaitable[None]]


async def until_settled(desk: CashDesk, wait_until: WaitUntil) -> None:
    """Everything wanted of the provider is done and decided upon."""

    async def settled() -> bool:
        await desk.pump()
        return not {"due", "leased", "reported"} & set(await desk.statuses())

    await wait_until(settled, what="the end of all operations")


async def test_every_command_may_come_again_at_any_time(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    desk.worker().start()
    story: list[Message] = [
        soon(checkout, flow="authorize"),
        capture(checkout=checkout),
        refund(1, 400, checkout=checkout),
        close(checkout=checkout),
    ]
    for at, command in enumerate(story):
        same_record = desk.record(command)
        await desk.handle([same_record, same_record, desk.record(command)])
        await until_settled(desk, wait_until)
        await desk.handle([same_record])
        await desk.tell(*story[: at + 1], *story[: at + 1])
        await until_settled(desk, wait_until)

    assert await desk.replies() == [
        ("PaymentAuthorized", "charge", 1),
        ("PaymentSucceeded", "capture", 1),
        ("Refunded", "refund", 1),
        ("PaymentSucceeded", "close_payment", 1),
    ]
    assert await desk.calls() == {"charge": 1, "capture": 1, "refund": 1}
    assert await desk.events(derived_id(checkout, "payment")) == [1, 2, 3, 4]
    assert await desk.dead_letters() == 0
    assert await desk.differences() == []


async def test_reports_may_come_again_and_late(desk: CashDesk, wait_until: WaitUntil) -> None:
    desk.worker().start()
    await desk.tell(soon(new_id(), method="pm_timeout_after_effect"))
    await until_settled(desk, wait_until)
    before = await desk.replies()

    for report in await desk.sent(ProviderReported):
        await desk.tell(report, report)

    assert await desk.replies() == before
    assert await desk.dead_letters() == 0
    assert await desk.differences() == []


async def test_a_close_before_its_charge_in_one_batch_and_in_two(desk: CashDesk) -> None:
    one, two = new_id(), new_id()

    await desk.tell(close(checkout=one), soon(one))
    await desk.tell(close(checkout=two))
    await desk.tell(soon(two))

    assert (
        await desk.replies()
        == [("PaymentClosed", "close_payment", 1), ("PaymentCancelled", "charge", 1)] * 2
    )
    assert await desk.statuses() == []
    assert {reply.outcome for reply in await desk.sent(PaymentClosed)} == {"never_created"}


async def test_a_close_right_after_its_charge_withdraws_it(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    await desk.tell(soon(new_id()))
    checkout = new_id()
    await desk.tell(soon(checkout), close(checkout=checkout))
    desk.worker().start()
    await until_settled(desk, wait_until)

    assert await desk.calls() == {"charge": 1}  # the other checkout's
    assert sorted(await desk.statuses()) == ["done", "withdrawn"]


async def test_a_close_while_the_call_is_in_flight_gets_the_providers_word(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    worker = desk.worker()
    worker.gate.before.clear()
    worker.start()
    methods = ("pm_ok", "pm_declined_do_not_honor", "pm_action_required", "pm_processing_60000")
    checkouts = {method: new_id() for method in methods}
    await desk.tell(*(soon(checkout, method=method) for method, checkout in checkouts.items()))

    async def all_leased() -> bool:
        return await desk.statuses() == ["leased"] * 4

    await wait_until(all_leased, what="the leases")
    await desk.tell(*(close(checkout=checkout) for checkout in checkouts.values()))
    assert await desk.replies() == []
    worker.gate.open()
    await until_settled(desk, wait_until)

    words = {
        method: [
            (reply.outcome, method)
            for reply in await desk.sent(PaymentClosed)
            if reply.checkout_id == checkout
        ]
        for method, checkout in checkouts.items()
    }
    assert words == {
        "pm_ok": [],
        "pm_declined_do_not_honor": [("declined", "pm_declined_do_not_honor")],
        "pm_action_required": [("cancelled", "pm_action_required")],
        "pm_processing_60000": [("cancelled", "pm_processing_60000")],
    }
    assert ("PaymentSucceeded", "close_payment", 1) in await desk.replies()
    assert await desk.captured_at_bank() == 1000
    assert await desk.differences() == []


async def test_a_close_after_success_is_answered_with_the_money(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    desk.worker().start()
    await desk.tell(soon(checkout))
    await until_settled(desk, wait_until)

    await desk.tell(close(checkout=checkout))

    assert (await desk.replies())[-1] == ("PaymentSucceeded", "close_payment", 1)
    assert (await desk.calls()).get("close") is None


async def test_a_charge_that_meets_a_live_attempt_is_answered_with_it(desk: CashDesk) -> None:
    checkout = new_id()
    await desk.tell(soon(checkout))

    await desk.tell(soon(checkout, attempt=2))

    (answer,) = await desk.sent(PaymentProcessing)
    assert (answer.round, answer.attempt) == (2, 1)
    assert await desk.statuses() == ["due"]


async def test_a_declined_attempt_is_followed_by_another_in_one_batch(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    desk.worker().start()
    await desk.tell(soon(checkout, method="pm_declined_expired_card"))

    async def reported() -> bool:
        return await desk.statuses() == ["reported"]

    await wait_until(reported, what="the decline")
    (report,) = await desk.sent(ProviderReported)
    await desk.tell(report, soon(checkout, attempt=2))
    await until_settled(desk, wait_until)

    assert await desk.replies() == [
        ("PaymentDeclined", "charge", 1),
        ("PaymentSucceeded", "charge", 2),
    ]
    assert await desk.differences() == []


async def test_refunds_asked_for_by_many_at_once_never_exceed_what_came(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    desk.worker().start()
    await desk.tell(soon(checkout, method="pm_ok+refund_pending_50"))
    await until_settled(desk, wait_until)
    consumers = [desk.new_processor() for _ in range(4)]

    await asyncio.gather(
        *(
            desk.handle(
                [desk.record(refund(number, 300, checkout=checkout))], consumers[number % 4]
            )
            for number in range(1, 13)
        )
    )
    await until_settled(desk, wait_until)

    assert len(await desk.sent(Refunded)) == 3
    refused = await desk.sent(RefundFailed)
    assert [reply.code for reply in refused] == ["exceeds_refundable"] * 9
    amounts = (await desk.payment(derived_id(checkout, "payment"))).amounts
    assert (amounts.captured_minor, amounts.refunded_minor) == (1000, 900)
    assert await desk.differences() == []


async def test_a_failed_refund_can_be_asked_for_anew(desk: CashDesk, wait_until: WaitUntil) -> None:
    checkout = new_id()
    payment_id = derived_id(checkout, "payment")
    desk.worker().start()
    await desk.tell(soon(checkout, method="pm_ok+refund_pending_50_then_fails"))
    await until_settled(desk, wait_until)

    await desk.tell(refund(1, 1000, checkout=checkout))
    assert (await desk.payment(payment_id)).amounts.refundable_minor == 0
    await until_settled(desk, wait_until)

    assert [name for name, _, _ in await desk.replies()] == [
        "PaymentSucceeded",
        "RefundPending",
        "RefundFailed",
    ]
    assert (await desk.payment(payment_id)).amounts.refundable_minor == 1000
    assert await desk.differences() == []


async def test_a_failed_refund_that_was_made_by_hand_is_booked_without_the_provider(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    payment_id = derived_id(checkout, "payment")
    desk.worker().start()
    await desk.tell(soon(checkout, method="pm_ok+refund_pending_50_then_fails"))
    await until_settled(desk, wait_until)
    await desk.tell(refund(1, 1000, checkout=checkout))
    await until_settled(desk, wait_until)
    calls = await desk.calls()

    by_hand = refund(2, 1000, checkout=checkout).model_copy(update={"by_hand": True})
    await desk.tell(by_hand, by_hand)
    await until_settled(desk, wait_until)
    assert (await desk.replies())[-1] == ("Refunded", "refund", 2)
    amounts = (await desk.payment(payment_id)).amounts
    assert (amounts.captured_minor, amounts.refunded_minor) == (1000, 1000)
    assert await desk.calls() == calls
    booked = await desk.query(
        "SELECT kind, amount_minor FROM ledger WHERE provider = 'by_hand' ORDER BY seq"
    )
    assert [tuple(row) for row in booked] == [("refund_requested", 1000), ("refunded", 1000)]

    once_more = refund(3, 1, checkout=checkout).model_copy(update={"by_hand": True})
    await desk.tell(once_more)
    assert (await desk.sent(RefundFailed))[-1].code == "exceeds_refundable"


async def test_one_message_that_makes_no_sense_leaves_the_others_alone(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    checkout, other, third = new_id(), new_id(), new_id()
    desk.worker().start()
    stray = ProviderReported(
        checkout_id=other,
        payment_id=derived_id(other, "payment"),
        attempt=1,
        operation_id=new_id(),
        outcome="succeeded",
        reported_at=utc_now(),
    )
    foreign = soon(third).model_copy(update={"payment_id": derived_id(checkout, "payment")})

    await desk.tell(soon(checkout), stray, foreign)
    await until_settled(desk, wait_until)

    assert await desk.dead_letters() == 2
    assert await desk.replies() == [("PaymentSucceeded", "charge", 1)]
    assert await desk.differences() == []


async def test_a_batch_of_many_takes_as_many_statements_as_one_of_one(desk: CashDesk) -> None:
    async def statements_of(count: int) -> int:
        desk.statements.clear()
        await desk.tell(*(soon(new_id()) for _ in range(count)))
        return len(desk.statements)

    assert await statements_of(1) == await statements_of(200)


async def test_a_charge_after_its_window_is_not_made(desk: CashDesk) -> None:
    past = utc_now() - timedelta(seconds=1)

    await desk.tell(charge(window_closes_at=past, checkout=new_id()))

    assert await desk.replies() == [("PaymentCancelled", "charge", 1)]
    assert await desk.statuses() == []


async def test_commands_of_one_payment_in_two_consumers_take_turns(
    desk: CashDesk, wait_until: WaitUntil
) -> None:
    """Two batches that name the same payments in another order do not deadlock."""
    checkouts = [new_id() for _ in range(40)]
    there = [desk.record(soon(checkout)) for checkout in checkouts]
    back = [desk.record(close(checkout=checkout)) for checkout in reversed(checkouts)]
    desk.worker().start()

    await asyncio.gather(
        desk.handle(there, desk.new_processor()), desk.handle(back, desk.new_processor())
    )
    await until_settled(desk, wait_until)

    closes = [reply for reply in await desk.replies() if reply[1] == "close_payment"]
    assert len(closes) == 40
    assert await desk.dead_letters() == 0
    assert await desk.differences() == []
