"""Partitions that failed are left out for a while, each for itself, so that they hold up nobody."""

from time import monotonic

import structlog

from messaging import metrics
from messaging.relay.rows import Place
from messaging.settings import RelaySettings

log = structlog.get_logger()


class Rests:
    """Which partitions are left out of reading, and until when."""

    def __init__(self, service: str, settings: RelaySettings, *, longest_ms: int) -> None:
        self._service = service
        self._first_ms = settings.retry_first_ms
        self._longest_ms = longest_ms
        self._until: dict[Place, float] = {}
        self._waits_ms: dict[Place, int] = {}

    def begin(self, place: Place, error: BaseException) -> None:
        """Leave a partition out; twice as long as the last time, when it has not worked since."""
        wait_ms = self._waits_ms.get(place, self._first_ms)
        self._waits_ms[place] = min(2 * wait_ms, self._longest_ms)
        self._until[place] = monotonic() + wait_ms / 1000
        metrics.RELAY_FAILURES.labels(self._service).inc()
        log.warning(
            "partition not written",
            topic=place[0],
            partition=place[1],
            error=type(error).__name__,
            wait_ms=wait_ms,
        )

    def works(self, place: Place) -> None:
        """A partition was written."""
        self._waits_ms.pop(place, None)

    def now(self) -> list[Place]:
        """The partitions that rest at present."""
        now = monotonic()
        self._until = {place: until for place, until in self._until.items() if until > now}
        return list(self._until)

    def end_within(self, seconds: float) -> float:
        """Seconds to the end of the first rest; at most `seconds`."""
        now = monotonic()
        return max(0.0, min([seconds, *(until - now for until in self._until.values())]))
