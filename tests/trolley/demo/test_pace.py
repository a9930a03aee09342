"""Looking at checkouts about as often as needed, however long they take."""

import pytest

from trolley.demo.pace import Pace


def looks(pace: Pace, takes: float) -> tuple[int, float]:
    """How often a checkout that takes so long is looked at, and when its end is seen."""
    spent, count = pace.first_wait(), 1
    while spent < takes:
        spent += pace.next_wait()
        count += 1
    pace.ended(spent)
    return count, spent


@pytest.mark.parametrize("takes", [0.1, 0.5, 3.0, 8.0])
def test_two_or_three_looks_are_enough_once_the_pace_is_known(takes: float) -> None:
    pace = Pace(0.5, shortest=0.02, longest=10)
    for _ in range(50):
        looks(pace, takes)

    count, seen = looks(pace, takes)

    assert count <= 3
    assert seen <= 1.3 * takes


def test_it_follows_when_checkouts_become_faster() -> None:
    pace = Pace(5, shortest=0.02, longest=10)
    for _ in range(50):
        looks(pace, 0.2)

    assert pace.usual_seconds < 0.3


def test_no_wait_is_shorter_or_longer_than_bounded() -> None:
    assert Pace(0, shortest=0.05, longest=1).next_wait() == 0.05
    assert Pace(100, shortest=0.05, longest=1).first_wait() == 1
