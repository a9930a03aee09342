"""What is read off the shoppers' journeys: stalls, and how soon somebody could buy again."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from trolley.chaos.errands import PLAIN
from trolley.chaos.shoppers import Journey
from trolley.demo.shopper import PAID


@dataclass(frozen=True, slots=True)
class Stall:
    """A time in which no checkout was paid; `from_at` is a reading of the monotonic clock."""

    seconds: float
    from_at: float


def longest_stall(journeys: Iterable[Journey], opened_at: float, closed_at: float) -> Stall:
    """The longest time in which no checkout was paid while the shop was open."""
    ends = sorted(one.ended_at for one in journeys if _paid(one))
    within = [at for at in ends if opened_at < at < closed_at]
    return max(
        (
            Stall(after - before, before)
            for before, after in pairwise([opened_at, *within, closed_at])
        ),
        key=lambda stall: stall.seconds,
    )


def fresh_after(journeys: Iterable[Journey], at: float) -> float | None:
    """When the first checkout of a shopper who came after `at` was paid; None before that."""
    return min(
        (one.ended_at for one in journeys if one.began_at >= at and _paid(one)), default=None
    )


def slowest_plain(journeys: Iterable[Journey], struck_at: float, recovered_at: float) -> float:
    """How long the slowest shopper took who was in the shop meanwhile and only wanted to pay."""
    return max(
        (
            one.seconds
            for one in journeys
            if one.errand == PLAIN
            and _paid(one)
            and one.began_at < recovered_at
            and one.ended_at > struck_at
        ),
        default=0.0,
    )


def _paid(journey: Journey) -> bool:
    """Paid ones alone show that all goes on: a cancel may end a checkout that nobody began."""
    return journey.state == PAID
