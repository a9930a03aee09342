"""Everything that the saga reads, by who says it."""

from typing import TypeAlias

from contracts.messages.cart import CartClosed, CartUnlocked, LinesRestored
from contracts.messages.inventory import (
    ReservationCommitted,
    ReservationDue,
    ReservationExtended,
    ReservationNotHeld,
    StockRejected,
    StockReleased,
    StockReserved,
)
from contracts.messages.order import (
    CancelCheckout,
    DeadlinePassed,
    PaymentWindowClosed,
    PayOrder,
    ResolveCheckout,
    ShipOrder,
    StartCheckout,
    StepBlocked,
    StepUnblocked,
)
from contracts.messages.payment import (
    CaptureFailed,
    NoPaymentDue,
    PaymentActionRequired,
    PaymentAuthorized,
    PaymentCancelled,
    PaymentClosed,
    PaymentDeclined,
    PaymentProcessing,
    PaymentSucceeded,
    PaymentUnknown,
    Refunded,
    RefundFailed,
    RefundPending,
)

CheckoutCommand: TypeAlias = (
    StartCheckout | PayOrder | ShipOrder | CancelCheckout | ResolveCheckout | PaymentWindowClosed
)
StockAnswer: TypeAlias = (
    StockReserved
    | StockRejected
    | ReservationCommitted
    | ReservationNotHeld
    | ReservationExtended
    | StockReleased
)
AttemptAnswer: TypeAlias = (
    PaymentSucceeded
    | PaymentAuthorized
    | PaymentProcessing
    | PaymentActionRequired
    | PaymentDeclined
    | PaymentCancelled
    | PaymentUnknown
    | NoPaymentDue
    | CaptureFailed
    | PaymentClosed
)
RefundAnswer: TypeAlias = RefundPending | Refunded | RefundFailed
CartAnswer: TypeAlias = CartUnlocked | CartClosed | LinesRestored
Notice: TypeAlias = DeadlinePassed | ReservationDue | StepBlocked | StepUnblocked

CheckoutMessage: TypeAlias = (
    CheckoutCommand | Notice | StockAnswer | AttemptAnswer | RefundAnswer | CartAnswer
)
"""Everything that the saga reads, from `order.commands` and `order.replies`."""
