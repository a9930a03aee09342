"""Databases and topics of a benchmark's own, gone at its end, and servers where none run."""

import asyncio
import fcntl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.processes import programs_below
from bench.settings import BenchSettings
from contracts.topics import Topic
from messaging.settings import KafkaSettings
from trolley.runtime.servers import Servers

SERVERS_START_SECONDS = 180
_PROGRAMS = {"postgres": "postgres", "kafka": "java"}


def made_home() -> Path:
    """A directory of our own for servers; who makes it removes it."""
    home = Path(tempfile.mkdtemp(prefix="trolley-bench-"))
    home.chmod(0o711)  # PostgreSQL passes through it as a user of its own where we are root
    return home


@dataclass(frozen=True)
class OwnServers(Servers):
    """Where the pair can be reached, and its processes, as far as they are ours."""

    processes: Mapping[str, int]


def given_servers() -> Servers | None:
    """Servers that run already, where the environment names both of them."""
    settings = BenchSettings()
    if settings.kafka is None or settings.postgres is None:
        return None
    return Servers(settings.kafka, settings.postgres)


@asynccontextmanager
async def kafka_and_postgres() -> AsyncIterator[OwnServers]:
    """The servers that the environment names, or a pair of our own.

    That is the pair of the local runtime in a temporary directory; it ends with us, however we do.
    """
    if (given := given_servers()) is not None:
        yield OwnServers(given.kafka, given.postgres, {})
        return
    home = made_home()
    lease = (home / "lease").open("a+")
    fcntl.flock(lease, fcntl.LOCK_SH)
    command = [sys.executable, "-m", "trolley.runtime.servers", "--home", str(home / "home")]
    command += ["--lease", lease.name, "--remove", str(home)]
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL)
    try:
        async with asyncio.timeout(SERVERS_START_SECONDS):
            while (servers := Servers.read(home / "home")) is None:
                if process.returncode is not None:
                    raise SystemExit("Kafka and PostgreSQL did not start")
                await asyncio.sleep(0.1)
        below = programs_below(process.pid)
        named = {name: below[program] for name, program in _PROGRAMS.items()}
        yield OwnServers(servers.kafka, servers.postgres, named)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        lease.close()


async def checkpoint(url: str) -> None:
    """Have a server write all that it holds to its files now, so that no run is spared it."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


@asynccontextmanager
async def own_database(url: str, name: str) -> AsyncIterator[str]:
    """An empty database beside the one that `url` names; gives its URL."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        yield url.rpartition("/")[0] + f"/{name}"
    finally:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.close()


@asynccontextmanager
async def own_topics(kafka: KafkaSettings, topics: Sequence[Topic]) -> AsyncIterator[None]:
    """Topics under the prefix of these settings."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    names = [kafka.topic_prefix + topic.name for topic in topics]
    try:
        await admin.create_topics(
            [NewTopic(name, topic.partitions, 1) for name, topic in zip(names, topics, strict=True)]
        )
        yield
    finally:
        await admin.delete_topics(names)
        await admin.close()
