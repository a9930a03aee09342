"""Two ordered streams become one stream of pairs, whatever the sizes of their chunks."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trolley.audit.invariant import Read, Source
from trolley.audit.join import OutOfOrder, in_order, paired


class Thing(NamedTuple):
    key: str
    since: datetime | None = None


KEYS = st.sets(st.text(min_size=1, max_size=3))
CHUNK_ROWS = st.integers(1, 4)


async def _stream(keys: Sequence[str], chunk_rows: int) -> AsyncIterator[list[Thing]]:
    for start in range(0, len(keys), chunk_rows):
        yield [Thing(key) for key in keys[start : start + chunk_rows]]


def _sorted(keys: set[str]) -> list[str]:
    return sorted(keys, key=str.encode)


@given(KEYS, KEYS, CHUNK_ROWS, CHUNK_ROWS)
async def test_every_key_of_either_stream_comes_once_with_both_its_rows(
    left: set[str], right: set[str], left_rows: int, right_rows: int
) -> None:
    pairs = [
        (one and one.key, other and other.key)
        async for chunk in paired(
            _stream(_sorted(left), left_rows), _stream(_sorted(right), right_rows)
        )
        for one, other in chunk
    ]

    assert pairs == [
        (key if key in left else None, key if key in right else None)
        for key in _sorted(left | right)
    ]


@pytest.mark.parametrize("keys", [("b", "a"), ("a", "a"), ("é", "z")])
async def test_a_stream_that_is_not_in_byte_order_is_refused(keys: tuple[str, str]) -> None:
    read = Read(Source.CART, Thing, "")

    with pytest.raises(OutOfOrder):
        async for _ in in_order(read, _stream(keys, chunk_rows=1)):
            pass
