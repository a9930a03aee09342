"""What stands beside the figure of every case: processor time, memory, spin, load."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from typing import Self

from bench.processes import cpu_seconds_of, memory_mib_of
from bench.report import Figure, Series, Turn
from bench.spin import spin_seconds

GENERATOR = "generator"
"""This process: it makes the load."""


class Meter:
    """Begins when it is made; `turn` ends it."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        """Of these processes, by name, with their descendants."""
        self._processes = dict(processes)
        self._spin = spin_seconds()
        self._cpu = cpu_seconds_of(self._processes)
        self._own_cpu = time.process_time()
        self._began = time.perf_counter()

    def load(self, done: float, what: str) -> list[Figure]:
        """Processor time for each of what was done, in all and by process."""
        own = time.process_time() - self._own_cpu
        after, seconds = cpu_seconds_of(self._processes), time.perf_counter() - self._began
        used = {name: after[name] - self._cpu[name] for name in self._processes}
        figures = [Figure(f"CPU, {what}", "us", _each(sum(used.values()), done))]
        figures += [
            Figure(f"CPU, {what}: {name}", "us", _each(one, done)) for name, one in used.items()
        ]
        figures.append(Figure(f"CPU, {what}: {GENERATOR}", "us", _each(own, done)))
        busy = (sum(used.values()) + own) / seconds
        return [*figures, Figure(f"processors busy, {what}", "", busy)]

    def memory(self) -> list[Figure]:
        """What the processes have of the memory at present, in all and each."""
        memory = memory_mib_of(self._processes)
        return [
            Figure("memory", "MiB", sum(memory.values())),
            *(Figure(f"memory: {name}", "MiB", one) for name, one in memory.items()),
        ]

    def turn(
        self,
        figures: Sequence[Figure],
        series: Mapping[str, Series] | None = None,
        void: str | None = None,
    ) -> Turn:
        """A turn with these figures; the spin is the mean of before and after."""
        spin = (self._spin + spin_seconds()) / 2
        return Turn(tuple(figures), spin * 1e3, os.getloadavg()[0], series or {}, void)


def _each(seconds: float, done: float) -> float:
    return seconds / done * 1e6


def waits(what: str, seconds: Sequence[float]) -> list[Figure]:
    """Median, p99 and longest of waits, in milliseconds."""
    in_order = sorted(seconds)
    return [
        Figure(f"{what}, {name}", "ms", 1e3 * in_order[int(share * (len(in_order) - 1))])
        for name, share in (("p50", 0.5), ("p99", 0.99), ("longest", 1.0))
    ]


def quantiles(seconds: Sequence[float]) -> Series:
    """How large a part, in percent, took how many milliseconds at most."""
    in_order = sorted(seconds)
    shares = [*(number / 100 for number in range(0, 100, 2)), 0.99, 0.995, 0.999, 1.0]
    return [(100 * one, 1e3 * in_order[int(one * (len(in_order) - 1))]) for one in shares]


class MostMemory:
    """The most memory that each process was seen with; use it as an async context."""

    def __init__(self, processes: Mapping[str, int], look_seconds: float = 1.0) -> None:
        self.mib: dict[str, float] = dict.fromkeys(processes, 0.0)
        self._processes, self._look_seconds = processes, look_seconds
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *raised: object) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            for name, mib in memory_mib_of(self._processes).items():
                self.mib[name] = max(self.mib[name], mib)
            await asyncio.sleep(self._look_seconds)
