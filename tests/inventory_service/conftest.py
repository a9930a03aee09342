"""The inventory service on a database of this test run, emptied before each test."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from messaging.migrations import upgrade
from tests.conftest import Infrastructure
from tests.inventory_service.stockroom import Stockroom


@pytest.fixture(scope="session")
async def inventory_database(infrastructure: Infrastructure) -> AsyncIterator[str]:
    """The URL of a migrated database."""
    async with infrastructure.database("inventory") as url:
        await asyncio.to_thread(upgrade, "inventory_service", url)
        yield url


@pytest.fixture(scope="session")
async def one_stockroom(inventory_database: str) -> AsyncIterator[Stockroom]:
    """The service with its usual settings; its consumers and relay do not run."""
    room = Stockroom(inventory_database)
    yield room
    await room.close()


@pytest.fixture
async def stockroom(one_stockroom: Stockroom) -> Stockroom:
    """The service with its default warehouse and nothing in it."""
    await one_stockroom.empty()
    return one_stockroom
