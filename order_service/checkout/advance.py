"""The saga: `advance(checkout, message, now, policy) -> Moved | Stale | Illegal`.

A message passes three rooms. The gate asks whether it can be for this checkout at all: an
answer to a question that was never asked is illegal. `_take_in` adds what it tells to the
facts (`commands`, `notices`, `stock`, `payments`), or calls it stale where they hold that already.
The compass then asks for what comes next and names the state.

`order.commands` and `order.replies` are not ordered relative to each other, so any command may
cross any reply; only facts decide.
"""

from datetime import datetime
from typing import assert_never

from contracts.messages.base import SagaReply
from contracts.messages.cart import CartClosed, CartUnlocked, LinesRestored
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
    PaymentWindowClosed,
    PayOrder,
    ResolveCheckout,
    ShipOrder,
    StartCheckout,
    StepBlocked,
    StepUnblocked,
)
from contracts.messages.payment import (
    CaptureFailed,
    NoPaymentDue,
    PaymentActionRequired,
    PaymentAuthorized,
    PaymentCancelled,
    PaymentClosed,
    PaymentDeclined,
    PaymentProcessing,
    PaymentSucceeded,
    PaymentUnknown,
    Refunded,
    RefundFailed,
    RefundPending,
)
from contracts.values import replace
from order_service.checkout import commands, notices, payments, stock
from order_service.checkout.compass import next_state
from order_service.checkout.facts import (
    AttemptStatus,
    Checkout,
    Reason,
    State,
    Stock,
    StockStatus,
    Tombstone,
)
from order_service.checkout.gate import gate
from order_service.checkout.messages import (
    AttemptAnswer,
    CartAnswer,
    CheckoutMessage,
    RefundAnswer,
    StockAnswer,
)
from order_service.checkout.outcomes import (
    KNOWN,
    Finished,
    Illegal,
    Moved,
    Outcome,
    Refusal,
    Settled,
    Stale,
)
from order_service.checkout.policy import Policy
from order_service.checkout.turn import Turn


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
            refusal = gate(checkout, message)
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
    commands.accept(turn)
    if not cancelled:
        turn.reserve_again()
    return turn.moved(next_state(turn))


# What a message tells.


def _take_in(turn: Turn, message: CheckoutMessage) -> Refusal | None:
    """Add what the message tells to the facts; None when it told something."""
    if isinstance(message, SagaReply):
        return _answered(turn, message)
    match message:
        case StartCheckout():
            return commands.started_again(turn, message)
        case PayOrder():
            return commands.pay(turn, message)
        case ShipOrder():
            return commands.ship(turn, message)
        case CancelCheckout():
            return commands.cancel(turn)
        case ResolveCheckout():
            return commands.resolve(turn, message)
        case PaymentWindowClosed():
            return commands.window_closed(turn, message)
        case DeadlinePassed():
            return notices.deadline_passed(turn, message)
        case ReservationDue():
            return notices.reservation_due(turn, message)
        case StepBlocked():
            return notices.blocked(turn, message)
        case StepUnblocked():
            return notices.unblocked(turn, message)
    assert_never(message)


def _answered(
    turn: Turn, message: StockAnswer | AttemptAnswer | RefundAnswer | CartAnswer
) -> Refusal | None:
    match message:
        case CartUnlocked() | CartClosed() | LinesRestored():
            return _acknowledged(turn, message)
        case StockReserved():
            return stock.reserved(turn, message)
        case StockRejected():
            return stock.rejected(turn, message)
        case ReservationCommitted():
            return stock.committed(turn, message)
        case ReservationNotHeld():
            return stock.not_held(turn, message)
        case ReservationExtended():
            return stock.extended(turn, message)
        case StockReleased():
            return stock.released(turn, message)
        case PaymentSucceeded():
            return payments.succeeded(turn, message)
        case PaymentAuthorized():
            return payments.authorized(turn, message)
        case PaymentProcessing():
            return payments.processing(turn, message)
        case PaymentActionRequired():
            return payments.action_required(turn, message)
        case PaymentUnknown():
            return payments.unknown(turn, message)
        case PaymentDeclined():
            declined = replace(
                turn.attempts[message.attempt - 1],
                status=AttemptStatus.DECLINED,
                code=message.code,
                retryable=message.retryable,
                same_method_allowed=message.same_method_allowed,
            )
            return payments.ended_without_money(turn, declined)
        case PaymentCancelled(reason=code) | CaptureFailed(code=code):
            cancelled = replace(
                turn.attempts[message.attempt - 1], status=AttemptStatus.CANCELLED, code=code
            )
            return payments.ended_without_money(turn, cancelled)
        case NoPaymentDue():
            return Illegal("the saga never asks payment for nothing")
        case PaymentClosed():
            return payments.closed(turn, message)
        case RefundPending():
            return payments.refund_pending(turn, message)
        case Refunded():
            return payments.refunded(turn, message)
        case RefundFailed():
            return payments.refund_failed(turn, message)
    assert_never(message)


def _acknowledged(turn: Turn, message: CartAnswer) -> Refusal | None:
    if not turn.awaits(message.step, message.round):
        return KNOWN
    turn.settle(message.step, message.round)
    return None
