# ruff: noqa: S608 - names in statements are our own
"""What no pipeline on these servers can go below: the same rows and the same records, and no more.

The rows of an `Anatomy` are written by `pgbench`, all of it in one transaction and with one index
for each table; its records are produced and consumed by a bare client. The slowest of the three is
the floor: a pipeline has to do all of them at once, on the same processors.
"""

import asyncio
import os
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic

from bench.anatomy import Anatomy
from bench.servers import own_database
from contracts.topics import TRAFFIC_PARTITIONS
from messaging.relay import rows as outbox
from trolley.runtime.postgres import wheel_install
from trolley.runtime.servers import Servers
from trolley.topics import admin_client, kafka_settings

FLOOR_SECONDS = 5.0
"""How long each part is measured."""
CLIENTS = 4
"""Connections of `pgbench`, unless told otherwise."""
ROWS_OF_A_BLOCK = 10_000_000
CONSUMED_AT_ONCE = 5_000

_TPS = re.compile(r"tps = ([\d.]+)")
_FAILED = re.compile(r"number of failed transactions: (\d+)")


@dataclass(frozen=True, slots=True)
class Floor:
    """Checkouts a second."""

    rows_alone: float
    """Rows of one checkout in a transaction."""
    rows_together: float
    """Rows of a backlog in a transaction."""
    produced: float
    consumed: float

    @property
    def slowest(self) -> float:
        """The least of rows of a backlog, producing and consuming, each with all of the machine."""
        return min(self.rows_together, self.produced, self.consumed)


async def measure(
    servers: Servers, alone: Anatomy, together: Anatomy, seconds: float = FLOOR_SECONDS
) -> Floor:
    """The floor under checkouts that were seen one at a time, and as a backlog."""
    produced, consumed = await carried(servers, together, seconds)
    return Floor(
        await written(servers.postgres, alone, seconds),
        await written(servers.postgres, together, seconds),
        produced,
        consumed,
    )


async def written(
    postgres: str, anatomy: Anatomy, seconds: float = FLOOR_SECONDS, clients: int = CLIENTS
) -> float:
    """Checkouts a second whose rows `pgbench` writes, with all of an anatomy in a transaction."""
    async with own_database(postgres, f"floor_{uuid4().hex[:8]}") as url:
        script = await _prepare(url, anatomy)
        return anatomy.checkouts * await _transactions_per_second(url, script, seconds, clients)


async def _prepare(url: str, anatomy: Anatomy) -> str:
    """Makes the tables with a copy of what goes into them; the script that writes it."""
    script = [
        f"SELECT nextval('blocks') * {ROWS_OF_A_BLOCK} AS first \\gset",
        "BEGIN;",
    ]
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE SEQUENCE blocks")
        for number, one in enumerate(anatomy.tables):
            columns = ", ".join(f"{name} {kind}" for name, kind in one.columns)
            await connection.execute(f"CREATE TABLE rows_{number} ({columns})")
            await connection.execute(
                f"CREATE TABLE written_{number} (bench_number bigint PRIMARY KEY, {columns})"
            )
            await connection.execute(
                f"INSERT INTO rows_{number}"
                f" SELECT * FROM jsonb_populate_recordset(NULL::rows_{number}, $1::jsonb)",
                one.rows.decode(),
            )
            script.append(
                f"INSERT INTO written_{number}"
                f" SELECT CAST(:first AS bigint) + row_number() OVER (), r.* FROM rows_{number} r;"
            )
            if one.deletes:
                last = min(one.deletes, one.inserts)
                script.append(
                    f"DELETE FROM written_{number}"
                    " WHERE bench_number > CAST(:first AS bigint)"
                    f" AND bench_number <= CAST(:first AS bigint) + {last};"
                )
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    return "\n".join([*script, "COMMIT;"])


async def _transactions_per_second(url: str, script: str, seconds: float, clients: int) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        process = await asyncio.create_subprocess_exec(
            str(wheel_install() / "bin" / "pgbench"),
            *("-n", "-M", "prepared", "-c", str(clients), "-T", str(max(1, round(seconds)))),
            *("-f", file.name, url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        )
        said, complaint = (one.decode() for one in await process.communicate())
    found, failed = _TPS.search(said), _FAILED.search(said)
    if process.returncode or found is None or (failed and int(failed[1])):
        raise RuntimeError(f"pgbench: {said}{complaint}")
    return float(found[1])


async def carried(
    servers: Servers, anatomy: Anatomy, seconds: float = FLOOR_SECONDS
) -> tuple[float, float]:
    """Checkouts a second whose records are produced, and consumed, by one bare client."""
    records = await _records(servers.postgres, anatomy)
    topic = f"floor_{uuid4().hex[:8]}"
    async with admin_client(kafka_settings({"KAFKA_BOOTSTRAP_SERVERS": servers.kafka})) as admin:
        await admin.create_topics([NewTopic(topic, TRAFFIC_PARTITIONS, 1)])
        try:
            rounds, took = await _produce(servers.kafka, topic, records, seconds)
            produced = rounds * anatomy.checkouts / took
            took = await _consume(servers.kafka, topic, rounds * len(records))
            return produced, rounds * anatomy.checkouts / took
        finally:
            await admin.delete_topics([topic])


async def _records(postgres: str, anatomy: Anatomy) -> list[Any]:
    """The rows of the outboxes, as their own types."""
    found: list[Any] = []
    async with own_database(postgres, f"floor_{uuid4().hex[:8]}") as url:
        connection = await asyncpg.connect(url)
        try:
            outboxes = [one for one in anatomy.tables if one.table == "outbox"]
            for number, one in enumerate(outboxes):
                columns = ", ".join(f"{name} {kind}" for name, kind in one.columns)
                await connection.execute(f"CREATE TABLE outbox_{number} ({columns})")
                found += await connection.fetch(
                    f"SELECT * FROM jsonb_populate_recordset(NULL::outbox_{number}, $1::jsonb)",
                    one.rows.decode(),
                )
        finally:
            await connection.close()
    return found


async def _produce(
    kafka: str, topic: str, records: Sequence[Any], seconds: float
) -> tuple[int, float]:
    """How often all of them were sent, and the seconds that it took."""
    places: dict[int, list[Any]] = {}
    for record in records:
        places.setdefault(record["partition"] % TRAFFIC_PARTITIONS, []).append(record)
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka,
        acks="all",
        enable_idempotence=True,
        max_batch_size=outbox.LARGEST_BATCH_BYTES,
        max_request_size=outbox.LARGEST_REQUEST_BYTES,
    )

    async def send(partition: int, some: Sequence[Any]) -> None:
        begin = 0
        while begin < len(some):
            batch, begin = outbox.batch_of(producer, some, begin, len(some))
            await (await producer.send_batch(batch, topic, partition=partition))

    async with producer:
        rounds, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            await asyncio.gather(*(send(place, some) for place, some in places.items()))
            rounds += 1
        return rounds, time.perf_counter() - began


async def _consume(kafka: str, topic: str, wanted: int) -> float:
    """Seconds that it took to read so many records."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest")
    async with consumer:
        consumer.assign([TopicPartition(topic, number) for number in range(TRAFFIC_PARTITIONS)])
        count, began = 0, time.perf_counter()
        while count < wanted:
            found = await consumer.getmany(timeout_ms=1_000, max_records=CONSUMED_AT_ONCE)
            count += sum(map(len, found.values()))
        return time.perf_counter() - began
