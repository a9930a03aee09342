"""How fast a provider is called: a token bucket whose rate gives way, as plain values.

A token is a request. They come at the rate, which the provider bounds by refusing: each refusal
takes a part of it, and it comes back little by little (additive increase, multiplicative
decrease). Nothing waits in here; who wants to call is told how much it may.

Source: D.-M. Chiu and R. Jain, "Analysis of the increase and decrease algorithms for congestion
avoidance in computer networks" (1989).
"""

from datetime import datetime, timedelta

from contracts.values import Struct, replace

REQUESTS_OF_A_CALL = 2
"""Most requests that a call is expected to take: a charge is named, then made. What a decline takes
beyond that is found out by the refusals."""

SHRUNK = 0.9
"""What is left of the rate after a refusal: most, because at just the rate that the provider takes
some are refused now and then, by a hair. Far above it they follow each other, and it falls fast."""

SHRINKS_EVERY = timedelta(milliseconds=250)
"""Requests that were under way together are refused together, and are one refusal. So two thirds of
the rate are left after a second of them."""

GROWS_WITHIN_SECONDS = 30.0
"""How long the rate takes from nothing to its most."""

BURST_SECONDS = 0.3
"""Tokens of so long are kept while nobody wants them, or nobody has the time to take them."""

LEAST_BURST = 2 * REQUESTS_OF_A_CALL
"""At a low rate those of one call, and of the next one while that is claimed."""

LONGEST_HOLD = timedelta(minutes=1)
"""A provider that wants more silence than this is tried again all the same."""

LEAST_PER_SECOND = 1.0
"""However often it is refused, so much is tried, or else nothing could show that it may again."""


class Pace(Struct, frozen=True):
    """The bucket: requests there may be, as of `counted_at`, at `per_second` of `most_per_second`.

    Nothing is asked before `held_until`, because the provider said so.
    """

    most_per_second: float
    per_second: float
    requests: float
    counted_at: datetime
    held_until: datetime
    shrunk_at: datetime


def full(most_per_second: float, now: datetime) -> Pace:
    """A bucket at its full rate, with nothing in it yet: others may have called just before."""
    return Pace(most_per_second, most_per_second, 0, now, now, now - SHRINKS_EVERY)


def at(pace: Pace, now: datetime) -> Pace:
    """The bucket by now. A clock that goes back brings nothing."""
    begins = max(pace.counted_at, pace.held_until)
    elapsed = max((now - begins).total_seconds(), 0)
    if not elapsed:
        return pace
    grown = pace.per_second + pace.most_per_second * elapsed / GROWS_WITHIN_SECONDS
    per_second = min(grown, pace.most_per_second)
    most = max(per_second * BURST_SECONDS, LEAST_BURST)
    requests = min(pace.requests + per_second * elapsed, most)
    return replace(pace, per_second=per_second, requests=requests, counted_at=now)


def calls(pace: Pace) -> int:
    """How many calls may be begun."""
    return max(int(pace.requests / REQUESTS_OF_A_CALL), 0)


def spent(pace: Pace, requests: int) -> Pace:
    """The bucket after calls were begun that take so many requests."""
    return replace(pace, requests=pace.requests - requests)


def refused(pace: Pace, now: datetime, retry_after: timedelta | None) -> Pace:
    """The bucket after the provider has refused a request for there being too many."""
    held_until = max(pace.held_until, now + min(retry_after or timedelta(), LONGEST_HOLD))
    if now < pace.shrunk_at + SHRINKS_EVERY:
        return replace(pace, held_until=held_until)
    least = min(LEAST_PER_SECOND, pace.most_per_second)
    return replace(
        pace,
        per_second=max(pace.per_second * SHRUNK, least),
        requests=min(pace.requests, 0),
        held_until=held_until,
        shrunk_at=now,
    )


def ready_in(pace: Pace, now: datetime) -> timedelta:
    """How long it takes, if the rate stays, until it is half full: calls are begun in lots."""
    half = max(pace.per_second * BURST_SECONDS / 2, REQUESTS_OF_A_CALL)
    missing = max(half - pace.requests, 0)
    held = max(pace.held_until - now, timedelta())
    return held + timedelta(seconds=missing / pace.per_second)
