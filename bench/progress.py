"""How a backlog is worked off: what is done when, until all of it is."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

LOOK_SECONDS = 0.25

LOOK_SHARE = 50
"""Between two looks lies so many times what one takes: to look is not what is measured."""

LONGEST_SECONDS = 1_800

Mark = tuple[float, int]
"""A reading of the clock, in seconds, and how much was done by then."""


class WrongState(Exception):
    """The run has no figure: what it left is not right."""


async def watched(
    done: Callable[[], Awaitable[int]],
    wanted: int,
    what: str,
    halfway: Callable[[], Awaitable[None]] | None = None,
) -> list[Mark]:
    """How much was done when, from now until all that is wanted is. Raises `WrongState`.

    `halfway` is awaited once half of it is done, while it goes on.
    """
    began = time.perf_counter()
    marks = [(began, await done())]
    took = time.perf_counter() - began
    half = (marks[0][1] + wanted) / 2
    beside: asyncio.Task[None] | None = None
    while marks[-1][1] < wanted:
        if time.perf_counter() - began > LONGEST_SECONDS:
            raise WrongState(f"{what}: {marks[-1][1]:,} of {wanted:,} after {LONGEST_SECONDS:,} s")
        await asyncio.sleep(max(LOOK_SECONDS, LOOK_SHARE * took))
        looked = time.perf_counter()
        marks.append((looked, await done()))
        took = time.perf_counter() - looked
        if halfway is not None and beside is None and marks[-1][1] >= half:
            beside = asyncio.create_task(_awaited(halfway))
        if sys.stderr.isatty():
            print(f"\r{what}: {marks[-1][1]:,} of {wanted:,} ", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if beside is not None:
        await beside
    return marks


async def _awaited(what: Callable[[], Awaitable[None]]) -> None:
    await what()


def steady_per_second(marks: Sequence[Mark]) -> float:
    """How many a second between a tenth and nine tenths of them."""
    first, last = marks[0][1], marks[-1][1]
    tenth = (last - first) / 10
    middle = [(at, count) for at, count in marks if first + tenth <= count <= last - tenth]
    if len(middle) < 2:
        middle = [marks[0], marks[-1]]
    return (middle[-1][1] - middle[0][1]) / (middle[-1][0] - middle[0][0])
