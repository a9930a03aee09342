"""A payment service of a benchmark's own, in a process of its own, with Stripe wherever it is."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import aiohttp

from bench.servers import own_database
from messaging.migrations import upgrade
from messaging.settings import KafkaSettings
from trolley.runtime.ports import PortReservations
from trolley.runtime.servers import Servers
from trolley.settings import RuntimeSettings
from trolley.topics import apply_topics

READY_SECONDS = 60
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Running:
    """Where the service is, its database, and Kafka with the prefix of its topics."""

    url: str
    database_url: str
    kafka: KafkaSettings


@asynccontextmanager
async def payment_service(
    servers: Servers, *, stripe_url: str, **settings: str
) -> AsyncIterator[Running]:
    """A service on empty databases, ready; with these settings, `PAYMENT_...` by name."""
    name = f"bench_{uuid4().hex[:8]}"
    kafka = KafkaSettings(bootstrap_servers=servers.kafka, topic_prefix=f"{name}.")
    limits = RuntimeSettings()
    ports = PortReservations(limits.first_port, limits.last_port)
    async with AsyncExitStack() as stack:
        stack.callback(ports.close)
        url, bank_url = [
            await stack.enter_async_context(own_database(servers.postgres, f"{name}_{database}"))
            for database in ("payment", "bank")
        ]
        await asyncio.to_thread(upgrade, "payment_service", url)
        await asyncio.to_thread(upgrade, "payment_service.providers.simulated", bank_url)
        port = str(ports.pick())
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
            "TROLLEY_SIGNING_KEY": "k" * 32,
            "TROLLEY_ENV_FILE": os.devnull,
            "LOG_LEVEL": "warning",
            "PAYMENT_DATABASE_URL": url,
            "PAYMENT_SIMULATED_DATABASE_URL": bank_url,
            "PAYMENT_HTTP_PORT": port,
            "PAYMENT_STRIPE_API_KEY": "sk_test_sandbox",
            "PAYMENT_STRIPE_BASE_URL": stripe_url,
            **settings,
        }
        await apply_topics(environment)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "payment_service.app"),
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.DEVNULL,
        )
        stack.push_async_callback(_end, process)
        base = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession(base) as session, asyncio.timeout(READY_SECONDS):
            while not await _is_ready(session):
                if process.returncode is not None:
                    raise SystemExit("the payment service did not start")
                await asyncio.sleep(POLL_SECONDS)
        yield Running(base, url, kafka)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()


async def _is_ready(session: aiohttp.ClientSession) -> bool:
    try:
        async with session.get("/health/ready") as answer:
            return answer.ok
    except aiohttp.ClientError:
        return False
