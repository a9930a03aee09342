"""What must hold after every move of a saga, whatever led to it."""

from contracts.messages.base import Message, Step
from contracts.messages.inventory import ReleaseStock
from contracts.messages.order import OrderEvent
from contracts.messages.payment import ChargePayment, RefundPayment
from order_service.checkout import Checkout, State
from order_service.checkout.facts import (
    LEFT,
    NO_MORE_MONEY,
    NOTHING_HELD,
    AttemptStatus,
    Fulfilment,
    Hold,
    RefundStatus,
    StockStatus,
)
from order_service.checkout.shipments import pieces_left, too_much


def holds_after(
    before: Checkout | None, after: Checkout, messages: tuple[Message, ...] = ()
) -> None:
    """Raise an AssertionError that names the broken rule."""
    _one_live_attempt(after)
    _money_adds_up(after)
    _ends_are_true(after)
    _nobody_waits_for_ever(after)
    _nothing_ships_that_is_given_up(after)
    _no_piece_ships_twice(after)
    _holds_are_watched(after)
    _order_only_grows(before, after)
    events = [message for message in messages if isinstance(message, OrderEvent)]
    _events_have_no_gaps(before, after, events)
    for message in messages:
        match message:
            case ReleaseStock() if before and (Step.RELEASE, message.round) not in before.asked:
                _may_release(after)
            case ChargePayment():
                _may_charge(after, message)
            case RefundPayment():
                _may_refund(after, message)


def _one_live_attempt(after: Checkout) -> None:
    live = [attempt.number for attempt in after.attempts if attempt.live]
    assert not live or live == [len(after.attempts)], f"live attempts {live}"


def _money_adds_up(after: Checkout) -> None:
    if not after.refunds:
        return
    back = after.refunded_minor + after.refund_pending_minor
    assert 0 <= back <= after.captured_minor, "more goes back than came"
    paid_for = {a.number for a in after.attempts if a.status is AttemptStatus.SUCCEEDED}
    assert {refund.attempt for refund in after.refunds} <= paid_for, "refunds without money"


def _ends_are_true(after: Checkout) -> None:
    match after.state:
        case State.PAID:
            kept = after.captured_minor - after.refunded_minor - after.refund_pending_minor
            assert kept == after.request.total_minor, "paid is not what is kept"
            assert after.stock.status is StockStatus.COMMITTED
            assert after.order is not None
            assert after.order.fulfilment in {Fulfilment.READY, *LEFT}
            assert not after.order.to_capture
            assert after.order.shipment is None
        case State.AUTHORIZED:
            assert after.kept_minor == 0
            assert after.live_attempt is not None
            assert after.live_attempt.status is AttemptStatus.AUTHORIZED
            assert after.stock.status is StockStatus.COMMITTED, "to be shipped without stock"
            assert after.order is not None
            assert after.order.fulfilment is Fulfilment.READY
            assert after.order.to_capture
            assert after.order.shipment is None, "a shipment waits for money nobody takes"
        case State.CANCELLED:
            assert after.captured_minor == after.refunded_minor, "cancelled with money kept"
            assert after.stock.status in NOTHING_HELD, "cancelled with stock"
            assert after.live_attempt is None
        case State.REJECTED:
            assert after.order is None
            assert not after.attempts
            assert after.stock.status in NOTHING_HELD
        case State.RELEASING:
            assert after.live_attempt is None


def _nothing_ships_that_is_given_up(after: Checkout) -> None:
    shipment = after.order is not None and after.order.shipment is not None
    assert not (shipment and after.giving_up is not None), "a shipment waits, and is given up"


def _no_piece_ships_twice(after: Checkout) -> None:
    order = after.order
    if order is None:
        return
    left = pieces_left(order, after.request.lines)
    assert min(left) >= 0, "more pieces were shipped than ordered"
    assert bool(order.shipments) == (order.fulfilment in LEFT), "shipped, and nothing has left"
    if order.fulfilment is Fulfilment.PARTLY_SHIPPED:
        assert any(left), "partly shipped, and nothing is left"
    waiting = () if order.shipment is None else order.shipment.lines
    assert too_much(order, after.request.lines, waiting) is None, "more waits than is left"


def _holds_are_watched(after: Checkout) -> None:
    last = after.attempts[-1] if after.attempts else None
    if last is None or last.status is not AttemptStatus.AUTHORIZED:
        return
    watched = {(wait.step, wait.round) for wait in after.waits}
    either = {(Step.CAPTURE, last.number), (Step.CLOSE_PAYMENT, last.number)}
    assert watched & either, "money is set aside, and nobody takes it or gives it back"


def _nobody_waits_for_ever(after: Checkout) -> None:
    if after.final or after.blocked or after.state is State.NEEDS_ATTENTION:
        return
    assert after.deadline_at is not None, "nothing will ever happen here"
    for wait in after.waits:
        assert wait.sends == 0 or (wait.step, wait.round) in after.asked
        assert wait.hold is not Hold.EXHAUSTED


def _order_only_grows(before: Checkout | None, after: Checkout) -> None:
    if before is None:
        return
    assert before.asked <= after.asked
    assert len(before.attempts) <= len(after.attempts)
    assert len(before.refunds) <= len(after.refunds)
    assert before.order is None or after.order is not None
    if before.order is not None and before.order.fulfilment in LEFT:
        assert after.order is not None
        assert after.order.fulfilment in LEFT, "what has left the house comes back"
        was_whole = before.order.fulfilment is Fulfilment.SHIPPED
        assert not was_whole or after.order.fulfilment is Fulfilment.SHIPPED
        known = len(before.order.shipments)
        assert after.order.shipments[:known] == before.order.shipments, "a shipment has changed"
        assert after.state in (State.PAID, State.NEEDS_ATTENTION, State.CLOSING_PAYMENT)


def _events_have_no_gaps(
    before: Checkout | None, after: Checkout, events: list[OrderEvent]
) -> None:
    seq = 0 if before is None or before.order is None else before.order.event_seq
    last = 0 if after.order is None else after.order.event_seq
    for event in events:
        seq += 1
        assert event.event_seq == seq
    assert seq == last


def _may_release(after: Checkout) -> None:
    assert all(attempt.status in NO_MORE_MONEY for attempt in after.attempts[-1:]), (
        "released while money may come"
    )
    back = {refund.attempt for refund in after.refunds}
    came = {a.number for a in after.attempts if a.status is AttemptStatus.SUCCEEDED}
    assert came <= back, "released with money kept"
    asked = [r for r in after.refunds if r.status is RefundStatus.REQUESTED]
    assert not asked, "released before the refund was answered"


def _may_charge(after: Checkout, charge: ChargePayment) -> None:
    assert charge.attempt == charge.round == len(after.attempts)
    assert after.stock.status in (StockStatus.HELD, StockStatus.COMMITTED), "charged without stock"
    assert after.giving_up is None, "charged while giving up"
    assert after.order is not None
    assert after.kept_minor == 0, "charged again after money came"


def _may_refund(after: Checkout, refund: RefundPayment) -> None:
    attempt = after.attempts[refund.attempt - 1]
    assert attempt.status is AttemptStatus.SUCCEEDED
    assert refund.amount_minor == after.brought_minor(attempt)
