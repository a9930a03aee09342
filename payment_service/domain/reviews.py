"""What a review has seen at the provider: the attempt itself, its refunds and its disputes.

Each is booked once, by the provider's id of it, and only as far as the ledger does not have it:
seen again, or seen out of order, it changes nothing.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, assert_never
from uuid import UUID

from contracts.ids import derived_id
from contracts.messages.payment import DisputeMoved, RefundMade, ReviewPayment
from contracts.values import Struct, replace
from payment_service.domain.commands import with_close
from payment_service.domain.ledger import FactKind
from payment_service.domain.outcomes import (
    ActionRequired,
    Authorized,
    Cancelled,
    CaptureFailed,
    Declined,
    NeverCreated,
    NotDue,
    NotFound,
    Outcome,
    PaymentState,
    Processing,
    Refunded,
    RefundFailed,
    RefundPending,
    RefundProgress,
    RefundState,
    Requested,
    Reviewed,
    SeenDispute,
    SeenRefund,
    Succeeded,
)
from payment_service.domain.payment import (
    Attempt,
    NextCall,
    Operation,
    OperationStatus,
    Payment,
    Refund,
    review_of,
)
from payment_service.domain.replies import Messages, reply_of_refund
from payment_service.domain.reports import OutcomeOutOfPlace, due_again, settled, state_booked
from payment_service.domain.rules import Decided, Rules

STILL_OPEN = "still_open"
"""Why we close an attempt ourselves: it brought nothing here, and still may at the provider."""

AT_PROVIDER = "made_at_provider"
"""Why there is a refund that nobody here asked for."""

_CLOSED: dict[str, tuple[FactKind, ...]] = {
    "open": (),
    "won": (FactKind.DISPUTE_WON,),
    "lost": (FactKind.DISPUTE_LOST,),
}


class Noted(Struct, frozen=True):
    """The payment after what was seen. `look_again`: not all of it is booked, or at its end."""

    payment: Payment
    messages: Messages = ()
    look_again: bool = False


def requested(payment: Payment, request: ReviewPayment, now: datetime) -> Decided:
    """The review of an attempt due; one under way will look again."""
    attempt = payment.attempt(request.attempt)
    if attempt is None or attempt.method is None or isinstance(attempt.state, NotDue):
        return Decided(payment)  # no provider has anything of it
    fresh = review_of(attempt, attempt.method.provider, now)
    review = payment.operation(fresh.operation_id) or fresh
    if review.status in (OperationStatus.LEASED, OperationStatus.REPORTED):
        review = replace(review, hinted=True)
    else:
        review = replace(review, status=OperationStatus.DUE, claimable_at=now)
    return Decided(payment.with_operation(review))


def reviewed(
    payment: Payment,
    attempt: Attempt,
    operation: Operation,
    outcome: Outcome,
    now: datetime,
    rules: Rules,
) -> Decided:
    """What the provider has of an attempt, whoever did it there. Raises `OutcomeOutOfPlace`."""
    if operation.hinted or payment.open_operation(attempt.number) is not None:
        # Seen before something was decided since, or before the answer to what is under way.
        return Decided(payment.with_operation(due_again(operation, NextCall.ASK, now, rules)))
    done = replace(operation, status=OperationStatus.DONE)
    match outcome:
        case NotFound():
            return Decided(payment.with_operation(done))
        case Reviewed(currency=currency) if currency not in (None, payment.currency):
            # Its amounts are none of ours; the reconciliation reports it.
            return Decided(payment.with_operation(done))
        case Reviewed():
            seen = _as_seen(payment, attempt, operation, outcome.payment, now)
        case _:
            raise OutcomeOutOfPlace(operation.kind, type(outcome).__name__)
    assert seen.payment is not None  # noqa: S101 - it was there before
    refunds = refunds_noted(seen.payment, operation, outcome.refunds, now)
    disputes = disputes_noted(refunds.payment, operation, outcome.disputes, now)
    if refunds.look_again:
        done = due_again(operation, NextCall.ASK, now, rules, outcome)
    return Decided(
        disputes.payment.with_operation(done),
        (*seen.messages, *refunds.messages, *disputes.messages),
    )


def _as_seen(
    payment: Payment, attempt: Attempt, operation: Operation, state: PaymentState, now: datetime
) -> Decided:
    """The payment with an attempt that may have been moved at the provider, not by us."""
    match state:
        case Succeeded():
            if not isinstance(attempt.state, Succeeded):
                return settled(payment, attempt, operation, state, now)
        case Declined() | Cancelled() | NeverCreated() | CaptureFailed():
            if attempt.is_live:
                return settled(payment, attempt, operation, state, now)
        case Authorized() | Processing() | ActionRequired():
            if not attempt.is_live and not isinstance(attempt.state, Succeeded):
                return Decided(with_close(payment, replace(attempt, close_reason=STILL_OPEN), now))
            if isinstance(state, Authorized) and isinstance(attempt.state, Authorized):
                payment = state_booked(payment, operation, state, now)
                return Decided(payment.with_attempt(replace(attempt, state=state)))
        case _:
            assert_never(state)
    return Decided(payment)


def refunds_noted(
    payment: Payment, review: Operation, refunds: Iterable[SeenRefund], now: datetime
) -> Noted:
    """The payment with these refunds: ours as they stand now, and those that were made there."""
    noted = Noted(payment)
    for seen in refunds:
        one = _refund_noted(noted.payment, review, seen, now)
        noted = Noted(
            one.payment, (*noted.messages, *one.messages), noted.look_again or one.look_again
        )
    return noted


def _refund_noted(payment: Payment, review: Operation, seen: SeenRefund, now: datetime) -> Noted:
    asked_for = next(
        (one for one in payment.operations if one.idempotency_key == seen.refund_key), None
    )
    if asked_for is not None and asked_for.is_open:
        return Noted(payment)  # its own answer tells
    refund = payment.refund(_refund_id(payment, asked_for, seen))
    if refund is None:
        if isinstance(seen.state, RefundFailed):
            return Noted(payment)  # as if it had never been
        refund = Refund(
            refund_id=_refund_id(payment, None, seen),
            payment_id=payment.payment_id,
            attempt=review.attempt,
            round=0,
            amount_minor=seen.amount_minor,
            reason=AT_PROVIDER,
            state=Requested(),
            created_at=now,
        )
    kinds = _kinds_between(refund.state, seen.state)
    is_open = isinstance(seen.state, RefundPending)
    if not kinds:
        return Noted(payment, look_again=is_open)
    if kinds[0] is FactKind.REFUND_REQUESTED:
        there = payment.amounts_at_provider(refund.attempt)
        on_their_way, given_back = there.refund_pending_minor, there.refunded_minor
        if refund.amount_minor > there.captured_minor - on_their_way - given_back:
            # One of ours on its way has taken that rest, and the provider will refuse it. Where
            # there is none more was taken there than we know: the reconciliation tells of it.
            return Noted(payment, look_again=on_their_way > 0)
    refund = replace(refund, state=seen.state)
    payment = payment.with_refund(refund)
    for kind in kinds:
        payment = payment.booked(
            kind, refund.amount_minor, review, now, seen.provider_refund_id, refund.refund_id
        )
    told = reply_of_refund(payment, refund) if refund.round else (_told(payment, refund),)
    return Noted(payment, told, look_again=is_open)


def _refund_id(payment: Payment, asked_for: Operation | None, seen: SeenRefund) -> UUID:
    if asked_for is not None and asked_for.refund_id is not None:
        return asked_for.refund_id
    return derived_id(payment.payment_id, f"provider:{seen.provider_refund_id}")


def _kinds_between(known: RefundProgress, seen: RefundState) -> tuple[FactKind, ...]:
    """What has to be booked of a refund that was last known so, and is seen so now."""
    match known, seen:
        case Requested(), RefundPending():
            return (FactKind.REFUND_REQUESTED,)
        case ((Requested() | RefundFailed()), Refunded()):
            return (FactKind.REFUND_REQUESTED, FactKind.REFUNDED)
        case RefundPending(), Refunded():
            return (FactKind.REFUNDED,)
        case RefundPending(), RefundFailed():
            return (FactKind.REFUND_FAILED,)
        case Refunded(), RefundFailed():
            return (FactKind.REFUND_RETURNED,)
        case _:
            return ()


def _told(payment: Payment, refund: Refund) -> RefundMade:
    status: Literal["pending", "refunded", "failed"] = "pending"
    match refund.state:
        case Refunded():
            status = "refunded"
        case RefundFailed():
            status = "failed"
    return RefundMade(
        shop_id=payment.shop_id,
        checkout_id=payment.checkout_id,
        payment_id=payment.payment_id,
        attempt=refund.attempt,
        refund_id=refund.refund_id,
        amount_minor=refund.amount_minor,
        status=status,
    )


def disputes_noted(
    payment: Payment, review: Operation, disputes: Iterable[SeenDispute], now: datetime
) -> Noted:
    """The payment with these disputes. One that has been decided stays decided."""
    messages: list[DisputeMoved] = []
    for seen in disputes:
        after = _dispute_booked(payment, review, seen, now)
        if after is not payment:
            payment = after
            messages.append(
                DisputeMoved(
                    shop_id=payment.shop_id,
                    checkout_id=payment.checkout_id,
                    payment_id=payment.payment_id,
                    attempt=review.attempt,
                    dispute_id=seen.provider_dispute_id,
                    amount_minor=seen.amount_minor,
                    status=seen.status,
                )
            )
    return Noted(payment, tuple(messages))


def _dispute_booked(
    payment: Payment, review: Operation, seen: SeenDispute, now: datetime
) -> Payment:
    reference = seen.provider_dispute_id
    known = {f.kind: f.amount_minor for f in payment.ledger if f.provider_reference == reference}
    if seen.status == "won" and FactKind.DISPUTED not in known:
        return payment  # withdrawn and given back while nobody looked
    if FactKind.DISPUTE_WON in known or FactKind.DISPUTE_LOST in known:
        return payment
    amount_minor = known.get(FactKind.DISPUTED, seen.amount_minor)
    for kind in (FactKind.DISPUTED, *_CLOSED[seen.status]):
        if kind not in known:
            payment = payment.booked(kind, amount_minor, review, now, reference)
    return payment
