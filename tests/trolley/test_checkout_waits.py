"""What `trolley checkout show` says of each answer that a checkout waits for."""

import json
from typing import Any
from uuid import UUID

import pytest

from trolley.checkouts.story import waits_in

CHECKOUT = UUID(int=1)


def following(step: str, in_the_way: dict[tuple[str, int], str] | None = None, **wait: Any) -> str:
    """What is said to happen next where this wait gets no answer."""
    facts = {"step": step, "round": 1, "due_at": "2026-03-07T09:30:00+00:00", "sends": 2}
    waits = json.dumps([{**facts, "provisional": False, "hold": None, **wait}])
    (one,) = waits_in(waits, {} if in_the_way is None else in_the_way, CHECKOUT)
    return one.next


@pytest.mark.parametrize(
    ("step", "end"),
    [
        ("reserve", "the checkout is given up"),
        ("charge", "its attempt is closed"),
        ("commit", "somebody has to decide"),
        ("refund", "somebody has to decide"),
    ],
)
def test_what_is_unanswered_is_asked_again_and_then_ends(step: str, end: str) -> None:
    told = following(step)
    assert told.startswith("at 2026-03-07 09:30:00 it is asked again")
    assert told.endswith(end)


@pytest.mark.parametrize(
    ("step", "end"), [("charge", "its attempt is closed"), ("refund", "somebody has to decide")]
)
def test_what_was_answered_as_open_is_never_asked_again(step: str, end: str) -> None:
    told = following(step, provisional=True)
    assert told.startswith(f"at 2026-03-07 09:30:00 {end}")
    assert "not asked again" in told


def test_a_cart_is_asked_until_it_answers() -> None:
    assert following("close_cart").endswith("until the cart answers")


def test_a_blocked_step_names_its_dead_letter() -> None:
    letters = {("commit", 1): "a-letter of inventory", ("commit", 2): "another of order"}
    told = following("commit", letters, hold="blocked")
    assert told == "nothing, until dead letter a-letter of inventory is replayed or discarded"


def test_a_step_that_nothing_blocks_any_more_says_how_to_go_on() -> None:
    told = following("commit", {("commit", 2): "another of order"}, hold="blocked")
    assert "no dead letter of it is open" in told
    assert f"`trolley checkout resolve {CHECKOUT} --as retry`" in told
