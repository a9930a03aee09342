"""Faults at declared points: armed by the test, done by the service's own process.

Both sides share a directory: `fault.json` says what is to happen and where, `fired` has a byte for
each time it did, `reached` a line for each point that a process came to while `noting` is there.
"""

import json
import os
import signal
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import asyncpg

from messaging.points import Point
from trolley.chaos.connections import cut, ports_of

Place = tuple[str, str, str]
"""Service, point, and what was under way there."""

OBSERVER = {"application_name": "torture"}
"""Names connections of the test's own, which no fault cuts."""

_CUT_EVERYBODY = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name <> 'torture'
"""


class Kind(StrEnum):
    """What happens to the process at the point."""

    CRASH = "crash"
    ERROR = "error"
    LOST_CONNECTION = "lost connection"
    """All that the service has to PostgreSQL."""
    LOST_KAFKA = "lost connection to Kafka"


@dataclass(frozen=True)
class Fault:
    """Something that happens the first `times` times that a service comes to a place."""

    service: str
    point: str
    under_way: str
    kind: str
    times: int

    def __str__(self) -> str:
        often = "" if self.times == 1 else f", {self.times} times"
        return f"{self.kind} of {self.service} at <{self.point}> of {self.under_way}{often}"


class Injected(RuntimeError):
    """An error that nobody thought of."""


class Board:
    """The test's side."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for name in ("reached", "noting"):
            (directory / name).touch()

    def arm(self, fault: Fault) -> None:
        """From now on."""
        (self._directory / "fired").write_bytes(b"")
        fresh = self._directory / "fault.json.new"
        fresh.write_text(json.dumps(asdict(fault)))
        fresh.replace(self._directory / "fault.json")

    def fired(self) -> int:
        """How often the fault has happened."""
        return (self._directory / "fired").stat().st_size

    def disarm(self) -> None:
        """No fault any more."""
        (self._directory / "fault.json").unlink(missing_ok=True)

    def stop_noting(self) -> None:
        """Until now every point was written down that a process came to."""
        (self._directory / "noting").unlink()

    def reached(self) -> set[Place]:
        """What was written down, which is forgotten now."""
        noted = self._directory / "reached"
        lines = noted.read_text().splitlines()
        noted.write_text("")
        return {(service, point, under_way) for service, point, under_way in map(json.loads, lines)}


class Injector:
    """The service's side: listens at the points of one process."""

    def __init__(self, directory: Path, database_url: str, kafka: str) -> None:
        self._directory = directory
        self._database_url = database_url
        self._kafka_ports = ports_of(kafka)

    async def __call__(self, point: Point, service: str, under_way: Iterable[str]) -> None:
        everything = set(under_way)
        if (self._directory / "noting").exists():
            lines = [json.dumps([service, point, one]) + "\n" for one in sorted(everything)]
            _append(self._directory / "reached", "".join(lines))
        fault = self._fault()
        if fault is None or (fault.service, fault.point) != (service, point):
            return
        if fault.under_way in everything and self._fired() < fault.times:
            await self._strike(fault)

    async def _strike(self, fault: Fault) -> None:
        kind = Kind(fault.kind)
        if kind is Kind.LOST_KAFKA and not cut(os.getpid(), self._kafka_ports):
            return  # where there was none to lose nothing has happened
        _append(self._directory / "fired", "x")
        match kind:
            case Kind.CRASH:
                os.kill(os.getpid(), signal.SIGKILL)
            case Kind.ERROR:
                raise Injected(str(fault))
            case Kind.LOST_CONNECTION:
                connection = await asyncpg.connect(self._database_url, server_settings=OBSERVER)
                await connection.execute(_CUT_EVERYBODY)
                await connection.close()

    def _fault(self) -> Fault | None:
        try:
            return Fault(**json.loads((self._directory / "fault.json").read_text()))
        except FileNotFoundError:
            return None

    def _fired(self) -> int:
        return (self._directory / "fired").stat().st_size


def _append(path: Path, text: str) -> None:
    """Whole or not at all, whoever else writes."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
