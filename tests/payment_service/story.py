"""A payment told as a story: messages come, a worker calls, a provider answers. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from contracts.ids import derived_id
from contracts.messages.base import Message
from contracts.messages.parts import ChargedLine, PaymentMethod
from contracts.messages.payment import (
    CapturePayment,
    ChargePayment,
    ClosePayment,
    PaymentChanged,
    ProviderReported,
    RefundPayment,
    ReviewPayment,
)
from contracts.values import replace
from payment_service.domain.decisions import PaymentMessage, decide
from payment_service.domain.outcomes import NAMES, Outcome, Unknown, facts_of
from payment_service.domain.payment import (
    Attempt,
    NextCall,
    Operation,
    OperationKind,
    OperationStatus,
    Payment,
    Refund,
)
from payment_service.domain.rules import Rules

START = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
WINDOW = timedelta(minutes=30)
RULES = Rules(
    frozenset({"simulated"}), timedelta(seconds=1), timedelta(seconds=60), timedelta(hours=1)
)

CHECKOUT = UUID("01940000-0000-7000-8000-000000000001")
PAYMENT = derived_id(CHECKOUT, "payment")
ORDER = derived_id(CHECKOUT, "order")

Flow = Literal["automatic", "authorize"]

BOUGHT = (
    ChargedLine(name="Teapot", quantity=2, amount_minor=500),
    ChargedLine(name="Mug", quantity=3, amount_minor=400),
    ChargedLine(name="Parcel", quantity=1, amount_minor=100),
)
"""What a charge of 1000 on a page is for; the mugs have no whole price."""


def charge(
    attempt: int = 1,
    amount: int = 1000,
    *,
    method: str = "pm_ok",
    flow: Flow = "automatic",
    hosted: bool = False,
    currency: str = "GBP",
    provider: str = "simulated",
    window_closes_at: datetime = START + WINDOW,
    checkout: UUID = CHECKOUT,
) -> ChargePayment:
    """Charge an attempt."""
    return ChargePayment(
        checkout_id=checkout,
        round=attempt,
        payment_id=derived_id(checkout, "payment"),
        attempt=attempt,
        order_id=derived_id(checkout, "order"),
        customer_id="c-1",
        amount_minor=amount,
        currency=currency,
        order_number="7Q2M-0C4X-9ZJ1",
        method=PaymentMethod(provider=provider, token=method, flow=flow, hosted=hosted),
        window_closes_at=window_closes_at,
        lines=BOUGHT if hosted else (),
    )


def capture(attempt: int = 1, amount: int = 1000, *, checkout: UUID = CHECKOUT) -> CapturePayment:
    """Capture an authorized attempt."""
    return CapturePayment(
        checkout_id=checkout,
        round=attempt,
        payment_id=derived_id(checkout, "payment"),
        attempt=attempt,
        amount_minor=amount,
    )


def close(attempt: int = 1, *, checkout: UUID = CHECKOUT) -> ClosePayment:
    """Close an attempt."""
    return ClosePayment(
        checkout_id=checkout,
        round=attempt,
        payment_id=derived_id(checkout, "payment"),
        attempt=attempt,
        reason="cancelled by the shopper",
    )


def refund(
    number: int = 1, amount: int = 1000, *, attempt: int = 1, checkout: UUID = CHECKOUT
) -> RefundPayment:
    """Refund number `number`."""
    return RefundPayment(
        checkout_id=checkout,
        round=number,
        payment_id=derived_id(checkout, "payment"),
        attempt=attempt,
        refund_id=derived_id(checkout, f"refund:{number}"),
        amount_minor=amount,
        reason="returned",
    )


def review(attempt: int = 1, *, checkout: UUID = CHECKOUT) -> ReviewPayment:
    """Look at what the provider has of an attempt."""
    return ReviewPayment(
        checkout_id=checkout,
        payment_id=derived_id(checkout, "payment"),
        attempt=attempt,
        reason="a webhook",
    )


@dataclass
class Story:
    """One payment as it goes along, with everything that was sent."""

    payment: Payment = field(
        default_factory=lambda: Payment(PAYMENT, "main", CHECKOUT, created_at=START)
    )
    now: datetime = START
    sent: list[Message] = field(default_factory=list)

    def when(self, message: PaymentMessage) -> list[Message]:
        """Decide a message; gives the replies, without events."""
        decided = decide(self.payment, message, self.now, RULES)
        assert decided.payment is not None
        self.payment = decided.payment
        self.sent.extend(decided.messages)
        return [sent for sent in decided.messages if not isinstance(sent, PaymentChanged)]

    def called(self, kind: OperationKind = OperationKind.CHARGE, number: int = 1) -> Operation:
        """A worker has taken the operation: a call or question is in flight."""
        operation = self.operation(kind, number)
        assert operation.status is OperationStatus.DUE
        making = operation.next_call is NextCall.MAKE
        leased = replace(
            operation,
            status=OperationStatus.LEASED,
            next_call=NextCall.ASK,
            makes=operation.makes + making,
            asks=operation.asks + (not making),
            hinted=False,
        )
        self.payment = self.payment.with_operation(leased)
        return operation

    def answered(
        self,
        outcome: Outcome,
        kind: OperationKind = OperationKind.CHARGE,
        number: int = 1,
        *,
        made: bool = True,
    ) -> list[Message]:
        """The call in flight has come to `outcome`, and its report is read."""
        return self.when(self.recorded(outcome, kind, number, made=made))

    def recorded(
        self,
        outcome: Outcome,
        kind: OperationKind = OperationKind.CHARGE,
        number: int = 1,
        *,
        made: bool = True,
    ) -> ProviderReported:
        """The worker has recorded the outcome; its report is on its way."""
        operation = self.operation(kind, number)
        assert operation.status is OperationStatus.LEASED
        reported = replace(
            operation,
            status=OperationStatus.REPORTED,
            reports=operation.reports + 1,
            answered=operation.answered or (made and not isinstance(outcome, Unknown)),
        )
        self.payment = self.payment.with_operation(reported)
        return ProviderReported(
            checkout_id=CHECKOUT,
            payment_id=PAYMENT,
            attempt=operation.attempt,
            operation_id=operation.operation_id,
            report=reported.reports,
            outcome=NAMES[type(outcome)],
            facts=facts_of(outcome),
            reported_at=self.now,
        )

    def nobody_calls(self, answer: Outcome) -> ProviderReported:
        """The provider is away: the charge is answered without a call; the report is on its way."""
        operation = self.operation()
        assert operation.status is OperationStatus.DUE
        self.payment = self.payment.with_operation(
            replace(operation, status=OperationStatus.LEASED)
        )
        return self.recorded(answer, made=False)

    def provider_says(
        self, outcome: Outcome, kind: OperationKind = OperationKind.CHARGE, number: int = 1
    ) -> list[Message]:
        """A worker takes the operation, and this is what the provider says."""
        made = self.called(kind, number).next_call is NextCall.MAKE
        return self.answered(outcome, kind, number, made=made)

    def operation(self, kind: OperationKind = OperationKind.CHARGE, number: int = 1) -> Operation:
        """The operation of this kind on attempt, or of refund, `number`."""
        if kind is OperationKind.REFUND:
            name = f"refund:{derived_id(CHECKOUT, f'refund:{number}')}"
        else:
            name = f"attempt:{number}:{kind}"
        found = self.payment.operation(derived_id(PAYMENT, name))
        assert found is not None
        return found

    def attempt(self, number: int = 1) -> Attempt:
        """That attempt."""
        found = self.payment.attempt(number)
        assert found is not None
        return found

    def refund(self, number: int = 1) -> Refund:
        """That refund."""
        found = self.payment.refund(derived_id(CHECKOUT, f"refund:{number}"))
        assert found is not None
        return found

    def booked(self) -> list[tuple[str, int]]:
        """Kinds and amounts of the ledger."""
        return [(fact.kind.value, fact.amount_minor) for fact in self.payment.ledger]

    def amounts(self) -> tuple[int, int, int, int]:
        """Authorized, captured, refund pending, refunded."""
        amounts = self.payment.amounts
        return (
            amounts.authorized_minor,
            amounts.captured_minor,
            amounts.refund_pending_minor,
            amounts.refunded_minor,
        )

    def events(self) -> list[PaymentChanged]:
        """The events published so far."""
        return [sent for sent in self.sent if isinstance(sent, PaymentChanged)]

    def open_operations(self) -> Sequence[Operation]:
        """What is wanted of the provider now."""
        return [operation for operation in self.payment.operations if operation.is_open]
