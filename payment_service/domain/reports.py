"""What became of an operation, as its provider said: of an attempt's, or of a refund's.

A charge that waits too long for a provider which is away is withdrawn by a report of its own, and
answered as declined.
"""

from datetime import datetime, timedelta
from typing import assert_never

from contracts.messages import payment as messages
from contracts.messages.base import Step
from contracts.values import replace
from payment_service.domain.commands import with_close
from payment_service.domain.ledger import FactKind
from payment_service.domain.outcomes import (
    NAMES,
    ActionRequired,
    Authorized,
    Cancelled,
    CaptureFailed,
    Declined,
    NeverCreated,
    NotFound,
    Outcome,
    PaymentState,
    Processing,
    Refunded,
    RefundFailed,
    RefundPending,
    Requested,
    Reviewed,
    SettledPayment,
    Succeeded,
    Unknown,
)
from payment_service.domain.payment import (
    Attempt,
    NextCall,
    Operation,
    OperationKind,
    OperationStatus,
    Payment,
    Refund,
)
from payment_service.domain.replies import (
    Messages,
    about_attempt,
    question_of,
    reply_of,
    reply_of_refund,
)
from payment_service.domain.rules import Decided, Rules

WINDOW_CLOSED = "payment_window_closed"
"""Why we close an attempt ourselves: its charge never reached the provider in time."""


class OutcomeOutOfPlace(ValueError):
    """A report's outcome cannot be one of its operation."""


def of_attempt(
    payment: Payment,
    attempt: Attempt,
    operation: Operation,
    outcome: Outcome,
    now: datetime,
    rules: Rules,
) -> Decided:
    """What came of a charge, capture or close. Raises `OutcomeOutOfPlace`."""
    match outcome:
        case Unknown():
            return _now_unknown(payment, attempt, operation, outcome, now, rules)
        case NotFound():
            return _not_found(payment, attempt, operation, now, rules)
        case Processing() | ActionRequired() | Authorized():
            return _on_its_way(payment, attempt, operation, outcome, now, rules)
        case Succeeded() | Declined() | Cancelled() | NeverCreated() | CaptureFailed():
            return settled(payment, attempt, operation, outcome, now)
        case RefundPending() | Refunded() | RefundFailed() | Reviewed():
            raise OutcomeOutOfPlace(operation.kind, NAMES[type(outcome)])
        case _:
            assert_never(outcome)


def _now_unknown(
    payment: Payment,
    attempt: Attempt,
    operation: Operation,
    outcome: Unknown,
    now: datetime,
    rules: Rules,
) -> Decided:
    again = due_again(operation, NextCall.ASK, now, rules)
    if operation.kind is OperationKind.CHARGE and not isinstance(
        attempt.state, Requested | Unknown
    ):
        # A question went unanswered; what the provider said before still holds.
        return Decided(_continued(payment, attempt, again, now))
    first = not isinstance(attempt.state, Unknown)
    attempt = replace(attempt, state=outcome)
    answer: Messages = ()
    if first:
        if operation.kind is not OperationKind.CLOSE:
            step, asked_round = question_of(attempt, operation)
            answer = reply_of(payment, attempt, step, asked_round)
        if attempt.close_round is not None:
            closing = reply_of(payment, attempt, Step.CLOSE_PAYMENT, attempt.close_round)
            answer = (*answer, *closing)
    return Decided(_continued(payment, attempt, again, now), answer)


def _not_found(
    payment: Payment, attempt: Attempt, operation: Operation, now: datetime, rules: Rules
) -> Decided:
    if operation.kind is OperationKind.CAPTURE or operation.answered:
        # It knew the payment before: not an answer to build on.
        again = due_again(operation, NextCall.ASK, now, rules)
        return Decided(_continued(payment, attempt, again, now))
    again = due_again(operation, NextCall.MAKE, now, rules)
    window = attempt.window_closes_at
    if attempt.close_reason is None and window is not None and now >= window:
        attempt = replace(attempt, close_reason=WINDOW_CLOSED)
    return Decided(_continued(payment, attempt, again, now))


def _on_its_way(
    payment: Payment,
    attempt: Attempt,
    operation: Operation,
    outcome: Processing | ActionRequired | Authorized,
    now: datetime,
    rules: Rules,
) -> Decided:
    attempt = replace(attempt, state=outcome, provider_payment_id=outcome.provider_payment_id)
    if isinstance(outcome, Authorized):
        payment = state_booked(payment, operation, outcome, now)
    answer: Messages = ()
    if operation.kind is OperationKind.CHARGE:
        after = (
            replace(operation, status=OperationStatus.DONE)
            if isinstance(outcome, Authorized)
            else due_again(operation, NextCall.ASK, now, rules, outcome)
        )
        if attempt.close_reason is None:
            answer = reply_of(payment, attempt, Step.CHARGE, attempt.charge_round)
    elif operation.answered and operation.kind is OperationKind.CLOSE and operation.asks > 0:
        # What could not be closed when we asked for it can be now, if it is no debit on its way.
        after = due_again(operation, NextCall.ASK, now, rules, outcome)
        if not isinstance(outcome, Processing):
            done = replace(operation, status=OperationStatus.DONE)
            return Decided(with_close(payment.with_operation(done), attempt, now, rules))
    elif operation.answered:
        # Taken, and not done yet; a bank debit on its way cannot be called back.
        after = due_again(operation, NextCall.ASK, now, rules, outcome)
        if operation.kind is OperationKind.CLOSE and attempt.close_round is not None:
            about = about_attempt(payment, attempt, Step.CLOSE_PAYMENT, attempt.close_round)
            answer = (messages.PaymentUnknown(**about),)
    else:
        # The provider has the payment, and our capture or close has not changed it.
        after = due_again(operation, NextCall.MAKE, now, rules)
    return Decided(_continued(payment, attempt, after, now), answer)


def settled(
    payment: Payment,
    attempt: Attempt,
    operation: Operation,
    outcome: SettledPayment,
    now: datetime,
) -> Decided:
    """The attempt at its end, as this operation found it; the steps that wait for it are told."""
    named = None if isinstance(outcome, NeverCreated) else outcome.provider_payment_id
    attempt = replace(
        attempt, state=outcome, provider_payment_id=named or attempt.provider_payment_id
    )
    # What is reported of an operation that nobody has called is not the provider's word.
    ended = OperationStatus.DONE if operation.was_called else OperationStatus.WITHDRAWN
    payment = (
        state_booked(payment, operation, outcome, now)
        .with_attempt(attempt)
        .with_operation(replace(operation, status=ended))
    )
    answer: Messages = ()
    capture = next(
        (
            found
            for found in payment.operations
            if found.attempt == attempt.number
            and found.kind is OperationKind.CAPTURE
            and found.status is not OperationStatus.WITHDRAWN
        ),
        None,
    )
    if capture is not None:
        answer = reply_of(payment, attempt, *question_of(attempt, capture))
    elif operation.kind is OperationKind.CHARGE or attempt.close_round is None:
        answer = reply_of(payment, attempt, Step.CHARGE, attempt.charge_round)
    if attempt.close_round is not None:
        closed = reply_of(payment, attempt, Step.CLOSE_PAYMENT, attempt.close_round)
        answer = (*answer, *closed)
    return Decided(payment, answer)


def _continued(payment: Payment, attempt: Attempt, operation: Operation, now: datetime) -> Payment:
    """The payment with this attempt and operation; a close that waited takes over."""
    if attempt.close_reason is None or operation.kind is OperationKind.CLOSE:
        return payment.with_attempt(attempt).with_operation(operation)
    if operation.is_open:
        operation = replace(operation, status=OperationStatus.SUPERSEDED)
    return with_close(payment.with_operation(operation), attempt, now)


def due_again(
    operation: Operation,
    next_call: NextCall,
    now: datetime,
    rules: Rules,
    outcome: Outcome | None = None,
) -> Operation:
    """The operation due again: at once when news came meanwhile, else after the backoff."""
    wait = timedelta() if operation.hinted else rules.ask_delay(operation.asks, outcome)
    return replace(
        operation,
        status=OperationStatus.DUE,
        next_call=next_call,
        claimable_at=now + wait,
        hinted=False,
        waited_for=False,
    )


def state_booked(
    payment: Payment, operation: Operation, state: PaymentState, now: datetime
) -> Payment:
    """The payment with the facts that `state` brings and the ledger does not have yet."""
    amounts = payment.amounts_of_attempt(operation.attempt)
    held = amounts.authorized_minor - amounts.captured_minor
    match state:
        case Authorized(provider_payment_id=reference, amount_minor=authorized):
            missing = max(authorized - amounts.authorized_minor, 0)
            return payment.booked(FactKind.AUTHORIZED, missing, operation, now, reference)
        case Succeeded(provider_payment_id=reference, amount_minor=captured):
            taken = captured - amounts.captured_minor
            payment = payment.booked(
                FactKind.AUTHORIZED, max(taken - held, 0), operation, now, reference
            )
            payment = payment.booked(FactKind.CAPTURED, taken, operation, now, reference)
            return payment.booked(FactKind.VOIDED, max(held - taken, 0), operation, now, reference)
        case Cancelled(provider_payment_id=reference, released_minor=released):
            unseen = max(released - held, 0)
            payment = payment.booked(FactKind.AUTHORIZED, unseen, operation, now, reference)
            return payment.booked(FactKind.VOIDED, held + unseen, operation, now, reference)
        case Declined(provider_payment_id=reference):
            return payment.booked(FactKind.VOIDED, held, operation, now, reference)
        case CaptureFailed(provider_payment_id=reference):
            return payment.booked(FactKind.VOIDED, held, operation, now, reference)
        case NeverCreated():
            return payment.booked(FactKind.VOIDED, held, operation, now, None)
        case Processing() | ActionRequired():
            return payment
        case _:
            assert_never(state)


def of_refund(
    payment: Payment, operation: Operation, outcome: Outcome, now: datetime, rules: Rules
) -> Decided:
    """What came of a refund. Raises `OutcomeOutOfPlace`."""
    assert operation.refund_id is not None  # noqa: S101 - the caller's case
    refund = payment.refund(operation.refund_id)
    assert refund is not None  # noqa: S101 - an operation refers to its refund by foreign key
    match outcome:
        case Unknown():
            answer = _now_pending(payment, refund, outcome)
            refund = replace(refund, state=outcome)
            after = due_again(operation, NextCall.ASK, now, rules)
        case NotFound():
            again = NextCall.ASK if operation.answered else NextCall.MAKE
            after = due_again(operation, again, now, rules)
            answer = ()
        case RefundPending():
            answer = _now_pending(payment, refund, outcome)
            refund = replace(refund, state=outcome)
            after = due_again(operation, NextCall.ASK, now, rules, outcome)
        case Refunded() | RefundFailed():
            refund = replace(refund, state=outcome)
            after = replace(operation, status=OperationStatus.DONE)
            kind = FactKind.REFUNDED if isinstance(outcome, Refunded) else FactKind.REFUND_FAILED
            payment = payment.booked(
                kind, refund.amount_minor, operation, now, outcome.provider_refund_id
            )
            answer = reply_of_refund(payment, refund)
        case _:
            raise OutcomeOutOfPlace(operation.kind, type(outcome).__name__)
    return Decided(payment.with_refund(refund).with_operation(after), answer)


def _now_pending(payment: Payment, refund: Refund, state: Unknown | RefundPending) -> Messages:
    """The saga hears once that a refund is pending: an unknown one is too, as far as it goes."""
    if isinstance(refund.state, Requested):
        return reply_of_refund(payment, replace(refund, state=state))
    return ()
