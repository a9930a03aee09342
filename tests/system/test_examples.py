"""What the README shows runs as it stands there."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.system.town import Town

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/examples"
PATIENCE_SECONDS = 60


@asynccontextmanager
async def running(town: Town, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        **os.environ,
        "TROLLEY_ENV_FILE": str(town.runtime.home.path / "runtime.env"),
        "KAFKA_BOOTSTRAP_SERVERS": town.runtime.bootstrap_servers,
    }
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_worked_example_ends_in_a_paid_order_that_the_subscriber_prints(
    town: Town,
) -> None:
    async with (
        running(town, sys.executable, str(EXAMPLES / "subscribe.py")) as subscriber,
        running(town, "sh", str(EXAMPLES / "checkout.sh")) as shopper,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        printed, _ = await shopper.communicate()
        assert shopper.returncode == 0
        order = json.loads(printed)
        assert (order["state"], order["total_minor"]) == ("paid", 1790)
        assert subscriber.stdout is not None
        wanted = f"{order['number']} 1790 GBP"
        while (line := (await subscriber.stdout.readline()).decode().strip()) != wanted:
            assert line, "the subscriber ended"
