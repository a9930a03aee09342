"""A service of the rig as a process: consume, one transaction for each batch, relay.

python -m bench.rig.service NAME KAFKA DATABASE_URL PREFIX BATCH_RECORDS
"""

import asyncio
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.rig.steps import STEPS, Step
from bench.rig.wire import Message, read
from messaging.waiting import happens

WRITTEN = "written"
"""Who writes to an outbox from another process says so by this name, after the commit."""
RELAY_ROWS = 2_000
RELAY_POLL_SECONDS = 1.0
PRODUCER_BATCH_BYTES = 900_000
SMALL_BATCH = 100
"""Behind a batch of fewer records comes a rest, so that the next one is larger."""
REST_SECONDS = 0.005
COMMIT_SECONDS = 0.15
FETCH_WAIT_MS = 250

_CLAIM = """
    INSERT INTO inbox (id) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING RETURNING id
"""
SEND = """
    INSERT INTO outbox (topic, partition, key, value)
    SELECT * FROM unnest($1::text[], $2::int[], $3::bytea[], $4::bytea[])
"""
_READ = "SELECT id, topic, partition, key, value FROM outbox ORDER BY id LIMIT $1"
_DELETE = "DELETE FROM outbox WHERE id = ANY($1::bigint[])"


def rows(messages: Sequence[Message]) -> tuple[list[str], list[int], list[bytes], list[bytes]]:
    """The values of `SEND`."""
    return (
        [one.topic for one in messages],
        [one.partition for one in messages],
        [one.checkout.bytes for one in messages],
        [one.value() for one in messages],
    )


class Service:
    """Consumers and a relay over one database."""

    def __init__(self, name: str, kafka: str, prefix: str, pool: Any, batch_records: int) -> None:
        self._name, self._kafka, self._prefix = name, kafka, prefix
        self._pool, self._batch_records = pool, batch_records
        self._written = asyncio.Event()

    async def consume(self, topic: str, step: Step) -> None:
        """Read a topic; offsets follow what is committed to the database."""
        consumer = AIOKafkaConsumer(
            self._prefix + topic,
            bootstrap_servers=self._kafka,
            group_id=f"{self._prefix}{self._name}.{topic}",
            group_instance_id=f"{self._prefix}{self._name}.{topic}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        async with consumer:
            done: dict[TopicPartition, int] = {}
            committing = asyncio.create_task(_commit(consumer, done))
            try:
                while True:
                    found = await consumer.getmany(
                        timeout_ms=FETCH_WAIT_MS, max_records=self._batch_records
                    )
                    records = [record for some in found.values() for record in some]
                    if not records:
                        continue
                    began = time.perf_counter()
                    await self._take([read(topic, record.value) for record in records], step)
                    done |= {place: some[-1].offset + 1 for place, some in found.items()}
                    if len(records) < SMALL_BATCH:
                        await asyncio.sleep(began + REST_SECONDS - time.perf_counter())
            finally:
                committing.cancel()

    async def _take(self, messages: Sequence[Message], step: Step) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            ids = [one.id for one in messages]
            new = {row["id"] for row in await connection.fetch(_CLAIM, ids)}
            fresh = {one.id: one for one in messages if one.id in new}
            if not fresh:
                return
            if sent := await step(connection, list(fresh.values())):
                await connection.execute(SEND, *rows(sent))
        self._written.set()

    async def relay(self) -> None:
        """Carry the outbox to Kafka, in order for each partition."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._kafka,
            acks="all",
            enable_idempotence=True,
            max_batch_size=PRODUCER_BATCH_BYTES,
        )
        async with producer, self._pool.acquire() as connection:
            await connection.add_listener(WRITTEN, self._told)
            try:
                await self._carry(producer, connection)
            finally:
                await connection.remove_listener(WRITTEN, self._told)

    def _told(self, *_: object) -> None:
        self._written.set()

    async def _carry(self, producer: AIOKafkaProducer, connection: Any) -> None:
        while True:
            self._written.clear()
            waiting = await connection.fetch(_READ, RELAY_ROWS)
            if not waiting:
                await happens(self._written, RELAY_POLL_SECONDS)
                continue
            places: defaultdict[tuple[str, int], list[Any]] = defaultdict(list)
            for row in waiting:
                places[self._prefix + row["topic"], row["partition"]].append(row)
            await asyncio.gather(*(_send(producer, place, some) for place, some in places.items()))
            await connection.execute(_DELETE, [row["id"] for row in waiting])
            if len(waiting) < SMALL_BATCH:
                await asyncio.sleep(REST_SECONDS)


async def _send(producer: AIOKafkaProducer, place: tuple[str, int], some: Sequence[Any]) -> None:
    topic, partition = place
    batch = producer.create_batch()
    for row in some:
        record = {"key": row["key"], "value": row["value"], "timestamp": None}
        if batch.append(**record) is None:
            await (await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(**record)
    await (await producer.send_batch(batch, topic, partition=partition))


async def _commit(consumer: AIOKafkaConsumer, done: dict[TopicPartition, int]) -> None:
    """Lazily: after a crash come duplicates, which the inbox drops."""
    while True:
        await asyncio.sleep(COMMIT_SECONDS)
        if done:
            offsets = dict(done)
            done.clear()
            await consumer.commit(offsets)


async def main(name: str, kafka: str, url: str, prefix: str, batch_records: int) -> None:
    """Run until SIGTERM."""
    # Plans made for empty tables would stay with those that are full.
    settings = {"plan_cache_mode": "force_custom_plan", "jit": "off"}
    async with asyncpg.create_pool(url, min_size=3, max_size=3, server_settings=settings) as pool:
        service = Service(name, kafka, prefix, pool, batch_records)
        steps = STEPS[name]  # type: ignore[index]  # the name comes from the command line
        work = [service.relay(), *(service.consume(topic, step) for topic, step in steps.items())]
        running = asyncio.gather(*work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        try:
            await running
        except asyncio.CancelledError:
            return


if __name__ == "__main__":
    given = sys.argv[1:]
    asyncio.run(main(given[0], given[1], given[2], given[3], int(given[4])))
