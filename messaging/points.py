"""Every point between two effects, declared once: where a process may die, and nothing may be lost.

The code says `reach` at each of them; outside of tests nobody listens. The suite goes through the
declarations, not through a list of its own, so a new point cannot be missed.
"""

from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum


class Point(StrEnum):
    """A place between two effects, named after what has just been done."""

    ROWS_READ = "relay: rows read"
    ROWS_SENT = "relay: rows sent, not confirmed"
    ROWS_CONFIRMED = "relay: rows confirmed, not deleted"
    ROWS_DELETED = "relay: rows deleted"
    LANE_FENCED = "relay: predecessor's transaction settled"
    LANE_CAUGHT_UP = "relay: predecessor's rows deleted"
    LANE_SENT = "relay: transaction holds the rows"
    LANE_COMMITTED = "relay: transaction committed, rows not deleted"
    LANE_DELETED = "relay: rows of the transaction deleted"


Listener = Callable[[Point, str, Iterable[str]], Awaitable[None]]

_listener: Listener | None = None


def listen(listener: Listener | None) -> None:
    """Have `listener(point, service, message types)` called at every point; None ends it."""
    global _listener
    _listener = listener


async def reach(point: Point, service: str, types: Iterable[str] = ()) -> None:
    """This process has come to `point` with messages of these types."""
    if _listener is not None:
        await _listener(point, service, types)
