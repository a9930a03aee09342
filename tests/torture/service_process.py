"""A service in a process of its own that starts in no time.

Processes are forked off a server that has imported every service, so that a restart costs the
start of the service and not that of Python.
"""

import importlib
import multiprocessing
import os
import threading
from collections.abc import Mapping
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from messaging.fold import Decision, Fold
from messaging.points import listen
from tests.torture.injection import Injector
from trolley.services import SERVICES, Service

_SOUND = Fold.step

for _service in SERVICES:
    importlib.import_module(_service.module)

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def started(
    service: Service, environment: Mapping[str, str], faults: Path, log: Path
) -> BaseProcess:
    """A running replica of a service; the faults of that directory happen to it."""
    process = _CONTEXT.Process(
        target=_run, args=(service, dict(environment), faults, log), daemon=True
    )
    process.start()
    return process


def _run(service: Service, environment: dict[str, str], faults: Path, log: Path) -> None:
    threading.Thread(target=_end_with_the_test, daemon=True).start()
    opened = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(opened, 1)
    os.dup2(opened, 2)
    os.environ.update(environment)
    database, kafka = service.databases[0].setting, "KAFKA_BOOTSTRAP_SERVERS"
    listen(Injector(faults, environment[database], environment[kafka]))
    bug = bug_file(faults)
    setattr(Fold, "step", lambda *arguments: _step(bug, *arguments))  # noqa: B010 - a method
    importlib.import_module(service.module).build().run()


def bug_file(directory: Path) -> Path:
    """Says what these releases cannot handle: a type of message, and what such a one is about.

    Empty, they are fixed.
    """
    return directory / "bug"


def _step(bug: Path, *arguments: Any) -> Decision:
    """`Fold.step` with that bug."""
    if bug.exists() and (told := bug.read_text()):
        kind, about = told.split()
        body = arguments[2].body
        if getattr(body, "type", None) == kind and about in body.model_dump_json():
            raise RuntimeError("a bug in this release")
    return _SOUND(*arguments)


def _end_with_the_test() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
