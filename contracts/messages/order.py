"""Commands that the order service reads, its notes on blocked steps, and its public events."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from contracts.messages.base import AboutCheckout, Event, Number, SagaCommand, SagaMessage, Step
from contracts.messages.parts import (
    Address,
    LinePieces,
    OrderLine,
    PaymentMethod,
    RefundedLine,
    ReturnedPieces,
    ShippingLine,
)
from contracts.topics import ORDER_COMMANDS, ORDER_EVENTS, ORDER_REPLIES, Topic


class StartCheckout(SagaCommand):
    """Buy what stands here at these prices; re-sent by the cart until CheckoutAccepted.

    Exactly one of `customer_id` and `guest_token_hash` (hex SHA-256 of the cart token) is set.
    Without `payment` the order waits, pending payment, for its first attempt. The payment
    window starts when the stock is reserved.
    """

    type: ClassVar[str] = "order.start_checkout.v1"
    topic: ClassVar[Topic] = ORDER_COMMANDS

    step: Literal[Step.START] = Step.START
    cart_id: UUID
    cart_version: int
    customer_id: str | None = None
    guest_token_hash: str | None = None
    email: str
    shipping_address: Address
    currency: str
    lines: tuple[OrderLine, ...] = Field(min_length=1)
    shipping: tuple[ShippingLine, ...] = ()
    total_minor: int
    payment: PaymentMethod | None = None
    payment_window_seconds: int = Field(ge=1)
    requested_at: AwareDatetime


class PayOrder(AboutCheckout):
    """The shopper tries to pay: a first attempt, or another after one that failed.

    `replace` first closes the live attempt, if there is one, at the provider.
    """

    type: ClassVar[str] = "order.pay_order.v1"
    topic: ClassVar[Topic] = ORDER_COMMANDS

    method: PaymentMethod
    replace: bool = False


class CancelCheckout(AboutCheckout):
    """The shopper or an operator gives the order up, at any point before it is finished."""

    type: ClassVar[str] = "order.cancel_checkout.v1"
    topic: ClassVar[Topic] = ORDER_COMMANDS

    reason: str
    requested_by: str
    by_operator: bool = False


class ResolveCheckout(AboutCheckout):
    """An operator decides what a checkout that needs attention could not decide by itself.

    `retry` asks again what ran out and refunds anew what failed. `refunded_by_hand` says that the
    money of failed refunds went back on another way than through the provider.
    """

    type: ClassVar[str] = "order.resolve_checkout.v1"
    topic: ClassVar[Topic] = ORDER_COMMANDS

    decision: Literal["retry", "refunded_by_hand"]
    reason: str
    requested_by: str


class RefundOrder(AboutCheckout):
    """Give money of a paid order back: an amount, or pieces of lines, or all that is left."""

    type: ClassVar[str] = "order.refund_order.v1"
    topic: ClassVar[Topic] = ORDER_COMMANDS

    amount_minor: int | None = Field(None, ge=1)
    lines: tuple[LinePieces, ...] = ()
    reason: str
    requested_by: str


class ReturnOrder(AboutCheckout):
    """Pieces of a paid order came back; `refund` gives their money back, too."""

    type: ClassVar[str] = "order.return_order.v1"
    topic: ClassVar[Topic] = ORDER_COMMANDS

    lines: tuple[ReturnedPieces, ...] = Field(min_length=1)
    refund: bool = True
    reason: str
    requested_by: str


class ShipOrder(AboutCheckout):
    """Goods leave the house, in one shipment of perhaps several; without lines, all that is left.

    Money that was set aside until then is taken first, whole, with the first of them.
    """

    type: ClassVar[str] = "order.ship_order.v1"
    topic: ClassVar[Topic] = ORDER_COMMANDS

    carrier: str = ""
    tracking: str = ""
    lines: tuple[LinePieces, ...] = ()
    requested_by: str


class ResolveRefund(AboutCheckout):
    """An operator decides about a refund that failed, or whose answer never came.

    `retry` asks for it again, `refunded_by_hand` says that the money went back on another way, and
    `withdrawn` gives it up.
    """

    type: ClassVar[str] = "order.resolve_refund.v1"
    topic: ClassVar[Topic] = ORDER_COMMANDS

    claim: Number
    decision: Literal["retry", "refunded_by_hand", "withdrawn"]
    reason: str
    requested_by: str


class DeadlinePassed(SagaMessage):
    """A wait of the saga ran out; by the time it is read the wait may be over, and it is stale."""

    type: ClassVar[str] = "order.deadline_passed.v1"
    topic: ClassVar[Topic] = ORDER_COMMANDS

    due_at: AwareDatetime


class PaymentWindowClosed(AboutCheckout):
    """The time in which the shopper may pay is over."""

    type: ClassVar[str] = "order.payment_window_closed.v1"
    topic: ClassVar[Topic] = ORDER_COMMANDS

    closed_at: AwareDatetime


class StepBlocked(SagaMessage):
    """A command was dead-lettered or parked: its saga neither re-sends nor times out."""

    type: ClassVar[str] = "order.step_blocked.v1"
    topic: ClassVar[Topic] = ORDER_REPLIES

    service: str
    dead_letter_id: UUID


class StepUnblocked(SagaMessage):
    """The blocked command was replayed, or discarded (a typed failure): the saga goes on."""

    type: ClassVar[str] = "order.step_unblocked.v1"
    topic: ClassVar[Topic] = ORDER_REPLIES

    service: str
    dead_letter_id: UUID
    outcome: Literal["replayed", "discarded"]


class OrderEvent(Event):
    """A public fact about one order."""

    topic: ClassVar[Topic] = ORDER_EVENTS

    order_id: UUID
    checkout_id: UUID
    number: str
    customer_id: str | None = None
    currency: str
    total_minor: int
    occurred_at: AwareDatetime

    @property
    def key(self) -> str:
        return str(self.order_id)

    @property
    def correlation_id(self) -> str:
        return str(self.checkout_id)


class OrderPlaced(OrderEvent):
    """The order exists, its stock is held, its payment is pending."""

    type: ClassVar[str] = "order.placed.v1"

    email: str
    lines: tuple[OrderLine, ...]
    shipping: tuple[ShippingLine, ...] = ()


class OrderPaymentFailed(OrderEvent):
    """An attempt was declined or cancelled; the shopper may pay again until the window closes."""

    type: ClassVar[str] = "order.payment_failed.v1"

    attempt: Number
    code: str
    window_closes_at: AwareDatetime


class OrderAuthorized(OrderEvent):
    """Its money is set aside and its stock committed: fulfilment may begin.

    The money is taken when the order is shipped, and OrderPaid follows. OrderPaymentFailed or
    OrderCancelled says that it is not to be shipped after all.
    """

    type: ClassVar[str] = "order.authorized.v1"

    email: str
    shipping_address: Address
    lines: tuple[OrderLine, ...]
    shipping: tuple[ShippingLine, ...] = ()
    capture_before: AwareDatetime


class OrderPaid(OrderEvent):
    """Paid and its stock committed: fulfilment may begin, if OrderAuthorized has not begun it."""

    type: ClassVar[str] = "order.paid.v1"

    email: str
    shipping_address: Address
    lines: tuple[OrderLine, ...]
    shipping: tuple[ShippingLine, ...] = ()


class OrderCancelled(OrderEvent):
    """The order is given up and holds no stock; money that came is being refunded or was."""

    type: ClassVar[str] = "order.cancelled.v1"

    reason: str


class OrderRefunded(OrderEvent):
    """Money of this order went back to the shopper."""

    type: ClassVar[str] = "order.refunded.v1"

    refund_id: UUID
    amount_minor: int
    lines: tuple[RefundedLine, ...] = ()


class OrderRefundFailed(OrderEvent):
    """A refund was refused, or came back weeks later: the money is with the shop."""

    type: ClassVar[str] = "order.refund_failed.v1"

    refund_id: UUID
    amount_minor: int
    code: str


class OrderShipped(OrderEvent):
    """Goods have left the house: the whole order, or the pieces of these lines."""

    type: ClassVar[str] = "order.shipped.v1"

    carrier: str = ""
    tracking: str = ""
    shipment_number: Number = 1
    lines: tuple[LinePieces, ...] = ()
    complete: bool = True


class OrderReturned(OrderEvent):
    """Pieces came back; what goes back for them is told by OrderRefunded, when it is back."""

    type: ClassVar[str] = "order.returned.v1"

    return_number: Number
    lines: tuple[ReturnedPieces, ...]


class OrderDisputed(OrderEvent):
    """The shopper disputes the payment with their bank, or the bank has decided."""

    type: ClassVar[str] = "order.disputed.v1"

    dispute_id: str
    amount_minor: int
    status: Literal["open", "won", "lost"]
