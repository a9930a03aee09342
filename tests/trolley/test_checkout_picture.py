"""How `trolley checkout show` shows the story of a checkout, on terminals of any width."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from rich.console import Console

from trolley.checkouts.picture import picture_of
from trolley.checkouts.story import ANSWERS, CALLS, TAKES_IN, Entry, Story

T0 = datetime(2026, 3, 7, 23, 59, 59, 900_000, tzinfo=UTC)
COMMITTED = "inventory.reservation_committed.v1"


def after(milliseconds: float) -> datetime:
    return T0 + timedelta(milliseconds=milliseconds)


ENTRIES = (
    Entry(
        *(T0, "order", TAKES_IN, "order.start_checkout.v1", "start", 1, "moved", "reserving", ""),
        waited_seconds=0.0124,
    ),
    Entry(
        *(after(20), "inventory", ANSWERS, "inventory.stock_reserved.v1", "reserve", 1),
        *("", "", ""),
        attempts=2,
    ),
    Entry(
        *(after(40), "payment", CALLS, "charge", None, 1, "done", "", "1 made, 0 asked about"),
        attempts=1,
    ),
    Entry(
        *(after(90_000), "order", TAKES_IN, COMMITTED, "commit", 1, "moved", "paid", ""),
        waited_seconds=75,
        attempts=3,
    ),
    Entry(
        *(after(90_007), "order", TAKES_IN, "cart.cart_closed.v1", "close_cart", 1),
        *("stale", "paid", "known already"),
    ),
)


def lines(width: int) -> list[str]:
    """The picture as it stands on a terminal of this width."""
    story = Story(UUID(int=1), "paid", True, False, False, None, None, ENTRIES, (), ())
    screen = Console(width=width, highlight=False)
    with screen.capture() as captured:
        screen.print(picture_of(story, after(100_000)))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_an_entry_says_when_after_what_wait_at_which_try_and_what_became_of_it() -> None:
    assert lines(120)[2:] == [
        "time (UTC)     after  waited  tries  what was done",
        "2026-03-07",
        "23:59:59.900           12 ms         "
        "order takes in: order.start_checkout.v1 (start 1), moved, now reserving",
        "23:59:59.920  +20 ms              2  "
        "inventory answers: inventory.stock_reserved.v1 (reserve 1)",
        "23:59:59.940  +20 ms              1  "
        "payment calls the provider: charge 1, done: 1 made, 0 asked about",
        "2026-03-08",
        "00:01:29.900   +90 s    75 s      3  "
        f"order takes in: {COMMITTED} (commit 1), moved, now paid",
        "00:01:29.907   +7 ms       ?         "
        "order takes in: cart.cart_closed.v1 (close_cart 1), stale, now paid: known already",
    ]


@pytest.mark.parametrize("width", [80, 120, 240])
def test_no_word_of_it_is_cut_off(width: int) -> None:
    shown = lines(width)
    assert all(len(line) <= width for line in shown)
    words = {word.strip(":,") for line in shown for word in line.split()}
    for entry in ENTRIES:
        assert {word.strip(",") for word in f"{entry.what} {entry.note}".split()} <= words
