"""What each message does to a payment: pure, and the same for commands and provider's reports.

At most one attempt of a payment is live, and at most one operation of an attempt is open (refunds
aside). A close that meets an open operation waits for its answer, then takes its question over;
one that meets a charge nobody has called yet withdraws it. A charge that waits too long for a
provider which is away is withdrawn by a report of its own, and answered as declined.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias, assert_never

from contracts.messages import payment as messages
from contracts.messages.base import Step
from contracts.messages.parts import PaymentMethod
from contracts.messages.payment import (
    CapturePayment,
    ChargePayment,
    ClosePayment,
    ProviderReported,
    RefundPayment,
    ReviewPayment,
)
from contracts.values import quick, replace
from payment_service.domain.ledger import NOTHING, FactKind
from payment_service.domain.outcomes import (
    ActionRequired,
    AttemptState,
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
    Requested,
    Reviewed,
    SettledPayment,
    Succeeded,
    Unknown,
    outcome_from,
)
from payment_service.domain.payment import (
    BY_HAND,
    Attempt,
    NextCall,
    Operation,
    OperationKind,
    OperationStatus,
    Payment,
    PaymentStatus,
    Refund,
    capture_of,
    charge_of,
    close_of,
    refund_operation,
    review_of,
)
from payment_service.domain.replies import (
    Messages,
    about_attempt,
    question_of,
    reply_of,
    reply_of_refund,
)
from payment_service.domain.reviews import disputes_noted, refunds_noted

PaymentMessage: TypeAlias = (
    ChargePayment | CapturePayment | ClosePayment | RefundPayment | ReviewPayment | ProviderReported
)

WINDOW_CLOSED = "payment_window_closed"
"""Why we close an attempt ourselves: its charge never reached the provider in time."""

NOT_CAPTURABLE = "not_capturable"
"""Why we close an attempt ourselves: a capture was asked for that it cannot serve."""

STILL_OPEN = "still_open"
"""Why we close an attempt ourselves: it brought nothing here, and still may at the provider."""

_LARGEST_DOUBLING = 20


class UnknownPayment(LookupError):
    """A report names a payment that is not here, or a command names one of another checkout."""


class UnknownOperation(LookupError):
    """A report names an operation that is not here."""


class OutcomeOutOfPlace(ValueError):
    """A report's outcome cannot be one of its operation."""


class NotAuthorized(ValueError):
    """A capture of an attempt that was never authorized: no delay or repetition explains it."""


@quick
@dataclass(frozen=True, slots=True)
class Rules:
    """What the decisions depend on beside the payment: the providers there are, and the backoff.

    A provider is asked again after `ask_first`, then after twice as long each time, at most
    `ask_longest`; about what takes a bank days, at most `ask_bank_longest`.
    """

    providers: frozenset[str]
    ask_first: timedelta
    ask_longest: timedelta
    ask_bank_longest: timedelta

    def ask_delay(self, asks: int, outcome: Outcome | None = None) -> timedelta:
        """How long to wait after the `asks`-th question, which was answered so."""
        doubled: int = 2 ** min(asks, _LARGEST_DOUBLING)
        at_a_bank = isinstance(outcome, Processing | RefundPending | Reviewed)
        longest = self.ask_bank_longest if at_a_bank else self.ask_longest
        return min(self.ask_first * doubled, longest)


@quick
@dataclass(frozen=True, slots=True)
class Decided:
    """The payment after a message, and what is to be sent."""

    payment: Payment | None
    messages: Messages = ()


def decide(
    payment: Payment | None, message: PaymentMessage, now: datetime, rules: Rules
) -> Decided:
    """What `message` does to `payment`.

    Charge and close need the payment, which their handler opens. Raises `UnknownPayment`,
    `UnknownOperation`, `OutcomeOutOfPlace`, `NotAuthorized`, and what `outcome_from` raises.
    """
    match message:
        case ChargePayment():
            decided = _charge(_present(payment, message), message, now, rules)
        case CapturePayment():
            decided = _capture(payment, message, now)
        case ClosePayment():
            decided = _close(_present(payment, message), message, now)
        case RefundPayment():
            decided = _refund(payment, message, now)
        case ReviewPayment():
            decided = _review(_present(payment, message), message, now)
        case ProviderReported():
            decided = _reported(_present(payment, message), message, now, rules)
        case _:
            assert_never(message)
    return _announced(payment, _outdating(payment, decided), now)


def _present(payment: Payment | None, message: PaymentMessage) -> Payment:
    if payment is None or payment.checkout_id != message.checkout_id:
        raise UnknownPayment(message.payment_id)
    return payment


def _outdating(before: Payment | None, decided: Decided) -> Decided:
    """What a review under way sees may be from before this decision: it is asked for again."""
    after = decided.payment
    if before is None or after is None or after is before:
        return decided
    for review in before.operations:
        is_asked = review.status in (OperationStatus.LEASED, OperationStatus.REPORTED)
        if review.kind is OperationKind.REVIEW and is_asked and review in after.operations:
            after = after.with_operation(replace(review, hinted=True))
    return replace(decided, payment=after)


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
        changed_at=now,
    )
    return Decided(after, (*decided.messages, event))


# --- charge ---------------------------------------------------------------------------------


def _charge(payment: Payment, command: ChargePayment, now: datetime, rules: Rules) -> Decided:
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


def _capture(payment: Payment | None, command: CapturePayment, now: datetime) -> Decided:
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
                return Decided(_closing(payment, closing, now), (refused,))
            capture = capture_of(attempt, attempt.method, command.amount_minor, command.round, now)
            return Decided(payment.with_operation(capture))
        case Succeeded() | Declined() | Cancelled() | NeverCreated() | CaptureFailed():
            return Decided(payment, reply_of(payment, attempt, Step.CAPTURE, command.round))
        case Requested() | NotDue() | Unknown() | Processing() | ActionRequired():
            raise NotAuthorized(payment.payment_id, attempt.number, attempt.state)
        case _:
            assert_never(attempt.state)


# --- close ----------------------------------------------------------------------------------


def _close(payment: Payment, command: ClosePayment, now: datetime) -> Decided:
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
            payment = _closing(payment, attempt, now)
        elif operation.kind is not OperationKind.CLOSE:
            payment = payment.with_operation(replace(operation, waited_for=True))
    elif operation.kind is OperationKind.CLOSE:
        payment = payment.with_attempt(attempt)
    elif operation.was_called:
        stopped = replace(operation, status=OperationStatus.SUPERSEDED)
        payment = _closing(payment.with_operation(stopped), attempt, now)
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
            payment = _closing(payment, attempt, now)
    if isinstance(attempt.state, Unknown):
        answer = reply_of(payment, attempt, Step.CLOSE_PAYMENT, command.round)
    return Decided(payment, answer)


def _closing(
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
    close = replace(
        close_of(attempt, _method(attempt), now, number=before + 1), claimable_at=due_at
    )
    return payment.with_attempt(attempt).with_operation(close)


def _method(attempt: Attempt) -> PaymentMethod:
    assert attempt.method is not None  # noqa: S101 - only tombstones have none, and they are settled
    return attempt.method


# --- refund ---------------------------------------------------------------------------------


def _refund(payment: Payment | None, command: RefundPayment, now: datetime) -> Decided:
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


# --- review ---------------------------------------------------------------------------------


def _review(payment: Payment, request: ReviewPayment, now: datetime) -> Decided:
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


def _reviewed(
    payment: Payment,
    attempt: Attempt,
    operation: Operation,
    outcome: Outcome,
    now: datetime,
    rules: Rules,
) -> Decided:
    """What the provider has of an attempt, whoever did it there."""
    if operation.hinted or payment.open_operation(attempt.number) is not None:
        # Seen before something was decided since, or before the answer to what is under way.
        return Decided(payment.with_operation(_due(operation, NextCall.ASK, now, rules)))
    done = replace(operation, status=OperationStatus.DONE)
    match outcome:
        case NotFound():
            return Decided(payment.with_operation(done))
        case Reviewed():
            seen = _as_seen(payment, attempt, operation, outcome.payment, now)
        case _:
            raise OutcomeOutOfPlace(operation.kind, type(outcome).__name__)
    assert seen.payment is not None  # noqa: S101 - it was there before
    refunds = refunds_noted(seen.payment, operation, outcome.refunds, now)
    disputes = disputes_noted(refunds.payment, operation, outcome.disputes, now)
    if refunds.look_again:
        done = _due(operation, NextCall.ASK, now, rules, outcome)
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
                return _settled(payment, attempt, operation, state, now)
        case Declined() | Cancelled() | NeverCreated() | CaptureFailed():
            if attempt.is_live:
                return _settled(payment, attempt, operation, state, now)
        case Authorized() | Processing() | ActionRequired():
            if not attempt.is_live and not isinstance(attempt.state, Succeeded):
                return Decided(_closing(payment, replace(attempt, close_reason=STILL_OPEN), now))
            if isinstance(state, Authorized) and isinstance(attempt.state, Authorized):
                payment = _booked(payment, operation, state, now)
                return Decided(payment.with_attempt(replace(attempt, state=state)))
        case _:
            assert_never(state)
    return Decided(payment)


# --- what the provider said -----------------------------------------------------------------


def _reported(payment: Payment, report: ProviderReported, now: datetime, rules: Rules) -> Decided:
    operation = payment.operation(report.operation_id)
    if operation is None:
        raise UnknownOperation(report.operation_id)
    if operation.status is not OperationStatus.REPORTED or operation.reports != report.report:
        return Decided(payment)
    outcome = outcome_from(report.outcome, report.facts)
    if operation.refund_id is not None:
        return _refund_reported(payment, operation, outcome, now, rules)
    attempt = payment.attempt(operation.attempt)
    assert attempt is not None  # noqa: S101 - an operation refers to its attempt by foreign key
    if operation.kind is OperationKind.REVIEW:
        return _reviewed(payment, attempt, operation, outcome, now, rules)
    match outcome:
        case Unknown():
            return _now_unknown(payment, attempt, operation, outcome, now, rules)
        case NotFound():
            return _not_found(payment, attempt, operation, now, rules)
        case Processing() | ActionRequired() | Authorized():
            return _on_its_way(payment, attempt, operation, outcome, now, rules)
        case Succeeded() | Declined() | Cancelled() | NeverCreated() | CaptureFailed():
            return _settled(payment, attempt, operation, outcome, now)
        case RefundPending() | Refunded() | RefundFailed() | Reviewed():
            raise OutcomeOutOfPlace(operation.kind, report.outcome)
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
    again = _due(operation, NextCall.ASK, now, rules)
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
        return Decided(_continued(payment, attempt, _due(operation, NextCall.ASK, now, rules), now))
    again = _due(operation, NextCall.MAKE, now, rules)
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
        payment = _booked(payment, operation, outcome, now)
    answer: Messages = ()
    if operation.kind is OperationKind.CHARGE:
        after = (
            replace(operation, status=OperationStatus.DONE)
            if isinstance(outcome, Authorized)
            else _due(operation, NextCall.ASK, now, rules, outcome)
        )
        if attempt.close_reason is None:
            answer = reply_of(payment, attempt, Step.CHARGE, attempt.charge_round)
    elif operation.answered and operation.kind is OperationKind.CLOSE and operation.asks > 0:
        # What could not be closed when we asked for it can be now, if it is no debit on its way.
        after = _due(operation, NextCall.ASK, now, rules, outcome)
        if not isinstance(outcome, Processing):
            done = replace(operation, status=OperationStatus.DONE)
            return Decided(_closing(payment.with_operation(done), attempt, now, rules))
    elif operation.answered:
        # Taken, and not done yet; a bank debit on its way cannot be called back.
        after = _due(operation, NextCall.ASK, now, rules, outcome)
        if operation.kind is OperationKind.CLOSE and attempt.close_round is not None:
            about = about_attempt(payment, attempt, Step.CLOSE_PAYMENT, attempt.close_round)
            answer = (messages.PaymentUnknown(**about),)
    else:
        # The provider has the payment, and our capture or close has not changed it.
        after = _due(operation, NextCall.MAKE, now, rules)
    return Decided(_continued(payment, attempt, after, now), answer)


def _settled(
    payment: Payment,
    attempt: Attempt,
    operation: Operation,
    outcome: SettledPayment,
    now: datetime,
) -> Decided:
    named = None if isinstance(outcome, NeverCreated) else outcome.provider_payment_id
    attempt = replace(
        attempt, state=outcome, provider_payment_id=named or attempt.provider_payment_id
    )
    # What is reported of an operation that nobody has called is not the provider's word.
    ended = OperationStatus.DONE if operation.was_called else OperationStatus.WITHDRAWN
    payment = (
        _booked(payment, operation, outcome, now)
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
    return _closing(payment.with_operation(operation), attempt, now)


def _due(
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


def _booked(payment: Payment, operation: Operation, state: PaymentState, now: datetime) -> Payment:
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


def _refund_reported(
    payment: Payment, operation: Operation, outcome: Outcome, now: datetime, rules: Rules
) -> Decided:
    assert operation.refund_id is not None  # noqa: S101 - the caller's case
    refund = payment.refund(operation.refund_id)
    assert refund is not None  # noqa: S101 - an operation refers to its refund by foreign key
    match outcome:
        case Unknown():
            answer = _now_pending(payment, refund, outcome)
            refund = replace(refund, state=outcome)
            after = _due(operation, NextCall.ASK, now, rules)
        case NotFound():
            again = NextCall.ASK if operation.answered else NextCall.MAKE
            after = _due(operation, again, now, rules)
            answer = ()
        case RefundPending():
            answer = _now_pending(payment, refund, outcome)
            refund = replace(refund, state=outcome)
            after = _due(operation, NextCall.ASK, now, rules, outcome)
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
