"""A provider as one worker sees it: whether it is called, how fast, and what was heard of late."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter, Gauge

from payment_service.domain import breaker, pace
from payment_service.domain.breaker import Breaker, BreakerRules, Closed, HalfOpen, Open
from payment_service.domain.calls import LeasedCall
from payment_service.domain.outcomes import Outcome
from payment_service.domain.pace import Pace

log = structlog.get_logger()

NAMES = {Closed: "closed", HalfOpen: "half_open", Open: "open"}

BREAKER = Gauge(
    "trolley_provider_breaker",
    "Whether this process calls a provider: 0 as it likes, 1 by a few probes, 2 not at all.",
    ["provider"],
)
THROTTLED = Counter(
    "trolley_provider_throttled_claims",
    "Claims that took fewer operations than there may have been, to keep the provider's rate.",
    ["provider"],
)
PER_SECOND = Gauge(
    "trolley_provider_requests_per_second",
    "Requests that this process may send a provider, as far as refusals have left it.",
    ["provider"],
)


@dataclass(frozen=True, slots=True)
class LaneState:
    """What a lane looks like now. `until` is when an open breaker lets probes through."""

    provider: str
    breaker: str
    until: datetime | None
    trips: int
    requests_per_second: float | None


class Lane:
    """The breaker and the pace of one provider in one process; without a pace it has no limit."""

    def __init__(
        self, provider: str, rules: BreakerRules, most_per_second: float | None, now: datetime
    ) -> None:
        self._provider = provider
        self._rules = rules
        self._breaker: Breaker = Closed()
        self._pace: Pace | None = (
            None if most_per_second is None else pace.full(most_per_second, now)
        )
        self._throttled = False
        self._tell()

    @property
    def epoch(self) -> int:
        """In which the calls are that begin now."""
        return self._breaker.epoch

    @property
    def is_closed(self) -> bool:
        """Whether the provider is called as ever."""
        return isinstance(self._breaker, Closed)

    def room(self, free: int, now: datetime) -> int:
        """How many of `free` calls may be begun now."""
        self._move(breaker.at(self._breaker, now))
        probes = breaker.room(self._breaker, self._rules)
        free = free if probes is None else min(free, probes)
        if self._pace is None:
            return free
        self._pace = pace.at(self._pace, now)
        return min(free, pace.calls(self._pace))

    def begun(self, calls: Collection[LeasedCall], room: int) -> None:
        """So many calls were begun, where there was room for `room`."""
        self._breaker = breaker.begun(self._breaker, len(calls))
        if self._pace is None:
            return
        self._throttled = len(calls) == room == pace.calls(self._pace)
        if self._throttled:
            THROTTLED.labels(self._provider).inc()
        self._pace = pace.spent(self._pace, sum(call.requests for call in calls))
        PER_SECOND.labels(self._provider).set(self._pace.per_second)

    def ended(self, epoch: int, outcome: Outcome, now: datetime) -> None:
        """A call that was begun in `epoch` has ended."""
        troubled = breaker.is_trouble(outcome)
        self._move(
            breaker.ended(self._breaker, epoch, troubled=troubled, now=now, rules=self._rules)
        )

    def refused(self, retry_after: timedelta | None, now: datetime) -> None:
        """The provider has refused a request, for there being too many."""
        if self._pace is not None:
            self._pace = pace.refused(pace.at(self._pace, now), now, retry_after)
            PER_SECOND.labels(self._provider).set(self._pace.per_second)

    def ready_in(self, now: datetime) -> timedelta | None:
        """When there is room again for what the pace has held up; None where it holds up nothing.

        With a breaker that is open the pace is not what has to be waited for.
        """
        if self._pace is None or not self._throttled or isinstance(self._breaker, Open):
            return None
        return pace.ready_in(pace.at(self._pace, now), now)

    def state(self, now: datetime) -> LaneState:
        """What it looks like."""
        seen = breaker.at(self._breaker, now)
        return LaneState(
            provider=self._provider,
            breaker=NAMES[type(seen)],
            until=seen.until if isinstance(seen, Open) else None,
            trips=0 if isinstance(seen, Closed) else seen.trips,
            requests_per_second=None if self._pace is None else pace.at(self._pace, now).per_second,
        )

    def _move(self, changed: Breaker) -> None:
        before, self._breaker = self._breaker, changed
        if changed.epoch == before.epoch:
            return
        self._tell()
        match changed:
            case Open(until=until, trips=trips):
                log.warning(
                    "provider is not called", provider=self._provider, until=until, trips=trips
                )
            case HalfOpen():
                log.info("provider is tried", provider=self._provider)
            case Closed():
                log.info("provider is called again", provider=self._provider)

    def _tell(self) -> None:
        BREAKER.labels(self._provider).set(list(NAMES).index(type(self._breaker)))
