"""Many worlds after each other, until an invariant breaks; then the shortest that still breaks."""

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.simulation.invariants import Violation
from tests.simulation.mutants import Mutant
from tests.simulation.trace import Trace
from tests.simulation.world import World

WORLD_CHECKOUTS = 1_000
"""Checkouts of one world: enough to meet each other, and few enough to check all at the end."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A world in which everything held."""

    checkouts: int
    injected: Counter[str]
    ended: Counter[str]
    """How many checkouts ended in which state."""
    trace: Trace

    @property
    def digest(self) -> str:
        """The same for the same run."""
        return self.trace.digest


@dataclass(frozen=True, slots=True)
class Failed:
    """A world in which an invariant broke; the seed and the number of checkouts repeat it."""

    seed: int
    checkouts: int
    violation: Violation
    story: list[str]
    """The shortened trace."""
    mutant: Mutant | None = None

    def __str__(self) -> str:
        again = f"python -m tests.simulation --seed {self.seed} --checkouts {self.checkouts}"
        if self.mutant is not None:
            again += f" --mutant {self.mutant.name}"
        return "\n".join((*self.story, "", f"violated: {self.violation}", f"again:    {again}"))


def run_world(seed: int, checkouts: int, mutant: Mutant | None = None) -> Passed | Failed:
    """Run one world to its end."""
    with _garbage_waits():
        world = World(seed, checkouts, mutant)
        try:
            world.run()
        except Violation as violation:
            story = world.trace.shortened(violation.whose)
            return Failed(seed, checkouts, violation, story, mutant)
        ended = Counter(checkout.state.value for checkout in world.orders.checkouts())
        passed = Passed(checkouts, world.injected, ended, world.trace)
        world.end()
        return passed


def run_worlds(
    seed: int, checkouts: int, mutant: Mutant | None = None
) -> Iterator[Passed | Failed]:
    """Run worlds until there were so many checkouts; the n-th has seed `seed + n`.

    The last one may have failed; it is the shortest world that fails alike.
    """
    for start in range(0, checkouts, WORLD_CHECKOUTS):
        least = min(WORLD_CHECKOUTS, checkouts - start)
        result = run_world(seed, least, mutant)
        if isinstance(result, Failed):
            yield shortened(result, mutant)
            return
        yield result
        seed += 1


def shortened(failed: Failed, mutant: Mutant | None = None) -> Failed:
    """The failure with the fewest checkouts, by doubling, that break the same invariant."""
    checkouts = 1
    while checkouts < failed.checkouts:
        shorter = run_world(failed.seed, checkouts, mutant)
        if (
            isinstance(shorter, Failed)
            and shorter.violation.invariant == failed.violation.invariant
        ):
            return shorter
        checkouts *= 2
    return failed


@contextmanager
def _garbage_waits() -> Iterator[None]:
    """A world keeps what it makes: looking for garbage in it costs a fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
