"""Replicas take turns, and one that failed is left alone for a while."""

from trolley.replicas import Replicas


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_they_take_turns() -> None:
    replicas = Replicas(("a", "b"), avoided_seconds=2, clock=Clock())

    assert [replicas.next() for _ in range(4)] == ["a", "b", "a", "b"]


def test_one_that_failed_is_left_out_for_its_time_and_no_longer() -> None:
    clock = Clock()
    replicas = Replicas(("a", "b"), avoided_seconds=2, clock=clock)
    replicas.failed("a")

    assert {replicas.next() for _ in range(4)} == {"b"}
    clock.now += 2
    assert {replicas.next() for _ in range(4)} == {"a", "b"}


def test_when_all_failed_all_are_asked() -> None:
    replicas = Replicas(("a", "b"), avoided_seconds=2, clock=Clock())
    replicas.failed("a")
    replicas.failed("b")

    assert {replicas.next() for _ in range(4)} == {"a", "b"}
