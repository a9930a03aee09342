"""What the transactional lane costs: the same events by it and by the plain one.

    python -m bench.lanes

On servers of its own, gone at its end. In turns, by each lane: a backlog of rows is carried away,
and single rows are followed from their commit until a reader of committed records has them. Printed
are medians, and the ratio plain to transactional.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.servers import kafka_and_postgres, own_database, own_topics
from contracts.ids import new_id
from contracts.messages.inventory import StockMoved
from contracts.topics import INVENTORY_EVENTS, RELAY_POSITIONS, Lane
from messaging.database import Database, sql
from messaging.migrations import STATEMENTS
from messaging.outbox import Outgoing, address, write_outgoing
from messaging.relay import PlainRelay, Relay, TransactionalRelay
from messaging.settings import KafkaSettings, RelaySettings

TURNS = 5
BACKLOG_ROWS = 20_000
SINGLE_ROWS = 60
RELAYS: tuple[type[Relay], ...] = (PlainRelay, TransactionalRelay)


async def main() -> None:
    """Measure and print."""
    async with kafka_and_postgres() as own:
        await _measure(own.kafka, own.postgres)


async def _measure(servers: str, url: str) -> None:
    name = f"bench_{uuid4().hex[:8]}"
    kafka = KafkaSettings(bootstrap_servers=servers, topic_prefix=f"{name}.")
    topics = (INVENTORY_EVENTS, RELAY_POSITIONS)
    async with own_database(url, name) as own_url, own_topics(kafka, topics):
        database = Database(own_url, pool_connections=1, application_name="bench")
        await _make_tables(own_url)
        rates: dict[Lane, list[float]] = {"plain": [], "transactional": []}
        waits: dict[Lane, list[float]] = {"plain": [], "transactional": []}
        try:
            for turn in range(TURNS + 1):
                for kind in RELAYS:
                    relay = kind("inventory", own_url, kafka, RelaySettings())
                    rate = await _carry_backlog(database, relay)
                    single = await _follow_single_rows(database, relay, kafka)
                    if turn:  # the first one warms up
                        rates[relay.lane].append(rate)
                        waits[relay.lane] += single
                print(f"turn {turn} of {TURNS}", file=sys.stderr)
        finally:
            await database.close()
    _show("rows a second out of a backlog", rates, 0.5)
    _show("milliseconds from commit to reader, median", waits, 0.5)
    _show("milliseconds from commit to reader, 95 of 100", waits, 0.95)


def _show(title: str, figures: dict[Lane, list[float]], share: float) -> None:
    found = {lane: _quantile(values, share) for lane, values in figures.items()}
    print(
        f"{title:46}  plain {found['plain']:10,.1f}  transactional {found['transactional']:10,.1f}"
        f"  ratio {found['plain'] / found['transactional']:.2f}"
    )


def _quantile(values: list[float], share: float) -> float:
    if share == 0.5:
        return statistics.median(values)
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def _write(database: Database, lane: Lane, rows: list[Outgoing]) -> None:
    async with database.transaction() as connection:
        await write_outgoing(connection, rows)
        await connection.execute(sql("UPDATE outbox SET lane = :lane"), {"lane": lane})
        connection.note_emitted({lane})


async def _carry_backlog(database: Database, relay: Relay) -> float:
    """Rows a second that the relay carries away."""
    await _write(database, relay.lane, [_event(number) for number in range(BACKLOG_ROWS)])
    began = time.perf_counter()
    async with _running(relay):
        while await _left(database):  # noqa: ASYNC110 - the database knows, no event does
            await asyncio.sleep(0.005)
    return BACKLOG_ROWS / (time.perf_counter() - began)


async def _left(database: Database) -> bool:
    async with database.reading() as connection:
        return await connection.fetch_one(sql("SELECT 1 FROM outbox LIMIT 1")) is not None


async def _follow_single_rows(
    database: Database, relay: Relay, kafka: KafkaSettings
) -> list[float]:
    """Milliseconds from the commit of a row until a reader has it, one row at a time."""
    waits = []
    database.after_emit(relay.lane, relay.wake)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers,
        isolation_level="read_committed",
        auto_offset_reset="latest",
    )
    topic = kafka.topic_prefix + INVENTORY_EVENTS.name
    places = [TopicPartition(topic, number) for number in range(INVENTORY_EVENTS.partitions)]
    async with consumer, _running(relay):
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        for place in places:
            await consumer.position(place)
        for number in range(SINGLE_ROWS + 1):
            event = _event(number)
            began = time.perf_counter()
            await _write(database, relay.lane, [event])
            while (await consumer.getone()).key != event.key:
                pass
            if number:  # the first one finds the lane taking over
                waits.append(1000 * (time.perf_counter() - began))
    return waits


def _event(number: int) -> Outgoing:
    now = datetime.now(UTC)
    event = StockMoved(
        sku=f"SKU-{number % 500}",
        event_seq=number,
        warehouse="main",
        kind="sale",
        quantity=1,
        on_hand=number,
        movement_id=new_id(),
        moved_at=now,
    )
    return address(event, source="inventory", now=now)


@asynccontextmanager
async def _running(relay: Relay) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(relay.run(stop))
    try:
        yield
    finally:
        stop.set()
        relay.wake()
        await task


async def _make_tables(url: str) -> None:
    connection = await asyncpg.connect(url)
    for statement in STATEMENTS:
        await connection.execute(statement)
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
