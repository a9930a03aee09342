"""Half of the maximum for a long time: does anything grow?"""

import asyncio
import time
from collections.abc import Mapping, Sequence

import asyncpg

from bench.case import Case, Session
from bench.cases.latency import Paid, paid
from bench.meter import Meter, waits
from bench.pipeline import SKUS, Pipeline, pipeline
from bench.processes import memory_mib_of
from bench.progress import steady_per_second, watched
from bench.report import Figure, Goal, Turn

PLACED_EACH_SECONDS = 0.5
_SIZES = """
    SELECT sum(pg_total_relation_size(relid))::float8 / 1048576 AS mib,
        sum(n_dead_tup)::float8 AS dead, sum(n_live_tup)::float8 AS live,
        sum(autovacuum_count)::float8 AS vacuums
    FROM pg_stat_user_tables
"""
_OUTBOX = "SELECT pg_total_relation_size('outbox')::float8 / 1048576"


async def _turn(session: Session) -> Turn:
    settings = session.settings
    async with pipeline() as services:
        await services.put_on_shelves(SKUS)
        warm = settings.warm_checkouts
        await services.place(await services.fill_carts(warm, SKUS))
        await watched(services.ended, warm, "warming up")
        await services.place(await services.fill_carts(settings.checkouts, SKUS))
        marks = await watched(services.ended, warm + settings.checkouts, "finding the maximum")
        most = steady_per_second(marks)
        meter = Meter(services.processes)
        figures = [
            Figure("most sagas a second", "1/s", most),
            Figure("sagas a second", "1/s", settings.soak_share * most),
        ]
        sent, memory, slowest = warm + settings.checkouts, [], []
        window_seconds = 60 * settings.soak_minutes / settings.soak_windows
        async with paid(services) as watch:
            for number in range(1, settings.soak_windows + 1):
                placed, took = await _load(
                    services, watch, settings.soak_share * most, window_seconds
                )
                sent += placed
                memory.append(memory_mib_of(services.processes))
                found = waits(f"part {number}, a saga", took)
                slowest.append(found[1].value)
                figures += found
                figures.append(Figure(f"part {number}, memory", "MiB", sum(memory[-1].values())))
        figures += _growth(memory)
        figures.append(Figure("p99, last part of second", "", slowest[-1] / slowest[1]))
        figures += [*meter.load(sent - warm - settings.checkouts, "a saga"), *meter.memory()]
        for name, url in services.databases.items():
            figures += await _tables(name, url)
        await services.settle({"paid": sent})
    return meter.turn(figures)


async def _load(
    services: Pipeline, watch: Paid, per_second: float, seconds: float
) -> tuple[int, list[float]]:
    """How many were placed, and the seconds that one of each portion took to be paid."""
    portion = max(1, round(per_second * PLACED_EACH_SECONDS))
    began, placed = time.perf_counter(), 0
    waiting: list[asyncio.Task[float]] = []

    async def follow(checkout_id: str, since: float) -> float:
        return await watch.wait(checkout_id) - since

    while (due := began + placed / per_second) < began + seconds:
        carts = await services.fill_carts(portion, SKUS, at_rest=False)
        await asyncio.sleep(due - time.perf_counter())
        last, since = str(carts[-1].checkout_id), time.perf_counter()
        await services.place(carts)
        waiting.append(asyncio.create_task(follow(last, since)))
        placed += portion
    return placed, await asyncio.gather(*waiting)


def _growth(memory: Sequence[Mapping[str, float]]) -> list[Figure]:
    """What each process has more at the end than when it was warm, behind the first part."""
    grown = {name: 100 * (memory[-1][name] / mib - 1) for name, mib in memory[0].items() if mib}
    return [
        Figure("memory grown, most of a process", "%", max(grown.values())),
        *(Figure(f"memory grown: {name}", "%", share) for name, share in grown.items()),
    ]


async def _tables(name: str, url: str) -> list[Figure]:
    connection = await asyncpg.connect(url)
    try:
        (row,) = await connection.fetch(_SIZES)
        figures = [
            Figure(f"tables of {name}", "MiB", row["mib"]),
            Figure(f"dead rows of {name}", "%", 100 * row["dead"] / max(1, row["live"])),
            Figure(f"autovacuums of {name}", "", row["vacuums"]),
        ]
        if name != "simulated_provider":
            size = await connection.fetchval(_OUTBOX)
            figures.append(Figure(f"outbox of {name}", "MiB", size))
        return figures
    finally:
        await connection.close()


SOAK = Case(
    "soak",
    "A part of the maximum for as long as stated, in parts: memory, the p99 of sagas (one of each "
    "portion that is placed), tables and autovacuum.",
    _turn,
    goals=(
        Goal("memory grown, most of a process", at_most=5),
        Goal("p99, last part of second", at_most=1.25),
    ),
)
