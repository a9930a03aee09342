"""Nothing outlives its supervisor."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trolley.runtime import guardian
from trolley.runtime.children import WAIT_FOR_GO, Children
from trolley.runtime.guardian import Rung, Watched, birth

if TYPE_CHECKING:
    from tests.trolley.conftest import Supervisor

SECONDS = 60
LADDER = (Rung(signal.SIGTERM, 2), Rung(signal.SIGKILL, 2))

Wait = Callable[..., Awaitable[None]]


def gone(pids: dict[str, int]) -> Callable[[], Awaitable[bool]]:
    async def all_gone() -> bool:
        return all(birth(pid) is None for pid in pids.values())

    return all_gone


def ready(home: Path, *names: str) -> Callable[[], Awaitable[bool]]:
    async def all_up() -> bool:
        return all((home / f"{name}.up").exists() for name in names)

    return all_up


async def test_a_killed_supervisor_leaves_no_child(
    tmp_path: Path, supervise: "Callable[..., Supervisor]", wait_until: Wait
) -> None:
    supervisor = supervise(tmp_path)
    await wait_until(ready(tmp_path, "server", "service", "stubborn"), what="children are up")

    supervisor.kill()

    await wait_until(gone(supervisor.pids), seconds=SECONDS, what="every child is gone")
    # Services end before the servers they stand on.
    assert (tmp_path / "ended").read_text().split() == ["service", "server"]
    assert not (tmp_path / "children.json").exists()


async def test_the_guardian_ignores_what_ends_others(
    tmp_path: Path, supervise: "Callable[..., Supervisor]", wait_until: Wait
) -> None:
    supervisor = supervise(tmp_path)
    await wait_until(ready(tmp_path, "server", "service", "stubborn"), what="children are up")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(supervisor.pids["guardian"], number)
    supervisor.kill()

    await wait_until(gone(supervisor.pids), seconds=SECONDS, what="every child is gone")


async def test_the_next_start_clears_what_outlived_supervisor_and_guardian(
    tmp_path: Path, supervise: "Callable[..., Supervisor]", wait_until: Wait
) -> None:
    supervisor = supervise(tmp_path)
    await wait_until(ready(tmp_path, "server", "service", "stubborn"), what="children are up")
    os.kill(supervisor.pids["guardian"], signal.SIGKILL)
    supervisor.kill()
    left = {name: pid for name, pid in supervisor.pids.items() if name != "guardian"}
    assert all(birth(pid) for pid in left.values())

    found = Children(tmp_path).clear_leftovers()

    assert {one.name: one.pid for one in found} == left
    await wait_until(gone(left), what="leftovers are gone")


def test_a_process_that_got_the_pid_of_a_leftover_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as stranger:
        known = Watched("sleep", stranger.pid, birth(stranger.pid) or "", 0, LADDER)
        guardian.write_ledger(tmp_path / "children.json", [replace(known, born="an earlier one")])

        assert Children(tmp_path).clear_leftovers() == []

        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("torn", ["", "[{", '{"pid": 1}', '[{"pid": 1}]'])
def test_a_torn_list_of_children_hinders_no_start(tmp_path: Path, torn: str) -> None:
    (tmp_path / "children.json").write_text(torn)

    assert Children(tmp_path).clear_leftovers() == []


async def test_a_killed_guardian_is_replaced_and_knows_everything(
    tmp_path: Path, wait_until: Wait
) -> None:
    children = Children(tmp_path)
    doomed = tmp_path / "doomed"
    doomed.mkdir()
    child = children.spawn(
        "sleep",
        ["/bin/sleep", "60"],
        environment={},
        directory=tmp_path,
        log=tmp_path / "sleep.log",
        phase=0,
        ladder=LADDER,
    )
    children.remove_at_end(doomed)
    first = children.guardian_pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await wait_until(gone({"guardian": first}), what="the guardian is gone")

    children.ensure_guarded()

    assert children.guardian_pid not in (None, first)
    children.close()  # as the end of the supervisor would
    await child.ended(seconds=SECONDS)
    assert child.process.returncode == -signal.SIGTERM
    assert not doomed.exists()


async def test_a_child_that_ends_by_itself_is_reaped(tmp_path: Path) -> None:
    children = Children(tmp_path)
    child = children.spawn(
        "false",
        ["/bin/sh", "-c", "echo said; exit 7"],
        environment={},
        directory=tmp_path,
        log=tmp_path / "false.log",
        phase=0,
        ladder=LADDER,
    )

    assert await child.ended(seconds=SECONDS)
    children.forget(child)

    assert child.process.returncode == 7
    assert (tmp_path / "false.log").read_text() == "said\n"
    assert guardian.read_ledger(tmp_path / "children.json") == []
    children.close()


def test_a_child_does_not_run_before_the_guardian_knows_it(tmp_path: Path) -> None:
    """The supervisor dies between the start of a child and the word to the guardian."""
    done = subprocess.run(
        ["/bin/sh", "-c", WAIT_FOR_GO, "child", "/bin/touch", str(tmp_path / "ran")],
        stdin=subprocess.DEVNULL,
        check=False,
    )

    assert done.returncode != 0
    assert not (tmp_path / "ran").exists()


def test_an_order_cut_short_by_the_death_of_the_supervisor_is_no_fault(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", guardian.__file__, str(tmp_path / "children.json")],
        input='{"watch": {"name": "half',
        text=True,
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="ps does not tell threads apart")
def test_a_process_lives_as_long_as_its_last_thread() -> None:
    """As a Java process that ends: its first thread is a zombie, the others hold its port."""
    code = (
        "import ctypes, threading, time; "
        "threading.Thread(target=time.sleep, args=(60,)).start(); "
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        stat = Path(f"/proc/{process.pid}/stat")
        deadline = time.monotonic() + SECONDS
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline

        assert birth(process.pid) is not None
        process.kill()


def test_birth_tells_a_process_from_its_successor() -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        born = birth(process.pid)
        assert born is not None
        assert birth(process.pid) == born
        assert birth(os.getpid()) != born
        process.kill()
        deadline = time.monotonic() + SECONDS
        while birth(process.pid) is not None:  # a zombie is gone, too
            assert time.monotonic() < deadline
