"""A transactional relay in a process of its own, that dies where it is told to.

Processes are forked off a server that has imported everything, so each takes no time to start.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
from collections.abc import Iterable
from multiprocessing.process import BaseProcess

from messaging.points import Point, listen
from messaging.relay import TransactionalRelay
from messaging.settings import KafkaSettings, RelaySettings

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def started(
    url: str, kafka: KafkaSettings, *, dies_at: Point, times: int = 1, freezes: bool = False
) -> BaseProcess:
    """A relay of the example service that dies by SIGKILL when it comes to a point.

    With `times` it dies when it has come there so often, with `freezes` it only freezes.
    """
    process = _CONTEXT.Process(target=_run, args=(url, kafka, dies_at, times, freezes), daemon=True)
    process.start()
    return process


def _run(url: str, kafka: KafkaSettings, dies_at: Point, times: int, freezes: bool) -> None:
    logging.disable()
    reached = 0

    async def die(point: Point, _service: str, types: Iterable[str]) -> None:
        nonlocal reached
        # Reading nothing is no step on the way.
        reached += point == dies_at and (point != Point.ROWS_READ or bool(types))
        if reached == times:
            os.kill(os.getpid(), signal.SIGSTOP if freezes else signal.SIGKILL)

    listen(die)
    settings = RelaySettings(poll_seconds=0.2, retry_longest_ms=500)
    asyncio.run(TransactionalRelay("inventory", url, kafka, settings).run(asyncio.Event()))
