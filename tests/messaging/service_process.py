"""The example service in a process of its own, as a supervisor starts it.

Processes are forked off a server that has imported everything, so each takes no time to start.
"""

import asyncio
import multiprocessing
import os
from multiprocessing.process import BaseProcess
from pathlib import Path

from messaging.consumer import TopicConsumer
from tests.messaging.example import Example

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def started(
    example: Example, log: Path, *, slot: int = 0, hangs: bool = False, **consumer: int
) -> BaseProcess:
    """A replica of the example service; `hangs` has its consumers stop at their first records."""
    arguments = (example, log, slot, hangs, consumer)
    process = _CONTEXT.Process(target=_run, args=arguments, daemon=True)
    process.start()
    return process


def _run(example: Example, log: Path, slot: int, hangs: bool, consumer: dict[str, int]) -> None:
    opened = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(opened, 1)
    os.dup2(opened, 2)
    if hangs:
        setattr(TopicConsumer, "_hand_over", _never)  # noqa: B010 - a method
    example.service(slot, None, (), **consumer).run()


async def _never(*_: object) -> None:
    await asyncio.Event().wait()
