"""Where our ledger and the provider's books of one payment differ, and what is done about it."""

from enum import StrEnum

from contracts.values import Struct
from payment_service.domain.outcomes import Authorized, RefundFailed, Reviewed, Succeeded


class Standing(Struct, frozen=True):
    """Where the money of a payment stands on one side, in minor units of `currency`.

    `held_minor` is set aside and not taken. `given_back_minor` counts refunds on their way,
    `withdrawn_minor` disputes that are open or lost. The currency is None where nobody told it.
    """

    held_minor: int = 0
    captured_minor: int = 0
    given_back_minor: int = 0
    withdrawn_minor: int = 0
    currency: str | None = None

    @property
    def amounts(self) -> tuple[int, int, int, int]:
        """All of them; in no currency."""
        return (self.held_minor, self.captured_minor, self.given_back_minor, self.withdrawn_minor)


NOTHING = Standing()


def standing_of(reviewed: Reviewed) -> Standing:
    """Where the money of a payment stands by all that its provider has of it."""
    payment = reviewed.payment
    return Standing(
        held_minor=payment.amount_minor if isinstance(payment, Authorized) else 0,
        captured_minor=payment.amount_minor if isinstance(payment, Succeeded) else 0,
        given_back_minor=sum(
            refund.amount_minor
            for refund in reviewed.refunds
            if not isinstance(refund.state, RefundFailed)
        ),
        withdrawn_minor=sum(
            dispute.amount_minor for dispute in reviewed.disputes if dispute.status != "won"
        ),
        currency=reviewed.currency,
    )


class Difference(StrEnum):
    """In what the two sides differ; the first that applies."""

    UNKNOWN_HERE = "unknown_here"
    """Money there that belongs to no payment here, under a name that we gave."""
    NEVER_REACHED = "never_reached"
    """Money here of which the provider has nothing."""
    CURRENCY_DIFFERS = "currency_differs"
    """Money there in another currency than ours: no amounts of the two can be compared."""
    CAPTURED_THERE = "captured_there"
    """Taken there, and not known here."""
    AMOUNT_DIFFERS = "amount_differs"
    """Taken on both sides, and not as much."""
    GIVEN_BACK_DIFFERS = "given_back_differs"
    """Refunded on one side, and not on the other, or not as much."""
    WITHDRAWN_DIFFERS = "withdrawn_differs"
    """Disputed on one side, and not on the other."""
    HELD_DIFFERS = "held_differs"
    """Set aside on one side, and not on the other."""


def difference(ours: Standing | None, theirs: Standing | None) -> Difference | None:
    """In what the sides differ; None for a side stands for one that does not know the payment."""
    here, there = ours or NOTHING, theirs or NOTHING
    currencies = {here.currency, there.currency} - {None}
    if len(currencies) > 1 and there.amounts != NOTHING.amounts:
        return Difference.CURRENCY_DIFFERS
    if here.amounts == there.amounts:
        return None
    if ours is None:
        return Difference.UNKNOWN_HERE
    if theirs is None:
        return Difference.NEVER_REACHED
    if here.captured_minor != there.captured_minor:
        return Difference.AMOUNT_DIFFERS if here.captured_minor else Difference.CAPTURED_THERE
    if here.given_back_minor != there.given_back_minor:
        return Difference.GIVEN_BACK_DIFFERS
    if here.withdrawn_minor != there.withdrawn_minor:
        return Difference.WITHDRAWN_DIFFERS
    return Difference.HELD_DIFFERS
