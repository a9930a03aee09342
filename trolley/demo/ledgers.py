"""Two ledgers and how they compare: money that moved, by attempt of a payment. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from contracts.ids import derived_id


class Entry(NamedTuple):
    """What the two ledgers must agree on: money that moved, for one attempt of a payment.

    `kind` is captured or refunded; what a bank sent back does not count as refunded.
    """

    payment_id: UUID
    attempt: int
    kind: str
    currency: str


Ledger = Mapping[Entry, int]
"""Minor units by entry."""


def payment_of(checkout_id: str) -> UUID:
    """The payment of a checkout: there is one, and everybody derives its id alike."""
    return derived_id(UUID(checkout_id), "payment")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both ledgers, for the same payments."""

    ours: Ledger
    theirs: Ledger

    @property
    def alike(self) -> int:
        """Entries that both have with the same amount."""
        return sum(self.ours.get(entry) == amount for entry, amount in self.theirs.items())

    @property
    def differing(self) -> tuple[Entry, ...]:
        """Entries that only one has, or with another amount."""
        every = self.ours.keys() | self.theirs.keys()
        return tuple(
            sorted(entry for entry in every if self.ours.get(entry) != self.theirs.get(entry))
        )

    def in_currency(self, currency: str) -> "Comparison":
        """The same for the money of one currency."""
        return Comparison(_in_currency(self.ours, currency), _in_currency(self.theirs, currency))

    @property
    def currencies(self) -> tuple[str, ...]:
        """Every currency that either has money of, in alphabetical order."""
        return tuple(sorted({entry.currency for entry in (*self.ours, *self.theirs)}))

    def of(self, payment_ids: Collection[UUID]) -> "Comparison":
        """The same for these payments alone."""
        wanted = frozenset(payment_ids)
        return Comparison(_only(self.ours, wanted), _only(self.theirs, wanted))


def captured_minor(ledger: Ledger) -> int:
    """All units that were taken."""
    return sum(amount for entry, amount in ledger.items() if entry.kind == "captured")


def refunded_minor(ledger: Ledger) -> int:
    """All units that were given back."""
    return sum(amount for entry, amount in ledger.items() if entry.kind == "refunded")


def captures(ledger: Ledger) -> int:
    """How many attempts brought money."""
    return sum(entry.kind == "captured" for entry in ledger)


def _in_currency(ledger: Ledger, currency: str) -> Ledger:
    return {entry: amount for entry, amount in ledger.items() if entry.currency == currency}


def _only(ledger: Ledger, payment_ids: Collection[UUID]) -> Ledger:
    return {entry: amount for entry, amount in ledger.items() if entry.payment_id in payment_ids}
