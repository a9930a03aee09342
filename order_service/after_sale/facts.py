"""What is known of an order after it was paid for; everything is a frozen value.

The checkout's saga ends with `paid`; a cancel before anything of this begins is still its own.
Both stand under the checkout's lock.
"""

from collections.abc import Hashable
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from contracts.values import Struct
from order_service.checkout.facts import Hold, Pieces, Wait

FIRST_ROUND = 1_001
"""What is asked after the sale has rounds from here on; below are those of the saga itself."""


class ClaimStatus(StrEnum):
    """Where the money of a claim stands."""

    REQUESTED = "requested"
    PENDING = "pending"
    REFUNDED = "refunded"
    FAILED = "failed"
    """Refused, or sent back by the bank: somebody has to decide."""
    WITHDRAWN = "withdrawn"
    """Given up after it had failed."""


TAKES = frozenset({ClaimStatus.REQUESTED, ClaimStatus.PENDING, ClaimStatus.REFUNDED})
"""Claims whose amount is no part of the rest that can still be refunded."""


class Origin(StrEnum):
    """Who wants the money back with the shopper."""

    ASKED = "asked"
    """The shop."""
    RETURN = "return"
    """The shop, for pieces that came back."""
    PROVIDER = "provider"
    """Somebody at the provider, who did it there."""


class ClaimedLine(Struct, frozen=True):
    """What a claim takes of one order line: money, for so many pieces or for none in particular."""

    line_no: int
    pieces: int
    amount_minor: int


class Claim(Struct, frozen=True):
    """Money that is to go back: part of what the order kept.

    `round` is that of the refund that is asked for now; a failed one that is tried again has
    another. `refund_id` is set on one that was made at the provider: it was never asked for.
    `credited`: the money was back once, and the shopper has a credit note of it.
    """

    number: int
    attempt: int
    amount_minor: int
    origin: Origin
    reason: str
    lines: tuple[ClaimedLine, ...]
    status: ClaimStatus = ClaimStatus.REQUESTED
    round: int = 0
    code: str | None = None
    refund_id: UUID | None = None
    by_hand: bool = False
    credited: bool = False


class ReturnedLine(Struct, frozen=True):
    """Pieces of one order line that came back, or never left: to be sold again, or written off.

    `shipped`: so many of them had left the house. Before version 11 of the schema nobody counted
    that: an order left as a whole, or had not left yet.
    """

    line_no: int
    sku: str
    pieces: int
    write_off: bool
    shipped: int = 0


class Return(Struct, frozen=True):
    """Goods that came back; `claim` is the number of the money's claim, if any goes back.

    `booked`: inventory has the pieces in its books.
    """

    number: int
    lines: tuple[ReturnedLine, ...]
    reason: str
    claim: int | None
    booked: bool = False

    @property
    def round(self) -> int:
        """The round under which inventory is asked to book it."""
        return FIRST_ROUND + self.number - 1


class Dispute(Struct, frozen=True):
    """Money that the shopper's bank has withdrawn, for now or for good."""

    id: str
    attempt: int
    amount_minor: int
    status: Literal["open", "won", "lost"]


class AfterSale(Struct, frozen=True):
    """All that is known of one order after it was paid for; `id` is its checkout's."""

    id: UUID
    claims: tuple[Claim, ...] = ()
    returns: tuple[Return, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    waits: tuple[Wait, ...] = ()

    @property
    def key(self) -> Hashable:
        """Its checkout."""
        return self.id

    @property
    def refunded_minor(self) -> int:
        """Back with the shopper."""
        return self._claimed(ClaimStatus.REFUNDED)

    @property
    def refund_pending_minor(self) -> int:
        """On its way back."""
        return self._claimed(ClaimStatus.REQUESTED, ClaimStatus.PENDING)

    @property
    def credited_minor(self) -> int:
        """What credit notes say: a refund that came back was credited all the same."""
        return sum(claim.amount_minor for claim in self.claims if claim.credited)

    @property
    def disputed_minor(self) -> int:
        """Withdrawn by a bank, as long as it is not decided."""
        return sum(one.amount_minor for one in self.disputes if one.status == "open")

    @property
    def dispute_lost_minor(self) -> int:
        """Withdrawn by a bank for good."""
        return sum(one.amount_minor for one in self.disputes if one.status == "lost")

    def rest_of(self, paid_minor: int) -> int:
        """What can still be refunded of what was paid; a bank may have left less than nothing."""
        taken = self.refunded_minor + self.refund_pending_minor
        return max(paid_minor - taken - self.disputed_minor - self.dispute_lost_minor, 0)

    def claimed_of(self, line_no: int) -> tuple[int, int]:
        """Pieces and money of one line that claims have taken."""
        taken = [
            line
            for claim in self.claims
            if claim.status in TAKES
            for line in claim.lines
            if line.line_no == line_no
        ]
        return sum(line.pieces for line in taken), sum(line.amount_minor for line in taken)

    def returned_of(self, line_no: int) -> int:
        """Pieces of one line that came back."""
        return sum(
            line.pieces for each in self.returns for line in each.lines if line.line_no == line_no
        )

    @property
    def withheld(self) -> tuple[Pieces, ...]:
        """Pieces that were taken back without having left the house, by line."""
        pieces: dict[int, int] = {}
        for each in self.returns:
            for line in each.lines:
                pieces[line.line_no] = pieces.get(line.line_no, 0) + line.pieces - line.shipped
        return tuple(Pieces(*line) for line in sorted(pieces.items()) if line[1])

    @property
    def needs_attention(self) -> bool:
        """Did something fail, or run out, that only somebody can decide?"""
        failed = any(claim.status is ClaimStatus.FAILED for claim in self.claims)
        return failed or any(wait.hold is Hold.EXHAUSTED for wait in self.waits)

    @property
    def blocked(self) -> bool:
        """Does a dead letter stand in the way of an answer?"""
        return any(wait.hold is Hold.BLOCKED for wait in self.waits)

    @property
    def deadline_at(self) -> datetime | None:
        """The earliest moment at which a question is to be asked again."""
        return min((wait.due_at for wait in self.waits if wait.hold is None), default=None)

    def _claimed(self, *statuses: ClaimStatus) -> int:
        return sum(claim.amount_minor for claim in self.claims if claim.status in statuses)
