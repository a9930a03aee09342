"""The payment service on databases of this test run, emptied before each test."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from messaging.migrations import upgrade
from stripe_sandbox.app import Running, running
from stripe_sandbox.settings import SandboxSettings
from tests.conftest import Infrastructure
from tests.payment_service.cashdesk import CashDesk


@pytest.fixture(scope="session")
async def payment_databases(infrastructure: Infrastructure) -> AsyncIterator[tuple[str, str]]:
    """The URLs of the migrated databases: the service's, and the simulated provider's."""
    async with (
        infrastructure.database("payment") as url,
        infrastructure.database("payment_bank") as bank_url,
    ):
        await asyncio.to_thread(upgrade, "payment_service", url)
        await asyncio.to_thread(upgrade, "payment_service.providers.simulated", bank_url)
        yield url, bank_url


@pytest.fixture
async def desk(payment_databases: tuple[str, str]) -> AsyncIterator[CashDesk]:
    """The service with nothing in its books; no worker runs."""
    desk = CashDesk(*payment_databases)
    await desk.empty()
    yield desk
    await desk.close()


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Running]:
    """What answers in place of Stripe, with a state of its own."""
    settings = SandboxSettings(http_port=0, state=tmp_path / "sandbox.sqlite3")
    async with running(settings) as sandbox:
        yield sandbox
