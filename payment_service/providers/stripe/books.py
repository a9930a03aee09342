"""What moved at Stripe since a moment, by its lists: intents, refunds, disputes, balance.

The intents made since are listed with their charges. Whatever else moved money since (a capture,
a refund, a dispute of an older payment) stands in the other lists, and its intent is asked for.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import stripe

from payment_service.domain.reconciliation import Standing
from payment_service.providers.port import BooksUnread, SeenMoney
from payment_service.providers.stripe.labels import payment_named
from payment_service.providers.stripe.reading import dispute_of, unknown

PAGE = 100


class Books:
    """Stripe's lists, read to their ends."""

    def __init__(self, api: stripe.StripeClient) -> None:
        self._api = api.v1

    async def moved_since(self, since: datetime) -> AsyncIterator[SeenMoney]:
        """See `Provider.moved_since`."""
        created: Any = {"gte": int(since.timestamp())}
        told: set[str] = set()
        try:
            intents = await self._api.payment_intents.list_async(
                params={"created": created, "limit": PAGE, "expand": ["data.latest_charge"]}
            )
            async for intent in intents.auto_paging_iter():
                told.add(intent.id)
                yield await self._money(intent)
            async for name in self._touched(created):
                if name not in told:
                    told.add(name)
                    yield await self._money(
                        await self._api.payment_intents.retrieve_async(
                            name, params={"expand": ["latest_charge"]}
                        )
                    )
        except stripe.StripeError as error:
            raise BooksUnread(unknown(error).reason) from error

    async def _touched(self, created: Any) -> AsyncIterator[str]:
        """Intents whose money moved, whenever they were made."""
        refunds = await self._api.refunds.list_async(params={"created": created, "limit": PAGE})
        async for refund in refunds.auto_paging_iter():
            if (name := _id_of(refund.payment_intent)) is not None:
                yield name
        disputes = await self._api.disputes.list_async(params={"created": created, "limit": PAGE})
        async for dispute in disputes.auto_paging_iter():
            if (name := _id_of(dispute.payment_intent)) is not None:
                yield name
        moves = await self._api.balance_transactions.list_async(
            params={"created": created, "limit": PAGE, "expand": ["data.source"]}
        )
        async for move in moves.auto_paging_iter():
            if (name := _id_of(getattr(move.source, "payment_intent", None))) is not None:
                yield name

    async def _money(self, intent: stripe.PaymentIntent) -> SeenMoney:
        charge = intent.latest_charge
        captured, given_back, withdrawn = intent.amount_received or 0, 0, 0
        if isinstance(charge, stripe.Charge) and captured:
            # What was set aside and not taken counts as refunded there; it never moved.
            given_back = charge.amount_refunded - (charge.amount - charge.amount_captured)
            if charge.disputed:
                withdrawn = await self._withdrawn(intent.id)
        return SeenMoney(
            intent.id,
            payment_named(intent.metadata.to_dict() if intent.metadata else {})[0],
            Standing(
                intent.amount_capturable or 0,
                captured,
                given_back,
                withdrawn,
                intent.currency.upper(),
            ),
        )

    async def _withdrawn(self, intent_id: str) -> int:
        disputes = await self._api.disputes.list_async(
            params={"payment_intent": intent_id, "limit": PAGE}
        )
        seen = [dispute_of(dispute) async for dispute in disputes.auto_paging_iter()]
        return sum(one.amount_minor for one in seen if one is not None and one.status != "won")


def _id_of(named: Any) -> str | None:
    """An id, be it given as such or with the object it is of."""
    found = getattr(named, "id", named)
    return found if isinstance(found, str) else None
