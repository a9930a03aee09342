"""What is read off the shoppers' journeys: stalls, and how soon somebody could buy again."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from trolley.chaos.errands import PLAIN
from trolley.chaos.shoppers import NO_END, Journey


@dataclass(frozen=True, slots=True)
class Stall:
    """A time without any finished checkout; `from_at` is a reading of the monotonic clock."""

    seconds: float
    from_at: float


def longest_stall(journeys: Iterable[Journey], opened_at: float, closed_at: float) -> Stall:
    """The longest time without a finished checkout while the shop was open."""
    ends = sorted(one.ended_at for one in journeys if _finished(one))
    within = [at for at in ends if opened_at < at < closed_at]
    return max(
        (
            Stall(after - before, before)
            for before, after in pairwise([opened_at, *within, closed_at])
        ),
        key=lambda stall: stall.seconds,
    )


def fresh_after(journeys: Iterable[Journey], at: float) -> float | None:
    """When the first checkout of a shopper who came after `at` was finished; None before that."""
    return min(
        (one.ended_at for one in journeys if one.began_at >= at and _finished(one)), default=None
    )


def slowest_plain(journeys: Iterable[Journey], struck_at: float, recovered_at: float) -> float:
    """How long the slowest shopper took who was in the shop meanwhile and only wanted to pay."""
    return max(
        (
            one.seconds
            for one in journeys
            if one.errand == PLAIN
            and _finished(one)
            and one.began_at < recovered_at
            and one.ended_at > struck_at
        ),
        default=0.0,
    )


def _finished(journey: Journey) -> bool:
    return journey.checkout is not None and journey.state != NO_END
