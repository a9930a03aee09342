"""The ledger of a payment: facts, only ever added, and the amounts that follow from them."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from contracts.values import Struct

BY_HAND = "by_hand"
"""In the place of a provider, and of its reference: a refund that was made on another way."""


class FactKind(StrEnum):
    """What a ledger entry says happened to an amount."""

    AUTHORIZED = "authorized"
    """Set aside at the provider; also booked by a charge that captures at once."""
    VOIDED = "voided"
    """Set aside before, given back uncaptured."""
    CAPTURED = "captured"
    """Taken."""
    REFUND_REQUESTED = "refund_requested"
    """Our intent: from here on this amount is not refundable a second time."""
    REFUNDED = "refunded"
    """Back with the shopper."""
    REFUND_FAILED = "refund_failed"
    """Finally refused: the amount is refundable again."""
    REFUND_RETURNED = "refund_returned"
    """Was back with the shopper, and came back to us: their bank would not take it."""
    DISPUTED = "disputed"
    """Withdrawn from us, because the shopper disputes the payment with their bank."""
    DISPUTE_WON = "dispute_won"
    """Disputed before, and ours again."""
    DISPUTE_LOST = "dispute_lost"
    """Disputed before, and gone for good."""


class Fact(Struct, frozen=True):
    """One entry of a payment's ledger; `seq` counts them from 1, without gaps.

    `operation_id` is the operation that brought the fact, `provider_reference` the provider's
    own id of the payment or refund, where it has given one.
    """

    payment_id: UUID
    seq: int
    attempt: int
    kind: FactKind
    amount_minor: int
    currency: str
    operation_id: UUID
    refund_id: UUID | None
    provider: str
    provider_reference: str | None
    recorded_at: datetime

    @property
    def key(self) -> tuple[UUID, int]:
        """The payment and the number of the entry."""
        return (self.payment_id, self.seq)


class AmountsDisagree(ValueError):
    """The facts break 0 <= refunded + refund pending <= captured <= authorized."""

    def __init__(self, amounts: "Amounts") -> None:
        super().__init__(f"amounts disagree: {amounts}")
        self.amounts = amounts


class Amounts(Struct, frozen=True):
    """The amounts of a payment, in minor units. Raises `AmountsDisagree` for impossible ones.

    `over_refunded_minor` went back twice, by hand and at the provider: it is beyond what was taken,
    and not in `refunded_minor`.
    """

    authorized_minor: int = 0
    captured_minor: int = 0
    refund_pending_minor: int = 0
    refunded_minor: int = 0
    disputed_minor: int = 0
    dispute_lost_minor: int = 0
    over_refunded_minor: int = 0

    def __post_init__(self) -> None:
        given_back = self.refund_pending_minor + self.refunded_minor
        parts = (
            self.refund_pending_minor,
            self.refunded_minor,
            self.disputed_minor,
            self.dispute_lost_minor,
            self.over_refunded_minor,
        )
        if min(parts) < 0 or not given_back <= self.captured_minor <= self.authorized_minor:
            raise AmountsDisagree(self)

    @property
    def refundable_minor(self) -> int:
        """What can still be given back.

        A bank may withdraw what was refunded already, so that nothing is left, and less.
        """
        given_back = self.refund_pending_minor + self.refunded_minor
        withdrawn = self.disputed_minor + self.dispute_lost_minor
        return max(self.captured_minor - given_back - withdrawn, 0)


NOTHING = Amounts()

_NO_SUMS = dict.fromkeys(FactKind, 0)


def amounts_of(facts: Iterable[Fact]) -> Amounts:
    """The amounts that these facts add up to. Raises `AmountsDisagree`."""
    total, by_hand = _NO_SUMS.copy(), 0
    for fact in facts:
        total[fact.kind] += fact.amount_minor
        if fact.kind is FactKind.REFUNDED and fact.provider == BY_HAND:
            by_hand += fact.amount_minor
    answered = total[FactKind.REFUNDED] + total[FactKind.REFUND_FAILED]
    pending = total[FactKind.REFUND_REQUESTED] - answered
    refunded = total[FactKind.REFUNDED] - total[FactKind.REFUND_RETURNED]
    # No provider gives back more than it took, and knows nothing of what was done by hand.
    over = min(max(refunded + pending - total[FactKind.CAPTURED], 0), by_hand)
    return Amounts(
        authorized_minor=total[FactKind.AUTHORIZED] - total[FactKind.VOIDED],
        captured_minor=total[FactKind.CAPTURED],
        refund_pending_minor=pending,
        refunded_minor=refunded - over,
        disputed_minor=total[FactKind.DISPUTED]
        - total[FactKind.DISPUTE_WON]
        - total[FactKind.DISPUTE_LOST],
        dispute_lost_minor=total[FactKind.DISPUTE_LOST],
        over_refunded_minor=over,
    )
