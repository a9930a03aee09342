"""Two ledgers side by side: the payment service's and its provider's, read from their databases.

This is what an accountant would do, from outside: no API of either side is asked.
"""

from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self
from uuid import UUID

import asyncpg

from contracts.ids import derived_id

_EFFECTS = "SELECT charge_key FROM ledger WHERE kind = 'captured'"
_OPEN_CALLS = """
    SELECT idempotency_key FROM operations WHERE kind = 'charge' AND status = 'leased'
"""
_UNRECORDED = """
    SELECT idempotency_key FROM operations
    WHERE idempotency_key = ANY($1::text[]) AND status IN ('due', 'leased')
"""
_OPEN_OPERATIONS = """
    SELECT count(*) FROM operations WHERE status IN ('due', 'leased', 'reported')
"""
_SUMS = """
    SELECT payment_id, attempt, kind, currency, sum(amount_minor) AS amount_minor
    FROM ledger GROUP BY payment_id, attempt, kind, currency
"""
_CALLS = "SELECT coalesce(sum(calls), 0) FROM calls WHERE call = $1"


class Entry(NamedTuple):
    """What the two ledgers must agree on: sums of one kind for one attempt of a payment."""

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

    def of(self, payment_ids: Collection[UUID]) -> "Comparison":
        """The same for these payments alone."""
        wanted = frozenset(payment_ids)
        return Comparison(_only(self.ours, wanted), _only(self.theirs, wanted))


def captured_minor(ledger: Ledger) -> int:
    """All units that were taken."""
    return sum(amount for entry, amount in ledger.items() if entry.kind == "captured")


def captures(ledger: Ledger) -> int:
    """How many attempts brought money."""
    return sum(entry.kind == "captured" for entry in ledger)


def _only(ledger: Ledger, payment_ids: Collection[UUID]) -> Ledger:
    return {entry: amount for entry, amount in ledger.items() if entry.payment_id in payment_ids}


class Books:
    """Reads both databases over connections of its own; use it as an async context."""

    def __init__(self, payment_url: str, provider_url: str) -> None:
        self._payment_url = payment_url
        self._provider_url = provider_url
        self._open = AsyncExitStack()
        self._payment: Any = None
        self._provider: Any = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            self._payment = await asyncpg.connect(self._payment_url)
            opening.push_async_callback(self._payment.close)
            self._provider = await asyncpg.connect(self._provider_url)
            opening.push_async_callback(self._provider.close)
            self._open = opening.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    async def calls_in_flight(self) -> int:
        """Charges that the payment service is making right now, as far as it has noted."""
        return len(await self._payment.fetch(_OPEN_CALLS))

    async def in_doubt(self) -> frozenset[str]:
        """The keys of charges that took effect at the provider and are not on our record.

        The provider is read first: what is counted had its effect before we were asked for our
        record of it, and not the other way round.
        """
        effects = [row["charge_key"] for row in await self._provider.fetch(_EFFECTS)]
        unrecorded = await self._payment.fetch(_UNRECORDED, effects)
        return frozenset(row["idempotency_key"] for row in unrecorded)

    async def open_operations(self) -> int:
        """Operations that our side has not settled."""
        return int(await self._payment.fetchval(_OPEN_OPERATIONS))

    async def charge_calls(self) -> int:
        """How many charges the provider was asked for so far, repetitions included."""
        return int(await self._provider.fetchval(_CALLS, "charge"))

    async def compare(self) -> Comparison:
        """Both ledgers as they are."""
        return Comparison(await _sums(self._payment), await _sums(self._provider))


async def _sums(connection: Any) -> Ledger:
    return {
        Entry(row["payment_id"], row["attempt"], row["kind"], row["currency"]): int(
            row["amount_minor"]
        )
        for row in await connection.fetch(_SUMS)
    }
