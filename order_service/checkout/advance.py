"""The saga: `advance(checkout, message, now, policy) -> Moved | Stale | Illegal`.

A message passes three rooms. The gate asks whether it can be for this checkout at all: an
answer to a question that was never asked is illegal. `_take_in` adds what it tells to the
facts, or calls it stale where they hold that already. The compass then asks for what comes
next and names the state.

`order.commands` and `order.replies` are not ordered relative to each other, so any command may
cross any reply; only facts decide.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TypeAlias, assert_never

from contracts.messages.base import SagaMessage, SagaReply, Step
from contracts.messages.cart import CartClosed, CartUnlocked, CheckoutAccepted, LinesRestored
from contracts.messages.inventory import (
    ReservationCommitted,
    ReservationDue,
    ReservationExtended,
    ReservationNotHeld,
    StockRejected,
    StockReleased,
    StockReserved,
)
from contracts.messages.order import (
    CancelCheckout,
    DeadlinePassed,
    OrderPaymentFailed,
    OrderRefunded,
    PaymentWindowClosed,
    PayOrder,
    ResolveCheckout,
    ShipOrder,
    StartCheckout,
    StepBlocked,
    StepUnblocked,
)
from contracts.messages.parts import Shortage
from contracts.messages.payment import (
    CaptureFailed,
    NoPaymentDue,
    PaymentActionRequired,
    PaymentAuthorized,
    PaymentCancelled,
    PaymentClosed,
    PaymentDeclined,
    PaymentProcessing,
    PaymentReply,
    PaymentSucceeded,
    PaymentUnknown,
    Refunded,
    RefundFailed,
    RefundPending,
    RefundReply,
)
from contracts.values import replace
from order_service.checkout.compass import next_state
from order_service.checkout.facts import (
    Attempt,
    AttemptStatus,
    Checkout,
    Fulfilment,
    Hold,
    Order,
    PaymentStatus,
    Reason,
    Refund,
    RefundStatus,
    Returned,
    Shipment,
    State,
    Stock,
    StockStatus,
    Tombstone,
    Wait,
    payment_id_of,
    refund_id_of,
)
from order_service.checkout.outcomes import (
    AttemptIsLive,
    AttemptsExhausted,
    Finished,
    Illegal,
    MethodRefused,
    Moved,
    NothingToResolve,
    NotPayable,
    NotShippable,
    Outcome,
    Settled,
    Stale,
    WindowClosed,
)
from order_service.checkout.policy import Lapse, LateSuccess, Policy
from order_service.checkout.turn import Turn

CheckoutCommand: TypeAlias = (
    StartCheckout | PayOrder | ShipOrder | CancelCheckout | ResolveCheckout | PaymentWindowClosed
)
StockAnswer: TypeAlias = (
    StockReserved
    | StockRejected
    | ReservationCommitted
    | ReservationNotHeld
    | ReservationExtended
    | StockReleased
)
AttemptAnswer: TypeAlias = (
    PaymentSucceeded
    | PaymentAuthorized
    | PaymentProcessing
    | PaymentActionRequired
    | PaymentDeclined
    | PaymentCancelled
    | PaymentUnknown
    | NoPaymentDue
    | CaptureFailed
    | PaymentClosed
)
RefundAnswer: TypeAlias = RefundPending | Refunded | RefundFailed
CartAnswer: TypeAlias = CartUnlocked | CartClosed | LinesRestored
Notice: TypeAlias = DeadlinePassed | ReservationDue | StepBlocked | StepUnblocked

CheckoutMessage: TypeAlias = (
    CheckoutCommand | Notice | StockAnswer | AttemptAnswer | RefundAnswer | CartAnswer
)
"""Everything that the saga reads, from `order.commands` and `order.replies`."""

Refusal: TypeAlias = Stale | Illegal

_EARLIER_ROUND = Stale(Settled("of an earlier reservation round"))
_KNOWN = Stale(Settled("known already"))


def advance(
    checkout: Checkout | Tombstone | None,
    message: CheckoutMessage,
    now: datetime,
    policy: Policy,
) -> Outcome:
    """Decide one message against one checkout; None stands for one that nobody has heard of."""
    match checkout:
        case None:
            return _of_nothing(message, now, policy)
        case Tombstone():
            return _of_tombstone(checkout, message, now, policy)
        case Checkout():
            refusal = _gate(checkout, message)
            if refusal is not None:
                return refusal
            turn = Turn(checkout, now, policy)
            if checkout.blocked:
                turn.renew_window()
            refusal = _take_in(turn, message)
            return turn.moved(next_state(turn)) if refusal is None else refusal
    assert_never(checkout)


# A checkout that is not there.


def _of_nothing(message: CheckoutMessage, now: datetime, policy: Policy) -> Outcome:
    match message:
        case StartCheckout():
            return _begin(message, now, policy, cancelled=False)
        case CancelCheckout():
            return Moved(Tombstone(message.checkout_id, message.shop_id))
        case StepBlocked() | StepUnblocked():
            return Stale(Settled("of a checkout that has not begun"))
        case _:
            return Illegal("the checkout is unknown")


def _of_tombstone(
    tombstone: Tombstone, message: CheckoutMessage, now: datetime, policy: Policy
) -> Outcome:
    if isinstance(message, StepBlocked | StepUnblocked):
        return Stale(Settled("of a checkout that has not begun"))
    if message.shop_id != tombstone.shop_id:
        return Illegal("the checkout belongs to another shop")
    match message:
        case StartCheckout():
            return _begin(message, now, policy, cancelled=True)
        case CancelCheckout():
            return Stale(Finished(State.CANCELLED))
        case _:
            return Illegal("the checkout was cancelled before it began")


def _begin(start: StartCheckout, now: datetime, policy: Policy, *, cancelled: bool) -> Outcome:
    if sum(line.gross_minor for line in (*start.lines, *start.shipping)) != start.total_minor:
        return Illegal("the total is not the sum of its lines")
    if (start.customer_id is None) == (start.guest_token_hash is None):
        return Illegal("a checkout belongs to a customer or to a guest")
    stock = Stock(0, StockStatus.GONE, now)
    giving_up = Reason.CANCELLED if cancelled else None
    blank = Checkout(start.checkout_id, start, State.RESERVING, stock, giving_up=giving_up)
    turn = Turn(blank, now, policy)
    _accept(turn)
    if not cancelled:
        turn.reserve_again()
    return turn.moved(next_state(turn))


def _accept(turn: Turn) -> None:
    request = turn.request
    turn.messages.append(
        CheckoutAccepted(shop_id=request.shop_id, checkout_id=turn.id, cart_id=request.cart_id)
    )


# The gate.

_CHARGED = frozenset({Step.CHARGE, Step.CAPTURE, Step.CLOSE_PAYMENT})

ANSWERS: Mapping[type[SagaMessage], frozenset[Step]] = MappingProxyType(
    {
        StockReserved: frozenset({Step.RESERVE}),
        StockRejected: frozenset({Step.RESERVE}),
        ReservationDue: frozenset({Step.RESERVE}),
        ReservationCommitted: frozenset({Step.COMMIT}),
        ReservationNotHeld: frozenset({Step.COMMIT, Step.EXTEND}),
        ReservationExtended: frozenset({Step.EXTEND}),
        StockReleased: frozenset({Step.RELEASE}),
        PaymentSucceeded: _CHARGED,
        PaymentAuthorized: frozenset({Step.CHARGE}),
        PaymentProcessing: frozenset({Step.CHARGE}),
        PaymentActionRequired: frozenset({Step.CHARGE}),
        PaymentDeclined: _CHARGED,
        PaymentCancelled: _CHARGED,
        PaymentUnknown: _CHARGED,
        NoPaymentDue: frozenset({Step.CHARGE}),
        CaptureFailed: frozenset({Step.CAPTURE}),
        PaymentClosed: frozenset({Step.CLOSE_PAYMENT}),
        RefundPending: frozenset({Step.REFUND}),
        Refunded: frozenset({Step.REFUND}),
        RefundFailed: frozenset({Step.REFUND}),
        CartUnlocked: frozenset({Step.UNLOCK_CART}),
        CartClosed: frozenset({Step.CLOSE_CART}),
        LinesRestored: frozenset({Step.RESTORE_LINES}),
    }
)
"""Which questions each answer may answer; deadlines name any."""


def _gate(checkout: Checkout, message: CheckoutMessage) -> Refusal | None:
    if isinstance(message, StepBlocked | StepUnblocked):
        return _gate_of_note(checkout, message)
    if message.shop_id != checkout.request.shop_id:
        return Illegal("the checkout belongs to another shop")
    if isinstance(message, StartCheckout) or not isinstance(message, SagaMessage):
        return None
    if message.step not in ANSWERS.get(type(message), _ANY_STEP):
        return Illegal(f"it does not answer {message.step}")
    if (message.step, message.round) not in checkout.asked and not _put_off(checkout, message):
        return Illegal(f"{message.step} {message.round} was never asked")
    if isinstance(message, RefundReply):
        return _gate_of_refund(checkout, message)
    if isinstance(message, PaymentReply):
        return _gate_of_attempt(checkout, message)
    return None


_ANY_STEP = frozenset(Step)


def _put_off(checkout: Checkout, message: SagaMessage) -> bool:
    """A capture that is put off has a deadline before it is asked for, which may come late too.

    Its record may also become a dead letter.
    """
    of_deadline = isinstance(message, DeadlinePassed | StepBlocked | StepUnblocked)
    if not of_deadline or message.step is not Step.CAPTURE:
        return False
    attempts = checkout.attempts[message.round - 1 : message.round]
    return any(attempt.method.captured_at_shipping for attempt in attempts)


def _gate_of_note(checkout: Checkout, note: StepBlocked | StepUnblocked) -> Refusal | None:
    """A note is made of a record's headers, and anybody's record may name a checkout there."""
    asked = (note.step, note.round) in checkout.asked or _put_off(checkout, note)
    known = asked and note.shop_id == checkout.request.shop_id
    return None if known else Stale(Settled("this checkout has not asked that"))


def _gate_of_attempt(checkout: Checkout, message: AttemptAnswer) -> Refusal | None:
    """A charge that met a live attempt is answered with that one, so it may be an earlier one."""
    if message.payment_id != payment_id_of(checkout.id):
        return Illegal("it tells of another payment")
    if not 1 <= message.attempt <= message.round:
        return Illegal("it tells of another attempt than was asked")
    total_minor = checkout.request.total_minor
    if isinstance(message, PaymentSucceeded) and 0 < message.amount_minor < total_minor:
        return None
    if isinstance(message, PaymentSucceeded | PaymentAuthorized):
        return _gate_of_amount(message.amount_minor, total_minor)
    return None


def _gate_of_refund(checkout: Checkout, message: RefundAnswer) -> Refusal | None:
    if message.refund_id != refund_id_of(checkout.id, message.round):
        return Illegal("it tells of another refund")
    return _gate_of_amount(message.amount_minor, checkout.refunds[message.round - 1].amount_minor)


def _gate_of_amount(told_minor: int, asked_minor: int) -> Refusal | None:
    if told_minor == asked_minor:
        return None
    return Illegal(f"it tells of {told_minor}, asked were {asked_minor}")


# What a message tells.


def _take_in(turn: Turn, message: CheckoutMessage) -> Refusal | None:
    """Add what the message tells to the facts; None when it told something."""
    if isinstance(message, SagaReply):
        return _answered(turn, message)
    match message:
        case StartCheckout():
            return _started_again(turn, message)
        case PayOrder():
            return _pay(turn, message)
        case ShipOrder():
            return _ship(turn, message)
        case CancelCheckout():
            return _cancel(turn)
        case ResolveCheckout():
            return _resolve(turn, message)
        case PaymentWindowClosed():
            return _window_closed(turn, message)
        case DeadlinePassed():
            return _deadline_passed(turn, message)
        case ReservationDue():
            return _reservation_due(turn, message)
        case StepBlocked():
            return _blocked(turn, message)
        case StepUnblocked():
            return _unblocked(turn, message)
    assert_never(message)


def _answered(
    turn: Turn, message: StockAnswer | AttemptAnswer | RefundAnswer | CartAnswer
) -> Refusal | None:
    match message:
        case CartUnlocked() | CartClosed() | LinesRestored():
            return _acknowledged(turn, message)
        case StockReserved():
            return _reserved(turn, message)
        case StockRejected():
            return _rejected(turn, message)
        case ReservationCommitted():
            return _committed(turn, message)
        case ReservationNotHeld():
            return _not_held(turn, message)
        case ReservationExtended():
            return _extended(turn, message)
        case StockReleased():
            return _released(turn, message)
        case PaymentSucceeded():
            return _succeeded(turn, message)
        case PaymentAuthorized():
            return _authorized(turn, message)
        case PaymentProcessing():
            return _processing(turn, message)
        case PaymentActionRequired():
            return _action_required(turn, message)
        case PaymentUnknown():
            return _unknown(turn, message)
        case PaymentDeclined():
            declined = replace(
                turn.attempts[message.attempt - 1],
                status=AttemptStatus.DECLINED,
                code=message.code,
                retryable=message.retryable,
                same_method_allowed=message.same_method_allowed,
            )
            return _ended_without_money(turn, declined)
        case PaymentCancelled(reason=code) | CaptureFailed(code=code):
            cancelled = replace(
                turn.attempts[message.attempt - 1], status=AttemptStatus.CANCELLED, code=code
            )
            return _ended_without_money(turn, cancelled)
        case NoPaymentDue():
            return Illegal("the saga never asks payment for nothing")
        case PaymentClosed():
            return _closed(turn, message)
        case RefundPending():
            return _refund_pending(turn, message)
        case Refunded():
            return _refunded(turn, message)
        case RefundFailed():
            return _refund_failed(turn, message)
    assert_never(message)


# Commands of the shopper and of the cart.


def _started_again(turn: Turn, start: StartCheckout) -> Refusal | None:
    same = ("cart_id", "customer_id", "guest_token_hash", "currency", "total_minor", "lines")
    if any(getattr(start, name) != getattr(turn.request, name) for name in same):
        return Illegal("the same checkout was begun with other contents")
    _accept(turn)
    return None


def _pay(turn: Turn, message: PayOrder) -> Refusal | None:
    order, last = turn.order, turn.last_attempt
    if order is not None and turn.giving_up is Reason.PAYMENT_WINDOW_CLOSED:
        return Stale(WindowClosed(order.window_closes_at))
    secured = turn.paid_for or turn.set_aside is not None
    if order is None or turn.giving_up is not None or secured or turn.stuck:
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


def _ship(turn: Turn, message: ShipOrder) -> Refusal | None:
    """Ship what is paid for; where the money is set aside, take it first."""
    order = turn.order
    if order is not None and order.fulfilment is Fulfilment.SHIPPED:
        return _KNOWN
    ready = order is not None and order.fulfilment is Fulfilment.READY and turn.giving_up is None
    if order is None or not ready or _went_back(order):
        return Stale(NotShippable(turn.before.state))
    if order.shipment is not None:
        return _KNOWN
    shipment = Shipment(message.carrier, message.tracking)
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


def _cancel(turn: Turn) -> Refusal | None:
    """Give up, whatever is under way; a second cancel tries again what got stuck."""
    if turn.order is not None and turn.order.fulfilment is Fulfilment.SHIPPED:
        return Stale(Finished(Fulfilment.SHIPPED))
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


def _resolve(turn: Turn, message: ResolveCheckout) -> Refusal | None:
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
        if wait.sends == 0:
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


def _window_closed(turn: Turn, message: PaymentWindowClosed) -> Refusal | None:
    if turn.order is None:
        return Illegal("it has no payment window")
    if turn.before.window_closes_at != message.closed_at:
        return Stale(Settled("no payment window ends here"))
    turn.giving_up = Reason.PAYMENT_WINDOW_CLOSED
    return None


# Notices: deadlines, the backstop's question, dead letters.


def _deadline_passed(turn: Turn, message: DeadlinePassed) -> Refusal | None:
    wait = turn.waits.get((message.step, message.round))
    if wait is None or wait.hold is not None or wait.due_at != message.due_at:
        return Stale(Settled("the wait is over, or was moved"))
    if wait.sends == 0:
        _lapse(turn, turn.attempts[wait.round - 1])
    elif not wait.provisional and turn.policy.may_send_again(wait.step, wait.sends):
        turn.ask_again(wait)
        turn.note = f"asked again, send {wait.sends + 1}"
    else:
        _run_out(turn, wait)
    return None


def _lapse(turn: Turn, attempt: Attempt) -> None:
    """The provider gives the money back before long, and the goods are not shipped."""
    may_charge = attempt.method.saved_method_id is not None and (
        len(turn.attempts) < turn.policy.attempts_limit
    )
    match turn.policy.authorization_lapse:
        case Lapse.CANCEL:
            turn.giving_up = Reason.AUTHORIZATION_LAPSED
        case Lapse.AUTHORIZE_AGAIN if may_charge:
            turn.renew_window()
            turn.next_method = attempt.method
            turn.note = "authorized again"
        case Lapse.CAPTURE | Lapse.AUTHORIZE_AGAIN:
            turn.capture(attempt)
            turn.note = "captured before it lapses"


def _run_out(turn: Turn, wait: Wait) -> None:
    """No answer will come: compensate, or stop where compensating could lose money."""
    turn.note = f"{wait.step} {wait.round} ran out after send {wait.sends}"
    match wait.step:
        case Step.RESERVE:
            turn.giving_up = Reason.STOCK_UNANSWERED
        case Step.CHARGE:
            turn.close(turn.attempts[wait.round - 1])
        case Step.CAPTURE | Step.COMMIT | Step.CLOSE_PAYMENT | Step.REFUND | Step.RELEASE:
            turn.hold(wait, Hold.EXHAUSTED)
        case Step.UNLOCK_CART | Step.CLOSE_CART | Step.RESTORE_LINES:
            turn.resume(wait)  # without a budget: only a discard leads here
        case Step.EXTEND | Step.START:
            turn.settle(wait.step, wait.round)
        case _:
            assert_never(wait.step)


def _reservation_due(turn: Turn, message: ReservationDue) -> Refusal | None:
    """The backstop's question, answered with Extend, Commit or Release."""
    if message.round < turn.stock.round:
        return _EARLIER_ROUND
    match turn.stock.status:
        case StockStatus.ASKED:
            return Stale(Settled("the answer to reserve is still awaited"))
        case StockStatus.COMMITTED | StockStatus.GONE | StockStatus.REJECTED:
            return Stale(Settled("nothing is reserved any more"))
        case StockStatus.RELEASING:
            turn.messages.append(turn.command(Step.RELEASE, message.round))
        case StockStatus.HELD if turn.awaits(Step.COMMIT, message.round):
            turn.messages.append(turn.command(Step.COMMIT, message.round))
        case StockStatus.HELD:
            if message.expires_at < turn.stock.until:
                return Stale(Settled("extended meanwhile"))
            turn.extend_reservation()
    return None


def _blocked(turn: Turn, message: StepBlocked) -> Refusal | None:
    wait = turn.waits.get((message.step, message.round))
    if wait is None or wait.hold is not None:
        return Stale(Settled("nothing waits for that step"))
    turn.hold(wait, Hold.BLOCKED)
    turn.note = f"blocked by dead letter {message.dead_letter_id} of {message.service}"
    return None


def _unblocked(turn: Turn, message: StepUnblocked) -> Refusal | None:
    wait = turn.waits.get((message.step, message.round))
    if wait is None or wait.hold is not Hold.BLOCKED:
        return Stale(Settled("that step is not blocked"))
    under_way = wait.step is Step.CHARGE and wait.provisional
    if message.outcome == "replayed" or under_way or wait.sends == 0:
        turn.resume(wait)
    else:
        _run_out(turn, wait)
    turn.note = f"dead letter {message.dead_letter_id} of {message.service} {message.outcome}"
    return None


# Answers of inventory.


def _reserved(turn: Turn, message: StockReserved) -> Refusal | None:
    if message.round < turn.stock.round:
        return _EARLIER_ROUND
    match turn.stock.status:
        case StockStatus.ASKED:
            turn.stock_is(StockStatus.HELD, message.expires_at)
            turn.settle(Step.RESERVE, message.round)
            return None
        case StockStatus.REJECTED:
            return Illegal("the same round was rejected")
        case _:
            return _KNOWN


def _rejected(turn: Turn, message: StockRejected) -> Refusal | None:
    if message.round < turn.stock.round:
        return _EARLIER_ROUND
    match turn.stock.status:
        case StockStatus.ASKED:
            _lose_stock(turn, StockStatus.REJECTED, Reason.OUT_OF_STOCK, message.shortages)
            return None
        case StockStatus.HELD | StockStatus.COMMITTED:
            return Illegal("the same round is held")
        case _:
            return _KNOWN


def _committed(turn: Turn, message: ReservationCommitted) -> Refusal | None:
    if message.round < turn.stock.round:
        return _EARLIER_ROUND
    match turn.stock.status:
        case StockStatus.HELD:
            turn.stock_is(StockStatus.COMMITTED)
            turn.settle(Step.COMMIT, message.round)
            return None
        case StockStatus.GONE if (Step.RELEASE, message.round) not in turn.asked:
            return Illegal("the same round is not held any more")
        case _:
            return _KNOWN


def _not_held(turn: Turn, message: ReservationNotHeld) -> Refusal | None:
    if message.step is Step.EXTEND:
        return _extension_refused(turn, message)
    if message.round < turn.stock.round:
        return _EARLIER_ROUND
    match turn.stock.status:
        case StockStatus.HELD:
            _lose_stock(turn, StockStatus.GONE, Reason.STOCK_NOT_HELD, message.shortages)
            return None
        case StockStatus.COMMITTED:
            return Illegal("the same round is committed")
        case _:
            return _KNOWN


def _extension_refused(turn: Turn, message: ReservationNotHeld) -> Refusal | None:
    if not turn.awaits(Step.EXTEND, message.round):
        return _KNOWN
    _lose_stock(turn, StockStatus.GONE, Reason.STOCK_NOT_HELD, message.shortages)
    return None


def _lose_stock(
    turn: Turn, status: StockStatus, reason: Reason, shortages: tuple[Shortage, ...]
) -> None:
    """This round holds nothing: without stock there is no sale."""
    turn.stock_is(status)
    turn.forget(Step.RESERVE, Step.EXTEND, Step.COMMIT)
    turn.shortages = shortages
    if turn.giving_up is None:
        turn.giving_up = reason


def _extended(turn: Turn, message: ReservationExtended) -> Refusal | None:
    if not turn.awaits(Step.EXTEND, message.round):
        return _KNOWN
    turn.settle(Step.EXTEND, message.round)
    turn.stock_is(turn.stock.status, message.expires_at)
    return None


def _released(turn: Turn, message: StockReleased) -> Refusal | None:
    if message.round < turn.stock.round or turn.stock.status is not StockStatus.RELEASING:
        return _KNOWN
    turn.stock_is(StockStatus.GONE)
    turn.settle(Step.RELEASE, message.round)
    return None


# Answers of payment about an attempt, whichever question of ours they answer.


def _succeeded(turn: Turn, message: PaymentSucceeded) -> Refusal | None:
    attempt = turn.attempts[message.attempt - 1]
    if attempt.status is AttemptStatus.SUCCEEDED:
        return _KNOWN
    if message.amount_minor < turn.request.total_minor:
        _captured_short(turn, attempt, message.amount_minor)
        return None
    if turn.giving_up is not None:
        _decide_late_success(turn, turn.giving_up)
    succeeded = replace(attempt, status=AttemptStatus.SUCCEEDED, next_action=None, expires_at=None)
    turn.settle_attempt(succeeded)
    return None


def _captured_short(turn: Turn, attempt: Attempt, amount_minor: int) -> None:
    """Somebody took a part of the money at the provider: it secures nothing, and goes back."""
    short = replace(
        attempt,
        status=AttemptStatus.SUCCEEDED,
        short_minor=amount_minor,
        code="captured_in_part",
        next_action=None,
        expires_at=None,
    )
    turn.settle_attempt(short)
    turn.refund(short.number)
    turn.note = f"only {amount_minor} was captured: refunded"
    if turn.giving_up is None and not turn.paid_for:
        _announce_failure(turn, short)


def _decide_late_success(turn: Turn, reason: Reason) -> None:
    """Money for a checkout that is being given up: sell after all, or leave it to be refunded."""
    if _late_success(turn, reason) is LateSuccess.REFUND:
        turn.note = "paid late: refunded"
        return
    turn.giving_up = None
    turn.note = "paid late: kept"
    if turn.placed.fulfilment is Fulfilment.CANCELLED:
        turn.do_not_ship(Fulfilment.PENDING)


def _late_success(turn: Turn, reason: Reason) -> LateSuccess:
    if turn.unreturned or turn.refunds:
        return LateSuccess.REFUND
    if turn.stock.status in (StockStatus.HELD, StockStatus.COMMITTED):
        if reason is Reason.PAYMENT_WINDOW_CLOSED:
            return turn.policy.success_at_window_close
        return turn.policy.success_at_cancel
    if turn.stock.round >= turn.policy.reservation_rounds_limit:
        return LateSuccess.REFUND
    return turn.policy.success_after_release


def _authorized(turn: Turn, message: PaymentAuthorized) -> Refusal | None:
    attempt = turn.attempts[message.attempt - 1]
    if not _undecided(attempt):
        return _KNOWN
    turn.settle(Step.CHARGE, attempt.number)
    turn.attempt_is(
        replace(
            attempt,
            status=AttemptStatus.AUTHORIZED,
            next_action=None,
            expires_at=message.capture_before,
        )
    )
    return None


def _processing(turn: Turn, message: PaymentProcessing) -> Refusal | None:
    attempt = turn.attempts[message.attempt - 1]
    now_known = replace(
        attempt,
        status=AttemptStatus.PROCESSING,
        next_action=None,
        expires_at=None,
        expected_by=message.expected_by,
    )
    if not _undecided(attempt) or now_known == attempt:
        return _KNOWN
    turn.attempt_is(now_known)
    if _outlast(turn, attempt, message.expected_by):
        turn.extend_reservation()
    return None


def _action_required(turn: Turn, message: PaymentActionRequired) -> Refusal | None:
    attempt = turn.attempts[message.attempt - 1]
    now_known = replace(
        attempt,
        status=AttemptStatus.ACTION_REQUIRED,
        next_action=message.next_action,
        expires_at=message.expires_at,
    )
    if not _undecided(attempt) or now_known == attempt:
        return _KNOWN
    turn.attempt_is(now_known)
    _outlast(turn, attempt, message.expires_at)
    return None


def _unknown(turn: Turn, message: PaymentUnknown) -> Refusal | None:
    """Nobody knows: whoever asked for the outcome waits, and nothing is compensated."""
    attempt = turn.attempts[message.attempt - 1]
    wait = turn.waits.get((message.step, message.attempt))
    news = wait is not None and not wait.provisional
    if _undecided(attempt) and attempt.status is not AttemptStatus.UNKNOWN:
        turn.attempt_is(replace(attempt, status=AttemptStatus.UNKNOWN))
    elif not news:
        return _KNOWN
    turn.be_patient(message.step, attempt.number, turn.now + turn.policy.patience(message.step))
    return None


def _outlast(turn: Turn, attempt: Attempt, until: datetime) -> bool:
    grace = timedelta(seconds=turn.policy.attempt_grace_seconds)
    return turn.be_patient(Step.CHARGE, attempt.number, until + grace)


def _undecided(attempt: Attempt) -> bool:
    """May charging it still end in any way?"""
    return attempt.live and attempt.status is not AttemptStatus.AUTHORIZED


def _ended_without_money(turn: Turn, attempt: Attempt) -> Refusal | None:
    """Declined, cancelled, or its capture failed: a final no for this attempt."""
    if not turn.attempts[attempt.number - 1].live:
        return _KNOWN
    turn.attempt_is(replace(attempt, next_action=None, expires_at=None))
    turn.settle(Step.CHARGE, attempt.number)
    turn.settle(Step.CAPTURE, attempt.number)
    if not turn.awaits(Step.CLOSE_PAYMENT, attempt.number):
        _announce_failure(turn, attempt)
    return None


def _closed(turn: Turn, message: PaymentClosed) -> Refusal | None:
    attempt = turn.attempts[message.attempt - 1]
    if attempt.status in (AttemptStatus.SUCCEEDED, AttemptStatus.CLOSED):
        return _KNOWN
    closed = replace(
        attempt,
        status=AttemptStatus.CLOSED,
        code=attempt.code or message.outcome,
        next_action=None,
        expires_at=None,
    )
    turn.settle_attempt(closed)
    if turn.placed.to_capture and turn.next_method is not None:
        turn.renew_window()  # to set it aside anew is ours to do, however long the closing took
    replaced = turn.next_method is not None and turn.window_open
    if turn.giving_up is None and not replaced and not turn.paid_for:
        _announce_failure(turn, closed)
    return None


def _announce_failure(turn: Turn, attempt: Attempt) -> None:
    if turn.placed.to_capture:
        # The window is long over: it was for the shopper to pay, and they had.
        turn.do_not_ship(Fulfilment.PENDING)
        turn.renew_window()
    turn.announce(
        OrderPaymentFailed,
        attempt=attempt.number,
        code=attempt.code,
        window_closes_at=turn.placed.window_closes_at,
    )


# Answers of payment about a refund.


def _refund_pending(turn: Turn, message: RefundPending) -> Refusal | None:
    refund = turn.refunds[message.round - 1]
    if refund.status is not RefundStatus.REQUESTED:
        return _KNOWN
    turn.refund_is(replace(refund, status=RefundStatus.PENDING))
    turn.be_patient(Step.REFUND, refund.number, turn.now + turn.policy.patience(Step.REFUND))
    return None


def _refunded(turn: Turn, message: Refunded) -> Refusal | None:
    refund = turn.refunds[message.round - 1]
    if refund.status in (RefundStatus.REFUNDED, RefundStatus.FAILED):
        return _KNOWN
    _settle_refund(turn, replace(refund, status=RefundStatus.REFUNDED))
    turn.announce(OrderRefunded, refund_id=message.refund_id, amount_minor=message.amount_minor)
    return None


def _refund_failed(turn: Turn, message: RefundFailed) -> Refusal | None:
    """Taken in even after Refunded: a bank may send a refund back weeks later."""
    refund = turn.refunds[message.round - 1]
    if refund.status is RefundStatus.FAILED:
        return _KNOWN
    _settle_refund(turn, replace(refund, status=RefundStatus.FAILED))
    turn.note = f"refund {refund.number} failed: {message.code}"
    return None


def _settle_refund(turn: Turn, refund: Refund) -> None:
    turn.refund_is(refund)
    turn.settle(Step.REFUND, refund.number)


# Answers of the cart.


def _acknowledged(turn: Turn, message: CartAnswer) -> Refusal | None:
    if not turn.awaits(message.step, message.round):
        return _KNOWN
    turn.settle(message.step, message.round)
    return None
