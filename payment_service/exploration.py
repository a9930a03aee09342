"""Every situation that an attempt or a refund can get into, found by trying every message on it.

Beside messages there is the worker: it takes what is due, and what the provider answers is
decided like a message. Times and counts do not tell situations apart, so there are finitely many.
The pictures in docs/payments.md are drawn from the moves found here.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from contracts.ids import derived_id
from contracts.messages.parts import PaymentMethod
from contracts.messages.payment import (
    CapturePayment,
    ChargePayment,
    ClosePayment,
    ProviderReported,
    RefundPayment,
    ReviewPayment,
)
from contracts.values import replace
from payment_service.domain.decisions import PaymentMessage, decide
from payment_service.domain.declines import PROVIDER_UNAVAILABLE, declined
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
    RefundState,
    Reviewed,
    SeenRefund,
    Succeeded,
    Unknown,
    facts_of,
)
from payment_service.domain.payment import (
    NextCall,
    Operation,
    OperationKind,
    OperationStatus,
    Payment,
    refund_key,
)
from payment_service.domain.rules import Rules

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""When explored payments begin."""

WINDOW_CLOSES = START + timedelta(hours=1)
LATER = WINDOW_CLOSES + timedelta(days=6)
CHECKOUT_ID = UUID("00000000-0000-7000-8000-000000000001")
PAYMENT_ID = derived_id(CHECKOUT_ID, "payment")
REFUND_ID = derived_id(CHECKOUT_ID, "refund:1")
AMOUNT = 1_000
CARD = PaymentMethod(token="card")  # noqa: S106 - names a method, opens nothing
RULES = Rules(
    frozenset({CARD.provider}), timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
)

_SEEN: tuple[PaymentState, ...] = (
    Succeeded("pi", AMOUNT),
    Authorized("pi", AMOUNT, LATER),
    Processing("pi", LATER),
    ActionRequired("pi", "redirect", "https://bank.example/3ds", LATER),
    Declined("pi", "card_declined", retryable=True, same_method_allowed=True),
    Cancelled("pi", "cancelled"),
    NeverCreated(),
    CaptureFailed("pi", "expired"),
)
_REFUND_SEEN: tuple[RefundState, ...] = (
    RefundPending("re"),
    Refunded("re"),
    RefundFailed("re", "account_closed"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was reported of an operation; `made`: in answer to the call itself, not a question."""

    operation: Operation
    outcome: Outcome
    made: bool


Told: TypeAlias = PaymentMessage | Answer


@dataclass(frozen=True, slots=True)
class Move:
    """One message or answer that took effect on one payment."""

    before: Payment
    told: Told
    after: Payment


@dataclass(frozen=True, slots=True)
class _Scene:
    """A payment, and those of its operations that are being made just now, not asked about."""

    payment: Payment
    made_now: frozenset[UUID] = frozenset()


_Heard: TypeAlias = Iterator[tuple[Told, datetime]]
"""What may come, and when."""


def attempts() -> Iterator[Move]:
    """All that can happen to the first attempt of a payment."""
    return _explore(_begun(), _about_attempt)


def refunds() -> Iterator[Move]:
    """All that can happen to a refund of the whole of a payment."""
    return _explore(_paid(), _about_refund)


def _begun() -> Payment:
    return Payment(PAYMENT_ID, "main", CHECKOUT_ID, created_at=START)


def _paid() -> Payment:
    payment = decide(_begun(), _charge(), START, RULES).payment
    assert payment is not None  # noqa: S101 - it was there before
    (operation,) = payment.operations
    paid = _decided(_taken(payment, operation), Answer(operation, _SEEN[0], made=True), START)
    assert paid is not None  # noqa: S101 - it was there before
    return paid


def _explore(first: Payment, heard: Callable[[_Scene], _Heard]) -> Iterator[Move]:
    """Breadth first; of payments that are alike only the first one met is followed further."""
    waiting = deque([_Scene(first)])
    seen = {_likeness(waiting[0])}
    while waiting:
        scene = waiting.popleft()
        afters = list(_with_calls_begun(scene))
        for told, now in heard(scene):
            after = _decided(scene.payment, told, now)
            if after is None or after is scene.payment:
                continue
            yield Move(scene.payment, told, after)
            answered = {told.operation.operation_id} if isinstance(told, Answer) else set()
            afters.append(_Scene(after, scene.made_now - answered))
        for next_one in afters:
            if (likeness := _likeness(next_one)) not in seen:
                seen.add(likeness)
                waiting.append(next_one)


def _with_calls_begun(scene: _Scene) -> Iterator[_Scene]:
    for operation in scene.payment.operations:
        if operation.status is OperationStatus.DUE:
            making = operation.next_call is NextCall.MAKE
            made = {operation.operation_id} if making else set()
            yield _Scene(_taken(scene.payment, operation), scene.made_now | made)


def _taken(payment: Payment, operation: Operation) -> Payment:
    """The payment with this operation in a worker's hands."""
    making = operation.next_call is NextCall.MAKE
    return payment.with_operation(
        replace(
            operation,
            status=OperationStatus.LEASED,
            next_call=NextCall.ASK,
            makes=operation.makes + making,
            asks=operation.asks + (not making),
            hinted=False,
        )
    )


def _decided(payment: Payment, told: Told, now: datetime) -> Payment | None:
    if not isinstance(told, Answer):
        return decide(payment, told, now, RULES).payment
    operation = told.operation
    reported = replace(
        operation,
        status=OperationStatus.REPORTED,
        reports=operation.reports + 1,
        answered=operation.answered or (told.made and not isinstance(told.outcome, Unknown)),
    )
    report = ProviderReported(
        checkout_id=CHECKOUT_ID,
        payment_id=PAYMENT_ID,
        attempt=operation.attempt,
        operation_id=operation.operation_id,
        report=reported.reports,
        outcome=NAMES[type(told.outcome)],
        facts=facts_of(told.outcome),
        reported_at=now,
    )
    return decide(payment.with_operation(reported), report, now, RULES).payment


def _likeness(scene: _Scene) -> Hashable:
    """What tells payments apart in what can happen to them next."""
    payment = scene.payment
    amounts = payment.amounts
    return (
        tuple(
            (type(one.state), one.close_reason is None, one.close_round is None)
            for one in payment.attempts
        ),
        tuple((type(one.state), one.round) for one in payment.refunds),
        frozenset(
            (
                one.kind,
                one.status,
                one.next_call,
                one.was_called,
                one.answered,
                one.asks > 0,
                one.hinted,
            )
            for one in payment.operations
            if one.is_open
        ),
        frozenset(one.kind for one in payment.operations if one.was_called),
        scene.made_now,
        amounts.authorized_minor > 0,
        amounts.captured_minor > 0,
    )


def _about_attempt(scene: _Scene) -> _Heard:
    payment = scene.payment
    yield _charge(), START
    yield _charge(), LATER
    yield _charge(amount_minor=0), START
    yield _charge(amount_minor=-1), START
    yield ClosePayment(**_NAMES, round=1, reason="cancelled"), START
    attempt = payment.attempt(1)
    if attempt is None:
        return
    if payment.open_operation(attempt.number) is None:  # else the answer to that comes first
        yield ReviewPayment(**_NAMES, reason="a webhook"), START
    if isinstance(attempt.state, Authorized):
        yield CapturePayment(**_NAMES, round=1, amount_minor=AMOUNT), START
    for operation in payment.operations:
        if operation.kind is OperationKind.CHARGE and _is_called_by_nobody(operation):
            yield Answer(operation, declined(PROVIDER_UNAVAILABLE, None), made=False), START
        if operation.status is OperationStatus.LEASED:
            made = operation.operation_id in scene.made_now
            for outcome in _outcomes(payment, operation):
                for now in (START, LATER) if isinstance(outcome, NotFound) else (START,):
                    yield Answer(operation, outcome, made), now


def _is_called_by_nobody(operation: Operation) -> bool:
    return operation.status is OperationStatus.DUE and not operation.was_called


def _outcomes(payment: Payment, operation: Operation) -> Iterator[Outcome]:
    """What a provider may answer: nothing that only a later call of ours could have led to."""
    asked = {one.kind for one in payment.operations if one.was_called}
    held = any(fact.kind is FactKind.AUTHORIZED for fact in payment.ledger)
    is_review = operation.kind is OperationKind.REVIEW
    for state in _SEEN:
        if isinstance(state, CaptureFailed) and OperationKind.CAPTURE not in asked:
            continue
        if isinstance(state, NeverCreated) and (held or OperationKind.CLOSE not in asked):
            continue
        if isinstance(state, ActionRequired) and held:
            continue  # the shopper has done their part by then
        yield Reviewed(state) if is_review else state
    yield NotFound()
    if not is_review:  # one that is not answered is asked for again, and not reported
        yield Unknown("timeout")


def _about_refund(scene: _Scene) -> _Heard:
    payment = scene.payment
    if not payment.refunds:
        yield _refund(), START
        yield _refund(by_hand=True), START
        yield _refund(AMOUNT + 1), START
    yield ReviewPayment(**_NAMES, reason="a webhook"), START
    for operation in payment.operations:
        if operation.status is not OperationStatus.LEASED:
            continue
        made = operation.operation_id in scene.made_now
        answers: Iterable[Outcome] = (*_REFUND_SEEN, NotFound(), Unknown("timeout"))
        if operation.kind is OperationKind.REVIEW:
            answers = _reviews_of(payment)
        for outcome in answers:
            yield Answer(operation, outcome, made), START


def _reviews_of(payment: Payment) -> Iterator[Reviewed]:
    """The one refund in every state: ours where it was called, else one that was made there."""
    ours = [one for one in payment.operations if one.kind is OperationKind.REFUND]
    if payment.refund(REFUND_ID) is not None and not any(one.was_called for one in ours):
        yield Reviewed(_SEEN[0])
        return
    key = refund_key(PAYMENT_ID, REFUND_ID) if ours else None
    for state in _REFUND_SEEN:
        yield Reviewed(_SEEN[0], (SeenRefund("re", key, AMOUNT, state),))


_NAMES: Mapping[str, Any] = {"checkout_id": CHECKOUT_ID, "payment_id": PAYMENT_ID, "attempt": 1}


def _charge(amount_minor: int = AMOUNT) -> ChargePayment:
    return ChargePayment(
        **_NAMES,
        round=1,
        order_id=derived_id(CHECKOUT_ID, "order"),
        customer_id="ada",
        amount_minor=amount_minor,
        currency="GBP",
        method=CARD,
        window_closes_at=WINDOW_CLOSES,
    )


def _refund(amount_minor: int = AMOUNT, *, by_hand: bool = False) -> RefundPayment:
    return RefundPayment(
        **_NAMES,
        round=1,
        refund_id=REFUND_ID,
        amount_minor=amount_minor,
        reason="returned",
        by_hand=by_hand,
    )
