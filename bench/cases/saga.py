"""A backlog of checkouts, placed as commands, through all services."""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from bench.batches import records_in_a_batch
from bench.case import Case, Session
from bench.meter import Meter
from bench.pipeline import SKUS, Pipeline, pipeline
from bench.progress import Mark, steady_per_second, watched
from bench.report import Figure, Goal, Turn
from bench.servers import checkpoint
from contracts.messages.parts import PaymentMethod

UNKNOWN_SKUS = tuple(f"BENCH-NONE-{number}" for number in range(500))
"""Goods that nobody has ever received."""
DECLINED = PaymentMethod(token="pm_declined_insufficient_funds")  # noqa: S106 - names a method
DECLINED_WINDOW_SECONDS = 1
ONE_IN = 10


async def _turn(session: Session) -> Turn:
    settings = session.settings
    async with pipeline() as services:
        await services.put_on_shelves(SKUS)
        warm, count = settings.warm_checkouts, settings.checkouts
        placed = await services.fill_carts(warm + count, SKUS)
        await services.place(placed[:warm])
        await watched(services.ended, warm, "warming up")
        sent, before = await services.messages(), await services.told()
        meter = Meter(services.processes)
        await services.place(placed[warm:])
        halfway = partial(checkpoint, services.databases["order"])
        marks = await watched(services.ended, warm + count, "sagas", halfway)
        figures = [
            Figure("sagas a second", "1/s", steady_per_second(marks)),
            Figure("sagas a second, with begin and end", "1/s", _overall(marks)),
            *meter.load(count, "a saga"),
            *meter.memory(),
        ]
        figures.append(Figure("messages a saga", "", (await services.messages() - sent) / count))
        batches = records_in_a_batch(before, await services.told())
        figures += [
            Figure(f"records in a batch: {name}", "", mean) for name, mean in batches.items()
        ]
        await services.settle({"paid": warm + count})
        figures.append(
            Figure("mixed: sagas a second", "1/s", await _mixed(services, count, warm + count))
        )
    series = {"sagas that ended": [(at - marks[0][0], done - warm) for at, done in marks]}
    return meter.turn(figures, series)


def _overall(marks: Sequence[Mark]) -> float:
    (began, first), (ended, last) = marks[0], marks[-1]
    return (last - first) / (ended - began)


async def _mixed(services: Pipeline, count: int, before: int) -> float:
    """Sagas a second where one in ten is declined, and one in ten finds no goods."""
    few = count // ONE_IN
    declined = [
        replace(one, method=DECLINED, window_seconds=DECLINED_WINDOW_SECONDS)
        for one in await services.fill_carts(few, SKUS)
    ]
    rejected = await services.fill_carts(few, UNKNOWN_SKUS)
    paid = await services.fill_carts(count - 2 * few, SKUS)
    mixed = [*declined, *rejected, *paid]
    random.Random(0).shuffle(mixed)  # noqa: S311 - the same order each time
    await services.place(mixed)
    marks = await watched(services.ended, before + count, "mixed sagas")
    await services.settle({"paid": before + len(paid), "cancelled": few, "rejected": few})
    return steady_per_second(marks)


SAGA = Case(
    "saga",
    "A backlog of checkouts placed as commands, with the simulated provider at 0 ms and one "
    "checkpoint in the middle; *mixed* has one in ten declined and one in ten without goods.",
    _turn,
    goals=(
        Goal("sagas a second", at_least=0.5, part_of="rig: sagas a second"),
        Goal("sagas a second", at_least=4_000),
        Goal("CPU, a saga", at_most=350),
        Goal("mixed: sagas a second", at_least=0.8, part_of="saga: sagas a second"),
    ),
)
