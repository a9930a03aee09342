"""An inventory on a real database, and what a test wants to do with it: send, look, add up."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import httpx
from pydantic import SecretStr

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
from inventory_service.app import build
from inventory_service.consumers import subscriptions
from inventory_service.domain import AdjustStock, Outcome, ReceiveStock, StockChange
from inventory_service.handlers import SERVICE, StockBooking, StockCommand, StockHandler
from inventory_service.settings import InventorySettings
from inventory_service.sweeper import ask_about_due
from messaging import fold
from messaging.batch import BatchProcessor
from messaging.clock import utc_now
from messaging.database import Connection
from messaging.delivery import deliver
from messaging.metrics import BATCH_RETRIES
from messaging.outbox import Outgoing, address
from messaging.records import Record
from messaging.settings import ConsumerSettings
from messaging.signing import customer_token

KEY = SecretStr("a signing key that only tests know")
TABLES = (
    "reservation_lines",
    "reservations",
    "movements",
    "stock_levels",
    "stock_items",
    "inbox",
    "outbox",
    "recorded_replies",
    "dead_letters",
    "dead_letter_history",
    "dead_letter_runs",
    "parked_keys",
    "http_idempotency",
)

LATER = datetime(2100, 1, 1, tzinfo=UTC)

M = TypeVar("M", bound=Message)


class Stockroom:
    """The inventory service. Commands go through the batch processor that its consumer uses.

    `statements` are all that it sent to the database.
    """

    def __init__(self, database_url: str, **settings: Any) -> None:
        self.database_url = database_url
        self.settings = InventorySettings(
            **{"database_url": database_url, "signing_key": KEY, **settings}
        )
        self.service = build(self.settings)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.service.app, raise_app_exceptions=False),
            base_url="http://inventory",
        )
        (subscription,) = subscriptions()
        self._processor = BatchProcessor(
            "inventory", subscription, self.service.database, ConsumerSettings(retry_first_ms=1)
        )
        self._numbers = count(1)
        self.statements: list[str] = []
        for database in (self.service.database, self.service.api_database):
            database.watch(self.statements.append)

    async def close(self) -> None:
        """Close all connections."""
        await self.http.aclose()
        await self.service.database.close()
        await self.service.api_database.close()

    async def empty(self) -> None:
        """Forget everything but the default warehouse; even the ledger, which nobody else can."""
        connection = await asyncpg.connect(self.database_url)
        try:
            await connection.execute("SET session_replication_role = replica")
            for table in TABLES:
                await connection.execute(f"DELETE FROM {table}")  # noqa: S608 - constants
            await connection.execute("DELETE FROM warehouses WHERE code <> 'main'")
        finally:
            await connection.close()

    # over HTTP

    def token(self, *roles: str, shop: str = "main") -> dict[str, str]:
        """The Authorization header of somebody with these roles."""
        token = customer_token(
            KEY,
            sub="somebody",
            roles=frozenset(roles),
            shop=shop,
            now=utc_now(),
            valid_for=timedelta(minutes=5),
        )
        return {"Authorization": f"Bearer {token}"}

    async def post(
        self, path: str, body: object, *, key: str | None = None, shop: str = "main"
    ) -> httpx.Response:
        """A command of an operator, under a fresh idempotency key unless one is given."""
        headers = {
            **self.token("operator", shop=shop),
            "Idempotency-Key": key or f"a-key-{next(self._numbers):08}",
        }
        return await self.http.post(path, json=body, headers=headers)

    async def get(self, path: str, *, shop: str = "main", **query: str | int) -> httpx.Response:
        """A look of an operator."""
        return await self.http.get(path, params=query, headers=self.token("operator", shop=shop))

    # what happens

    async def receive(self, quantities: Mapping[str, int], *, warehouse: str = "main") -> None:
        """Goods come in: so many pieces of each SKU."""
        lines = tuple(StockChange(sku, warehouse, many) for sku, many in quantities.items())
        result = await self.book(ReceiveStock("main", new_id(), None, lines))
        assert isinstance(result, Outcome), result

    async def book(self, request: ReceiveStock | AdjustStock) -> object:
        """Decide a receipt or an adjustment as the API does; gives its result."""
        async with self.service.database.transaction() as connection:
            decision = await fold.apply(
                connection, StockHandler(), request, utc_now(), source=SERVICE
            )
        return decision.result

    async def do(self, command: StockCommand) -> None:
        """Decide a command as whoever gets it would."""
        if isinstance(command, StockBooking):
            assert isinstance(await self.book(command), Outcome)
        else:
            await self.send(command)

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
            address(message, source="order", now=utc_now(), message_id=message_id),
            next(self._numbers),
        )

    async def lock(self, connection: Connection, message: ReleaseStock) -> None:
        """Take the locks that this command takes, in a transaction of the test's own."""
        await StockHandler().lock(connection, [message])

    async def sweep(self) -> int:
        """Ask about what is due."""
        return await ask_about_due(self.settings)(self.service.database)

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

    async def somebody_waits(self) -> bool:
        """Whether a transaction waits for another's lock."""
        return bool(
            await self.query(
                "SELECT 1 FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        )

    def retried_batches(self) -> float:
        """How often a batch was tried again, as after a deadlock or a violated constraint."""
        return sum(
            sample.value
            for sample in next(iter(BATCH_RETRIES.collect())).samples
            if sample.name.endswith("_total")
        )

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


def lines_of(quantities: Mapping[str, int]) -> tuple[StockLine, ...]:
    """Lines, by SKU."""
    return tuple(StockLine(sku=sku, quantity=many) for sku, many in quantities.items())


def reserve(
    checkout_id: UUID,
    quantities: Mapping[str, int],
    round_: int = 1,
    *,
    expires_at: datetime = LATER,
) -> ReserveStock:
    """Reserve so many pieces of each SKU."""
    return ReserveStock(
        checkout_id=checkout_id,
        round=round_,
        lines=lines_of(quantities),
        expires_at=expires_at,
    )


def commit(checkout_id: UUID, quantities: Mapping[str, int], round_: int = 1) -> CommitReservation:
    """Commit a reservation of so many pieces of each SKU."""
    return CommitReservation(checkout_id=checkout_id, round=round_, lines=lines_of(quantities))


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
        expires_at=utc_now() + by,
    )
