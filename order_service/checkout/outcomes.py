"""What `advance` answers: the saga moved, or the message is stale, or it is illegal."""

from datetime import datetime
from typing import TypeAlias

from contracts.messages.base import Message
from contracts.values import Struct
from order_service.checkout.facts import Attempt, Checkout, State, Tombstone


class Settled(Struct, frozen=True):
    """The message's step and round are settled, or it tells nothing new."""

    what: str

    def __str__(self) -> str:
        return self.what


class Finished(Struct, frozen=True):
    """There is nothing left to cancel: the order is `ended_as`."""

    ended_as: str

    def __str__(self) -> str:
        return f"already {self.ended_as}"


class NotPayable(Struct, frozen=True):
    """No payment is wanted in this state."""

    state: State

    def __str__(self) -> str:
        return f"no payment is wanted while {self.state}"


class WindowClosed(Struct, frozen=True):
    """The time in which the shopper may pay is over."""

    closed_at: datetime

    def __str__(self) -> str:
        return "the payment window is closed"


class AttemptIsLive(Struct, frozen=True):
    """Another attempt may still bring money; a second one would risk charging twice."""

    attempt: Attempt

    def __str__(self) -> str:
        return f"attempt {self.attempt.number} is live ({self.attempt.status})"


class AttemptsExhausted(Struct, frozen=True):
    """The order had all the attempts that the policy allows."""

    limit: int

    def __str__(self) -> str:
        return f"all {self.limit} attempts are used"


class MethodRefused(Struct, frozen=True):
    """The provider will not take the same method again after this decline."""

    code: str | None

    def __str__(self) -> str:
        return f"the same method is refused after {self.code}"


class NothingToResolve(Struct, frozen=True):
    """The checkout does not wait for this decision of an operator."""

    state: State

    def __str__(self) -> str:
        return f"nothing waits for that decision while {self.state}"


class NotShippable(Struct, frozen=True):
    """The order is not ready to be shipped; it is `state`."""

    state: State

    def __str__(self) -> str:
        return f"an order that is {self.state} is not shipped"


class NoSuchLine(Struct, frozen=True):
    """The order has no line of that number, or the line is no goods that could go or come."""

    line_no: int

    def __str__(self) -> str:
        return f"no line {self.line_no}"


class TooManyPieces(Struct, frozen=True):
    """More pieces of a line than are left of it."""

    line_no: int
    left: int

    def __str__(self) -> str:
        return f"line {self.line_no} has {self.left} pieces left"


class ParcelKnown(Struct, frozen=True):
    """The carrier's number is that of shipment `shipment`, which carries other pieces."""

    shipment: int

    def __str__(self) -> str:
        return f"shipment {self.shipment} has that number, and other contents"


class ShipmentsExhausted(Struct, frozen=True):
    """The order had all the shipments that the policy allows."""

    limit: int

    def __str__(self) -> str:
        return f"all {self.limit} shipments are used"


Why: TypeAlias = (
    Settled
    | Finished
    | NotPayable
    | WindowClosed
    | AttemptIsLive
    | AttemptsExhausted
    | MethodRefused
    | NothingToResolve
    | NotShippable
    | NoSuchLine
    | TooManyPieces
    | ParcelKnown
    | ShipmentsExhausted
)


class Moved(Struct, frozen=True):
    """The message took effect: the next value of the checkout and what to send.

    `note` is for the timeline, where the state alone does not say what was decided.
    """

    checkout: Checkout | Tombstone
    messages: tuple[Message, ...] = ()
    note: str = ""


class Stale(Struct, frozen=True):
    """No effect, and no fault: a duplicate, a delay, a re-send or a refusal explains it."""

    why: Why


class Illegal(Struct, frozen=True):
    """Nothing that the protocol allows explains this message here: a fault of its sender."""

    why: str


Outcome: TypeAlias = Moved | Stale | Illegal

Refusal: TypeAlias = Stale | Illegal
"""Why a message takes no effect."""

EARLIER_ROUND = Stale(Settled("of an earlier reservation round"))
KNOWN = Stale(Settled("known already"))
