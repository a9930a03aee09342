"""How many sagas a second, and what each costs: a backlog of checkouts, through all services.

    python -m bench.saga [--checkouts 20000] [--turns 3]

Every turn has a runtime of its own. The clock starts when the backlog begins to be placed, all of
it in one go, and stops when every checkout is final. The state is audited then, and a turn whose
state is wrong has no figure. Beside each figure stands the time of a fixed loop of Python (`spin`),
because hosts change their speed.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.pipeline import Pipeline, WrongState, pipeline
from bench.processes import cpu_seconds_of
from bench.spin import spin_seconds
from contracts.messages.parts import PaymentMethod

SKUS = tuple(f"BENCH-{number}" for number in range(500))
PAYS = PaymentMethod(token="pm_ok")  # noqa: S106 - names a method, opens nothing
LOOK_SECONDS = 0.5
LONGEST_SECONDS = 900
WARM_CHECKOUTS = 500


@dataclass(frozen=True, slots=True)
class Turn:
    """What one backlog came to. Times by process are in microseconds of a processor, each saga."""

    seconds: float
    steady_per_second: float
    cpu_us: Mapping[str, float]
    messages: float
    spin_ms: float


async def turn(checkouts: int) -> Turn:
    """One backlog, on a runtime of its own. Raises `WrongState`."""
    async with pipeline() as services:
        await services.put_on_shelves(SKUS)
        placed = await services.fill_carts(WARM_CHECKOUTS + checkouts, SKUS)
        await services.place(placed[:WARM_CHECKOUTS], PAYS)
        await _finish(services, WARM_CHECKOUTS)
        processes = services.processes
        spin, before, told = spin_seconds(), cpu_seconds_of(processes), await services.messages()
        began = time.perf_counter()
        await services.place(placed[WARM_CHECKOUTS:], PAYS)
        ends = await _finish(services, len(placed))
        seconds = time.perf_counter() - began
        after, messages = cpu_seconds_of(processes), await services.messages() - told
        states = await services.states()
        if states != {"paid": len(placed)}:
            raise WrongState(f"not every checkout is paid: {states}")
        await services.audit()
    return Turn(
        seconds,
        _steady(ends),
        {name: (after[name] - before[name]) / checkouts * 1e6 for name in processes},
        messages / checkouts,
        spin * 1e3,
    )


async def _finish(services: Pipeline, wanted: int) -> list[tuple[float, int]]:
    """When how many checkouts were final, until all of them are."""
    ends, began = [(time.perf_counter(), await services.ended())], time.perf_counter()
    while ends[-1][1] < wanted:
        if time.perf_counter() - began > LONGEST_SECONDS:
            raise WrongState(
                f"{ends[-1][1]} of {wanted} came to their end: {await services.states()}"
            )
        await asyncio.sleep(LOOK_SECONDS)
        ends.append((time.perf_counter(), await services.ended()))
        print(f"\r{ends[-1][1]:,} of {wanted:,}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return ends


def _steady(ends: Sequence[tuple[float, int]]) -> float:
    """Ends a second between a tenth and nine tenths of them."""
    first, last = ends[0][1], ends[-1][1]
    tenth = (last - first) / 10
    middle = [(at, count) for at, count in ends if first + tenth <= count <= last - tenth]
    if len(middle) < 2:
        return (last - first) / (ends[-1][0] - ends[0][0])
    return (middle[-1][1] - middle[0][1]) / (middle[-1][0] - middle[0][0])


async def main(checkouts: int, turns: int) -> None:
    """Measure and print."""
    made = []
    for number in range(turns):
        one = await turn(checkouts)
        made.append(one)
        print(
            f"turn {number + 1}: {checkouts / one.seconds:,.0f} sagas a second over all, "
            f"{one.steady_per_second:,.0f} in the middle, {sum(one.cpu_us.values()):,.0f} us each, "
            f"spin {one.spin_ms:.0f} ms",
            file=sys.stderr,
        )
    _show("sagas a second", [checkouts / one.seconds for one in made])
    _show("in the middle eight tenths", [one.steady_per_second for one in made])
    _show("processor, us a saga", [sum(one.cpu_us.values()) for one in made])
    for name in made[0].cpu_us:
        _show(f"  {name}", [one.cpu_us.get(name, 0) for one in made])
    _show("messages a saga", [one.messages for one in made])
    _show("spin, ms", [one.spin_ms for one in made])


def _show(what: str, found: Sequence[float]) -> None:
    low, middle, high = min(found), statistics.median(found), max(found)
    print(f"{what:30} {low:10,.1f} {middle:10,.1f} {high:10,.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkouts", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    asyncio.run(main(asked.checkouts, asked.turns))
