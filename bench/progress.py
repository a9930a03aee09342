"""How a backlog is worked off: what is done when, until all of it is."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

LOOK_SECONDS = 0.25
LONGEST_SECONDS = 1_800

Mark = tuple[float, int]
"""A reading of the clock, in seconds, and how much was done by then."""


class WrongState(Exception):
    """The run has no figure: what it left is not right."""


async def watched(done: Callable[[], Awaitable[int]], wanted: int, what: str) -> list[Mark]:
    """How much was done when, from now until all that is wanted is. Raises `WrongState`."""
    began = time.perf_counter()
    marks = [(began, await done())]
    while marks[-1][1] < wanted:
        if time.perf_counter() - began > LONGEST_SECONDS:
            raise WrongState(f"{what}: {marks[-1][1]:,} of {wanted:,} after {LONGEST_SECONDS:,} s")
        await asyncio.sleep(LOOK_SECONDS)
        marks.append((time.perf_counter(), await done()))
        if sys.stderr.isatty():
            print(f"\r{what}: {marks[-1][1]:,} of {wanted:,} ", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return marks


def steady_per_second(marks: Sequence[Mark]) -> float:
    """How many a second between a tenth and nine tenths of them."""
    first, last = marks[0][1], marks[-1][1]
    tenth = (last - first) / 10
    middle = [(at, count) for at, count in marks if first + tenth <= count <= last - tenth]
    if len(middle) < 2:
        middle = [marks[0], marks[-1]]
    return (middle[-1][1] - middle[0][1]) / (middle[-1][0] - middle[0][0])
