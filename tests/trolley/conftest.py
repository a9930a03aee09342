"""Processes to kill, and directories with awkward names."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

SUPERVISOR = Path(__file__).with_name("supervisor.py")


@pytest.fixture
def home() -> Iterator[Path]:
    """A state directory with a blank in its path, which any user can reach."""
    parent = Path(tempfile.mkdtemp(prefix="trolley test "))
    parent.chmod(0o711)
    yield parent / "state of it"
    shutil.rmtree(parent, ignore_errors=True)


class Supervisor:
    """A supervisor in a process of its own, and the pids of its children by name."""

    def __init__(self, process: "subprocess.Popen[str]", pids: dict[str, int]) -> None:
        self.process, self.pids = process, pids

    def kill(self) -> None:
        """SIGKILL: it can clean up nothing itself."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def supervise() -> Iterator[Callable[..., Supervisor]]:
    """`supervise(home, *arguments)` starts tests/trolley/supervisor.py."""
    started: list[subprocess.Popen[str]] = []

    def start(home: Path, *arguments: str) -> Supervisor:
        root = Path(__file__).parents[2]
        process = subprocess.Popen(
            [sys.executable, str(SUPERVISOR), str(home), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        started.append(process)
        assert process.stdout is not None
        return Supervisor(process, json.loads(_first_line(process.stdout)))

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _first_line(output: IO[str]) -> str:
    line = output.readline()
    assert line, "the supervisor ended before it had started its children"
    return line
