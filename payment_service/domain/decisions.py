"""What each message does to a payment: pure, and the same for commands and provider's reports.

`decide` is the way in; what a message does is in `commands`, `reports` and `reviews`.
"""

from datetime import datetime
from typing import TypeAlias, assert_never

from contracts.messages import payment as messages
from contracts.messages.payment import (
    CapturePayment,
    ChargePayment,
    ClosePayment,
    ProviderReported,
    RefundPayment,
    ReviewPayment,
)
from contracts.values import replace
from payment_service.domain import commands, reports, reviews
from payment_service.domain.ledger import NOTHING
from payment_service.domain.outcomes import outcome_from
from payment_service.domain.payment import OperationKind, OperationStatus, Payment, PaymentStatus
from payment_service.domain.rules import Decided, Rules

PaymentMessage: TypeAlias = (
    ChargePayment | CapturePayment | ClosePayment | RefundPayment | ReviewPayment | ProviderReported
)


class UnknownPayment(LookupError):
    """A report names a payment that is not here, or a command names one of another checkout."""


class UnknownOperation(LookupError):
    """A report names an operation that is not here."""


def decide(
    payment: Payment | None, message: PaymentMessage, now: datetime, rules: Rules
) -> Decided:
    """What `message` does to `payment`.

    Charge and close need the payment, which their handler opens. Raises `UnknownPayment`,
    `UnknownOperation`, `OutcomeOutOfPlace`, `NotAuthorized`, and what `outcome_from` raises.
    """
    match message:
        case ChargePayment():
            decided = commands.charge(_present(payment, message), message, now, rules)
        case CapturePayment():
            decided = commands.capture(payment, message, now)
        case ClosePayment():
            decided = commands.close(_present(payment, message), message, now)
        case RefundPayment():
            decided = commands.refund(payment, message, now)
        case ReviewPayment():
            decided = reviews.requested(_present(payment, message), message, now)
        case ProviderReported():
            decided = _reported(_present(payment, message), message, now, rules)
        case _:
            assert_never(message)
    return _announced(payment, _outdating(payment, decided), now)


def _present(payment: Payment | None, message: PaymentMessage) -> Payment:
    if payment is None or payment.checkout_id != message.checkout_id:
        raise UnknownPayment(message.payment_id)
    return payment


def _reported(payment: Payment, report: ProviderReported, now: datetime, rules: Rules) -> Decided:
    operation = payment.operation(report.operation_id)
    if operation is None:
        raise UnknownOperation(report.operation_id)
    if operation.status is not OperationStatus.REPORTED or operation.reports != report.report:
        return Decided(payment)
    outcome = outcome_from(report.outcome, report.facts)
    if operation.refund_id is not None:
        return reports.of_refund(payment, operation, outcome, now, rules)
    attempt = payment.attempt(operation.attempt)
    assert attempt is not None  # noqa: S101 - an operation refers to its attempt by foreign key
    if operation.kind is OperationKind.REVIEW:
        return reviews.reviewed(payment, attempt, operation, outcome, now, rules)
    return reports.of_attempt(payment, attempt, operation, outcome, now, rules)


def _outdating(before: Payment | None, decided: Decided) -> Decided:
    """What a review under way sees may be from before this decision: it is asked for again."""
    after = decided.payment
    if before is None or after is None or after is before:
        return decided
    for review in before.operations:
        is_asked = review.status in (OperationStatus.LEASED, OperationStatus.REPORTED)
        if review.kind is OperationKind.REVIEW and is_asked and review in after.operations:
            after = after.with_operation(replace(review, hinted=True))
    return decided if after is decided.payment else replace(decided, payment=after)


def _announced(before: Payment | None, decided: Decided, now: datetime) -> Decided:
    after = decided.payment
    if after is None or after is before or after.order_id is None:
        return decided
    status, amounts = after.status, after.amounts
    was = (before.status, before.amounts) if before else (PaymentStatus.PENDING, NOTHING)
    if was == (status, amounts):
        return decided
    after = replace(after, event_seq=after.event_seq + 1)
    event = messages.PaymentChanged(
        shop_id=after.shop_id,
        event_seq=after.event_seq,
        payment_id=after.payment_id,
        order_id=after.order_id,
        checkout_id=after.checkout_id,
        status=status,
        currency=after.currency,
        authorized_minor=amounts.authorized_minor,
        captured_minor=amounts.captured_minor,
        refund_pending_minor=amounts.refund_pending_minor,
        refunded_minor=amounts.refunded_minor,
        disputed_minor=amounts.disputed_minor,
        dispute_lost_minor=amounts.dispute_lost_minor,
        over_refunded_minor=amounts.over_refunded_minor,
        changed_at=now,
    )
    return Decided(after, (*decided.messages, event))
