"""The fixture that every integration test stands on."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import pytest

from trolley.topics import admin_client, kafka_settings

if TYPE_CHECKING:
    from tests.conftest import Infrastructure

pytestmark = pytest.mark.integration

HANGS = """
import json, signal
from pathlib import Path

def test_hangs(infrastructure):
    place = Path(__file__).parent / infrastructure.prefix
    place.with_suffix(".new").write_text(
        json.dumps([infrastructure.kafka, infrastructure.postgres, infrastructure.prefix])
    )
    place.with_suffix(".new").rename(place.with_suffix(".json"))
    signal.pause()

test_hangs_too = test_hangs
"""

START_SECONDS = 90
END_SECONDS = 45


async def test_gives_a_real_postgresql_with_fresh_databases(
    database: Callable[[str], Awaitable[str]],
) -> None:
    connection = await asyncpg.connect(await database("fresh"))
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_stat_user_tables") == 0
        assert int(await connection.fetchval("SHOW server_version_num")) >= 160000
    finally:
        await connection.close()


async def test_gives_a_real_kafka(infrastructure: "Infrastructure") -> None:
    settings = kafka_settings({"KAFKA_BOOTSTRAP_SERVERS": infrastructure.kafka})
    async with admin_client(settings) as admin:
        described = await admin.describe_cluster()

    assert len(described["brokers"]) >= 1


async def test_workers_share_one_pair_and_a_killed_run_leaves_nothing(
    home: Path, tmp_path: Path, wait_until: Callable[..., Awaitable[None]]
) -> None:
    temporary = home.parent
    run = _pytest_of_its_own(tmp_path, temporary)
    try:

        async def both_workers_have_it() -> bool:
            assert run.poll() is None, (tmp_path / "output").read_text()
            return len(_written(tmp_path)) == 2

        await wait_until(both_workers_have_it, seconds=START_SECONDS, what="both have servers")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    first, second = _written(tmp_path)
    assert first[:2] == second[:2]
    assert first[2] != second[2]

    async def nothing_is_left() -> bool:
        return not _state_of_servers(temporary) and not any(map(_listens, first[:2]))

    await wait_until(nothing_is_left, seconds=END_SECONDS, what="servers and files are gone")


def _written(directory: Path) -> list[list[str]]:
    """What each worker was given: Kafka, PostgreSQL, prefix."""
    return [json.loads(one.read_text()) for one in directory.glob("*.json")]


def _state_of_servers(temporary: Path) -> list[Path]:
    return list(temporary.glob("trolley-tests-*"))


def _pytest_of_its_own(directory: Path, temporary: Path) -> "subprocess.Popen[bytes]":
    root = Path(__file__).parents[2]
    (directory / "conftest.py").write_text("from tests.conftest import infrastructure")
    (directory / "test_hangs.py").write_text(HANGS)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TROLLEY_TEST_")}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_TESTRUNUID"):
        environment.pop(name, None)
    # No Docker: this is about the embedded pair.
    environment |= {
        "TMPDIR": str(temporary),
        "DOCKER_HOST": "tcp://127.0.0.1:9",
        "PYTHONPATH": str(root),
    }
    with (directory / "output").open("wb") as output:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "pytest",
                "-n",
                "2",
                "--rootdir",
                str(directory),
                str(directory),
            ],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _listens(address: str) -> bool:
    parts = urlsplit(address if "://" in address else f"//{address}")
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname, parts.port)) == 0
