"""All services on the test run's Kafka and PostgreSQL, each kept running whatever happens to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from tests.conftest import Infrastructure
from tests.torture import service_process
from tests.torture.injection import OBSERVER, Board
from trolley.audit import Sources, audit
from trolley.client import Answer, Client, Refused
from trolley.migrations import migrate
from trolley.runtime.ports import PortReservations
from trolley.services import SERVICES, Service, databases
from trolley.settings import RuntimeSettings
from trolley.topics import apply_topics

SIGNING_KEY = "torture" * 5
PATIENCE = {
    "INVENTORY_SWEEP_INTERVAL_SECONDS": "0.1",
    "ORDER_SWEEP_INTERVAL_SECONDS": "0.1",
    "PAYMENT_ASK_FIRST_SECONDS": "0.1",
    "PAYMENT_ASK_LONGEST_SECONDS": "0.4",
    "PAYMENT_RECONCILE_POLL_SECONDS": "0.1",
    "PAYMENT_RECONCILE_MARGIN_SECONDS": "0",
    "PAYMENT_RECONCILE_SETTLE_SECONDS": "60",
    "PAYMENT_RECONCILE_LEASE_SECONDS": "5",
    "PAYMENT_RECONCILE_INTERVAL_SECONDS": str(7 * 24 * 3600),
}
"""Whatever a story has to wait for comes soon, and nothing comes that it does not ask for."""
RESTART_SECONDS = 0.05
REST_SECONDS = 90
"""A lane leaves out a partition that failed for a minute: what it holds back is old then."""
READY_SECONDS = 120
"""Five services at once, on a machine that does other things, too."""


class City:
    """The services, where they are, and what may be done to them."""

    def __init__(self, environment: dict[str, str], directory: Path) -> None:
        self.environment = environment
        self.directory = directory
        self.board = Board(directory)
        self._keeping: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, BaseProcess] = {}
        self._drained: set[str] = set()
        self._watching: dict[str, asyncpg.Connection] = {}

    @property
    def urls(self) -> dict[str, str]:
        """The address of each service."""
        return {one.name: f"http://127.0.0.1:{self._port(one)}" for one in SERVICES}

    def start(self) -> None:
        """Start every service and keep it running."""
        for service in SERVICES:
            self.keep(service)

    def keep(self, service: Service) -> None:
        """Start a service, and again whenever it ends by itself."""
        self._drained.discard(service.name)
        self._keeping[service.name] = asyncio.create_task(self._keep(service))

    async def drain(self, service: Service) -> int | None:
        """SIGTERM to a service, which stays down until `keep`; its exit code."""
        self._drained.add(service.name)
        process = self._processes[service.name]
        process.terminate()
        await self._keeping[service.name]
        return process.exitcode

    async def stop(self) -> None:
        """End every service, at once."""
        for task in self._keeping.values():
            task.cancel()
        await asyncio.wait(self._keeping.values())
        for connection in self._watching.values():
            await connection.close()

    async def ready(self) -> None:
        """Wait until every service can do its work."""
        async with aiohttp.ClientSession() as http, asyncio.timeout(READY_SECONDS):
            for url in self.urls.values():
                while not await _is_ready(http, url):  # noqa: ASYNC110 - asked over HTTP
                    await asyncio.sleep(0.02)

    async def query(self, database: str, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Rows of a service's database, over a connection that no fault cuts."""
        if database not in self._watching:
            setting = next(one.setting for one in databases() if one.name == database)
            self._watching[database] = await asyncpg.connect(
                self.environment[setting], server_settings=OBSERVER
            )
        return list(await self._watching[database].fetch(statement, *arguments))

    async def audit(self) -> None:
        """Nothing is wrong, at the latest when all lanes have come to rest."""
        deadline = asyncio.get_running_loop().time() + REST_SECONDS
        while not (report := await audit(Sources.named_by(self.environment))).clean:
            if asyncio.get_running_loop().time() > deadline:
                pytest.fail("\n".join(map(str, report.findings)))
            await asyncio.sleep(1)

    def _port(self, service: Service) -> str:
        return self.environment[service.port_setting]

    async def _keep(self, service: Service) -> None:
        log = self.directory / f"{service.name}.log"
        while service.name not in self._drained:
            process = service_process.started(service, self.environment, self.directory, log)
            self._processes[service.name] = process
            try:
                await _end(process)
            finally:
                process.kill()
            await asyncio.sleep(RESTART_SECONDS)


async def _end(process: BaseProcess) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)


async def _is_ready(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(f"{url}/health/ready") as answer:
            return answer.ok
    except aiohttp.ClientError:
        return False


class StubbornClient(Client):
    """Takes an error of the server for a request to be sent again, under the same key."""

    async def _answer(self, *arguments: Any) -> Answer:
        while True:
            try:
                return await super()._answer(*arguments)
            except Refused as refused:
                if refused.status != 500:
                    raise
                await asyncio.sleep(RESTART_SECONDS)


@asynccontextmanager
async def city(infrastructure: Infrastructure, directory: Path) -> AsyncIterator[City]:
    """A city of its own: fresh databases and topics, all services ready."""
    settings = RuntimeSettings()
    ports = PortReservations(settings.first_port, settings.last_port)
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": infrastructure.kafka,
        "KAFKA_TOPIC_PREFIX": f"{infrastructure.prefix}torture{uuid4().hex[:8]}.",
        "TROLLEY_SIGNING_KEY": SIGNING_KEY,
        "TROLLEY_ENV_FILE": str(directory / "none"),
        **PATIENCE,
    }
    async with AsyncExitStack() as stack:
        stack.callback(ports.close)
        for database in databases():
            url = await stack.enter_async_context(
                infrastructure.database(f"torture_{database.name}")
            )
            environment[database.setting] = url
        for service in SERVICES:
            environment[service.port_setting] = str(ports.pick())
        made = City(environment, directory)
        for service in SERVICES:
            for setting, linked in service.links:
                environment[setting] = made.urls[linked]
        await apply_topics(environment)
        await asyncio.to_thread(lambda: list(migrate(environment)))
        made.start()
        stack.push_async_callback(made.stop)
        await made.ready()
        yield made
