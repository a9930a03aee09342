"""What a statement costs: asyncpg as `messaging.database` uses it, against SQLAlchemy on top of it.

    python -m bench.statements postgresql://user:password@host:port/database

Both run the same statement with the same values in one open transaction, and then alone in a
transaction of its own, in turns; printed are microseconds of this process's CPU and of the clock,
medians over the turns, and their ratios. Nothing is written.
"""

import asyncio
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from messaging.database import Database, sql

STATEMENT = """
    SELECT m.id, CAST(:consumer AS text) AS consumer, 1 AS first, 2 AS second
    FROM unnest(CAST(:ids AS uuid[])) AS m (id)
"""
VALUES = {"consumer": "order.order.replies", "ids": [uuid4() for _ in range(3)]}
TURNS = 9
STATEMENTS_PER_TURN = 300

Work = Callable[[], Awaitable[None]]


async def main(url: str) -> None:
    """Measure and print."""
    database = Database(url, pool_connections=1, application_name="bench")
    ours = sql(STATEMENT)
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(url), pool_size=1
    )
    theirs = text(STATEMENT)

    async def ours_in_one() -> None:
        async with database.transaction() as connection:
            for _ in range(STATEMENTS_PER_TURN):
                [row.id for row in await connection.fetch(ours, VALUES)]

    async def theirs_in_one() -> None:
        async with engine.begin() as connection:
            for _ in range(STATEMENTS_PER_TURN):
                [row.id for row in await connection.execute(theirs, VALUES)]

    async def ours_alone() -> None:
        for _ in range(STATEMENTS_PER_TURN):
            async with database.transaction() as connection:
                [row.id for row in await connection.fetch(ours, VALUES)]

    async def theirs_alone() -> None:
        for _ in range(STATEMENTS_PER_TURN):
            async with engine.begin() as connection:
                [row.id for row in await connection.execute(theirs, VALUES)]

    try:
        await compare("a statement in an open transaction", ours_in_one, theirs_in_one)
        await compare("a transaction of one statement", ours_alone, theirs_alone)
    finally:
        await database.close()
        await engine.dispose()


async def compare(title: str, ours: Work, theirs: Work) -> None:
    """Run both in turns and print the medians with their ratios."""
    await ours()  # connections, prepared statements
    await theirs()
    turns = [(await cost(ours), await cost(theirs)) for _ in range(TURNS)]
    print(title)
    for number, unit in enumerate(("CPU", "clock")):
        mine = statistics.median(turn[0][number] for turn in turns)
        other = statistics.median(turn[1][number] for turn in turns)
        print(
            f"  {unit:5}  asyncpg {mine:6.0f} us   SQLAlchemy {other:6.0f} us   "
            f"ratio {other / mine:.1f}"
        )


async def cost(work: Work) -> tuple[float, float]:
    """Microseconds of CPU and of the clock for each statement."""
    cpu, clock = _cpu_seconds(), time.perf_counter()
    await work()
    spent = (_cpu_seconds() - cpu, time.perf_counter() - clock)
    return spent[0] / STATEMENTS_PER_TURN * 1e6, spent[1] / STATEMENTS_PER_TURN * 1e6


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m bench.statements postgresql://user:password@host:port/database")
    asyncio.run(main(sys.argv[1]))
