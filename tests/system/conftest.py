"""One stack for the tests of this folder: two replicas of every service."""

import contextlib
import io
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from rich.console import Console

from tests.system.buggy import BUG_FILE
from tests.system.town import Town
from trolley.client import Client
from trolley.demo.screen import Screen
from trolley.demo.settings import DemoSettings
from trolley.runtime.stack import Runtime
from trolley.services import OPERATIONS, SERVICES

REPLICAS = 2
BUGGY = {
    "inventory": "tests.system.buggy_inventory",
    "payment": "tests.system.buggy_payment",
}
"""Services that can be released with a bug; they have none as a rule."""


@pytest.fixture(scope="package")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A running stack; the last test's faults are over when the next one gets it."""
    directory = tmp_path_factory.mktemp("town")
    bug_files = {name: directory / f"{name}.bug" for name in BUGGY}
    async with (
        Runtime(
            directory / "state",
            replicas=REPLICAS,
            services=tuple(
                replace(one, module=BUGGY.get(one.name, one.module))
                for one in (*SERVICES, OPERATIONS)
            ),
            service_environment={name: {BUG_FILE: str(file)} for name, file in bug_files.items()},
        ) as runtime,
        contextlib.AsyncExitStack() as stack,
    ):
        await runtime.wait_ready()
        services = [service.name for service in SERVICES]
        clients = [
            await stack.enter_async_context(
                Client({name: runtime.url(name, slot) for name in services}, DemoSettings())
            )
            for slot in range(REPLICAS)
        ]
        screen = Screen(Console(file=io.StringIO()))
        with screen.bars():
            yield Town(runtime, tuple(clients), screen, bug_files)
