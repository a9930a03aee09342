"""Messages to payment, its replies to the saga, what its workers report, and its events."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from contracts.messages.base import AboutCheckout, Event, Number, SagaCommand, SagaReply, Step
from contracts.messages.parts import ChargedLine, NextAction, PaymentMethod
from contracts.topics import ORDER_REPLIES, PAYMENT_COMMANDS, PAYMENT_EVENTS, Topic


class PaymentCommand(SagaCommand):
    """A command on the one payment of an order; `attempt` counts its attempts from 1."""

    topic: ClassVar[Topic] = PAYMENT_COMMANDS

    payment_id: UUID
    attempt: Number


class ChargePayment(PaymentCommand):
    """Make attempt `attempt` (= the round). One that meets a live attempt is answered with it.

    `lines` are there for a hosted method alone: its page shows what is bought.
    """

    type: ClassVar[str] = "payment.charge_payment.v1"

    step: Literal[Step.CHARGE] = Step.CHARGE
    order_id: UUID
    order_number: str | None = None
    customer_id: str | None = None
    amount_minor: int
    currency: str
    method: PaymentMethod
    window_closes_at: AwareDatetime
    lines: tuple[ChargedLine, ...] = ()


class CapturePayment(PaymentCommand):
    """Take the authorized money of this attempt."""

    type: ClassVar[str] = "payment.capture_payment.v1"

    step: Literal[Step.CAPTURE] = Step.CAPTURE
    amount_minor: int


class ClosePayment(PaymentCommand):
    """Make sure that this attempt brings no money any more, or say that it did.

    Of an attempt that is unknown here it leaves a tombstone that refuses the late original.
    """

    type: ClassVar[str] = "payment.close_payment.v1"

    step: Literal[Step.CLOSE_PAYMENT] = Step.CLOSE_PAYMENT
    reason: str


class RefundPayment(PaymentCommand):
    """Give `amount_minor` back from the refundable rest; the round counts the refunds.

    `by_hand`: it went back already, on another way than through the provider, and is only booked.
    """

    type: ClassVar[str] = "payment.refund_payment.v1"

    step: Literal[Step.REFUND] = Step.REFUND
    refund_id: UUID
    amount_minor: int
    reason: str
    by_hand: bool = False


class PaymentReply(SagaReply):
    """What became of an attempt, in answer to the step it carries."""

    topic: ClassVar[Topic] = ORDER_REPLIES

    step: Literal[Step.CHARGE, Step.CAPTURE, Step.CLOSE_PAYMENT, Step.REFUND] = Step.CHARGE
    payment_id: UUID
    attempt: Number


class PaymentSucceeded(PaymentReply):
    """The money is captured."""

    type: ClassVar[str] = "payment.succeeded.v1"

    step: Literal[Step.CHARGE, Step.CAPTURE, Step.CLOSE_PAYMENT] = Step.CHARGE
    amount_minor: int


class PaymentAuthorized(PaymentReply):
    """The money is set aside at the provider and must be captured before `capture_before`."""

    type: ClassVar[str] = "payment.authorized.v1"

    step: Literal[Step.CHARGE] = Step.CHARGE
    amount_minor: int
    capture_before: AwareDatetime


class PaymentProcessing(PaymentReply):
    """The provider is at it; bank debits take days. Its own deadline replaces the window."""

    type: ClassVar[str] = "payment.processing.v1"

    step: Literal[Step.CHARGE] = Step.CHARGE
    expected_by: AwareDatetime


class PaymentActionRequired(PaymentReply):
    """The shopper must act first."""

    type: ClassVar[str] = "payment.action_required.v1"

    step: Literal[Step.CHARGE] = Step.CHARGE
    next_action: NextAction
    expires_at: AwareDatetime


class PaymentDeclined(PaymentReply):
    """A final no for this attempt."""

    type: ClassVar[str] = "payment.declined.v1"

    step: Literal[Step.CHARGE] = Step.CHARGE
    code: str
    retryable: bool
    same_method_allowed: bool


class PaymentCancelled(PaymentReply):
    """The attempt was given up at the provider; no money came."""

    type: ClassVar[str] = "payment.cancelled.v1"

    step: Literal[Step.CHARGE] = Step.CHARGE
    reason: str


class PaymentUnknown(PaymentReply):
    """Nobody knows yet; the provider is asked until it is known. Never to be compensated."""

    type: ClassVar[str] = "payment.unknown.v1"

    step: Literal[Step.CHARGE, Step.CAPTURE, Step.CLOSE_PAYMENT] = Step.CHARGE


class NoPaymentDue(PaymentReply):
    """The total is zero: no provider is asked."""

    type: ClassVar[str] = "payment.no_payment_due.v1"

    step: Literal[Step.CHARGE, Step.CAPTURE] = Step.CHARGE


class CaptureFailed(PaymentReply):
    """The authorized money could not be taken; the authorization is gone."""

    type: ClassVar[str] = "payment.capture_failed.v1"

    step: Literal[Step.CAPTURE] = Step.CAPTURE
    code: str


class PaymentClosed(PaymentReply):
    """The provider's own word that no money can come from this attempt any more."""

    type: ClassVar[str] = "payment.closed.v1"

    step: Literal[Step.CLOSE_PAYMENT] = Step.CLOSE_PAYMENT
    outcome: Literal["declined", "cancelled", "expired", "never_created"]


class RefundReply(PaymentReply):
    """What became of a refund."""

    step: Literal[Step.REFUND] = Step.REFUND
    refund_id: UUID
    amount_minor: int


class RefundPending(RefundReply):
    """The provider has taken the refund; the money is on its way."""

    type: ClassVar[str] = "payment.refund_pending.v1"


class Refunded(RefundReply):
    """The money is back with the shopper."""

    type: ClassVar[str] = "payment.refunded.v1"


class RefundFailed(RefundReply):
    """A final no; the amount counts as refundable again."""

    type: ClassVar[str] = "payment.refund_failed.v1"

    code: str


class RefundMade(AboutCheckout):
    """Somebody gave money back at the provider, without us; told at each of its states.

    One that failed after it was `refunded` came back to us.
    """

    type: ClassVar[str] = "payment.refund_made.v1"
    topic: ClassVar[Topic] = ORDER_REPLIES

    payment_id: UUID
    attempt: Number
    refund_id: UUID
    amount_minor: int
    status: Literal["pending", "refunded", "failed"]


class DisputeMoved(AboutCheckout):
    """The shopper disputes the payment with their bank: money withdrawn, given back, or lost."""

    type: ClassVar[str] = "payment.dispute_moved.v1"
    topic: ClassVar[Topic] = ORDER_REPLIES

    payment_id: UUID
    attempt: Number
    dispute_id: str
    amount_minor: int
    status: Literal["open", "won", "lost"]


class ReviewPayment(AboutCheckout):
    """Look at everything the provider has of one attempt: something may have happened there.

    Nothing is done to it. `reason` says who thinks so, a webhook or the reconciliation.
    """

    type: ClassVar[str] = "payment.review_payment.v1"
    topic: ClassVar[Topic] = PAYMENT_COMMANDS

    payment_id: UUID
    attempt: Number
    reason: str


class ProviderReported(AboutCheckout):
    """What a provider said of one operation: a worker's result or a webhook's news.

    Written through the outbox by the worker, read by the same `decide` as every command.
    `outcome` is the closed set of the provider port, `facts` the fields of that outcome;
    `report` counts the reports of one operation, so that a late or repeated one is stale.
    """

    type: ClassVar[str] = "payment.provider_reported.v1"
    topic: ClassVar[Topic] = PAYMENT_COMMANDS

    payment_id: UUID
    attempt: Number
    operation_id: UUID
    report: int = 1
    outcome: str
    facts: Mapping[str, Any] = Field(default_factory=dict)
    reported_at: AwareDatetime


class PaymentChanged(Event):
    """The amounts of a payment moved; status and amounts are as after this change."""

    type: ClassVar[str] = "payment.changed.v1"
    topic: ClassVar[Topic] = PAYMENT_EVENTS

    payment_id: UUID
    order_id: UUID
    checkout_id: UUID
    status: str
    currency: str
    authorized_minor: int
    captured_minor: int
    refund_pending_minor: int
    refunded_minor: int
    disputed_minor: int = 0
    dispute_lost_minor: int = 0
    over_refunded_minor: int = 0
    changed_at: AwareDatetime

    @property
    def key(self) -> str:
        return str(self.payment_id)

    @property
    def correlation_id(self) -> str:
        return str(self.checkout_id)
