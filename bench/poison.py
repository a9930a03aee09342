"""What a storm of poison costs the good messages: inventory, with and without bad records.

    python -m bench.poison HOST:PORT postgresql://user:password@host:port/database

On a database and topics of its own, a backlog of reservations waits on `inventory.commands`, in
turns: alone, with one record in ten in between that is no message, and with one in ten that only
the database refuses, by a constraint that no handler knows, so that it has to be searched for. The
service reads all of it; printed are
the good messages a second, medians over the turns, and the ratios. A turn ends when every good
message has had its effect and every bad one is a dead letter.
"""

import asyncio
import statistics
import sys
import time
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaProducer

from bench.servers import own_database, own_topics
from contracts.ids import new_id
from contracts.messages.inventory import ReserveStock
from contracts.messages.parts import StockLine
from contracts.topics import TOPICS
from contracts.values import replace
from inventory_service.app import build
from inventory_service.settings import InventorySettings
from messaging.clock import utc_now
from messaging.garbage import look_for_garbage_seldom
from messaging.migrations import upgrade
from messaging.outbox import Outgoing, address
from messaging.settings import KafkaSettings

TURNS = 3
GOOD = 20_000
BAD_IN = 10
"""One bad record for so many good ones."""

SKUS = 500
POLL_SECONDS = 0.02
REFUSED_SKU = "SKU-REFUSED"


class Poison(StrEnum):
    """What is wrong with the bad records."""

    NONE = "alone"
    NO_MESSAGE = "with what is no message"
    REFUSED = "with what is refused"


async def main(servers: str, url: str) -> None:
    """Measure and print."""
    look_for_garbage_seldom()  # as a service does
    rates: dict[Poison, list[float]] = {poison: [] for poison in Poison}
    for turn in range(TURNS):
        for poison in Poison:
            rates[poison].append(await _turn(servers, url, poison))
        print(f"turn {turn + 1} of {TURNS}", file=sys.stderr)
    alone = statistics.median(rates[Poison.NONE])
    for poison, found in rates.items():
        rate = statistics.median(found)
        print(f"{poison:25} {rate:8,.0f} good messages a second, ratio {rate / alone:.2f}")


async def _turn(servers: str, url: str, poison: Poison) -> float:
    """Good messages a second that the service takes in, from its start to the last of them."""
    name = f"bench_{uuid4().hex[:8]}"
    kafka = KafkaSettings(bootstrap_servers=servers, topic_prefix=f"{name}.")
    async with own_database(url, name) as own_url, own_topics(kafka, TOPICS):
        await asyncio.to_thread(upgrade, "inventory_service", own_url)
        database = await asyncpg.connect(own_url)
        try:
            await _fill_shelves(database)
            if poison is Poison.REFUSED:
                await database.execute(
                    "ALTER TABLE reservation_lines ADD CONSTRAINT unknown_to_handlers"
                    f" CHECK (sku <> '{REFUSED_SKU}')"
                )
            bad = await _place(kafka, poison)
            settings: dict[str, Any] = {
                "database_url": own_url,
                "signing_key": "k" * 32,
                "kafka": kafka,
            }
            service = build(InventorySettings(**settings))
            began = time.perf_counter()
            async with service.app.router.lifespan_context(service.app):
                while await _held(database) < GOOD:  # noqa: ASYNC110 - the database knows
                    await asyncio.sleep(POLL_SECONDS)
                rate = GOOD / (time.perf_counter() - began)
                while await _dead(database) < bad:  # noqa: ASYNC110 - the database knows
                    await asyncio.sleep(POLL_SECONDS)
            return rate
        finally:
            await database.close()


async def _fill_shelves(database: asyncpg.Connection) -> None:
    await database.execute(
        "INSERT INTO stock_items (shop_id, sku) SELECT 'main', 'SKU-' || n FROM"
        " generate_series(0, $1 - 1) n UNION ALL SELECT 'main', $2",
        SKUS,
        REFUSED_SKU,
    )
    await database.execute(
        "INSERT INTO stock_levels (shop_id, sku, warehouse, on_hand)"
        " SELECT 'main', sku, 'main', 1000000 FROM stock_items"
    )


async def _place(kafka: KafkaSettings, poison: Poison) -> int:
    """Put the backlog onto the topic; how many bad records are in it."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, enable_idempotence=True, linger_ms=20
    )
    now, bad = utc_now(), 0
    async with producer:
        for number in range(GOOD):
            await _send(producer, kafka, _reservation(f"SKU-{number % SKUS}", now=now))
            if poison is Poison.NONE or number % BAD_IN != 0:
                continue
            broken = _reservation(REFUSED_SKU, now=now)
            if poison is Poison.NO_MESSAGE:
                broken = replace(broken, payload=b'{"lines": [')
            await _send(producer, kafka, broken)
            bad += 1
    return bad


def _reservation(sku: str, *, now: datetime) -> Outgoing:
    command = ReserveStock(
        checkout_id=new_id(),
        lines=(StockLine(sku=sku, quantity=1),),
        expires_at=now.replace(year=now.year + 1),
    )
    return address(command, source="order", now=now)


async def _send(producer: AIOKafkaProducer, kafka: KafkaSettings, record: Outgoing) -> None:
    assert record.envelope is not None  # noqa: S101 - `address` has put it there
    await producer.send(
        kafka.topic_prefix + record.topic,
        record.payload,
        key=record.key,
        partition=record.partition,
        headers=record.envelope.headers(),
    )


async def _held(database: asyncpg.Connection) -> int:
    held: int = await database.fetchval("SELECT count(*) FROM reservations WHERE status = 'held'")
    return held


async def _dead(database: asyncpg.Connection) -> int:
    dead: int = await database.fetchval("SELECT count(*) FROM dead_letters")
    return dead


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
