"""The cart service on a database of this test run, emptied before each test."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from messaging.migrations import upgrade
from tests.cart_service.shop import Shop
from tests.conftest import Infrastructure


@pytest.fixture(scope="session")
async def cart_database(infrastructure: Infrastructure) -> AsyncIterator[str]:
    """The URL of a migrated database."""
    async with infrastructure.database("cart") as url:
        await asyncio.to_thread(upgrade, "cart_service", url)
        yield url


@pytest.fixture(scope="session")
async def one_shop(cart_database: str) -> AsyncIterator[Shop]:
    """The service with its usual settings; its consumers and relay do not run."""
    shop = Shop(cart_database)
    yield shop
    await shop.close()


@pytest.fixture
async def shop(one_shop: Shop) -> Shop:
    """The service with nothing in its tables."""
    await one_shop.empty()
    return one_shop
