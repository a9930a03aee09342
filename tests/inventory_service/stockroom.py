"""An inventory on a real database, and what a test wants to do with it: send, look, add up."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from contracts.ids import new_id
from contracts.messages import MESSAGES_BY_TYPE
from contracts.messages.base import Message
from contracts.messages.inventory import (
    CommitReservation,
    ExtendReservation,
    ReleaseStock,
    ReserveStock,
)
from contracts.messages.parts import StockLine
from contracts.topics import INVENTORY_COMMANDS
from inventory_service.consumers import subscriptions
from inventory_service.domain import AdjustStock, Outcome, ReceiveStock, StockChange
from inventory_service.handlers import StockHandler
from messaging import fold
from messaging.batch import BatchProcessor, Delivery, deliver
from messaging.database import Database
from messaging.dead_letters import Record
from messaging.outbox import Outgoing, address
from messaging.settings import ConsumerSettings

LATER = datetime(2100, 1, 1, tzinfo=UTC)

M = TypeVar("M", bound=Message)


class Stockroom:
    """One inventory. Commands go through the very batch processor that the consumer uses."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.database = Database.connect(
            database_url, pool_connections=8, application_name="stockroom"
        )
        (subscription,) = subscriptions()
        self._processor = BatchProcessor(
            "inventory", subscription, self.database, ConsumerSettings(retry_first_ms=1)
        )
        self._offsets = count()

    async def close(self) -> None:
        """Close the pool."""
        await self.database.close()

    # what happens

    async def receive(
        self, *, warehouse: str = "main", reason: str | None = None, **quantities: int
    ) -> None:
        """Goods come in: so many pieces of each SKU."""
        lines = tuple(StockChange(sku, warehouse, many) for sku, many in quantities.items())
        result = await self.book(ReceiveStock("main", new_id(), reason, lines))
        assert isinstance(result, Outcome), result

    async def book(self, request: ReceiveStock | AdjustStock) -> object:
        """Decide a receipt or an adjustment as the API does; gives its result."""
        async with self.database.transaction() as connection:
            decision = await fold.apply(
                connection, StockHandler(), request, datetime.now(UTC), source="inventory"
            )
        return decision.result

    async def send(self, *messages: Message) -> None:
        """Handle messages as one batch, each under a fresh id."""
        await self.handle([self.record(message) for message in messages])

    async def handle(self, records: Sequence[Record]) -> None:
        """Handle records as one batch."""
        assert await self._processor.settle(
            [deliver(record, INVENTORY_COMMANDS) for record in records], asyncio.Event()
        )

    def record(self, message: Message, message_id: UUID | None = None) -> Record:
        """A message as it comes from Kafka."""
        return record_of(
            address(message, source="order", now=datetime.now(UTC), message_id=message_id),
            next(self._offsets),
        )

    def delivery(self, message: Message) -> Delivery:
        """A message as a batch holds it."""
        return deliver(self.record(message), INVENTORY_COMMANDS)

    async def settle(self, batch: Sequence[Delivery]) -> None:
        """Handle a batch."""
        assert await self._processor.settle(batch, asyncio.Event())

    async def open_warehouse(self, code: str, priority: int) -> None:
        """One more warehouse of the shop."""
        await self.query(
            "INSERT INTO warehouses (shop_id, code, name, priority, created_at)"
            " VALUES ('main', $1, $1, $2, now())",
            code,
            priority,
        )

    # what there is

    async def query(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows of the database."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def levels(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(on hand, reserved) by (SKU, warehouse)."""
        rows = await self.query("SELECT sku, warehouse, on_hand, reserved FROM stock_levels")
        return {(row[0], row[1]): (row[2], row[3]) for row in rows}

    async def level(self, sku: str, warehouse: str = "main") -> tuple[int, int]:
        """(on hand, reserved) of one SKU."""
        return (await self.levels())[sku, warehouse]

    async def statuses(self) -> dict[tuple[UUID, int], str]:
        """Status by (checkout, round)."""
        rows = await self.query("SELECT owner_id, round, status FROM reservations")
        return {(row[0], row[1]): row[2] for row in rows}

    async def sent(self, kind: type[M]) -> list[M]:
        """The messages of one kind in the outbox, in order."""
        rows = await self.query(
            "SELECT type, payload FROM outbox WHERE type = $1 ORDER BY id", kind.type
        )
        messages = [MESSAGES_BY_TYPE[row[0]].model_validate_json(row[1]) for row in rows]
        return [message for message in messages if isinstance(message, kind)]

    async def answers(self) -> list[str]:
        """The types of the replies to the saga, in order."""
        rows = await self.query("SELECT type FROM outbox WHERE topic = 'order.replies' ORDER BY id")
        return [row[0] for row in rows]

    async def dead_letters(self) -> int:
        """How many messages were dead-lettered."""
        return int((await self.query("SELECT count(*) FROM dead_letters"))[0][0])

    async def violations(self) -> dict[str, list[Any]]:
        """What contradicts the rules of stock; empty lists when all is well."""
        return {
            name: [tuple(row) for row in await self.query(statement)]
            for name, statement in RULES.items()
        }


RULES: Mapping[str, str] = {
    "on hand = sum of movements": """
        SELECT l.sku, l.warehouse, l.on_hand, coalesce(sum(m.quantity), 0)
        FROM stock_levels l LEFT JOIN movements m USING (shop_id, sku, warehouse)
        GROUP BY l.shop_id, l.sku, l.warehouse
        HAVING l.on_hand <> coalesce(sum(m.quantity), 0)
    """,
    "reserved = sum of held reservations": """
        SELECT l.sku, l.warehouse, l.reserved, coalesce(sum(h.quantity), 0)
        FROM stock_levels l
        LEFT JOIN (
            SELECT n.* FROM reservation_lines n
            JOIN reservations r USING (shop_id, owner_id, round)
            WHERE r.status = 'held'
        ) h USING (shop_id, sku, warehouse)
        GROUP BY l.shop_id, l.sku, l.warehouse
        HAVING l.reserved <> coalesce(sum(h.quantity), 0)
    """,
    "event_seq counts movements without gaps": """
        SELECT i.sku, i.event_seq, count(m.*), max(m.event_seq)
        FROM stock_items i LEFT JOIN movements m USING (shop_id, sku)
        GROUP BY i.shop_id, i.sku
        HAVING i.event_seq <> count(m.*) OR i.event_seq <> coalesce(max(m.event_seq), 0)
    """,
    "a movement names the level after it": """
        SELECT sku, event_seq, on_hand, running FROM (
            SELECT sku, event_seq, on_hand, sum(quantity) OVER (
                PARTITION BY shop_id, sku, warehouse ORDER BY event_seq
            ) AS running FROM movements
        ) AS ledger WHERE on_hand <> running
    """,
    "nothing stays undecided": "SELECT owner_id, round FROM reservations WHERE status = 'new'",
}


def record_of(outgoing: Outgoing, offset: int) -> Record:
    """The record of an outbox row, as its topic's reader gets it."""
    assert outgoing.envelope is not None
    return Record(
        topic=outgoing.topic,
        partition=outgoing.partition,
        offset=offset,
        key=outgoing.key,
        value=outgoing.payload,
        headers=tuple(outgoing.envelope.headers()),
    )


def lines_of(**quantities: int) -> tuple[StockLine, ...]:
    """Lines, by SKU."""
    return tuple(StockLine(sku=sku, quantity=many) for sku, many in quantities.items())


def reserve(
    checkout_id: UUID, round_: int = 1, *, expires_at: datetime = LATER, **quantities: int
) -> ReserveStock:
    """Reserve so many pieces of each SKU."""
    return ReserveStock(
        checkout_id=checkout_id,
        round=round_,
        lines=lines_of(**quantities),
        expires_at=expires_at,
    )


def commit(checkout_id: UUID, round_: int = 1, **quantities: int) -> CommitReservation:
    """Commit a reservation of so many pieces of each SKU."""
    return CommitReservation(checkout_id=checkout_id, round=round_, lines=lines_of(**quantities))


def release(checkout_id: UUID, round_: int = 1) -> ReleaseStock:
    """Release a reservation."""
    return ReleaseStock(checkout_id=checkout_id, round=round_, reason="cancelled")


def extend(
    checkout_id: UUID, number: int = 1, *, reservation_round: int = 1, by: timedelta
) -> ExtendReservation:
    """Extend a reservation until so long from now."""
    return ExtendReservation(
        checkout_id=checkout_id,
        round=number,
        reservation_round=reservation_round,
        expires_at=datetime.now(UTC) + by,
    )
