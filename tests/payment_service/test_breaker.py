"""When a provider is not called any more, and when again."""

from datetime import UTC, datetime, timedelta

import pytest

from payment_service.domain import breaker
from payment_service.domain.breaker import Breaker, BreakerRules, Closed, HalfOpen, Open
from payment_service.domain.declines import declined
from payment_service.domain.outcomes import NotFound, Outcome, Succeeded, Unknown

START = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
RULES = BreakerRules(
    window=30 * SECOND,
    least_calls=4,
    share=0.5,
    cool_down=2 * SECOND,
    longest_cool_down=10 * SECOND,
    probes=2,
)


def heard(state: Breaker, calls: str, now: datetime = START) -> Breaker:
    """The breaker after calls of its own epoch: `x` for trouble, `.` for an answer."""
    for call in calls:
        state = breaker.ended(state, state.epoch, troubled=call == "x", now=now, rules=RULES)
    return state


def opened() -> Open:
    state = heard(Closed(), "xxxx")
    assert isinstance(state, Open)
    return state


def half_open(begun: int = 2) -> HalfOpen:
    state = breaker.begun(breaker.at(opened(), START + 2 * SECOND), begun)
    assert isinstance(state, HalfOpen)
    return state


def test_a_few_troubled_calls_show_nothing() -> None:
    assert isinstance(heard(Closed(), "xxx"), Closed)


def test_trouble_among_many_answers_is_no_reason() -> None:
    assert isinstance(heard(Closed(), "..x" * 20), Closed)


def test_half_of_the_calls_in_trouble_opens_it() -> None:
    assert heard(Closed(), "..xx") == Open(1, START + 2 * SECOND, 1)


def test_what_was_before_the_window_is_forgotten() -> None:
    later = START + 31 * SECOND
    assert isinstance(heard(heard(Closed(), "xxx"), "x", later), Closed)
    assert isinstance(heard(heard(Closed(), "......"), "xxxx", later), Open)


def test_what_is_counted_does_not_grow_with_the_calls() -> None:
    state: Breaker = Closed()
    for passed in range(3000):
        state = heard(state, "." * 5, START + passed * SECOND / 10)
    assert isinstance(state, Closed)
    assert len(state.slices) <= breaker.SLICES + 1


def test_nothing_is_called_while_it_is_open() -> None:
    before = START + 1.9 * SECOND
    assert breaker.room(breaker.at(opened(), before), RULES) == 0


def test_a_bounded_number_of_probes_goes_through_after_the_cool_down() -> None:
    assert breaker.room(half_open(begun=0), RULES) == 2
    assert breaker.room(half_open(begun=1), RULES) == 1
    assert breaker.room(half_open(begun=2), RULES) == 0


def test_it_closes_when_the_probes_are_answered_and_has_forgotten_the_trouble() -> None:
    state = heard(half_open(), ".")
    assert isinstance(state, HalfOpen)
    assert heard(state, ".") == Closed(3)
    assert breaker.room(Closed(3), RULES) is None


def test_one_probe_after_another_is_enough_where_little_is_due() -> None:
    once = heard(half_open(begun=1), ".")
    assert breaker.room(once, RULES) == 1
    assert isinstance(heard(breaker.begun(once, 1), "."), Closed)


def test_each_failed_probe_doubles_the_cool_down_up_to_its_longest() -> None:
    state, now = opened(), START
    waits = []
    for _ in range(4):
        now = state.until
        state = heard(breaker.at(state, now), "x", now)  # type: ignore[assignment]  # it opens
        waits.append((state.until - now) / SECOND)
    assert waits == [4, 8, 10, 10]


def test_calls_of_before_say_nothing_about_the_probes() -> None:
    """They time out when it is half open: they began when the provider was away."""
    state = half_open()
    late = breaker.ended(state, 0, troubled=True, now=START, rules=RULES)
    assert late == state


def test_the_second_failed_probe_does_not_open_what_is_open() -> None:
    state = half_open()
    reopened = breaker.ended(state, state.epoch, troubled=True, now=START, rules=RULES)
    again = breaker.ended(reopened, state.epoch, troubled=True, now=START, rules=RULES)
    assert again == reopened


@pytest.mark.parametrize(
    ("outcome", "troubled"),
    [
        (Unknown("timeout"), True),
        (Unknown("unreachable"), True),
        (Unknown("http_500"), True),
        (Unknown("http_503"), True),
        (Unknown("http_401"), False),
        (Unknown("http_409"), False),
        (Unknown("rate_limited"), False),
        (Unknown("lease ended"), False),
        (Unknown("IdempotencyConflict"), False),
        (declined("insufficient_funds", "pay_1"), False),
        (Succeeded("pay_1", 1000), False),
        (NotFound(), False),
    ],
)
def test_trouble_is_a_provider_that_does_not_answer(outcome: Outcome, troubled: bool) -> None:
    assert breaker.is_trouble(outcome) is troubled
