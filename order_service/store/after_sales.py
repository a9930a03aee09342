"""What happened to orders after they were paid for: loaded and saved under the checkout's lock."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from contracts.values import Struct
from messaging.database import Connection, sql
from order_service.after_sale.facts import AfterSale, Claim, Dispute, Return
from order_service.checkout.facts import Wait
from order_service.store.columns import arrays, assigned, given
from order_service.store.facts import reader_of, written


class _Facts(Struct, frozen=True):
    """All that is known."""

    claims: tuple[Claim, ...]
    returns: tuple[Return, ...]
    disputes: tuple[Dispute, ...]
    waits: tuple[Wait, ...]


_FACTS = reader_of(_Facts)

_LOAD = sql("""
    SELECT checkout_id, facts::text FROM after_sales
    WHERE checkout_id = ANY(CAST(:ids AS uuid[]))
""")


async def load(connection: Connection, ids: Collection[UUID]) -> list[AfterSale]:
    """What is known after the sale of these checkouts; nothing where nothing has happened."""
    if not ids:
        return []
    return [_after_sale(row) for row in await connection.fetch(_LOAD, {"ids": sorted(ids)})]


def _after_sale(row: Any) -> AfterSale:
    facts = _FACTS.decode(row.facts)
    return AfterSale(row.checkout_id, facts.claims, facts.returns, facts.disputes, facts.waits)


_COLUMNS = {
    "checkout_id": "uuid",
    "facts": "json",
    "refunded_minor": "bigint",
    "credited_minor": "bigint",
    "refund_pending_minor": "bigint",
    "disputed_minor": "bigint",
    "dispute_lost_minor": "bigint",
    "blocked": "boolean",
    "needs_attention": "boolean",
    "deadline_at": "timestamptz",
}

_SAVE = sql(f"""
    INSERT INTO after_sales ({", ".join(_COLUMNS)}, changed_at)
    SELECT n.*, now() FROM {given(_COLUMNS)}
    ON CONFLICT (checkout_id) DO UPDATE SET {assigned(_COLUMNS, "excluded")}, changed_at = now()
""")  # noqa: S608 - built from the constants above


async def save(connection: Connection, after_sales: Sequence[AfterSale]) -> None:
    """Write them."""
    if after_sales:
        await connection.execute(_SAVE, arrays([_row(after) for after in after_sales]))


def _row(after: AfterSale) -> dict[str, Any]:
    facts = _Facts(after.claims, after.returns, after.disputes, after.waits)
    return {
        "checkout_id": after.id,
        "facts": written(facts),
        "refunded_minor": after.refunded_minor,
        "credited_minor": after.credited_minor,
        "refund_pending_minor": after.refund_pending_minor,
        "disputed_minor": after.disputed_minor,
        "dispute_lost_minor": after.dispute_lost_minor,
        "blocked": after.blocked,
        "needs_attention": after.needs_attention,
        "deadline_at": after.deadline_at,
    }


_DUE = sql("""
    SELECT a.checkout_id, a.facts::text, c.shop_id
    FROM after_sales a JOIN checkouts c USING (checkout_id)
    WHERE a.deadline_at <= :now ORDER BY a.deadline_at LIMIT :most
    FOR UPDATE OF a SKIP LOCKED
""")

_NOTE_AGAIN = sql("""
    UPDATE after_sales SET deadline_at = :again WHERE checkout_id = ANY(CAST(:ids AS uuid[]))
""")


async def take_due(
    connection: Connection, now: datetime, most: int, repeat_after: timedelta
) -> list[tuple[str, AfterSale]]:
    """Those whose deadline has passed, with their shops; each is noted again after a while."""
    rows = await connection.fetch(_DUE, {"now": now, "most": most})
    if rows:
        again = {"again": now + repeat_after, "ids": [row.checkout_id for row in rows]}
        await connection.execute(_NOTE_AGAIN, again)
    return [(row.shop_id, _after_sale(row)) for row in rows]
