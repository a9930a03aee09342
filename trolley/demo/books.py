"""Two ledgers side by side: the payment service's and its providers', read from outside.

Ours and the simulated provider's come from their databases, Stripe's from its lists: of none of
these the payment service is asked.
"""

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import asyncpg

from trolley.demo.ledgers import Comparison, Entry, Ledger
from trolley.demo.stripe_books import StripeBooks

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
    SELECT payment_id, attempt, currency,
        CASE kind WHEN 'refund_returned' THEN 'refunded' ELSE kind END AS kind,
        sum(CASE kind WHEN 'refund_returned' THEN -amount_minor ELSE amount_minor END)
            AS amount_minor
    FROM ledger WHERE kind IN ('captured', 'refunded', 'refund_returned')
    GROUP BY 1, 2, 3, 4
"""
_CALLS = "SELECT coalesce(sum(calls), 0) FROM calls WHERE call = $1"


class Books:
    """Reads both sides over connections of its own; use it as an async context.

    `stripe` is the key and the address of what answers as Stripe, where payments went there too.
    """

    def __init__(
        self, payment_url: str, provider_url: str, stripe: tuple[str, str] | None = None
    ) -> None:
        self._payment_url = payment_url
        self._provider_url = provider_url
        self._stripe_at = stripe
        self._stripe: StripeBooks | None = None
        self._open = AsyncExitStack()
        self._payment: Any = None
        self._provider: Any = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            self._payment = await asyncpg.connect(self._payment_url)
            opening.push_async_callback(self._payment.close)
            self._provider = await asyncpg.connect(self._provider_url)
            opening.push_async_callback(self._provider.close)
            if self._stripe_at is not None:
                self._stripe = await opening.enter_async_context(
                    StripeBooks.opened(*self._stripe_at)
                )
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
        """Both ledgers as they are; the providers' are one."""
        theirs = await _sums(self._provider)
        if self._stripe is not None:
            theirs = {**theirs, **await self._stripe.ledger()}
        return Comparison(await _sums(self._payment), theirs)


async def _sums(connection: Any) -> Ledger:
    return {
        Entry(row["payment_id"], row["attempt"], row["kind"], row["currency"]): int(
            row["amount_minor"]
        )
        for row in await connection.fetch(_SUMS)
    }
