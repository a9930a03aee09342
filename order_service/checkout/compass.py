"""What comes next, from the facts alone: one reading downwards for selling, one for giving up.

Whatever order messages arrive in, each only adds to the facts; then this decides the state and
asks what that state needs. So crossing messages need no cases of their own.
"""

from contracts.messages.base import Step
from contracts.messages.order import OrderAuthorized, OrderCancelled, OrderPaid
from order_service.checkout.facts import (
    LEFT,
    NOTHING_HELD,
    REJECTING,
    Attempt,
    AttemptStatus,
    Fulfilment,
    Reason,
    RefundStatus,
    State,
    StockStatus,
)
from order_service.checkout.turn import Turn

STATE_OF_LIVE = {
    AttemptStatus.REQUESTED: State.PAYING,
    AttemptStatus.ACTION_REQUIRED: State.ACTION_REQUIRED,
    AttemptStatus.PROCESSING: State.PROCESSING,
    AttemptStatus.UNKNOWN: State.PAYMENT_UNKNOWN,
    AttemptStatus.AUTHORIZED: State.CAPTURING,
}


def next_state(turn: Turn) -> State:
    """Ask what the facts call for now, and name the state they amount to."""
    reason = turn.giving_up
    state = _sell(turn) if reason is None else _take_back(turn, reason)
    return State.NEEDS_ATTENTION if turn.stuck else state


def _sell(turn: Turn) -> State:
    if turn.stock.status is StockStatus.ASKED and not turn.attempts:
        return State.RESERVING
    if turn.order is None:
        _place(turn)
    return _deliver(turn) if turn.secured else _collect(turn)


def _place(turn: Turn) -> None:
    """The order, and with it the first attempt when the shopper chose how to pay.

    This first attempt needs no longer hold: the reservation was made for its whole window.
    """
    turn.place_order()
    if turn.request.payment is not None and not turn.paid_for:
        turn.charge(turn.request.payment)


def _collect(turn: Turn) -> State:
    """The stock is held and no money is here: get it, by one attempt at a time."""
    last = turn.last_attempt
    if last is not None and turn.awaits(Step.CLOSE_PAYMENT, last.number):
        return State.CLOSING_PAYMENT
    if last is not None and last.live:
        if turn.next_method is not None:
            return _close(turn, last)
        if last.status is AttemptStatus.AUTHORIZED:
            turn.ask(Step.CAPTURE, last.number)
        return STATE_OF_LIVE[last.status]
    if turn.next_method is not None and turn.window_open:
        turn.charge(turn.next_method)
        turn.extend_reservation()
        return State.PAYING
    turn.next_method = None
    return State.AWAITING_PAYMENT if last is None else State.PAYMENT_FAILED


def _deliver(turn: Turn) -> State:
    """The money is here, set aside, or none is due: give back what came twice, commit the stock."""
    turn.next_method = None
    waiting = turn.set_aside
    if waiting is not None and not turn.awaits(Step.CAPTURE, waiting.number):
        turn.put_off_capture(waiting)
    for twice in turn.unreturned[1:]:
        turn.refund(twice.number)
    last = turn.last_attempt
    if last is not None and last.live and last is not waiting:
        return _close(turn, last)
    match turn.stock.status:
        case StockStatus.ASKED:
            return State.RESERVING
        case StockStatus.HELD:
            turn.forget(Step.EXTEND)
            turn.ask(Step.COMMIT, turn.stock.round)
            return State.COMMITTING
        case StockStatus.COMMITTED:
            return _hand_over(turn)
        case StockStatus.RELEASING:
            return State.RELEASING
        case StockStatus.GONE | StockStatus.REJECTED:
            turn.reserve_again()
            return State.RESERVING


def _hand_over(turn: Turn) -> State:
    """The goods are off the shelf: have them shipped, and take the money first if it is to come."""
    told = turn.placed.fulfilment in {Fulfilment.READY, *LEFT}
    attempt = turn.set_aside
    if attempt is not None:
        if not told:
            turn.ready_to_ship(OrderAuthorized, capture_before=attempt.expires_at)
        is_put_off = turn.waits[Step.CAPTURE, attempt.number].is_put_off
        return State.AUTHORIZED if is_put_off else State.CAPTURING
    if turn.placed.to_capture or not told:
        turn.ready_to_ship(OrderPaid)
    if turn.placed.shipment is not None:
        turn.ship(turn.placed.shipment)
    return State.PAID


def _take_back(turn: Turn, reason: Reason) -> State:
    """First no money can come any more, then all of it is on its way back, then the stock."""
    turn.next_method = None
    turn.ship_later()
    turn.forget(Step.RESERVE, Step.EXTEND, Step.COMMIT)
    last = turn.last_attempt
    if last is not None and not turn.no_more_money:
        return _close(turn, last)
    for attempt in turn.unreturned:
        turn.refund(attempt.number)
    if any(refund.status is not RefundStatus.PENDING for refund in turn.open_refunds.values()):
        return State.REFUNDING
    if turn.stock.status not in NOTHING_HELD:
        turn.stock_is(StockStatus.RELEASING)
        turn.ask(Step.RELEASE, turn.stock.round)
        return State.RELEASING
    return _give_up(turn, reason)


def _close(turn: Turn, attempt: Attempt) -> State:
    turn.close(attempt)
    return State.CLOSING_PAYMENT


def _give_up(turn: Turn, reason: Reason) -> State:
    """Nothing is held and nothing can come: tell the shopper, and their cart."""
    if turn.order is None:
        turn.ask_once(Step.UNLOCK_CART)
        return State.REJECTED if reason in REJECTING else State.CANCELLED
    if turn.order.fulfilment is not Fulfilment.CANCELLED:
        turn.do_not_ship(Fulfilment.CANCELLED)
        turn.announce(OrderCancelled, reason=reason.value)
        turn.ask_once(Step.RESTORE_LINES)
    return State.REFUNDING if turn.open_refunds else State.CANCELLED
