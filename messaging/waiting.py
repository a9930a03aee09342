"""Waiting for something with a bound, in a way that a cancellation always ends."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

ANSWER_SECONDS = 3.0
"""How long a server may take to say that it is there. A slow one is there; whoever asks us whether
we are ready waits for 4 s (Docker) or 5 (`trolley up`)."""


async def happens(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait until `event` is set, at most so long; whether it is.

    Not `asyncio.wait_for`: before Python 3.12 that swallows a cancellation which comes together
    with the event, and whoever cancelled then waits for ever.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


async def answers(ask: Callable[[], Awaitable[object]], seconds: float = ANSWER_SECONDS) -> None:
    """Wait for an answer, at most so long. Raises `TimeoutError`, and what `ask` raises.

    It is asked for twice: where this process, or its whole machine, stood still, the time of the
    first is over though nobody was slow.
    """
    try:
        async with asyncio.timeout(seconds / 2):
            await ask()
    except TimeoutError:
        async with asyncio.timeout(seconds / 2):
            await ask()


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
