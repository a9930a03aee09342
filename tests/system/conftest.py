"""One stack for the tests of this folder: two replicas of every service."""

import contextlib
import io
from collections.abc import AsyncIterator

import pytest
from rich.console import Console

from tests.system.town import Town
from trolley.demo.client import Client
from trolley.demo.screen import Screen
from trolley.demo.settings import DemoSettings
from trolley.runtime.stack import Runtime

REPLICAS = 2


@pytest.fixture(scope="session")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A running stack; the last test's faults are over when the next one gets it."""
    async with (
        Runtime(tmp_path_factory.mktemp("town") / "state", replicas=REPLICAS) as runtime,
        contextlib.AsyncExitStack() as stack,
    ):
        await runtime.wait_ready()
        services = [service.name for service in runtime.services]
        clients = [
            await stack.enter_async_context(
                Client({name: runtime.url(name, slot) for name in services}, DemoSettings())
            )
            for slot in range(REPLICAS)
        ]
        screen = Screen(Console(file=io.StringIO()))
        with screen.bars():
            yield Town(runtime, tuple(clients), screen)
