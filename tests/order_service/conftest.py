"""The order service on a database of this test run, emptied before each test."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from messaging.migrations import upgrade
from tests.conftest import Infrastructure
from tests.order_service.office import Office


@pytest.fixture(scope="session")
async def order_database(infrastructure: Infrastructure) -> AsyncIterator[str]:
    """The URL of a migrated database."""
    async with infrastructure.database("order") as url:
        await asyncio.to_thread(upgrade, "order_service", url)
        yield url


@pytest.fixture(scope="session")
async def one_office(order_database: str) -> AsyncIterator[Office]:
    """The service with its usual settings; its consumers and relay do not run."""
    office = Office(order_database)
    yield office
    await office.close()


@pytest.fixture
async def office(one_office: Office) -> Office:
    """The service with nothing in its tables."""
    await one_office.empty()
    return one_office
