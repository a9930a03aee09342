"""Background work of a service: loops that survive their faults and stop when asked."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from messaging.database import Database
from messaging.faults import heals_with_time
from messaging.waiting import Backoff, happens

log = structlog.get_logger()

RETRY_FIRST_MS = 100
RETRY_LONGEST_MS = 5000

Run = Callable[[Database, asyncio.Event], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class BackgroundTask:
    """A named loop: `run(database, stop)` works until `stop` is set."""

    name: str
    run: Run


def every(seconds: float, action: Callable[[Database], Awaitable[int]]) -> Run:
    """A loop that does `action` every so many seconds, at once again while it found work.

    `action` returns how much it did; 0 means that nothing is due.
    """

    async def run(database: Database, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if await action(database) > 0:
                continue
            await happens(stop, seconds)

    return run


async def keep_running(task: BackgroundTask, database: Database, stop: asyncio.Event) -> None:
    """Run a background task until `stop`; a fault is logged and it starts again, with backoff."""
    backoff = Backoff(RETRY_FIRST_MS, RETRY_LONGEST_MS)
    while not stop.is_set():
        started = asyncio.get_running_loop().time()
        try:
            await task.run(database, stop)
        except Exception as error:
            log.error(
                "background task failed",
                task=task.name,
                error=type(error).__name__,
                exc_info=None if heals_with_time(error) else error,
            )
            if asyncio.get_running_loop().time() - started > RETRY_LONGEST_MS / 1000:
                backoff.reset()
            await backoff.rest(stop)
