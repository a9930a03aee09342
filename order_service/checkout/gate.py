"""Whether a message can be for a checkout at all: whether it was asked, and of whom it tells."""

from collections.abc import Mapping
from types import MappingProxyType

from contracts.messages.base import SagaMessage, Step
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
from contracts.messages.order import DeadlinePassed, StartCheckout, StepBlocked, StepUnblocked
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
from order_service.checkout.facts import Checkout, payment_id_of, refund_id_of
from order_service.checkout.messages import AttemptAnswer, CheckoutMessage, RefundAnswer
from order_service.checkout.outcomes import Illegal, Refusal, Settled, Stale

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


def gate(checkout: Checkout, message: CheckoutMessage) -> Refusal | None:
    """Why this message cannot be for this checkout, or None."""
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
