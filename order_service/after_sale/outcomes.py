"""What `serve` answers: it took effect, or why not."""

from dataclasses import dataclass
from typing import TypeAlias

from contracts.messages.base import Message
from contracts.values import quick
from order_service.after_sale.facts import AfterSale
from order_service.checkout.facts import Checkout


@quick
@dataclass(frozen=True, slots=True)
class NotPaidFor:
    """The order keeps no money that could go back: not paid, or given up; it is `state`."""

    state: str

    def __str__(self) -> str:
        return f"an order that is {self.state} has nothing to give back"


@quick
@dataclass(frozen=True, slots=True)
class ExceedsRest:
    """More is asked back than is left of what was paid."""

    asked_minor: int
    rest_minor: int

    def __str__(self) -> str:
        return f"{self.asked_minor} is more than the {self.rest_minor} left"


@quick
@dataclass(frozen=True, slots=True)
class UnderDispute:
    """The shopper's bank has withdrawn the money: a refund would give it back twice."""

    disputed_minor: int

    def __str__(self) -> str:
        return f"{self.disputed_minor} is under dispute"


@quick
@dataclass(frozen=True, slots=True)
class NoSuchLine:
    """The order has no line of that number, or the line is no goods that could come back."""

    line_no: int

    def __str__(self) -> str:
        return f"no line {self.line_no}"


@quick
@dataclass(frozen=True, slots=True)
class TooManyPieces:
    """More pieces of a line than are left of it."""

    line_no: int
    left: int

    def __str__(self) -> str:
        return f"line {self.line_no} has {self.left} pieces left"


@quick
@dataclass(frozen=True, slots=True)
class ClaimsExhausted:
    """The order had all the refunds and returns that the policy allows."""

    limit: int

    def __str__(self) -> str:
        return f"all {self.limit} refunds and returns are used"


@quick
@dataclass(frozen=True, slots=True)
class NothingFailed:
    """That refund waits for nobody's decision."""

    claim: int

    def __str__(self) -> str:
        return f"refund {self.claim} waits for no decision"


WhyNot: TypeAlias = (
    NotPaidFor
    | ExceedsRest
    | UnderDispute
    | NoSuchLine
    | TooManyPieces
    | ClaimsExhausted
    | NothingFailed
)


@quick
@dataclass(frozen=True, slots=True)
class Refused:
    """A command that is not carried out: nothing changes."""

    why: WhyNot


@quick
@dataclass(frozen=True, slots=True)
class Served:
    """The message took effect: the next values, what to send, and a note for the timeline."""

    after: AfterSale
    checkout: Checkout
    messages: tuple[Message, ...] = ()
    note: str = ""
