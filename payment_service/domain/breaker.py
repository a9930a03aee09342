"""Whether a provider is called at all: a circuit breaker, as plain values.

    closed      calls go through; those of late are counted
    open        too many of them were trouble: nothing is called until `until`
    half open   a few calls are let through; all of them answered: closed, one not: open again

A state has the number of the changes before it, its `epoch`. A call remembers the epoch it was
begun in, and is not counted in another: what began before the breaker opened, and ends when it
is half open, says nothing about how the provider does now.

Source: M. Nygard, "Release It!", Circuit Breaker.
"""

from datetime import datetime, timedelta
from typing import TypeAlias, assert_never

from contracts.values import Struct, replace
from payment_service.domain.outcomes import Outcome, Unknown

SLICES = 10
"""What was counted is forgotten by tenths of the window: no call is kept by itself."""

_LARGEST_DOUBLING = 20


class BreakerRules(Struct, frozen=True):
    """When it opens, and how it closes.

    It opens when, of at least `least_calls` within `window`, `share` or more were trouble. It stays
    open for `cool_down`, twice as long after each time that a probe fails, at most
    `longest_cool_down`. It closes after `probes` calls that were answered.
    """

    window: timedelta
    least_calls: int
    share: float
    cool_down: timedelta
    longest_cool_down: timedelta
    probes: int

    def wait(self, trips: int) -> timedelta:
        """How long it stays open when it opens for the `trips`-th time in a row."""
        doubled: int = 2 ** min(trips - 1, _LARGEST_DOUBLING)
        return min(self.cool_down * doubled, self.longest_cool_down)


class Slice(Struct, frozen=True):
    """Calls that ended in one part of the window."""

    began_at: datetime
    calls: int = 0
    troubled: int = 0


class Closed(Struct, frozen=True):
    """Calls go through."""

    epoch: int = 0
    slices: tuple[Slice, ...] = ()


class Open(Struct, frozen=True):
    """No call goes through before `until`; opened `trips` times since it was closed."""

    epoch: int
    until: datetime
    trips: int


class HalfOpen(Struct, frozen=True):
    """Probes go through: `begun` of them by now, `answered` of those."""

    epoch: int
    trips: int
    begun: int = 0
    answered: int = 0


Breaker: TypeAlias = Closed | Open | HalfOpen


def is_trouble(outcome: Outcome) -> bool:
    """Whether the provider is away: no answer in time, no connection, or an error of its own.

    A decline is an answer, and so is "too many requests": of that the pace takes care.
    """
    return isinstance(outcome, Unknown) and (
        outcome.reason in ("timeout", "unreachable") or outcome.reason.startswith("http_5")
    )


def at(breaker: Breaker, now: datetime) -> Breaker:
    """The breaker by now: one that has cooled down is half open."""
    if isinstance(breaker, Open) and now >= breaker.until:
        return HalfOpen(breaker.epoch + 1, breaker.trips)
    return breaker


def room(breaker: Breaker, rules: BreakerRules) -> int | None:
    """How many calls may be begun; None where it does not bound them."""
    match breaker:
        case Closed():
            return None
        case Open():
            return 0
        case HalfOpen(begun=begun):
            return max(rules.probes - begun, 0)
        case _:
            assert_never(breaker)


def begun(breaker: Breaker, calls: int) -> Breaker:
    """The breaker after so many calls were begun."""
    if isinstance(breaker, HalfOpen):
        return replace(breaker, begun=breaker.begun + calls)
    return breaker


def ended(
    breaker: Breaker, epoch: int, *, troubled: bool, now: datetime, rules: BreakerRules
) -> Breaker:
    """The breaker after a call ended that was begun in `epoch`."""
    if epoch != breaker.epoch:
        return breaker
    match breaker:
        case Closed():
            return _counted(breaker, troubled, now, rules)
        case HalfOpen(trips=trips) if troubled:
            return Open(epoch + 1, now + rules.wait(trips + 1), trips + 1)
        case HalfOpen(answered=answered) if answered + 1 >= rules.probes:
            return Closed(epoch + 1)
        case HalfOpen(answered=answered):
            return replace(breaker, answered=answered + 1)
        case Open():  # it opened while this call was claimed
            return breaker
        case _:
            assert_never(breaker)


def _counted(breaker: Closed, troubled: bool, now: datetime, rules: BreakerRules) -> Closed | Open:
    kept = [one for one in breaker.slices if one.began_at > now - rules.window]
    if not kept or kept[-1].began_at <= now - rules.window / SLICES:
        kept.append(Slice(now))
    last = kept[-1]
    kept[-1] = Slice(last.began_at, last.calls + 1, last.troubled + troubled)
    calls = sum(one.calls for one in kept)
    if calls >= rules.least_calls and sum(one.troubled for one in kept) >= rules.share * calls:
        return Open(breaker.epoch + 1, now + rules.wait(1), 1)
    return Closed(breaker.epoch, tuple(kept))
