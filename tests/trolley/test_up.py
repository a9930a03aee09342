"""`trolley up --detach` with the real services, as a user meets it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest
import typer

from trolley.commands.up import _give_up
from trolley.runtime.guardian import birth
from trolley.runtime.home import Home
from trolley.services import OPERATIONS, SERVICES, STRIPE_SANDBOX, databases

pytestmark = pytest.mark.integration

Wait = Callable[..., Awaitable[None]]

UP_SECONDS = 240
RUNNING = (*SERVICES, OPERATIONS, STRIPE_SANDBOX)


def born(home: Home) -> dict[str, object]:
    """What runs there, and since when: who lives on is the same."""
    state = home.state()
    assert state is not None
    processes = {one.name: (one.pid, one.since, one.restarts) for one in state.processes}
    return {"supervisor": (state.pid, state.born), **processes}


def trolley(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KAFKA_", "TROLLEY_", "PAYMENT_STRIPE_"))
        and not name.endswith("_DATABASE_URL")
    }
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-m", "trolley", *arguments, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=UP_SECONDS,
        cwd=root,
        env=environment,
        check=False,
    )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Everything, started in the background; stopped and deleted by the same commands."""
    home = tmp_path_factory.mktemp("up") / ".trolley"
    up = trolley(home, "up", "--detach")
    assert up.returncode == 0, up.stdout + up.stderr
    state = Home(home).state()
    assert state is not None
    pids = [state.pid, *(process.pid or 0 for process in state.processes)]
    yield Home(home)
    down = trolley(home, "down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert all(birth(pid) is None for pid in pids)
    assert trolley(home, "status").returncode == 3
    assert trolley(home, "reset", "--yes").returncode == 0
    assert not home.exists()


async def test_every_process_is_ready(running: Home, wait_until: Wait) -> None:
    async def shown() -> bool:
        status = trolley(running.path, "status")
        assert status.returncode == 0, status.stderr
        states = dict(re.findall(r"^(\S+) +(\S+)", status.stdout, re.MULTILINE))
        ready = all(states[name] == "ready" for name in processes)
        return ready and "checkouts  none yet" in status.stdout

    processes = ("postgres", "kafka", *(f"{service.name}-0" for service in RUNNING))
    await wait_until(shown, what="every process is shown as ready")


async def test_every_service_says_that_it_is_ready(running: Home, wait_until: Wait) -> None:
    settings = running.written_environment()

    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        for service in RUNNING:
            url = f"http://127.0.0.1:{settings[service.port_setting]}"

            async def ready(url: str = url) -> bool:
                return (await http.get(f"{url}/health/ready")).is_success

            await wait_until(ready, what=f"{service.name} is ready")
            assert (await http.get(f"{url}/health/live")).is_success
            if service is not STRIPE_SANDBOX:
                assert (await http.get(f"{url}/metrics")).is_success


def test_a_second_one_is_refused_and_harms_nothing(running: Home) -> None:
    before = born(running)

    for arguments in ((), ("--detach",)):
        second = trolley(running.path, "up", *arguments)
        assert second.returncode == 1
        assert second.stderr.startswith(f"trolley: Trolley already runs in {running.path} ")
        assert "Traceback" not in second.stderr

    assert born(running) == before
    assert trolley(running.path, "reset", "--yes").returncode == 1


def test_the_sentence_of_a_second_one_is_found_before_what_the_first_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "supervisor.log"
    log.write_text("trolley: Trolley already runs\n12:00:00 cart-0: unready\n")

    with pytest.raises(typer.Exit) as ended:
        _give_up(log, 0)

    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "trolley: Trolley already runs\n"


def test_topics_and_migrations_are_applied_and_can_be_again(running: Home) -> None:
    assert trolley(running.path, "topics", "apply").stdout.startswith("0 created, 0 altered")
    assert "missing" not in trolley(running.path, "topics", "list").stdout

    migrated = trolley(running.path, "migrate")

    assert migrated.returncode == 0, migrated.stderr
    assert [line.partition(":")[0] for line in migrated.stdout.splitlines()] == [
        database.name for database in databases() if database.migrations is not None
    ]


def test_logs_are_lines_of_json_under_the_name_of_their_process(running: Home) -> None:
    shown = trolley(running.path, "logs", "cart").stdout.splitlines()

    assert shown
    for line in shown:
        name, _, said = line.partition(" | ")
        assert name.strip() == "cart-0"
        assert json.loads(said)["service"] == "cart"
