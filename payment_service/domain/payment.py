"""A payment: its attempts, refunds and operations, with what follows from them.

Everything here is immutable. A payment is one value; `Payment.changes_since` tells which of its
parts moved, so that only those are written.
"""

from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import TypeVar, assert_never
from uuid import UUID

from contracts.ids import derived_id
from contracts.messages.parts import ChargedLine, PaymentMethod
from contracts.values import Struct, replace
from payment_service.domain.ledger import BY_HAND, NOTHING, Amounts, Fact, FactKind, amounts_of
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
    RefundProgress,
    Requested,
    Succeeded,
    Unknown,
)

LIVE = (Requested, Processing, ActionRequired, Authorized, Unknown)
"""States in which an attempt may still bring money; at most one attempt of a payment is in one."""


class Attempt(Struct, frozen=True):
    """One try to get the money. Attempt `number` has the round of its charge, and of its close.

    `method` is None on the tombstone of an attempt that was closed before it was known here.
    `close_reason` is set once a close was asked for, by the saga (then with `close_round`) or by
    us, because the payment window closed before the provider had the charge. `lines` are what a
    page of the provider's shows as bought.
    """

    payment_id: UUID
    number: int
    state: AttemptState
    method: PaymentMethod | None
    amount_minor: int
    charge_round: int
    window_closes_at: datetime | None
    created_at: datetime
    provider_payment_id: str | None = None
    close_round: int | None = None
    close_reason: str | None = None
    lines: tuple[ChargedLine, ...] = ()

    @property
    def key(self) -> tuple[UUID, int]:
        """The payment and the number of the attempt."""
        return (self.payment_id, self.number)

    @property
    def is_live(self) -> bool:
        """Whether money may still come of it."""
        return isinstance(self.state, LIVE)

    @property
    def charge_key(self) -> str:
        """The idempotency key of its charge: how we and the provider name it from the start."""
        return charge_key(self.payment_id, self.number)


class Refund(Struct, frozen=True):
    """Money to be given back; refunds of one payment are counted by `round`.

    Round 0 is one that nobody here asked for: it was made at the provider.
    """

    refund_id: UUID
    payment_id: UUID
    attempt: int
    round: int
    amount_minor: int
    reason: str
    state: RefundProgress
    created_at: datetime

    @property
    def key(self) -> UUID:
        """Its id."""
        return self.refund_id


class OperationKind(StrEnum):
    """What is wanted of the provider. Any operation may be asked about; a review is only asked."""

    CHARGE = "charge"
    CAPTURE = "capture"
    CLOSE = "close"
    REFUND = "refund"
    REVIEW = "review"
    """All that the provider has of an attempt, whoever did it there: one for each attempt."""


BESIDE = (OperationKind.REFUND, OperationKind.REVIEW)
"""Kinds that stand beside whatever else is wanted of an attempt."""


class OperationStatus(StrEnum):
    """Where an operation stands between us, the worker and the provider."""

    DUE = "due"
    """A worker may take it from `claimable_at` on."""
    LEASED = "leased"
    """A worker is at it; from `claimable_at` on, the end of the lease, another may take it."""
    REPORTED = "reported"
    """The worker has recorded an answer that is not decided upon yet."""
    DONE = "done"
    """Nothing more is to be called or asked."""
    SUPERSEDED = "superseded"
    """A close of the attempt has taken over its question."""
    WITHDRAWN = "withdrawn"
    """Taken back before any call was made."""


OPEN = (OperationStatus.DUE, OperationStatus.LEASED, OperationStatus.REPORTED)


class NextCall(StrEnum):
    """What a worker does next: make the call, or ask what became of it."""

    MAKE = "make"
    ASK = "ask"


class Operation(Struct, frozen=True):
    """Something wanted of the provider, under one idempotency key for ever.

    `makes` and `asks` count the calls begun, `answered` says that the provider has answered the
    operation itself and not only questions about it, `reports` counts what was reported of it,
    `hinted` says that news arrived since it was last asked about, `waited_for` that a close waits
    for what comes of the call in flight, which is then reported even when it is no news.
    """

    operation_id: UUID
    payment_id: UUID
    attempt: int
    kind: OperationKind
    idempotency_key: str
    provider: str
    amount_minor: int
    round: int | None
    claimable_at: datetime
    created_at: datetime
    refund_id: UUID | None = None
    status: OperationStatus = OperationStatus.DUE
    next_call: NextCall = NextCall.MAKE
    makes: int = 0
    asks: int = 0
    answered: bool = False
    hinted: bool = False
    waited_for: bool = False
    reports: int = 0

    @property
    def key(self) -> UUID:
        """Its id."""
        return self.operation_id

    @property
    def is_open(self) -> bool:
        """Whether something is still to be called, asked or decided."""
        return self.status in OPEN

    @property
    def was_called(self) -> bool:
        """Whether the provider may have heard of it."""
        return self.makes > 0


def charge_key(payment_id: UUID, attempt: int) -> str:
    """The key of the charge of an attempt."""
    return f"{payment_id}:{attempt}:{OperationKind.CHARGE}"


def refund_key(payment_id: UUID, refund_id: UUID) -> str:
    """The key of a refund."""
    return f"{payment_id}:refund:{refund_id}"


class PaymentStatus(StrEnum):
    """A projection of the attempts and amounts."""

    PENDING = "pending"
    PROCESSING = "processing"
    ACTION_REQUIRED = "action_required"
    AUTHORIZED = "authorized"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    PARTLY_REFUNDED = "partly_refunded"
    REFUNDED = "refunded"
    DISPUTED = "disputed"
    DISPUTE_LOST = "dispute_lost"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NOT_DUE = "not_due"


class Payment(Struct, frozen=True, dict=True):
    """The one payment of a checkout's order, with all its parts.

    Order, its number, customer and currency are None until the first charge is known: a close may
    come first.
    """

    payment_id: UUID
    shop_id: str
    checkout_id: UUID
    created_at: datetime
    order_id: UUID | None = None
    customer_id: str | None = None
    currency: str | None = None
    order_number: str | None = None
    event_seq: int = 0
    attempts: tuple[Attempt, ...] = ()
    refunds: tuple[Refund, ...] = ()
    operations: tuple[Operation, ...] = ()
    ledger: tuple[Fact, ...] = ()

    @property
    def key(self) -> UUID:
        """Its id."""
        return self.payment_id

    @cached_property
    def amounts(self) -> Amounts:
        """What the ledger adds up to."""
        return amounts_of(self.ledger) if self.ledger else NOTHING

    def amounts_of_attempt(self, number: int) -> Amounts:
        """What the ledger adds up to for one attempt."""
        return amounts_of(fact for fact in self.ledger if fact.attempt == number)

    def amounts_at_provider(self, number: int) -> Amounts:
        """The same without what was given back by hand, of which no provider knows."""
        return amounts_of(
            fact for fact in self.ledger if fact.attempt == number and fact.provider != BY_HAND
        )

    @cached_property
    def status(self) -> PaymentStatus:
        """Where it stands, money first."""
        amounts = self.amounts
        if amounts.captured_minor > 0:
            if amounts.disputed_minor > 0:
                return PaymentStatus.DISPUTED
            if amounts.dispute_lost_minor > 0:
                return PaymentStatus.DISPUTE_LOST
            given_back = amounts.refunded_minor + amounts.over_refunded_minor
            if given_back >= amounts.captured_minor:
                return PaymentStatus.REFUNDED
            if given_back > 0:
                return PaymentStatus.PARTLY_REFUNDED
            return PaymentStatus.SUCCEEDED
        latest = self.live_attempt or max(
            (attempt for attempt in self.attempts if attempt.method is not None),
            key=lambda attempt: attempt.number,
            default=None,
        )
        return PaymentStatus.PENDING if latest is None else _status_of(latest.state)

    @property
    def live_attempt(self) -> Attempt | None:
        """The attempt of which money may still come."""
        for attempt in self.attempts:
            if attempt.is_live:
                return attempt
        return None

    @property
    def paid_attempt(self) -> Attempt | None:
        """An attempt that brought money."""
        return next(
            (attempt for attempt in self.attempts if isinstance(attempt.state, Succeeded)), None
        )

    def attempt(self, number: int) -> Attempt | None:
        """The attempt of that number."""
        for attempt in self.attempts:
            if attempt.number == number:
                return attempt
        return None

    def refund(self, refund_id: UUID) -> Refund | None:
        """The refund of that id."""
        return next((refund for refund in self.refunds if refund.refund_id == refund_id), None)

    def operation(self, operation_id: UUID) -> Operation | None:
        """The operation of that id."""
        for operation in self.operations:
            if operation.operation_id == operation_id:
                return operation
        return None

    def open_operation(self, attempt: int) -> Operation | None:
        """What is wanted of the provider for that attempt now; `BESIDE` aside, at most one."""
        return next(
            (
                operation
                for operation in self.operations
                if operation.attempt == attempt
                and operation.kind not in BESIDE
                and operation.is_open
            ),
            None,
        )

    def with_attempt(self, attempt: Attempt) -> "Payment":
        """The payment with this attempt in place of the one of its number."""
        return replace(self, attempts=_replaced(self.attempts, attempt))

    def with_refund(self, refund: Refund) -> "Payment":
        """The payment with this refund in place of the one of its id."""
        return replace(self, refunds=_replaced(self.refunds, refund))

    def with_operation(self, operation: Operation) -> "Payment":
        """The payment with this operation in place of the one of its id."""
        return replace(self, operations=_replaced(self.operations, operation))

    def booked(
        self,
        kind: FactKind,
        amount_minor: int,
        operation: Operation,
        now: datetime,
        reference: str | None,
        refund_id: UUID | None = None,
    ) -> "Payment":
        """The payment with one more fact, brought by `operation`; an amount of zero is none.

        A refund is named where the operation is not its own.
        """
        if amount_minor == 0:
            return self
        fact = Fact(
            payment_id=self.payment_id,
            seq=len(self.ledger) + 1,
            attempt=operation.attempt,
            kind=kind,
            amount_minor=amount_minor,
            currency=self.currency or "",
            operation_id=operation.operation_id,
            refund_id=refund_id or operation.refund_id,
            provider=operation.provider,
            provider_reference=reference,
            recorded_at=now,
        )
        return replace(self, ledger=(*self.ledger, fact))

    def changes_since(
        self, before: "Payment | None"
    ) -> tuple["Payment | Attempt | Refund | Operation | Fact", ...]:
        """The payment itself and those of its parts that are not in `before`, if any moved."""
        if before is self:
            return ()
        if before is None:
            return (self, *self.attempts, *self.refunds, *self.operations, *self.ledger)
        return (
            self,
            *_new(self.attempts, before.attempts),
            *_new(self.refunds, before.refunds),
            *_new(self.operations, before.operations),
            *self.ledger[len(before.ledger) :],
        )


def charge_of(attempt: Attempt, method: PaymentMethod, now: datetime) -> Operation:
    """The charge of a new attempt, due at once."""
    return _operation(
        attempt, OperationKind.CHARGE, method, now, attempt.amount_minor, attempt.charge_round
    )


def capture_of(
    attempt: Attempt, method: PaymentMethod, amount_minor: int, asked_round: int, now: datetime
) -> Operation:
    """The capture of an authorized attempt, due at once."""
    return _operation(attempt, OperationKind.CAPTURE, method, now, amount_minor, asked_round)


def close_of(attempt: Attempt, method: PaymentMethod, now: datetime, number: int = 1) -> Operation:
    """The close of an attempt at the provider, due at once; the `number`-th, under its own key.

    There is a second one only where the provider answered the first with a state that could not
    be closed, and that state has changed since.
    """
    return _operation(
        attempt, OperationKind.CLOSE, method, now, 0, attempt.close_round, number=number
    )


def _operation(
    attempt: Attempt,
    kind: OperationKind,
    method: PaymentMethod,
    now: datetime,
    amount_minor: int,
    asked_round: int | None,
    number: int = 1,
) -> Operation:
    name = f"{attempt.number}:{kind}" if number == 1 else f"{attempt.number}:{kind}:{number}"
    return Operation(
        operation_id=derived_id(attempt.payment_id, f"attempt:{name}"),
        payment_id=attempt.payment_id,
        attempt=attempt.number,
        kind=kind,
        idempotency_key=f"{attempt.payment_id}:{name}",
        provider=method.provider,
        amount_minor=amount_minor,
        round=asked_round,
        claimable_at=now,
        created_at=now,
    )


def refund_operation(refund: Refund, provider: str, now: datetime) -> Operation:
    """The operation of a refund, due at once."""
    return Operation(
        operation_id=derived_id(refund.payment_id, f"refund:{refund.refund_id}"),
        payment_id=refund.payment_id,
        attempt=refund.attempt,
        kind=OperationKind.REFUND,
        idempotency_key=refund_key(refund.payment_id, refund.refund_id),
        provider=provider,
        amount_minor=refund.amount_minor,
        round=refund.round,
        refund_id=refund.refund_id,
        claimable_at=now,
        created_at=now,
    )


def review_of(attempt: Attempt, provider: str, now: datetime) -> Operation:
    """The review of an attempt, due at once: nothing is called, the provider is only asked."""
    name = f"{attempt.number}:{OperationKind.REVIEW}"
    return Operation(
        operation_id=derived_id(attempt.payment_id, f"attempt:{name}"),
        payment_id=attempt.payment_id,
        attempt=attempt.number,
        kind=OperationKind.REVIEW,
        idempotency_key=f"{attempt.payment_id}:{name}",
        provider=provider,
        amount_minor=0,
        round=None,
        claimable_at=now,
        created_at=now,
        next_call=NextCall.ASK,
    )


P = TypeVar("P", Attempt, Refund, Operation)


def _replaced(parts: tuple[P, ...], part: P) -> tuple[P, ...]:
    """The parts with this one in place of that of its key, or behind them."""
    key, changed = part.key, list(parts)
    for place, other in enumerate(parts):
        if other.key == key:
            changed[place] = part
            return tuple(changed)
    changed.append(part)
    return tuple(changed)


def _new(parts: tuple[P, ...], before: tuple[P, ...]) -> tuple[P, ...]:
    """Parts that are not the very ones that were there before."""
    if parts is before:
        return ()
    known = {id(part) for part in before}
    return tuple([part for part in parts if id(part) not in known])


def _status_of(state: AttemptState) -> PaymentStatus:
    match state:
        case Requested():
            return PaymentStatus.PENDING
        case NotDue():
            return PaymentStatus.NOT_DUE
        case Processing():
            return PaymentStatus.PROCESSING
        case ActionRequired():
            return PaymentStatus.ACTION_REQUIRED
        case Authorized():
            return PaymentStatus.AUTHORIZED
        case Unknown():
            return PaymentStatus.UNKNOWN
        case Succeeded():
            return PaymentStatus.SUCCEEDED
        case Declined() | CaptureFailed():
            return PaymentStatus.FAILED
        case Cancelled() | NeverCreated():
            return PaymentStatus.CANCELLED
        case _:
            assert_never(state)
