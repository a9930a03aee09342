"""An inventory with a fresh database."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from messaging.migrations import upgrade
from tests.conftest import Infrastructure
from tests.inventory_service.stockroom import Stockroom

_numbers = count(1)


@pytest.fixture
async def stockroom(infrastructure: Infrastructure) -> AsyncIterator[Stockroom]:
    """An inventory of this test's own, with its default warehouse and nothing in it."""
    async with infrastructure.database(f"inventory{next(_numbers)}") as url:
        await asyncio.to_thread(upgrade, "inventory_service", url)
        room = Stockroom(url)
        try:
            yield room
        finally:
            await room.close()
