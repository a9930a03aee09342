"""Waiting for something with a bound, in a way that a cancellation always ends."""

import asyncio
from contextlib import suppress


async def happens(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait until `event` is set, at most so long; whether it is.

    Not `asyncio.wait_for`: before Python 3.12 that swallows a cancellation which comes together
    with the event, and whoever cancelled then waits for ever.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


def is_cancelled() -> bool:
    """Whether somebody has asked the running task to end.

    A CancelledError without that is a library's own: one of its tasks was cancelled, and not ours.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Backoff:
    """Waits between attempts, each twice as long as the one before, up to a bound."""

    def __init__(self, first_ms: int, longest_ms: int) -> None:
        self.wait_ms = first_ms
        self._first_ms = first_ms
        self._longest_ms = longest_ms

    def reset(self) -> None:
        """It works again: the next wait is a first one."""
        self.wait_ms = self._first_ms

    async def rest(self, stop: asyncio.Event) -> bool:
        """Wait before the next attempt, or until `stop` is set; whether it is."""
        wait_ms, self.wait_ms = self.wait_ms, min(2 * self.wait_ms, self._longest_ms)
        return await happens(stop, wait_ms / 1000)
