"""Every point between two effects, declared once: where a process may die, and nothing may be lost.

The code says `reach` at each of them; outside of tests nobody listens. The suite goes through the
declarations, not through a list of its own, so a new point cannot be missed.
"""

from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum


class Point(StrEnum):
    """A place between two effects, named after what has just been done."""

    RECORDS_POLLED = "consumer: records polled"
    MESSAGES_CLAIMED = "batch: messages claimed in the inbox"
    STATE_READ = "fold: state read"
    STATE_WRITTEN = "fold: state written"
    OUTBOX_WRITTEN = "fold: outbox written"
    BATCH_WRITTEN = "batch: everything written, not committed"
    NUMBERS_DRAWN = "documents: numbers drawn, not committed"
    BATCH_COMMITTED = "batch: committed"
    LETTERS_WRITTEN = "dead letters: written, their keys not parked"
    BURIAL_CLAIMED = "burial: message claimed in the inbox"
    BURIAL_TOLD = "burial: saga told, dead letter not written"
    BURIAL_WRITTEN = "burial: everything written, not committed"
    BURIAL_COMMITTED = "burial: committed"
    OFFSETS_DUE = "consumer: offsets about to be committed"
    OFFSETS_COMMITTED = "consumer: offsets committed"
    ANSWER_STORED = "request: answer stored, not committed"
    ANSWER_COMMITTED = "request: committed, not answered"
    CALLS_LEASED = "provider: calls leased, not made"
    PAYMENT_PREPARED = "provider: payment prepared, not charged"
    CALL_ANSWERED = "provider: call answered, not recorded"
    RESULTS_RECORDED = "provider: results recorded"
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
"""Takes the point, the service, and what is under way there: types of messages, groups, routes."""

_listener: Listener | None = None


def listen(listener: Listener | None) -> None:
    """Have `listener` called at every point; None ends it."""
    global _listener
    _listener = listener


async def reach(point: Point, service: str, under_way: Iterable[str]) -> None:
    """A process of this service has come to `point`, with these under way."""
    if _listener is not None:
        await _listener(point, service, under_way)
