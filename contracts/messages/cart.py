"""Messages to the cart, its replies to the saga, and its events."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime

from contracts.messages.base import Event, SagaCommand, SagaReply, Step
from contracts.messages.parts import OrderLine, Shortage
from contracts.topics import CART_COMMANDS, CART_EVENTS, ORDER_REPLIES, Topic


class CheckoutAccepted(SagaReply):
    """The saga has begun: the cart stops re-sending StartCheckout."""

    type: ClassVar[str] = "cart.checkout_accepted.v1"
    topic: ClassVar[Topic] = CART_COMMANDS

    step: Literal[Step.START] = Step.START
    cart_id: UUID


class UnlockCart(SagaCommand):
    """The checkout failed before an order existed: give the same cart back, with the reasons.

    `line_count` tells how many lines were in it, for the reader to bound its batches by.
    """

    type: ClassVar[str] = "cart.unlock_cart.v1"
    topic: ClassVar[Topic] = CART_COMMANDS

    step: Literal[Step.UNLOCK_CART] = Step.UNLOCK_CART
    cart_id: UUID
    reason: str
    shortages: tuple[Shortage, ...] = ()
    line_count: int = 1


class CloseCart(SagaCommand):
    """The order exists: the cart is done."""

    type: ClassVar[str] = "cart.close_cart.v1"
    topic: ClassVar[Topic] = CART_COMMANDS

    step: Literal[Step.CLOSE_CART] = Step.CLOSE_CART
    cart_id: UUID
    order_id: UUID


class RestoreLines(SagaCommand):
    """The order was cancelled: bring its lines back, once per checkout.

    Into the customer's active cart, made if there is none; for a guest into a new cart under the
    same token.
    """

    type: ClassVar[str] = "cart.restore_lines.v1"
    topic: ClassVar[Topic] = CART_COMMANDS

    step: Literal[Step.RESTORE_LINES] = Step.RESTORE_LINES
    cart_id: UUID
    currency: str
    lines: tuple[OrderLine, ...]


class CartUnlocked(SagaReply):
    """The cart can be changed again (or was not held by this checkout any more)."""

    type: ClassVar[str] = "cart.cart_unlocked.v1"
    topic: ClassVar[Topic] = ORDER_REPLIES

    step: Literal[Step.UNLOCK_CART] = Step.UNLOCK_CART
    cart_id: UUID


class CartClosed(SagaReply):
    """The cart is closed (or was not held by this checkout any more)."""

    type: ClassVar[str] = "cart.cart_closed.v1"
    topic: ClassVar[Topic] = ORDER_REPLIES

    step: Literal[Step.CLOSE_CART] = Step.CLOSE_CART
    cart_id: UUID


class LinesRestored(SagaReply):
    """The lines of the cancelled order are back in `cart_id`."""

    type: ClassVar[str] = "cart.lines_restored.v1"
    topic: ClassVar[Topic] = ORDER_REPLIES

    step: Literal[Step.RESTORE_LINES] = Step.RESTORE_LINES
    cart_id: UUID


class CartChanged(Event):
    """The state of a cart moved: opened, locked by a checkout, unlocked, or closed."""

    type: ClassVar[str] = "cart.changed.v1"
    topic: ClassVar[Topic] = CART_EVENTS

    cart_id: UUID
    customer_id: str | None = None
    status: Literal["active", "locked", "closed"]
    checkout_id: UUID | None = None
    changed_at: AwareDatetime

    @property
    def key(self) -> str:
        return str(self.cart_id)
