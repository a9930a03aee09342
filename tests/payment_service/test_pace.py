"""How fast a provider is called, and how that gives way."""

from datetime import UTC, datetime, timedelta

import pytest

from payment_service.domain import pace
from payment_service.domain.pace import Pace

START = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def drawn(state: Pace, seconds: float, limit: float | None = None) -> tuple[Pace, int, int]:
    """Take all there is, by hundredths of a second; gives the bucket, and requests sent, refused.

    `limit` is what the provider takes a second; it counts by tenths of one.
    """
    began, sent, denied, taken = state.counted_at, 0, 0, 0.0
    for step in range(1, int(seconds * 100) + 1):
        now = began + step * SECOND / 100
        taken = 0.0 if step % 10 == 0 else taken
        state = pace.at(state, now)
        for _ in range(pace.calls(state)):
            state = pace.spent(state, 2)
            sent += 2
            taken += 2
            if limit is not None and taken > limit / 10:
                denied += 2
                state = pace.refused(state, now, None)
    return state, sent, denied


@pytest.mark.parametrize("most", [1, 25, 100, 1000])
def test_it_keeps_its_rate_and_uses_it(most: float) -> None:
    _, sent, _ = drawn(pace.full(most, START), 10)
    assert most * 10 - 2 <= sent <= most * 10


def test_what_nobody_wanted_is_a_small_burst_and_no_more() -> None:
    rested = pace.at(pace.full(100, START), START + 3600 * SECOND)
    assert pace.calls(rested) == 15


def test_even_the_slowest_rate_lets_a_call_through() -> None:
    assert pace.calls(pace.at(pace.full(0.5, START), START + 4 * SECOND)) == 1


def test_a_call_that_takes_less_leaves_the_rest() -> None:
    rested = pace.at(pace.full(20, START), START + SECOND)
    assert pace.calls(rested) == 3
    assert pace.calls(pace.spent(rested, 1)) == 2
    assert pace.calls(pace.spent(rested, 6)) == 0


def test_a_refusal_takes_a_part_of_the_rate_and_it_comes_back_little_by_little() -> None:
    shrunk = pace.refused(pace.at(pace.full(100, START), START + SECOND), START + SECOND, None)
    assert shrunk.per_second == pytest.approx(90)
    assert pace.calls(shrunk) == 0
    assert pace.at(shrunk, START + 2.5 * SECOND).per_second == pytest.approx(95)
    assert pace.at(shrunk, START + 60 * SECOND).per_second == 100


def test_requests_refused_together_are_one_refusal() -> None:
    state = pace.full(100, START)
    for _ in range(50):
        state = pace.refused(state, START + SECOND, None)
    assert state.per_second == pytest.approx(90)


def test_refused_all_the_time_the_rate_is_two_thirds_after_a_second() -> None:
    state = pace.full(100, START)
    for hundredth in range(1, 100):
        state = pace.refused(state, START + hundredth * SECOND / 100, None)
    assert state.per_second == pytest.approx(66, abs=1)


def test_refused_for_ever_it_still_tries() -> None:
    state, sent, denied = drawn(pace.full(25, START), 600, limit=0)
    assert sent == denied
    assert 1 <= state.per_second < 5


def test_nothing_is_sent_before_the_provider_wants_to_be_asked_again() -> None:
    state = pace.refused(pace.full(25, START), START, 5 * SECOND)
    assert pace.calls(pace.at(state, START + 4.9 * SECOND)) == 0
    assert pace.ready_in(state, START) >= 5 * SECOND
    assert pace.calls(pace.at(state, START + 5.2 * SECOND)) > 0


def test_no_provider_is_left_alone_for_ever() -> None:
    state = pace.refused(pace.full(25, START), START, 3600 * SECOND)
    assert pace.calls(pace.at(state, START + 2 * pace.LONGEST_HOLD)) > 0


def test_a_clock_that_goes_back_brings_nothing() -> None:
    state = pace.at(pace.full(25, START), START + SECOND)
    assert pace.at(state, START) == state


def test_a_provider_that_takes_less_than_was_set_refuses_little() -> None:
    """Set to twice what it takes, it settles below that."""
    settled, _, _ = drawn(pace.full(200, START), 10, limit=100)
    _, sent, denied = drawn(settled, 60, limit=100)
    assert denied * 10 < sent
    assert sent - denied > 0.9 * 100 * 60
