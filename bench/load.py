"""Load of two kinds: as fast as it is answered, and as it comes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

from bench.meter import waits
from bench.report import Figure

Sender = TypeVar("Sender")


@dataclass(slots=True)
class Load:
    """What was sent: seconds that each took, and how late the generator was with each."""

    seconds: float = 0
    waits: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """How many were answered a second."""
        return len(self.waits) / self.seconds

    def late(self, longest_ms: float) -> str | None:
        """Why it is void, when the generator itself was late."""
        in_order = sorted(self.lags)
        lag_ms = 1e3 * in_order[int(0.99 * (len(in_order) - 1))]
        if lag_ms <= longest_ms:
            return None
        return f"the generator was {lag_ms:.1f} ms late (p99), more than {longest_ms:g}"

    def lag(self, what: str) -> list[Figure]:
        """How late the generator was."""
        return waits(f"{what}: lag of the generator", self.lags)


async def as_answered(
    senders: Sequence[Sender], send: Callable[[Sender, int], Awaitable[None]], seconds: float
) -> Load:
    """Each sender sends the next when the one before is answered; `send` has its number."""
    load, numbers, began = Load(), count(), time.perf_counter()

    async def go_on(sender: Sender) -> None:
        while (now := time.perf_counter()) - began < seconds:
            await send(sender, next(numbers))
            load.waits.append(time.perf_counter() - now)

    await asyncio.gather(*map(go_on, senders))
    load.seconds = time.perf_counter() - began
    return load


async def as_it_comes(
    per_second: float, seconds: float, send: Callable[[float, int], Awaitable[None]]
) -> Load:
    """So many a second, whatever becomes of those before (no coordinated omission).

    `send` has the moment at which each should begin, which its wait is counted from, and its
    number. The lag is by how much later the generator called it.
    """
    load = Load()

    async def one(due: float, number: int) -> None:
        load.lags.append(time.perf_counter() - due)
        await send(due, number)
        load.waits.append(time.perf_counter() - due)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for due, number in _arrivals(began, per_second, seconds):
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            group.create_task(one(due, number))
    load.seconds = time.perf_counter() - began
    return load


def _arrivals(began: float, per_second: float, seconds: float) -> Iterator[tuple[float, int]]:
    for number in range(max(1, int(per_second * seconds))):
        yield began + number / per_second, number
