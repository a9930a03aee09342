"""What `advance` answers: the saga moved, or the message is stale, or it is illegal."""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from contracts.messages.base import Message
from contracts.values import quick
from order_service.checkout.facts import Attempt, Checkout, State, Tombstone


@quick
@dataclass(frozen=True, slots=True)
class Settled:
    """The message's step and round are settled, or it tells nothing new."""

    what: str

    def __str__(self) -> str:
        return self.what


@quick
@dataclass(frozen=True, slots=True)
class Finished:
    """There is nothing left to cancel: the order is `ended_as`."""

    ended_as: str

    def __str__(self) -> str:
        return f"already {self.ended_as}"


@quick
@dataclass(frozen=True, slots=True)
class NotPayable:
    """No payment is wanted in this state."""

    state: State

    def __str__(self) -> str:
        return f"no payment is wanted while {self.state}"


@quick
@dataclass(frozen=True, slots=True)
class WindowClosed:
    """The time in which the shopper may pay is over."""

    closed_at: datetime

    def __str__(self) -> str:
        return "the payment window is closed"


@quick
@dataclass(frozen=True, slots=True)
class AttemptIsLive:
    """Another attempt may still bring money; a second one would risk charging twice."""

    attempt: Attempt

    def __str__(self) -> str:
        return f"attempt {self.attempt.number} is live ({self.attempt.status})"


@quick
@dataclass(frozen=True, slots=True)
class AttemptsExhausted:
    """The order had all the attempts that the policy allows."""

    limit: int

    def __str__(self) -> str:
        return f"all {self.limit} attempts are used"


@quick
@dataclass(frozen=True, slots=True)
class MethodRefused:
    """The provider will not take the same method again after this decline."""

    code: str | None

    def __str__(self) -> str:
        return f"the same method is refused after {self.code}"


@quick
@dataclass(frozen=True, slots=True)
class NothingToResolve:
    """The checkout does not wait for this decision of an operator."""

    state: State

    def __str__(self) -> str:
        return f"nothing waits for that decision while {self.state}"


@quick
@dataclass(frozen=True, slots=True)
class NotShippable:
    """The order is not ready to be shipped; it is `state`."""

    state: State

    def __str__(self) -> str:
        return f"an order that is {self.state} is not shipped"


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
)


@quick
@dataclass(frozen=True, slots=True)
class Moved:
    """The message took effect: the next value of the checkout and what to send.

    `note` is for the timeline, where the state alone does not say what was decided.
    """

    checkout: Checkout | Tombstone
    messages: tuple[Message, ...] = ()
    note: str = ""


@quick
@dataclass(frozen=True, slots=True)
class Stale:
    """No effect, and no fault: a duplicate, a delay, a re-send or a refusal explains it."""

    why: Why


@quick
@dataclass(frozen=True, slots=True)
class Illegal:
    """Nothing that the protocol allows explains this message here: a fault of its sender."""

    why: str


Outcome: TypeAlias = Moved | Stale | Illegal

Refusal: TypeAlias = Stale | Illegal
"""Why a message takes no effect."""

EARLIER_ROUND = Stale(Settled("of an earlier reservation round"))
KNOWN = Stale(Settled("known already"))
