"""Two ordered streams of rows as one stream of pairs, in bounded memory."""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Generic, TypeVar

from trolley.audit.invariant import Read, Row

R = TypeVar("R", bound=Row)
A = TypeVar("A", bound=Row)
B = TypeVar("B", bound=Row)

Chunks = AsyncIterator[Sequence[R]]


class OutOfOrder(AssertionError):
    """A read gives its keys twice or in another order than that of their bytes."""

    def __init__(self, read: Read[R], before: str, after: str) -> None:
        super().__init__(f"{read.source} gave {after!r} after {before!r}")


async def in_order(read: Read[R], chunks: Chunks[R]) -> Chunks[R]:
    """The same chunks. Raises `OutOfOrder`: pairing such rows would compare strangers."""
    last = ""
    async for chunk in chunks:
        for before, after in pairwise((last, *(row.key for row in chunk))):
            if not before < after:
                raise OutOfOrder(read, before, after)
        last = chunk[-1].key if chunk else last
        yield chunk


async def paired(
    one: Chunks[A], other: Chunks[B]
) -> AsyncIterator[Sequence[tuple[A | None, B | None]]]:
    """Every key of either stream once, with the row of each stream or None (a full outer join)."""
    left, right = _Waiting(one), _Waiting(other)
    while True:
        await left.refill()
        await right.refill()
        pairs = _pairs(left, right)
        if not pairs:
            return
        yield pairs


class _Waiting(Generic[R]):
    """The rows of a stream that wait for their counterpart."""

    def __init__(self, chunks: Chunks[R]) -> None:
        self.rows: deque[R] = deque()
        self.ended = False
        self._chunks = chunks

    async def refill(self) -> None:
        while not self.rows and not self.ended:
            chunk = await anext(self._chunks, None)
            self.ended = chunk is None
            self.rows.extend(chunk or ())


def _pairs(left: _Waiting[A], right: _Waiting[B]) -> list[tuple[A | None, B | None]]:
    """What can be paired before either stream has to be read on."""
    pairs: list[tuple[A | None, B | None]] = []
    ones, others = left.rows, right.rows
    while True:
        if ones and others:
            mine, theirs = ones[0].key, others[0].key
            pairs.append(
                (
                    ones.popleft() if mine <= theirs else None,
                    others.popleft() if theirs <= mine else None,
                )
            )
        elif ones and right.ended:
            pairs.append((ones.popleft(), None))
        elif others and left.ended:
            pairs.append((None, others.popleft()))
        else:
            return pairs
