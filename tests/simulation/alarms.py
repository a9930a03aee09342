"""Alarms: when a sweeper will find a row due. One at a time per row, the earliest."""

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from tests.simulation.world import World

K = TypeVar("K", bound=Hashable)


class Alarms(Generic[K]):
    """The index on a column of due times.

    Whoever is rung looks at the row: it may be due no more, or due later, and is set anew then.
    """

    __slots__ = ("_ring", "_set", "_skew_us", "_world")

    def __init__(
        self, world: "World", ring: Callable[[K], None], skew_us: Callable[[], int] = lambda: 0
    ) -> None:
        """`skew_us` is how much later than due, or earlier, a row is found."""
        self._world = world
        self._ring = ring
        self._skew_us = skew_us
        self._set: dict[K, int] = {}

    def set(self, key: K, at_us: int) -> None:
        """Ring for this row then, unless it rings sooner anyway."""
        known = self._set.get(key)
        if known is None or at_us < known:
            self._set[key] = at_us
            found_us = max(at_us + self._skew_us(), self._world.now_us)
            self._world.at(found_us, self._rings, key, at_us)

    def _rings(self, key: K, at_us: int) -> None:
        if self._set.get(key) == at_us:
            del self._set[key]
            self._ring(key)
