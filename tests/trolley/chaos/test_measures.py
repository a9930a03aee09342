"""Stalls and recoveries, read off journeys."""

import pytest

from trolley.chaos.errands import PLAIN
from trolley.chaos.measures import Stall, fresh_after, longest_stall, slowest_plain
from trolley.chaos.shoppers import NO_END, Journey
from trolley.demo.shopper import CANCELLED, PAID, Checkout

CHECKOUT = Checkout("c", "/checkouts/c", 100)


def journey(began_at: float, ended_at: float, *, state: str = PAID, errand: str = PLAIN) -> Journey:
    return Journey(errand, CHECKOUT, state, "o", began_at, ended_at)


@pytest.mark.parametrize(
    ("ends", "stall"),
    [
        ([], Stall(100, 0)),
        ([30, 40], Stall(60, 40)),
        ([70, 80], Stall(70, 0)),
        ([10, 60, 95], Stall(50, 10)),
        ([50, 130], Stall(50, 0)),  # what ends after closing fills no gap
    ],
)
def test_the_longest_stall_is_the_longest_time_without_a_finished_checkout(
    ends: list[float], stall: Stall
) -> None:
    assert longest_stall([journey(0, end) for end in ends], 0, 100) == stall


@pytest.mark.parametrize("state", [NO_END, CANCELLED])
def test_only_a_paid_checkout_ends_a_stall(state: str) -> None:
    assert longest_stall([journey(0, 50, state=state)], 0, 100) == Stall(100, 0)


def test_a_checkout_is_fresh_when_its_shopper_came_after() -> None:
    journeys = [journey(9, 11), journey(10, 14), journey(12, 13)]

    assert fresh_after(journeys, 10) == 13
    assert fresh_after(journeys, 12.5) is None
    assert fresh_after([journey(11, 12, state=NO_END)], 10) is None


def test_the_slowest_is_among_plain_checkouts_that_were_under_way() -> None:
    journeys = [
        journey(0, 5),
        journey(8, 12),
        journey(11, 19),
        journey(25, 60),
        journey(8, 70, errand="pays again"),
    ]

    assert slowest_plain(journeys, 10, 20) == 8
    assert slowest_plain(journeys, 61, 62) == 0
