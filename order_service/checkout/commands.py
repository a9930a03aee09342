"""What each command of a shopper, the shop, an operator or the cart does to a checkout."""

from contracts.messages.base import Step
from contracts.messages.cart import CheckoutAccepted
from contracts.messages.order import (
    PaymentWindowClosed,
    PayOrder,
    ResolveCheckout,
    ShipOrder,
    StartCheckout,
)
from contracts.values import replace
from order_service.checkout.facts import (
    LEFT,
    Attempt,
    Fulfilment,
    Hold,
    Order,
    PaymentStatus,
    Reason,
    RefundStatus,
    Returned,
    State,
)
from order_service.checkout.outcomes import (
    KNOWN,
    AttemptIsLive,
    AttemptsExhausted,
    Finished,
    Illegal,
    MethodRefused,
    NothingToResolve,
    NotPayable,
    NotShippable,
    Refusal,
    Settled,
    ShipmentsExhausted,
    Stale,
    WindowClosed,
)
from order_service.checkout.shipments import parcel, shipment_of, too_much
from order_service.checkout.turn import Turn


def started_again(turn: Turn, start: StartCheckout) -> Refusal | None:
    """The cart asks for the same checkout once more: acknowledge it, and nothing else."""
    same = ("cart_id", "customer_id", "guest_token_hash", "currency", "total_minor", "lines")
    if any(getattr(start, name) != getattr(turn.request, name) for name in same):
        return Illegal("the same checkout was begun with other contents")
    accept(turn)
    return None


def pay(turn: Turn, message: PayOrder) -> Refusal | None:
    """One more attempt, with this method, unless money is here, on its way or not wanted."""
    order, last = turn.order, turn.last_attempt
    if order is not None and turn.giving_up is Reason.PAYMENT_WINDOW_CLOSED:
        return Stale(WindowClosed(order.window_closes_at))
    if order is None or turn.giving_up is not None or turn.secured or turn.stuck:
        return Stale(NotPayable(turn.before.state))
    if not turn.window_open:
        return Stale(WindowClosed(order.window_closes_at))
    if last is not None:
        closing = turn.awaits(Step.CLOSE_PAYMENT, last.number)
        if (last.live or closing) and not message.replace:
            return Stale(AttemptIsLive(last))
        if last.method == message.method and not _may_try_again(last):
            return Stale(MethodRefused(last.code))
    if len(turn.attempts) >= turn.policy.attempts_limit:
        return Stale(AttemptsExhausted(turn.policy.attempts_limit))
    turn.next_method = message.method
    return None


def _may_try_again(last: Attempt) -> bool:
    """Whether the very method of an attempt that came to nothing may be tried once more.

    On a page it may be another card. Where the bank wants to see the customer, one who is not
    there cannot pay: by the same card on session, or by a link, they can.
    """
    if last.needs_shopper and last.method.saved_method_id is not None:
        return False
    return last.same_method_allowed or last.method.hosted


def ship(turn: Turn, message: ShipOrder) -> Refusal | None:
    """Ship what is paid for; where the money is set aside, take it first, whole."""
    order, shipment = turn.order, shipment_of(message)
    if order is None:
        return Stale(NotShippable(turn.before.state))
    if order.fulfilment is Fulfilment.SHIPPED and not shipment.lines:
        return KNOWN
    known = parcel(order, shipment)
    if known is not None:
        return known
    if order.fulfilment is not Fulfilment.SHIPPED:
        ready = order.fulfilment in (Fulfilment.READY, Fulfilment.PARTLY_SHIPPED)
        if not ready or turn.giving_up is not None or _went_back(order):
            return Stale(NotShippable(turn.before.state))
        if order.shipment is not None:
            # One at a time waits for the money; another of everything is the same again.
            same = not (shipment.lines or order.shipment.lines)
            return KNOWN if same else Stale(NotShippable(turn.before.state))
        if len(order.shipments) >= turn.policy.shipments_limit:
            return Stale(ShipmentsExhausted(turn.policy.shipments_limit))
    why = too_much(order, turn.request.lines, shipment.lines)
    if why is not None:
        return Stale(why)
    if not order.to_capture:
        turn.ship(shipment)
        return None
    attempt = turn.set_aside
    if attempt is None or turn.stuck:
        return Stale(NotShippable(turn.before.state))
    turn.order = replace(order, shipment=shipment)
    turn.capture(attempt)
    turn.note = "shipped once its money is taken"
    return None


def _went_back(order: Order) -> bool:
    """Is nothing left to be shipped, because all of it came back, or all of its money went back?"""
    return order.returned is Returned.WHOLLY or order.claimed is PaymentStatus.REFUNDED


def cancel(turn: Turn) -> Refusal | None:
    """Give up, whatever is under way; a second cancel tries again what got stuck."""
    if turn.order is not None and turn.order.fulfilment in LEFT:
        return Stale(Finished(turn.order.fulfilment))
    if turn.order is not None and turn.order.shipment is not None and not turn.stuck:
        return Stale(Finished("being shipped"))
    if turn.before.state in (State.CANCELLED, State.REJECTED):
        return Stale(Finished(turn.before.state))
    if turn.order is not None and turn.order.claimed is not None:
        return Stale(Finished("refunded, returned or disputed in part"))
    closing_window = turn.giving_up is Reason.PAYMENT_WINDOW_CLOSED and not turn.no_more_money
    if turn.giving_up is None or closing_window:
        turn.giving_up = Reason.CANCELLED
        _unstick(turn)
        return None
    return None if _unstick(turn) else Stale(Settled("given up already"))


def _unstick(turn: Turn) -> bool:
    """Ask afresh what ran out, and refund anew what failed; False when there is neither."""
    exhausted = [
        wait
        for wait in turn.waits.values()
        if wait.hold is Hold.EXHAUSTED and wait.step in _STEPS_OF_TAKING_BACK
    ]
    failed = [r for r in turn.open_refunds.values() if r.status is RefundStatus.FAILED]
    failed = failed[: max(0, turn.policy.refunds_limit - len(turn.refunds))]
    for wait in exhausted:
        turn.ask_afresh(wait)
    for refund in failed:
        turn.refund(refund.attempt)
    return bool(exhausted or failed)


_STEPS_OF_TAKING_BACK = frozenset({Step.CLOSE_PAYMENT, Step.REFUND, Step.RELEASE})


def resolve(turn: Turn, message: ResolveCheckout) -> Refusal | None:
    """Do what an operator decided about a checkout that needs attention."""
    failed = [r for r in turn.open_refunds.values() if r.status is RefundStatus.FAILED]
    held = [wait for wait in turn.waits.values() if wait.hold is not None]
    match message.decision:
        case "retry":
            failed = failed[: max(0, turn.policy.refunds_limit - len(turn.refunds))]
        case "refunded_by_hand":
            held = []
    if not failed and not held:
        return Stale(NothingToResolve(turn.before.state))
    for wait in held:
        if wait.is_put_off:
            turn.resume(wait)
        elif wait.hold is Hold.BLOCKED:
            # The dead letter may be the answer itself: only an answer shows that nothing is in
            # the way, and until then the step must neither time out nor be given up.
            turn.repeat(wait)
        else:
            turn.ask_afresh(wait)
    for refund in failed:
        turn.refund(refund.attempt, by_hand=message.decision == "refunded_by_hand")
    turn.note = f"resolved as {message.decision}"
    return None


def window_closed(turn: Turn, message: PaymentWindowClosed) -> Refusal | None:
    """The shopper has had their time to pay."""
    if turn.order is None:
        return Illegal("it has no payment window")
    if turn.before.window_closes_at != message.closed_at:
        return Stale(Settled("no payment window ends here"))
    turn.giving_up = Reason.PAYMENT_WINDOW_CLOSED
    return None


def accept(turn: Turn) -> None:
    """Tell the cart that its checkout is taken over."""
    request = turn.request
    turn.messages.append(
        CheckoutAccepted(shop_id=request.shop_id, checkout_id=turn.id, cart_id=request.cart_id)
    )
