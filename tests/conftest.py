"""What every test shares: real Kafka and PostgreSQL, once per test run."""

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from hypothesis import settings

from tests import containers
from trolley.runtime.servers import Servers
from trolley.topics import admin_client, kafka_settings

# How long an example takes on a busy machine is no reason for a property to fail.
settings.register_profile("trolley", deadline=None)
settings.load_profile("trolley")

SERVERS_START_SECONDS = 180
"""Includes the download of Kafka on a new machine and of images with Docker."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which faults to try, where the suite tries a sample."""
    parser.addoption("--torture", action="store_true", help="all faults instead of a sample")
    parser.addoption(
        "--part", default="1/1", help="only one part of all faults: 3/10 is the third of ten"
    )
    parser.addoption("--fault", help="only the faults whose description contains this text")


@pytest.fixture
def torture(request: pytest.FixtureRequest) -> bool:
    """Whether to try all faults instead of a sample."""
    return bool(request.config.getoption("--torture"))


@dataclass(frozen=True)
class Infrastructure:
    """Real servers, and a name of our own on them."""

    kafka: str
    """`host:port` of a Kafka broker without authentication."""
    postgres: str
    """The URL of a superuser's database on a real PostgreSQL."""
    prefix: str
    """Unique to this test run and worker; begins every topic, group and database name of a test."""

    def database_url(self, name: str) -> str:
        """The URL of the database `name` of this worker (see the fixture `database`)."""
        return urlunsplit(urlsplit(self.postgres)._replace(path=f"/{self.prefix}{name}"))

    @contextlib.asynccontextmanager
    async def database(self, name: str) -> AsyncIterator[str]:
        """A fresh empty database of this worker, dropped at the end; gives its URL."""
        quoted = '"' + f"{self.prefix}{name}".replace('"', '""') + '"'
        await self._execute(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")
        await self._execute(f"CREATE DATABASE {quoted}")
        try:
            yield self.database_url(name)
        finally:
            await self._execute(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.postgres)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def infrastructure() -> Iterator[Infrastructure]:
    """Real Kafka and PostgreSQL: servers named by the environment, else containers, else embedded.

    TROLLEY_TEST_KAFKA (`host:port`) and TROLLEY_TEST_POSTGRES (`postgresql://...`) name servers
    that run already; TROLLEY_TEST_DOCKER=0 leaves containers alone. The workers of one xdist run
    share one pair.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    prefix = f"test_{run[:8]}_{re.sub(r'[^a-z0-9]', '', worker)}_"
    kafka = os.environ.get("TROLLEY_TEST_KAFKA")
    postgres = os.environ.get("TROLLEY_TEST_POSTGRES")
    if kafka and postgres:
        given = Infrastructure(kafka, postgres, prefix)
        yield given
        asyncio.run(_sweep(given))
        return
    start = _containers if containers.docker_answers() else _embedded
    with start(run) as servers:
        yield Infrastructure(kafka or servers.kafka, postgres or servers.postgres, prefix)


@pytest.fixture
async def database(
    infrastructure: Infrastructure,
) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """`await database(name)` gives the URL of a fresh empty database, dropped after the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def fresh(name: str) -> str:
            return await stack.enter_async_context(infrastructure.database(name))

        yield fresh


async def _sweep(given: Infrastructure) -> None:
    """Deletes the topics and databases of this worker from servers that go on without us."""
    settings = kafka_settings({"KAFKA_BOOTSTRAP_SERVERS": given.kafka})
    async with admin_client(settings) as admin:
        if ours := [name for name in await admin.list_topics() if name.startswith(given.prefix)]:
            await admin.delete_topics(ours)
    connection = await asyncpg.connect(given.postgres)
    try:
        rows = await connection.fetch("SELECT datname FROM pg_database")
        for name in (row["datname"] for row in rows if row["datname"].startswith(given.prefix)):
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()


@contextlib.contextmanager
def _embedded(run: str) -> Iterator[Servers]:
    """The embedded pair of this test run, started by whichever worker comes first.

    Every worker holds a shared lock on the lease file for as long as it lives, killed or not; the
    servers end by themselves when nobody holds it any more.
    """
    shared = Path(tempfile.gettempdir()) / f"trolley-tests-{os.getuid()}-{run[:16]}"
    with contextlib.suppress(FileExistsError):
        # Others may pass through it, so that PostgreSQL can when we are root.
        shared.mkdir(mode=0o711)
    home, lease = shared / "home", shared / "lease"
    with lease.open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        with (shared / "start.lock").open("a+") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            servers = Servers.read(home) or _start_servers(shared, home, lease)
        yield servers


def _start_servers(shared: Path, home: Path, lease: Path) -> Servers:
    home.mkdir(mode=0o711, exist_ok=True)
    with (shared / "servers.log").open("w+b") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "trolley.runtime.servers"),
                *("--home", str(home), "--lease", str(lease), "--remove", str(shared)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=Path(__file__).parents[1],
            # Nobody kills this broker: on a machine that stands still for seconds it goes on.
            env={**os.environ, "TROLLEY_KAFKA_SESSION_MS": "9000"},
        )
        deadline = time.monotonic() + SERVERS_START_SECONDS
        while (servers := Servers.read(home)) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                log.seek(0)  # by now the file may have no name any more
                said = log.read().decode(errors="replace")
                shutil.rmtree(shared, ignore_errors=True)
                pytest.exit(f"Kafka and PostgreSQL for the tests did not start: {said}", 1)
            time.sleep(0.05)
    # It ends by itself after the last worker; nobody is to wait for it here.
    process.returncode = 0
    return servers


@contextlib.contextmanager
def _containers(run: str) -> Iterator[Servers]:
    """A pair of containers for each worker."""
    del run
    with containers.pair() as (kafka, postgres):
        yield Servers(kafka, postgres)


@pytest.fixture
def wait_until() -> Callable[..., Awaitable[None]]:
    """`await wait_until(condition, what="...")` instead of sleeping."""
    return _wait_until


async def _wait_until(
    condition: Callable[[], Awaitable[bool]], *, seconds: float = 60, what: str = "the condition"
) -> None:
    """Waits until `condition()` holds; fails the test after `seconds`.

    The bound ends what hangs: a machine that does other things may take long over anything.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    while not await condition():
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"{what} did not hold within {seconds:g} s")
        await asyncio.sleep(0.02)
