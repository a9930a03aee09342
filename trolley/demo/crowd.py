"""Many at once, bounded; and figures that need a moment to become what they must be."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from trolley.demo.settings import DemoSettings

P = TypeVar("P")
R = TypeVar("R")


async def crowd(people: Iterable[P], walk: Callable[[P], Awaitable[R]], *, at_once: int) -> list[R]:
    """What `walk` makes of each, in their order, at most `at_once` of them under way.

    The first error ends the others and is raised.
    """
    turnstile = asyncio.Semaphore(at_once)

    async def pass_through(person: P) -> R:
        async with turnstile:
            return await walk(person)

    tasks = [asyncio.create_task(pass_through(person)) for person in people]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def settled(
    figure: Callable[[], Awaitable[R]], wanted: Callable[[R], bool], settings: DemoSettings
) -> R:
    """The figure as soon as it is as wanted; as it is then, when that takes too long."""
    deadline = time.monotonic() + settings.settle_seconds
    while True:
        found = await figure()
        if wanted(found) or time.monotonic() > deadline:
            return found
        await asyncio.sleep(settings.settle_poll_seconds)
