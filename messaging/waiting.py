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
