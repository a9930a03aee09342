"""What the saga asks of a payment: charge, capture, close, refund.

At most one attempt of a payment is live, and at most one operation of an attempt is open (refunds
aside). A close that meets an open operation waits for its answer, then takes its question over;
one that meets a charge nobody has called yet withdraws it.
"""

from datetime import datetime
from typing import assert_never

from contracts.messages import payment as messages
from contracts.messages.base import Step
from contracts.messages.parts import PaymentMethod
from contracts.messages.payment import CapturePayment, ChargePayment, ClosePayment, RefundPayment
from contracts.values import replace
from payment_service.domain.ledger import BY_HAND, FactKind
from payment_service.domain.outcomes import (
    ActionRequired,
    AttemptState,
    Authorized,
    Cancelled,
    CaptureFailed,
    Declined,
    NeverCreated,
    NotDue,
    Processing,
    Refunded,
    RefundFailed,
    Requested,
    Succeeded,
    Unknown,
)
from payment_service.domain.payment import (
    Attempt,
    OperationKind,
    OperationStatus,
    Payment,
    Refund,
    capture_of,
    charge_of,
    close_of,
    refund_operation,
)
from payment_service.domain.replies import Messages, about_attempt, reply_of, reply_of_refund
from payment_service.domain.rules import Decided, Rules

NOT_CAPTURABLE = "not_capturable"
"""Why we close an attempt ourselves: a capture was asked for that it cannot serve."""


class NotAuthorized(ValueError):
    """A capture of an attempt that was never authorized: no delay or repetition explains it."""


# --- charge ---------------------------------------------------------------------------------


def charge(payment: Payment, command: ChargePayment, now: datetime, rules: Rules) -> Decided:
    """A new attempt with its charge due, or the answer of what stands already."""
    known = payment.attempt(command.attempt)
    if known is not None:
        return Decided(payment, reply_of(payment, known, Step.CHARGE, command.round))
    standing = payment.live_attempt or (
        payment.paid_attempt if payment.amounts.refundable_minor > 0 else None
    )
    if standing is not None:
        # Never charged beside an attempt that brought money or still may.
        return Decided(payment, _standing(payment, standing, command))
    if payment.order_id is None:
        payment = replace(
            payment,
            order_id=command.order_id,
            order_number=command.order_number,
            customer_id=command.customer_id,
            currency=command.currency,
        )
    attempt = Attempt(
        payment_id=payment.payment_id,
        number=command.attempt,
        state=_first_state(payment, command, now, rules),
        method=command.method,
        amount_minor=max(command.amount_minor, 0),
        charge_round=command.round,
        window_closes_at=command.window_closes_at,
        created_at=now,
        lines=command.lines,
    )
    payment = payment.with_attempt(attempt)
    if isinstance(attempt.state, Requested):
        return Decided(payment.with_operation(charge_of(attempt, command.method, now)))
    return Decided(payment, reply_of(payment, attempt, Step.CHARGE, command.round))


def _first_state(
    payment: Payment, command: ChargePayment, now: datetime, rules: Rules
) -> AttemptState:
    if command.currency != payment.currency:
        return _refused("currency_mismatch")
    if command.amount_minor < 0:
        return _refused("invalid_amount")
    if payment.paid_attempt is not None:
        return _refused("payment_refunded")
    if command.amount_minor == 0:
        return NotDue()
    if command.method.provider not in rules.providers:
        return _refused("unknown_provider")
    if now >= command.window_closes_at:
        return Cancelled(None, "expired")
    return Requested()


def _refused(code: str) -> Declined:
    return Declined(None, code, retryable=False, same_method_allowed=False)


def _standing(payment: Payment, standing: Attempt, command: ChargePayment) -> Messages:
    """The answer to a charge beside `standing`: that attempt's state, under the asked round."""
    if isinstance(standing.state, Requested):
        expected_by = standing.window_closes_at or command.window_closes_at
        about = about_attempt(payment, standing, Step.CHARGE, command.round)
        return (messages.PaymentProcessing(**about, expected_by=expected_by),)
    return reply_of(payment, standing, Step.CHARGE, command.round)


# --- capture --------------------------------------------------------------------------------


def capture(payment: Payment | None, command: CapturePayment, now: datetime) -> Decided:
    """The capture of an authorized attempt due. Raises `NotAuthorized`."""
    attempt = None if payment is None else payment.attempt(command.attempt)
    if payment is None or attempt is None or attempt.method is None:
        return Decided(
            payment,
            (
                messages.CaptureFailed(
                    shop_id=command.shop_id,
                    checkout_id=command.checkout_id,
                    step=Step.CAPTURE,
                    round=command.round,
                    payment_id=command.payment_id,
                    attempt=command.attempt,
                    code="unknown_attempt",
                ),
            ),
        )
    operation = payment.open_operation(attempt.number)
    if operation is not None and operation.kind is OperationKind.CAPTURE:
        if isinstance(attempt.state, Unknown):
            return Decided(payment, reply_of(payment, attempt, Step.CAPTURE, command.round))
        return Decided(payment)
    match attempt.state:
        case Authorized(amount_minor=authorized_minor):
            about = about_attempt(payment, attempt, Step.CAPTURE, command.round)
            if attempt.close_reason is not None:
                return Decided(payment, (messages.CaptureFailed(**about, code="closed"),))
            if not 0 < command.amount_minor <= authorized_minor:
                refused = messages.CaptureFailed(**about, code="invalid_amount")
                closing = replace(attempt, close_reason=NOT_CAPTURABLE)
                return Decided(with_close(payment, closing, now), (refused,))
            due = capture_of(attempt, attempt.method, command.amount_minor, command.round, now)
            return Decided(payment.with_operation(due))
        case Succeeded() | Declined() | Cancelled() | NeverCreated() | CaptureFailed():
            return Decided(payment, reply_of(payment, attempt, Step.CAPTURE, command.round))
        case Requested() | NotDue() | Unknown() | Processing() | ActionRequired():
            raise NotAuthorized(payment.payment_id, attempt.number, attempt.state)
        case _:
            assert_never(attempt.state)


# --- close ----------------------------------------------------------------------------------


def close(payment: Payment, command: ClosePayment, now: datetime) -> Decided:
    """The close of an attempt due, as soon as nothing of it is under way; or its last word."""
    attempt = payment.attempt(command.attempt)
    if attempt is None:
        tombstone = Attempt(
            payment_id=payment.payment_id,
            number=command.attempt,
            state=NeverCreated(),
            method=None,
            amount_minor=0,
            charge_round=command.attempt,
            window_closes_at=None,
            created_at=now,
            close_round=command.round,
            close_reason=command.reason,
        )
        payment = payment.with_attempt(tombstone)
        return Decided(payment, reply_of(payment, tombstone, Step.CLOSE_PAYMENT, command.round))
    if not attempt.is_live:
        return Decided(payment, reply_of(payment, attempt, Step.CLOSE_PAYMENT, command.round))
    attempt = replace(attempt, close_round=command.round, close_reason=command.reason)
    operation = payment.open_operation(attempt.number)
    answer: Messages = ()
    if operation is None or operation.status is not OperationStatus.DUE:
        # A call in flight, or an answer not decided upon yet, comes first.
        payment = payment.with_attempt(attempt)
        if operation is None:
            payment = with_close(payment, attempt, now)
        elif operation.kind is not OperationKind.CLOSE:
            payment = payment.with_operation(replace(operation, waited_for=True))
    elif operation.kind is OperationKind.CLOSE:
        payment = payment.with_attempt(attempt)
    elif operation.was_called:
        stopped = replace(operation, status=OperationStatus.SUPERSEDED)
        payment = with_close(payment.with_operation(stopped), attempt, now)
    else:
        withdrawn = replace(operation, status=OperationStatus.WITHDRAWN)
        payment = payment.with_operation(withdrawn)
        if operation.kind is OperationKind.CHARGE:
            attempt = replace(attempt, state=NeverCreated())
            payment = payment.with_attempt(attempt)
            answer = reply_of(payment, attempt, Step.CLOSE_PAYMENT, command.round)
        else:
            about = about_attempt(payment, attempt, Step.CAPTURE, operation.round or attempt.number)
            answer = (messages.CaptureFailed(**about, code="closed"),)
            payment = with_close(payment, attempt, now)
    if isinstance(attempt.state, Unknown):
        answer = reply_of(payment, attempt, Step.CLOSE_PAYMENT, command.round)
    return Decided(payment, answer)


def with_close(
    payment: Payment, attempt: Attempt, now: datetime, rules: Rules | None = None
) -> Payment:
    """The payment with the close of this attempt due at the provider.

    With `rules` it is another one after those before, and waits the longer the more there were.
    """
    before = sum(
        operation.kind is OperationKind.CLOSE and operation.attempt == attempt.number
        for operation in payment.operations
    )
    due_at = now + rules.ask_delay(before) if rules else now
    operation = close_of(attempt, _method(attempt), now, number=before + 1)
    operation = replace(operation, claimable_at=due_at)
    return payment.with_attempt(attempt).with_operation(operation)


def _method(attempt: Attempt) -> PaymentMethod:
    assert attempt.method is not None  # noqa: S101 - only tombstones have none, and they are settled
    return attempt.method


# --- refund ---------------------------------------------------------------------------------


def refund(payment: Payment | None, command: RefundPayment, now: datetime) -> Decided:
    """A refund due, refused, or as it stands already."""
    known = None if payment is None else payment.refund(command.refund_id)
    if payment is not None and known is not None:
        return Decided(payment, reply_of_refund(payment, known))
    attempt = None if payment is None else payment.attempt(command.attempt)
    if payment is None or attempt is None or attempt.method is None:
        refused = messages.RefundFailed(
            shop_id=command.shop_id,
            checkout_id=command.checkout_id,
            step=Step.REFUND,
            round=command.round,
            payment_id=command.payment_id,
            attempt=command.attempt,
            refund_id=command.refund_id,
            amount_minor=command.amount_minor,
            code="unknown_attempt",
        )
        return Decided(payment, (refused,))
    code = _refund_refusal(payment, attempt, command.amount_minor)
    refund = Refund(
        refund_id=command.refund_id,
        payment_id=payment.payment_id,
        attempt=attempt.number,
        round=command.round,
        amount_minor=command.amount_minor,
        reason=command.reason,
        state=Requested() if code is None else RefundFailed(None, code),
        created_at=now,
    )
    payment = payment.with_refund(refund)
    if code is not None:
        return Decided(payment, reply_of_refund(payment, refund))
    if command.by_hand:
        return _refund_by_hand(payment, refund, now)
    operation = refund_operation(refund, attempt.method.provider, now)
    payment = payment.with_operation(operation).booked(
        FactKind.REFUND_REQUESTED, refund.amount_minor, operation, now, None
    )
    return Decided(payment)


def _refund_by_hand(payment: Payment, refund: Refund, now: datetime) -> Decided:
    """Book a refund that was made on another way; no provider is asked for it, or about it."""
    refund = replace(refund, state=Refunded(BY_HAND))
    operation = replace(refund_operation(refund, BY_HAND, now), status=OperationStatus.DONE)
    payment = payment.with_refund(refund).with_operation(operation)
    for kind in (FactKind.REFUND_REQUESTED, FactKind.REFUNDED):
        payment = payment.booked(kind, refund.amount_minor, operation, now, BY_HAND)
    return Decided(payment, reply_of_refund(payment, refund))


def _refund_refusal(payment: Payment, attempt: Attempt, amount_minor: int) -> str | None:
    if amount_minor <= 0:
        return "invalid_amount"
    of_attempt = payment.amounts_of_attempt(attempt.number)
    if of_attempt.captured_minor == 0:
        return "not_captured"
    if payment.amounts.disputed_minor > 0:
        return "disputed"
    if amount_minor > min(of_attempt.refundable_minor, payment.amounts.refundable_minor):
        return "exceeds_refundable"
    return None
