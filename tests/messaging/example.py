"""A small service to try messaging on: it counts reservations, and some SKUs make it fail."""

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from contracts.ids import new_id
from contracts.messages.inventory import ReserveStock, StockReserved
from contracts.messages.parts import StockLine
from contracts.partitioning import partition_of
from contracts.topics import (
    INVENTORY_COMMANDS,
    INVENTORY_EVENTS,
    ORDER_REPLIES,
    RELAY_POSITIONS,
    Topic,
    dead_letter_topic,
    replay_topic,
)
from contracts.values import Struct, replace
from messaging.database import Connection, sql
from messaging.delivery import Subscription
from messaging.fold import Decision, Handler, Row, Rows
from messaging.migrations import STATEMENTS
from messaging.outbox import Outgoing, address
from messaging.relay import PlainRelay, Relay
from messaging.service import Service
from messaging.settings import ConsumerSettings, KafkaSettings, RelaySettings, ServiceSettings

LATER = datetime(2030, 1, 1, tzinfo=UTC)
RAISES = "raises"
REJECTED_BY_DATABASE = "rejected"
TOPICS = (
    INVENTORY_COMMANDS,
    INVENTORY_EVENTS,
    ORDER_REPLIES,
    dead_letter_topic("inventory"),
    replay_topic("inventory"),
)

CREATE_COUNTS = """
    CREATE TABLE counts (
        checkout_id uuid PRIMARY KEY,
        reserved integer NOT NULL DEFAULT 0 CHECK (reserved >= 0),
        rounds integer[] NOT NULL DEFAULT '{}'
    )
"""


class Count(Struct, frozen=True):
    """How many pieces a checkout reserved, over which rounds in which order."""

    checkout_id: UUID
    reserved: int
    rounds: tuple[int, ...]

    @property
    def key(self) -> Hashable:
        return self.checkout_id


class CountingHandler(Handler[ReserveStock]):
    """Adds up what is reserved; not idempotent by itself, so a doubled message shows.

    Once `mended` nothing makes it fail any more.
    """

    def __init__(self, *, mended: bool = False) -> None:
        self.mended = mended

    async def lock(self, connection: Connection, messages: Sequence[ReserveStock]) -> None:
        ids = sorted({message.checkout_id for message in messages})
        await connection.execute(
            sql(
                "INSERT INTO counts (checkout_id) SELECT unnest(CAST(:ids AS uuid[])) "
                "ON CONFLICT DO NOTHING"
            ),
            {"ids": ids},
        )
        await connection.execute(
            sql(
                "SELECT 1 FROM counts WHERE checkout_id = ANY(CAST(:ids AS uuid[])) "
                "ORDER BY checkout_id FOR UPDATE"
            ),
            {"ids": ids},
        )

    async def load(self, connection: Connection, messages: Sequence[ReserveStock]) -> Rows:
        found = await connection.fetch(
            sql("SELECT * FROM counts WHERE checkout_id = ANY(CAST(:ids AS uuid[]))"),
            {"ids": [message.checkout_id for message in messages]},
        )
        return Rows(Count(row.checkout_id, row.reserved, tuple(row.rounds)) for row in found)

    def decide(self, rows: Rows, message: ReserveStock, now: datetime) -> Decision:
        line = message.lines[0]
        if line.sku == RAISES and not self.mended:
            raise RuntimeError(f"cannot reserve {line.sku} for {message.checkout_id}")
        count = rows.get(Count, message.checkout_id)
        reserved = count.reserved + line.quantity
        if line.sku == REJECTED_BY_DATABASE and not self.mended:
            reserved = -1000
        changed = replace(count, reserved=reserved, rounds=(*count.rounds, message.round))
        reply = StockReserved(
            checkout_id=message.checkout_id, round=message.round, expires_at=message.expires_at
        )
        return Decision((changed,), (reply,))

    async def save(self, connection: Connection, changed: Sequence[Row]) -> None:
        for row in changed:
            assert isinstance(row, Count)
            await connection.execute(
                sql(
                    "UPDATE counts SET reserved = :reserved, rounds = :rounds "
                    "WHERE checkout_id = :id"
                ),
                {"reserved": row.reserved, "rounds": list(row.rounds), "id": row.checkout_id},
            )


def reserve(
    checkout_id: UUID, round_: int = 1, *, sku: str = "SKU", quantity: int = 1
) -> ReserveStock:
    """A command as the saga would send it."""
    return ReserveStock(
        checkout_id=checkout_id,
        round=round_,
        lines=(StockLine(sku=sku, quantity=quantity),),
        expires_at=LATER,
    )


class Example:
    """The example service on real Kafka and PostgreSQL, and what a test wants to do with it."""

    def __init__(self, kafka: KafkaSettings, database_url: str) -> None:
        self.kafka = kafka
        self.database_url = database_url

    def name_of(self, topic: Topic) -> str:
        """The topic as this test's broker knows it."""
        return self.kafka.topic_prefix + topic.name

    def service(
        self,
        slot: int = 0,
        handler: CountingHandler | None = None,
        others: Sequence[Subscription] = (),
        **consumer: int,
    ) -> Service:
        """A replica of the service, that may read `others` too.

        `consumer` are settings of its consumer.
        """
        consumer_settings: dict[str, Any] = {"session_timeout_ms": 6000, **consumer}
        settings: dict[str, Any] = {
            "database_url": self.database_url,
            "signing_key": "k" * 32,
            "instance_slot": slot,
            "kafka": self.kafka,
            "consumer": ConsumerSettings(**consumer_settings),
            "relay": self.relay_settings(),
        }
        return Service(
            "inventory",
            ServiceSettings(**settings),
            title="Example",
            subscriptions=[
                Subscription(INVENTORY_COMMANDS, handler or CountingHandler()),
                *others,
            ],
        )

    def relay_settings(self) -> RelaySettings:
        """Short waits, so that faults heal within a test."""
        return RelaySettings(poll_seconds=0.2, send_timeout_seconds=5, retry_longest_ms=500)

    def relay(self) -> PlainRelay:
        """The relay of one replica, without its service."""
        return PlainRelay("inventory", self.database_url, self.kafka, self.relay_settings())

    @asynccontextmanager
    async def running(
        self,
        slot: int = 0,
        handler: CountingHandler | None = None,
        others: Sequence[Subscription] = (),
        **consumer: int,
    ) -> AsyncIterator[Service]:
        """A replica that runs, without its HTTP port."""
        service = self.service(slot, handler, others, **consumer)
        async with service.app.router.lifespan_context(service.app):
            yield service

    async def send(self, *outgoing: Outgoing) -> None:
        """Write records to Kafka, in order."""
        async with self.producer() as producer:
            for row in outgoing:
                assert row.envelope is not None
                await producer.send(
                    self.kafka.topic_prefix + row.topic,
                    row.payload,
                    key=row.key,
                    partition=row.partition,
                    headers=row.envelope.headers(),
                )

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[AIOKafkaProducer]:
        """A producer that has sent everything at the end of the block."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.kafka.bootstrap_servers,
            enable_idempotence=True,
            max_request_size=8_000_000,
        )
        await producer.start()
        try:
            yield producer
            await producer.flush()
        finally:
            await producer.stop()

    async def read_all(self, topic: Topic) -> list[object]:
        """Every record on a topic at this moment, partition by partition.

        Transactions that are not settled yet are waited for.
        """
        places = [TopicPartition(self.name_of(topic), p) for p in range(topic.partitions)]
        ends = await true_ends(self.kafka.bootstrap_servers, places)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.kafka.bootstrap_servers,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            consumer.assign(places)
            records: list[object] = []
            while any([await consumer.position(place) < ends[place] for place in places]):
                for group in (await consumer.getmany(timeout_ms=200)).values():
                    records.extend(group)
            return records
        finally:
            await consumer.stop()

    async def query(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows of the service's database."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def counts(self) -> dict[UUID, tuple[int, list[int]]]:
        """What the handler has added up."""
        rows = await self.query("SELECT * FROM counts")
        return {row["checkout_id"]: (row["reserved"], row["rounds"]) for row in rows}

    async def idle(self) -> bool:
        """Whether the outbox is empty."""
        return not await self.query("SELECT 1 FROM outbox WHERE flagged_at IS NULL LIMIT 1")


@asynccontextmanager
async def relaying(relay: Relay) -> AsyncIterator[asyncio.Task[None]]:
    """A relay at work; the block gets its task."""
    stop = asyncio.Event()
    task = asyncio.create_task(relay.run(stop))
    try:
        yield task
    finally:
        stop.set()
        relay.wake()
        await asyncio.wait([task], timeout=10)
        if not task.cancel() and not task.cancelled():
            task.result()  # raises what ended it


def addressed(message: ReserveStock, message_id: UUID | None = None) -> Outgoing:
    """The record of a message, under a fresh id or the one given."""
    return address(message, source="order", now=datetime.now(UTC), message_id=message_id)


def checkouts_by_partition(count: int) -> list[UUID]:
    """Fresh checkout ids, evenly over the partitions of the command topic."""
    wanted = count // INVENTORY_COMMANDS.partitions
    buckets: dict[int, list[UUID]] = {p: [] for p in range(INVENTORY_COMMANDS.partitions)}
    while any(len(bucket) < wanted for bucket in buckets.values()):
        checkout = new_id()
        bucket = buckets[partition_of(str(checkout).encode(), INVENTORY_COMMANDS.partitions)]
        if len(bucket) < wanted:
            bucket.append(checkout)
    return [checkout for bucket in buckets.values() for checkout in bucket]


async def true_ends(servers: str, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """Where partitions end, with what is still in a transaction.

    A producer hears of its commit before the partitions do: readers of committed records see the
    end of the topic a moment later.
    """
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, isolation_level="read_uncommitted")
    async with consumer:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
        return ends


async def create_tables(database_url: str) -> None:
    """Messaging's tables and the example's own."""
    connection = await asyncpg.connect(database_url)
    try:
        for statement in (*STATEMENTS, CREATE_COUNTS):
            await connection.execute(statement)
    finally:
        await connection.close()


async def create_topics(kafka: KafkaSettings, topics: Sequence[Topic] = TOPICS) -> None:
    """The topics of this test, under its prefix, and the one that every relay needs."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics(
            [
                NewTopic(
                    kafka.topic_prefix + topic.name,
                    topic.partitions,
                    1,
                    topic_configs={"max.message.bytes": str(topic.broker_max_message_bytes)},
                )
                for topic in {*topics, RELAY_POSITIONS}
            ]
        )
    finally:
        await admin.close()
