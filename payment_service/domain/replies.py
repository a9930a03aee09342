"""What a payment answers to each step of the saga, read off the state of its attempt or refund."""

from typing import Any, TypeAlias, assert_never

from contracts.messages import payment as messages
from contracts.messages.base import Message, Step
from contracts.messages.parts import NextAction
from payment_service.domain.outcomes import (
    ActionRequired,
    Authorized,
    Cancelled,
    CaptureFailed,
    Declined,
    NeverCreated,
    NotDue,
    Processing,
    Refunded,
    RefundFailed,
    RefundPending,
    Requested,
    Succeeded,
    Unknown,
)
from payment_service.domain.payment import (
    Attempt,
    Operation,
    OperationKind,
    Payment,
    Refund,
)

Messages: TypeAlias = tuple[Message, ...]


def question_of(attempt: Attempt, operation: Operation) -> tuple[Step, int]:
    """The step and round that an operation answers."""
    match operation.kind:
        case OperationKind.CHARGE:
            return Step.CHARGE, attempt.charge_round
        case OperationKind.CAPTURE:
            return Step.CAPTURE, operation.round or attempt.number
        case OperationKind.CLOSE:
            return Step.CLOSE_PAYMENT, attempt.close_round or attempt.number
        case OperationKind.REFUND:
            return Step.REFUND, operation.round or attempt.number
        case OperationKind.REVIEW:
            return Step.CHARGE, attempt.charge_round
        case _:
            assert_never(operation.kind)


def about_attempt(
    payment: Payment, attempt: Attempt, step: Step, asked_round: int
) -> dict[str, Any]:
    """The fields that all replies of an attempt share."""
    return {
        "shop_id": payment.shop_id,
        "checkout_id": payment.checkout_id,
        "step": step,
        "round": asked_round,
        "payment_id": payment.payment_id,
        "attempt": attempt.number,
    }


def reply_of(payment: Payment, attempt: Attempt, step: Step, asked_round: int) -> Messages:
    """What `attempt` says to a step, charge, capture or close; nothing while it is on its way."""
    about = about_attempt(payment, attempt, step, asked_round)
    match attempt.state:
        case Requested():
            return ()
        case Unknown():
            return (messages.PaymentUnknown(**about),)
        case Succeeded(amount_minor=captured):
            return (messages.PaymentSucceeded(**about, amount_minor=captured),)
        case NotDue() if step is not Step.CLOSE_PAYMENT:
            return (messages.NoPaymentDue(**about),)
        case Processing() | ActionRequired() | Authorized() if step is not Step.CHARGE:
            return ()
        case Processing(expected_by=expected_by):
            return (messages.PaymentProcessing(**about, expected_by=expected_by),)
        case ActionRequired(action_type=kind, url=url, expires_at=expires_at):
            action = NextAction(
                type=kind,
                url=url,
                expires_at=expires_at,
                client_secret=attempt.state.client_secret,
            )
            return (
                messages.PaymentActionRequired(**about, next_action=action, expires_at=expires_at),
            )
        case Authorized(amount_minor=authorized, capture_before=before):
            return (
                messages.PaymentAuthorized(**about, amount_minor=authorized, capture_before=before),
            )
        case NotDue() | Declined() | Cancelled() | NeverCreated() | CaptureFailed():
            return (_no_money(about, attempt, attempt.state, step),)
        case _:
            assert_never(attempt.state)


def _no_money(
    about: dict[str, Any],
    attempt: Attempt,
    state: NotDue | Declined | Cancelled | NeverCreated | CaptureFailed,
    step: Step,
) -> Message:
    """The final word of an attempt that brings nothing, as each step has it."""
    match step, state:
        case Step.CLOSE_PAYMENT, Declined():
            return messages.PaymentClosed(**about, outcome="declined")
        case Step.CLOSE_PAYMENT, Cancelled(reason=reason):
            return messages.PaymentClosed(**about, outcome=reason)
        case Step.CLOSE_PAYMENT, CaptureFailed():
            return messages.PaymentClosed(**about, outcome="cancelled")
        case Step.CLOSE_PAYMENT, NeverCreated() | NotDue():
            return messages.PaymentClosed(**about, outcome="never_created")
        case Step.CAPTURE, Declined(code=code) | CaptureFailed(code=code):
            return messages.CaptureFailed(**about, code=code)
        case Step.CAPTURE, Cancelled(reason=reason):
            return messages.CaptureFailed(**about, code=reason)
        case Step.CAPTURE, NeverCreated() | NotDue():
            return messages.CaptureFailed(**about, code="never_created")
        case _, Declined(code=code, retryable=retryable, same_method_allowed=same_method):
            return messages.PaymentDeclined(
                **about, code=code, retryable=retryable, same_method_allowed=same_method
            )
        case _, Cancelled(reason=reason):
            return messages.PaymentCancelled(**about, reason=attempt.close_reason or reason)
        case _, CaptureFailed(code=code):
            return messages.PaymentCancelled(**about, reason=code)
        case _:
            return messages.PaymentCancelled(
                **about, reason=attempt.close_reason or "never_created"
            )


def reply_of_refund(payment: Payment, refund: Refund) -> Messages:
    """What a refund says to its step; nothing while it is on its way.

    One of unknown outcome is pending: its amount is taken, and it is asked about until it ends.
    """
    about: dict[str, Any] = {
        "shop_id": payment.shop_id,
        "checkout_id": payment.checkout_id,
        "step": Step.REFUND,
        "round": refund.round,
        "payment_id": payment.payment_id,
        "attempt": refund.attempt,
        "refund_id": refund.refund_id,
        "amount_minor": refund.amount_minor,
    }
    match refund.state:
        case Requested():
            return ()
        case Unknown() | RefundPending():
            return (messages.RefundPending(**about),)
        case Refunded():
            return (messages.Refunded(**about),)
        case RefundFailed(code=code):
            return (messages.RefundFailed(**about, code=code),)
        case _:
            assert_never(refund.state)
