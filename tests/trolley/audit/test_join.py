"""Ordered streams are brought side by side, whatever the sizes of their chunks."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trolley.audit.invariant import Read, Source
from trolley.audit.join import OutOfOrder, side_by_side


class Thing(NamedTuple):
    key: str
    since: datetime | None = None


LEFT, RIGHT = Read(Source.CART, Thing, "left"), Read(Source.ORDER, Thing, "right")
KEYS = st.sets(st.text(min_size=1, max_size=3))
CHUNK_ROWS = st.integers(1, 4)


async def _stream(keys: Sequence[str], chunk_rows: int) -> AsyncIterator[list[Thing]]:
    for start in range(0, len(keys), chunk_rows):
        yield [Thing(key) for key in keys[start : start + chunk_rows]]


def _sorted(keys: set[str]) -> list[str]:
    return sorted(keys, key=str.encode)


@given(KEYS, KEYS, CHUNK_ROWS, CHUNK_ROWS)
async def test_every_key_of_any_stream_comes_once_in_one_range_with_all_its_rows(
    left: set[str], right: set[str], left_rows: int, right_rows: int
) -> None:
    ranges = [
        (set(stretch[LEFT]), set(stretch[RIGHT]))
        async for stretch in side_by_side(
            {
                LEFT: _stream(_sorted(left), left_rows),
                RIGHT: _stream(_sorted(right), right_rows),
            }
        )
    ]

    together = [key for one, other in ranges for key in _sorted(one | other)]
    assert together == _sorted(left | right)
    assert set().union(*(one for one, _ in ranges)) == left
    assert set().union(*(other for _, other in ranges)) == right


@pytest.mark.parametrize("keys", [("b", "a"), ("a", "a"), ("é", "z")])
@pytest.mark.parametrize("chunk_rows", [1, 2])
async def test_a_stream_that_is_not_in_byte_order_is_refused(
    keys: tuple[str, str], chunk_rows: int
) -> None:
    with pytest.raises(OutOfOrder):
        async for _ in side_by_side({LEFT: _stream(keys, chunk_rows)}):
            pass
