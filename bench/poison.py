"""What a storm of poison costs the good messages: inventory, with and without bad records.

    python -m bench.poison HOST:PORT postgresql://user:password@host:port/database

On a database and topics of its own, a backlog of reservations waits on `inventory.commands`: once
alone, once with one record in ten in between that is no message, in turns. The service reads all of
it; printed are the good messages a second, medians over the turns, and the ratio. A turn ends when
every good message has had its effect and every bad one is a dead letter.
"""

import asyncio
import statistics
import sys
import time
from typing import Any
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaProducer

from bench.servers import own_database, own_topics
from contracts.ids import new_id
from contracts.messages.inventory import ReserveStock
from contracts.messages.parts import StockLine
from contracts.topics import TOPICS
from inventory_service.app import build
from inventory_service.settings import InventorySettings
from messaging.clock import utc_now
from messaging.migrations import upgrade
from messaging.outbox import address
from messaging.settings import KafkaSettings

TURNS = 3
GOOD = 20_000
BAD_IN = 10
"""One bad record for so many good ones."""

SKUS = 500
POLL_SECONDS = 0.02


async def main(servers: str, url: str) -> None:
    """Measure and print."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(TURNS):
        for poisoned in (False, True):
            rates[poisoned].append(await _turn(servers, url, poisoned))
        print(f"turn {turn + 1} of {TURNS}", file=sys.stderr)
    clean, storm = (statistics.median(rates[poisoned]) for poisoned in (False, True))
    print(f"good messages a second: alone {clean:,.0f}, in a storm of poison {storm:,.0f}")
    print(f"ratio {storm / clean:.2f}")


async def _turn(servers: str, url: str, poisoned: bool) -> float:
    """Good messages a second that the service takes in, from its start to the last of them."""
    name = f"bench_{uuid4().hex[:8]}"
    kafka = KafkaSettings(bootstrap_servers=servers, topic_prefix=f"{name}.")
    async with own_database(url, name) as own_url, own_topics(kafka, TOPICS):
        await asyncio.to_thread(upgrade, "inventory_service", own_url)
        database = await asyncpg.connect(own_url)
        try:
            await _fill_shelves(database)
            bad = await _place(kafka, poisoned)
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
        " generate_series(0, $1 - 1) n",
        SKUS,
    )
    await database.execute(
        "INSERT INTO stock_levels (shop_id, sku, warehouse, on_hand)"
        " SELECT 'main', sku, 'main', 1000000 FROM stock_items"
    )


async def _place(kafka: KafkaSettings, poisoned: bool) -> int:
    """Put the backlog onto the topic; how many bad records are in it."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, enable_idempotence=True, linger_ms=20
    )
    now, bad = utc_now(), 0
    async with producer:
        for number in range(GOOD):
            command = ReserveStock(
                checkout_id=new_id(),
                lines=(StockLine(sku=f"SKU-{number % SKUS}", quantity=1),),
                expires_at=now.replace(year=now.year + 1),
            )
            record = address(command, source="order", now=now)
            assert record.envelope is not None  # noqa: S101 - `address` has put it there
            topic, headers = kafka.topic_prefix + record.topic, record.envelope.headers()
            place = {"key": record.key, "partition": record.partition}
            await producer.send(topic, record.payload, headers=headers, **place)
            if poisoned and number % BAD_IN == 0:
                await producer.send(topic, b'{"lines": [', **place)
                bad += 1
    return bad


async def _held(database: asyncpg.Connection) -> int:
    held: int = await database.fetchval("SELECT count(*) FROM reservations WHERE status = 'held'")
    return held


async def _dead(database: asyncpg.Connection) -> int:
    dead: int = await database.fetchval("SELECT count(*) FROM dead_letters")
    return dead


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
