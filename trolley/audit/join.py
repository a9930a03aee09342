"""Ordered streams of rows, side by side, in bounded memory."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import islice
from operator import attrgetter, lt
from typing import Generic, TypeVar

from trolley.audit.invariant import Read, Row

R = TypeVar("R", bound=Row)

Chunks = AsyncIterator[Sequence[R]]
Stretch = Mapping[str, R]
"""The rows of one stream within a range of keys, by key and in their order."""

_key = attrgetter("key")


class OutOfOrder(AssertionError):
    """A read gives its keys twice or in another order than that of their bytes."""

    def __init__(self, read: Read[R], before: str, after: str) -> None:
        super().__init__(f"{read.source} gave {after!r} after {before!r}")


async def side_by_side(
    streams: Mapping[Read[R], Chunks[R]],
) -> AsyncIterator[Mapping[Read[R], Stretch[R]]]:
    """Range by range of keys, all rows of every stream in it (a full outer join in the making).

    While one range is looked at, what comes after it is fetched. Raises `OutOfOrder`: joining
    such rows would compare strangers.
    """
    waiting = {read: _Waiting(read, chunks) for read, chunks in streams.items()}
    try:
        while True:
            for one in waiting.values():
                await one.refill()
            unfinished = [one.keys[-1] for one in waiting.values() if not one.ended]
            last = min(unfinished, default=None)
            stretch = {read: one.taken(last) for read, one in waiting.items()}
            if not any(stretch.values()) and last is None:
                return
            await asyncio.sleep(0)  # lets the requests for what comes next go out
            yield stretch
    finally:
        for one in waiting.values():
            await one.close()


class _Waiting(Generic[R]):
    """The rows of a stream that wait for their counterparts."""

    def __init__(self, read: Read[R], chunks: Chunks[R]) -> None:
        self.keys: list[str] = []
        self.ended = False
        self._rows: list[R] = []
        self._read = read
        self._chunks = chunks
        self._latest = ""
        self._next: asyncio.Task[Sequence[R] | None] | None = None
        self._fetch()

    async def refill(self) -> None:
        """Has rows afterwards, or has ended."""
        while not self.keys and self._next is not None:
            chunk = await self._next
            self._next = None
            if chunk is None:
                self.ended = True
            else:
                self._take_in(chunk)
                self._fetch()

    def taken(self, last: str | None) -> Stretch[R]:
        """What comes up to a key, or all; it waits no more."""
        cut = len(self.keys) if last is None else bisect_right(self.keys, last)
        taken = dict(zip(islice(self.keys, cut), islice(self._rows, cut), strict=True))
        del self.keys[:cut], self._rows[:cut]
        return taken

    async def close(self) -> None:
        """Fetch no more."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)

    def _fetch(self) -> None:
        self._next = asyncio.create_task(_following(self._chunks))

    def _take_in(self, chunk: Sequence[R]) -> None:
        keys = list(map(_key, chunk))
        before = [self._latest, *keys]
        if not all(map(lt, before, keys)):
            at = next(n for n, key in enumerate(keys) if not before[n] < key)
            raise OutOfOrder(self._read, before[at], keys[at])
        self._latest = before[-1]
        self.keys, self._rows = keys, list(chunk)


async def _following(chunks: Chunks[R]) -> Sequence[R] | None:
    """The next chunk that has rows; None at the end."""
    async for chunk in chunks:
        if chunk:
            return chunk
    return None
