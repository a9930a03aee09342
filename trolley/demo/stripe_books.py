"""Stripe's side of the books: the money that its own lists have under our names of payments."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self
from uuid import UUID

from payment_service.providers.stripe.client import StripeConnection
from payment_service.providers.stripe.labels import label
from trolley.demo.ledgers import Entry, Ledger

CALL_SECONDS = 30.0
"""A page of a list is large, and the machine may be busy."""

PAGE = 100
"""Stripe's largest."""


class StripeBooks:
    """Reads the lists of an account."""

    def __init__(self, connection: StripeConnection) -> None:
        self._api = connection.api.v1

    @classmethod
    @asynccontextmanager
    async def opened(cls, key: str, base_url: str) -> AsyncIterator[Self]:
        """The books that this key opens at this address."""
        connection = StripeConnection(key, base_url, call_seconds=CALL_SECONDS)
        try:
            yield cls(connection)
        finally:
            await connection.close()

    async def ledger(self) -> Ledger:
        """What every intent took and every refund gave back, as far as it is ours."""
        ledger: dict[Entry, int] = {}
        taken: dict[str, Entry] = {}
        intents = await self._api.payment_intents.list_async(params={"limit": PAGE})
        async for intent in intents.auto_paging_iter():
            payment_id = label(intent.metadata, "payment_id")
            attempt = label(intent.metadata, "attempt")
            if payment_id is None or attempt is None or not intent.amount_received:
                continue
            entry = Entry(UUID(payment_id), int(attempt), "captured", intent.currency.upper())
            taken[intent.id] = entry
            ledger[entry] = ledger.get(entry, 0) + intent.amount_received
        refunds = await self._api.refunds.list_async(params={"limit": PAGE})
        async for refund in refunds.auto_paging_iter():
            paid = taken.get(str(refund.payment_intent))
            if paid is not None and refund.status == "succeeded":
                back = paid._replace(kind="refunded")
                ledger[back] = ledger.get(back, 0) + refund.amount
        return ledger
