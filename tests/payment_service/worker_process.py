"""A worker in a process of its own, that dies where it is told to.

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
from tests.payment_service.cashdesk import CashDesk

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def started(databases: tuple[str, str], stripe_url: str, *, dies_at: Point) -> BaseProcess:
    """The worker of instance 0 on these databases; dies by SIGKILL when it comes to a point."""
    process = _CONTEXT.Process(target=_run, args=(databases, stripe_url, dies_at), daemon=True)
    process.start()
    return process


def _run(databases: tuple[str, str], stripe_url: str, dies_at: Point) -> None:
    logging.disable()

    async def die(point: Point, _service: str, _under_way: Iterable[str]) -> None:
        if point == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    async def work() -> None:
        desk = CashDesk(*databases, stripe_api_key="sk_test_sandbox", stripe_base_url=stripe_url)
        desk.worker().start()
        await asyncio.Event().wait()

    listen(die)
    asyncio.run(work())
