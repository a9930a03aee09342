"""An order service in a process of its own, that handles batches and dies where it is told to."""

import asyncio
import logging
import multiprocessing
import os
import signal
from collections.abc import Iterable, Sequence
from multiprocessing.process import BaseProcess

from messaging.points import Point, listen
from messaging.records import Record
from tests.order_service.office import Office

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])

Batch = Sequence[Record]


def started(url: str, batches: Sequence[Batch], dies_at: Point | None, times: int) -> BaseProcess:
    """Handles these batches in order; dies by SIGKILL when it has come to a point so often."""
    process = _CONTEXT.Process(target=_run, args=(url, batches, dies_at, times), daemon=True)
    process.start()
    return process


def _run(url: str, batches: Sequence[Batch], dies_at: Point | None, times: int) -> None:
    logging.disable()
    reached = 0

    async def die(point: Point, _service: str, _under_way: Iterable[str]) -> None:
        nonlocal reached
        reached += point == dies_at
        if reached == times:
            os.kill(os.getpid(), signal.SIGKILL)

    async def handle() -> None:
        office = Office(url)
        for batch in batches:
            await office.handle(batch)
        await office.close()

    if dies_at is not None:
        listen(die)
    asyncio.run(handle())
