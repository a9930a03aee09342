"""One session: every case in turns, so that a change of the machine's speed meets all of them."""

import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bench.case import Case, Session
from bench.cases import MARKS
from bench.dissection import broken_bounds, dissect
from bench.progress import WrongState
from bench.report import CaseReport, Report
from bench.requests import Unexpected
from bench.servers import given_servers
from bench.settings import BenchSettings

Say = Callable[[str], None]

SERVICES = {"services": "one process each, all on the machine that makes the load"}
OWN_SERVERS = {
    "Kafka": "one broker, replication factor 1, acks=all, idempotent producers; the broker flushes "
    "when its operating system does",
    "PostgreSQL": "one server, fsync and synchronous_commit on, max_wal_size 1 GB",
}
GIVEN_SERVERS = {
    "Kafka, PostgreSQL": "named by the environment, with settings of their own; their processor "
    "time and memory, and the statements that they are asked, are in no figure",
}


async def measure(
    cases: Sequence[Case],
    settings: BenchSettings,
    command: str,
    *,
    marks: bool = True,
    say: Say,
    keep: Callable[[Report], None],
) -> Report:
    """Measures these cases in turns, with the marks that they are held against if asked.

    What was found so far is given to `keep` after each turn of a case: all of it takes hours.
    """
    report = Report(
        command=command,
        began=datetime.now(UTC),
        revision=_revision(),
        machine=_machine(),
        conditions=conditions(settings),
    )
    checkout = None
    if marks:
        say("counting what a checkout consists of")
        checkout = await dissect(settings)
        report.checkout = checkout.numbers
        report.broken = list(broken_bounds(checkout.numbers))
    session = Session(settings, checkout)
    measured = [*(MARKS if marks else ()), *cases]
    report.cases = [CaseReport(one.name, one.says, one.goals) for one in measured]
    for turn in range(1, settings.turns + 1):
        for case, told in zip(measured, report.cases, strict=True):
            say(f"turn {turn} of {settings.turns}: {case.name}")
            try:
                told.turns.append(await case.turn(session))
            except (WrongState, Unexpected, ConnectionError) as error:
                told.failed.append(f"turn {turn}: {error}")
                say("; ".join([f"no figure: {error}", *getattr(error, "__notes__", ())]))
            keep(report)
    return report


def _revision() -> str:
    """The commit that is measured, with a mark when files differ from it."""
    root = Path(__file__).parents[1]
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607 - any git
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "unknown"


def _machine() -> dict[str, str]:
    return {
        "processors": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
    }


def conditions(settings: BenchSettings) -> dict[str, str]:
    """What figures rest on, for who would measure them again."""
    servers = OWN_SERVERS if given_servers() is None else GIVEN_SERVERS
    sizes = settings.model_dump(exclude={"kafka", "postgres"})
    return {**servers, **SERVICES, **{name: str(value) for name, value in sizes.items()}}
