"""What `serve` answers: it took effect, or why not."""

from typing import TypeAlias

from contracts.messages.base import Message
from contracts.values import Struct
from order_service.after_sale.facts import AfterSale
from order_service.checkout.facts import Checkout
from order_service.checkout.outcomes import NoSuchLine, TooManyPieces


class NotPaidFor(Struct, frozen=True):
    """The order keeps no money that could go back: not paid, or given up; it is `state`."""

    state: str

    def __str__(self) -> str:
        return f"an order that is {self.state} has nothing to give back"


class ExceedsRest(Struct, frozen=True):
    """More is asked back than is left of what was paid."""

    asked_minor: int
    rest_minor: int

    def __str__(self) -> str:
        return f"{self.asked_minor} is more than the {self.rest_minor} left"


class UnderDispute(Struct, frozen=True):
    """The shopper's bank has withdrawn the money: a refund would give it back twice."""

    disputed_minor: int

    def __str__(self) -> str:
        return f"{self.disputed_minor} is under dispute"


class ClaimsExhausted(Struct, frozen=True):
    """The order had all the refunds and returns that the policy allows."""

    limit: int

    def __str__(self) -> str:
        return f"all {self.limit} refunds and returns are used"


class NothingFailed(Struct, frozen=True):
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


class Refused(Struct, frozen=True):
    """A command that is not carried out: nothing changes."""

    why: WhyNot


class Served(Struct, frozen=True):
    """The message took effect: the next values, what to send, and a note for the timeline."""

    after: AfterSale
    checkout: Checkout
    messages: tuple[Message, ...] = ()
    note: str = ""
