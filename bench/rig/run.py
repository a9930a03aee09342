"""Drive the rig through a backlog of checkouts, and look at what it left."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import asyncpg
import orjson
from aiokafka.admin import NewTopic
from uuid_utils.compat import uuid7

from bench.processes import cpu_seconds_of
from bench.progress import Mark, WrongState, steady_per_second, watched
from bench.rig.service import SEND, WRITTEN, rows
from bench.rig.tables import NAMES, TABLES, Name
from bench.rig.wire import ORDER_COMMANDS, PARTITIONS, TOPICS, Message
from bench.servers import OwnServers, checkpoint, own_database
from bench.spin import spin_seconds
from trolley.topics import admin_client, kafka_settings

SKUS = tuple(f"SKU-{number}" for number in range(500))
LINES, PRICE_MINOR = 3, 500
TOTAL_MINOR = LINES * PRICE_MINOR
PIECES = 1_000_000
BATCH_RECORDS = 1_000
ROWS_AT_ONCE = 1_000
WARM_CHECKOUTS = 500
POLL_SECONDS = 0.001

_LEFT: Mapping[Name, tuple[tuple[str, int], ...]] = {
    "cart": (("SELECT count(*) FROM carts", 1), ("SELECT count(*) FROM outbox", 0)),
    "order": (
        ("SELECT count(*) FROM orders WHERE state = 'paid'", 1),
        ("SELECT count(*) FROM orders", 1),
        ("SELECT count(*) FROM inbox", 3),
        ("SELECT count(*) FROM outbox", 0),
    ),
    "inventory": (
        ("SELECT sum(reserved) FROM levels", LINES),
        ("SELECT sum(quantity) FROM reservation_lines", LINES),
        ("SELECT count(DISTINCT checkout_id) FROM reservation_lines", 1),
        ("SELECT count(*) FROM inbox", 1),
        ("SELECT count(*) FROM outbox", 0),
    ),
    "payment": (
        ("SELECT count(*) FROM payments", 1),
        ("SELECT sum(amount_minor) FROM payments", TOTAL_MINOR),
        ("SELECT count(*) FROM inbox", 1),
        ("SELECT count(*) FROM outbox", 0),
    ),
}
"""What stands in each database at the end, for each checkout."""

_RESERVED_AMISS = """
    SELECT count(*) FROM levels FULL JOIN (
        SELECT sku, sum(quantity) AS pieces FROM reservation_lines GROUP BY sku
    ) AS held USING (sku) WHERE coalesce(reserved, 0) <> coalesce(pieces, 0)
"""


@dataclass(frozen=True, slots=True)
class RigTurn:
    """What one backlog came to; times by process in microseconds of a processor, each checkout."""

    seconds: float
    per_second: float
    cpu_us: Mapping[str, float]
    spin_ms: float


class Rig:
    """The rig's services on empty databases, running."""

    def __init__(
        self, urls: Mapping[Name, str], processes: Mapping[str, int], orders: asyncpg.Connection
    ) -> None:
        self.processes = processes
        self.urls, self._orders = urls, orders
        self._placed = 0

    async def place(self, count: int) -> None:
        """So many carts check out, as fast as they can be written."""
        connection = await asyncpg.connect(self.urls["cart"])
        try:
            for first in range(self._placed, self._placed + count, ROWS_AT_ONCE):
                last = min(first + ROWS_AT_ONCE, self._placed + count)
                some = [_checkout(number) for number in range(first, last)]
                await _write(connection, some)
        finally:
            await connection.close()
        self._placed += count

    async def finish(self, what: str) -> list[Mark]:
        """How many were paid when, until all are; a checkpoint halfway. Raises `WrongState`."""
        halfway = partial(checkpoint, self.urls["order"])
        return await watched(self._paid, self._placed, what, halfway)

    async def follow_one(self) -> float:
        """Seconds from the insert of one checkout until its order is paid."""
        connection = await asyncpg.connect(self.urls["cart"])
        try:
            one = _checkout(self._placed)
            began = time.perf_counter()
            await _write(connection, [one])
            paid = "SELECT state = 'paid' FROM orders WHERE checkout_id = $1"
            while not await self._orders.fetchval(paid, one.checkout):  # noqa: ASYNC110 - asked
                await asyncio.sleep(POLL_SECONDS)
            self._placed += 1
            return time.perf_counter() - began
        finally:
            await connection.close()

    async def check(self) -> None:
        """Everything is as it must be. Raises `WrongState`."""
        for name, looks in _LEFT.items():
            connection = await asyncpg.connect(self.urls[name])
            try:
                for statement, each in looks:
                    found = await connection.fetchval(statement)
                    if found != each * self._placed:
                        raise WrongState(f"rig, {name}: {found} by {statement}")
                if name == "inventory" and await connection.fetchval(_RESERVED_AMISS):
                    raise WrongState("rig: what is reserved is not what was asked for")
            finally:
                await connection.close()

    async def _paid(self) -> int:
        count: int = await self._orders.fetchval(_LEFT["order"][0][0])
        return count


async def backlog(servers: OwnServers, checkouts: int, batch_records: int) -> RigTurn:
    """One backlog, on databases and topics of its own. Raises `WrongState`."""
    async with running(servers, batch_records) as rig:
        await rig.place(WARM_CHECKOUTS)
        await rig.finish("rig, warming up")
        spin, before, began = spin_seconds(), cpu_seconds_of(rig.processes), time.perf_counter()
        await rig.place(checkouts)
        marks = await rig.finish("rig")
        seconds, after = time.perf_counter() - began, cpu_seconds_of(rig.processes)
        await settled(rig)
    return RigTurn(
        seconds,
        steady_per_second(marks),
        {name: (after[name] - before[name]) / checkouts * 1e6 for name in rig.processes},
        spin * 1e3,
    )


async def settled(rig: Rig, seconds: float = 5) -> None:
    """Checks the state; the last rows of an outbox are deleted behind what they lead to."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await rig.check()
        except WrongState:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


@asynccontextmanager
async def running(servers: OwnServers, batch_records: int = BATCH_RECORDS) -> AsyncIterator[Rig]:
    """The rig on these servers, gone at the end."""
    prefix = f"rig_{uuid4().hex[:8]}_"
    async with AsyncExitStack() as stack:
        urls: dict[Name, str] = {
            name: await stack.enter_async_context(own_database(servers.postgres, prefix + name))
            for name in NAMES
        }
        for name, url in urls.items():
            await _prepare(name, url)
        await stack.enter_async_context(_topics(servers.kafka, prefix))
        pids: dict[str, int] = {}
        for name, url in urls.items():
            arguments = (name, servers.kafka, url, prefix, str(batch_records))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bench.rig.service", *arguments), env=os.environ
            )
            stack.push_async_callback(_end, process)
            pids[name] = process.pid
        orders = await asyncpg.connect(urls["order"])
        stack.push_async_callback(orders.close)
        yield Rig(urls, {**pids, **servers.processes}, orders)


def _checkout(number: int) -> Message:
    lines = {SKUS[(number * LINES + line) % len(SKUS)]: 1 for line in range(LINES)}
    content = {
        "lines": lines,
        "total": TOTAL_MINOR,
        "email": "ada@shop.example",
        "address": ["Ada", "1 Mill Lane", "Leeds", "GB"],
    }
    return Message(ORDER_COMMANDS, uuid7(), "start", content)


async def _write(connection: asyncpg.Connection, some: Sequence[Message]) -> None:
    """The carts, and what they send, in one transaction."""
    lines = [orjson.dumps(one.content["lines"]).decode() for one in some]
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO carts SELECT id, lines::jsonb FROM unnest($1::uuid[], $2::text[])"
            " AS c (id, lines)",
            [one.checkout for one in some],
            lines,
        )
        await connection.execute(SEND, *rows(some))
    await connection.execute(f"NOTIFY {WRITTEN}")


async def _prepare(name: Name, url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(TABLES[name])
        if name == "inventory":
            await connection.execute(
                "INSERT INTO levels (sku, on_hand) SELECT unnest($1::text[]), $2",
                list(SKUS),
                PIECES,
            )
    finally:
        await connection.close()


@asynccontextmanager
async def _topics(kafka: str, prefix: str) -> AsyncIterator[None]:
    async with admin_client(kafka_settings({"KAFKA_BOOTSTRAP_SERVERS": kafka})) as admin:
        await admin.create_topics([NewTopic(prefix + topic, PARTITIONS, 1) for topic in TOPICS])
        try:
            yield
        finally:
            await admin.delete_topics([prefix + topic for topic in TOPICS])


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()
