"""What a decision about a payment goes by, and what it comes to."""

from datetime import timedelta

from contracts.values import Struct
from payment_service.domain.outcomes import Outcome, Processing, RefundPending, Reviewed
from payment_service.domain.payment import Payment
from payment_service.domain.replies import Messages

_LARGEST_DOUBLING = 20


class Rules(Struct, frozen=True):
    """What the decisions depend on beside the payment: the providers there are, and the backoff.

    A provider is asked again after `ask_first`, then after twice as long each time, at most
    `ask_longest`; about what takes a bank days, at most `ask_bank_longest`.
    """

    providers: frozenset[str]
    ask_first: timedelta
    ask_longest: timedelta
    ask_bank_longest: timedelta

    def ask_delay(self, asks: int, outcome: Outcome | None = None) -> timedelta:
        """How long to wait after the `asks`-th question, which was answered so."""
        doubled: int = 2 ** min(asks, _LARGEST_DOUBLING)
        at_a_bank = isinstance(outcome, Processing | RefundPending | Reviewed)
        longest = self.ask_bank_longest if at_a_bank else self.ask_longest
        return min(self.ask_first * doubled, longest)


class Decided(Struct, frozen=True):
    """The payment after a message, and what is to be sent."""

    payment: Payment | None
    messages: Messages = ()
