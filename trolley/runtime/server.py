"""What the embedded servers have in common: start, wait for an answer, stop, crash."""

import asyncio
import shutil
import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path

from trolley.runtime.children import Child, Children, last_line, tail
from trolley.runtime.errors import DiskFull, PortInUse, StartFailed
from trolley.runtime.ports import is_free
from trolley.settings import RuntimeSettings

SERVERS_PHASE = 1
"""Servers are stopped after the services (phase 0), which still commit while they drain."""


class EmbeddedServer(ABC):
    """A server process of a state directory that listens on the loopback interface only."""

    title: str
    """Its name for the user."""

    start_seconds: float
    """How long it may take to answer."""

    def __init__(
        self, home: Path, children: Children, settings: RuntimeSettings, *, port: int, log: str
    ) -> None:
        self.home, self.port = home, port
        self.log = home / "logs" / log
        self._children, self._settings = children, settings
        self._child: Child | None = None
        self._log_start = 0

    @property
    def child(self) -> Child | None:
        """The server process; None before `start` and after `stop` or `kill`."""
        return self._child

    async def start(self) -> None:
        """Prepares its files, starts it, and waits until it answers.

        Raises PortInUse, DiskFull, StartFailed, or what its preparation raises.
        """
        self._forget()
        for port in self._ports():
            if not is_free(port):
                raise PortInUse(port, self.title)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        # Only what is said from here on tells of this start.
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        await self._prepare()
        deadline = time.monotonic() + self.start_seconds
        self._child = self._spawn()
        while not await self._answers():
            if time.monotonic() > deadline:
                await self.stop()
                raise self._failure(f"no answer in {self.start_seconds:g} s")
            if not self._child.alive():
                self._forget()
                if not self._worth_another_try():
                    raise self._failure("the server ended")
                self._child = self._spawn()
            await asyncio.sleep(self._settings.server_poll_seconds)

    async def stop(self) -> None:
        """A clean shutdown."""
        if self._child is not None:
            await self._children.stop([self._child])
            self._child = None

    async def kill(self) -> None:
        """SIGKILL, as a crash would end it; the next `start` recovers."""
        if self._child is not None:
            self._child.signal(signal.SIGKILL)
            await self._child.ended()
            self._forget()

    def _forget(self) -> None:
        if self._child is not None:
            self._children.forget(self._child)
            self._child = None

    def _ports(self) -> tuple[int, ...]:
        return (self.port,)

    def _worth_another_try(self) -> bool:
        """True if what ended the server early passes by itself."""
        return False

    def _failure(self, reason: str) -> StartFailed | DiskFull | PortInUse:
        """The early end as an error, told from the last words in its log."""
        said = self._said()
        if "No space left on device" in said:
            free_mib = shutil.disk_usage(self.home).free // 2**20
            return DiskFull(self.home, free_mib, self._settings.smallest_free_mib)
        if "Address already in use" in said:
            return PortInUse(self.port, self.title)
        return StartFailed(self.title, reason, self.log, last_line(self.log))

    def _said(self) -> str:
        return tail(self.log, since=self._log_start)

    @abstractmethod
    async def _prepare(self) -> None:
        """Makes its files where they are missing."""

    @abstractmethod
    def _spawn(self) -> Child:
        """Starts the process."""

    @abstractmethod
    async def _answers(self) -> bool:
        """True once it serves clients."""
