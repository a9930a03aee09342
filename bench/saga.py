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

from bench.pipeline import pipeline
from bench.processes import cpu_seconds_of
from bench.progress import WrongState, steady_per_second, watched
from bench.spin import spin_seconds
from contracts.messages.parts import PaymentMethod

SKUS = tuple(f"BENCH-{number}" for number in range(500))
PAYS = PaymentMethod(token="pm_ok")  # noqa: S106 - names a method, opens nothing
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
        await watched(services.ended, WARM_CHECKOUTS, "warming up")
        processes = services.processes
        spin, before, told = spin_seconds(), cpu_seconds_of(processes), await services.messages()
        began = time.perf_counter()
        await services.place(placed[WARM_CHECKOUTS:], PAYS)
        ends = await watched(services.ended, len(placed), "sagas")
        seconds = time.perf_counter() - began
        after, messages = cpu_seconds_of(processes), await services.messages() - told
        states = await services.states()
        if states != {"paid": len(placed)}:
            raise WrongState(f"not every checkout is paid: {states}")
        await services.audit()
    return Turn(
        seconds,
        steady_per_second(ends),
        {name: (after[name] - before[name]) / checkouts * 1e6 for name in processes},
        messages / checkouts,
        spin * 1e3,
    )


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
