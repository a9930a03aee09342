"""Child processes that cannot outlive their supervisor."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from trolley.runtime import guardian
from trolley.runtime.guardian import Rung, Watched

ENDED_POLL_SECONDS = 0.03
"""How often a running child is looked at; a look costs a few microseconds."""

REAP_SECONDS = 5
"""How long the kernel may take to hand over a process that has ended."""

_TAIL_BYTES = 8192

# The child waits for one line before it becomes the program: it is written only when the guardian
# knows the child. Should the supervisor die first, the line never comes and the child ends.
WAIT_FOR_GO = 'read -r go && exec "$@" </dev/null'


@dataclass(frozen=True)
class Account:
    """A user of the operating system to run a child as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Child:
    """A started process and what the guardian knows of it."""

    watched: Watched
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """The process id; it stays the same from the first moment on."""
        return self.process.pid

    def alive(self) -> bool:
        """True while it runs; reaps it otherwise."""
        return self.process.poll() is None

    async def ended(self, *, seconds: float | None = None) -> bool:
        """Waits for its end, at most so long; True if it has ended."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while self.alive():
            if deadline is not None and time.monotonic() > deadline:
                return False
            await asyncio.sleep(ENDED_POLL_SECONDS)
        return True

    def signal(self, number: int) -> None:
        """Sends a signal if it still runs."""
        self.process.send_signal(number)

    def freeze(self) -> None:
        """SIGSTOP to it, and to all that it has begun: a server is many processes."""
        self.signal(signal.SIGSTOP)  # first, so that it begins no more
        for pid in _begun_by(self.pid):
            _signal(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT to all that `freeze` stopped."""
        for pid in _begun_by(self.pid):
            _signal(pid, signal.SIGCONT)
        self.signal(signal.SIGCONT)


class Children:
    """Starts, stops and remembers the children of one supervisor.

    `home` is the state directory; the list of children is kept in `home/children.json`.
    """

    def __init__(self, home: Path) -> None:
        self.ledger = home / "children.json"
        self._children: dict[int, Child] = {}
        self._remove: list[Path] = []
        self._guardian: subprocess.Popen[str] | None = None

    @property
    def guardian_pid(self) -> int | None:
        """The guardian's process id; None before the first child."""
        return None if self._guardian is None else self._guardian.pid

    def clear_leftovers(self) -> list[Watched]:
        """Stops what an earlier supervisor left running here; returns what was found.

        Call it before the first `spawn`, while holding the lock of the state directory.
        """
        found = [one for one in guardian.read_ledger(self.ledger) if one.alive()]
        guardian.stop(found)
        return found

    def spawn(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        log: Path,
        phase: int,
        ladder: tuple[Rung, ...],
        account: Account | None = None,
    ) -> Child:
        """Starts `command` in a session of its own, its output appended to `log`.

        The guardian knows the process before the first instruction of `command` runs.
        """
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - the command is ours
                ["/bin/sh", "-c", WAIT_FOR_GO, name, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=directory,
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        born = guardian.birth(process.pid) or "never"
        child = Child(Watched(name, process.pid, born, phase, ladder), process, log)
        self._children[process.pid] = child
        self._tell({"watch": asdict(child.watched)})
        assert process.stdin is not None  # noqa: S101 - asked for above
        try:
            process.stdin.write(b"go\n")
            process.stdin.close()
        except BrokenPipeError:
            pass  # it is dead already, which the caller sees as an early end
        return child

    async def run(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        log: Path,
        seconds: float,
        account: Account | None = None,
    ) -> int:
        """Runs a program that ends by itself; returns its exit code, negative for a signal.

        After `seconds`, or when the caller is cancelled, it is killed.
        """
        child = self.spawn(
            name,
            command,
            environment=environment,
            directory=directory,
            log=log,
            phase=0,
            ladder=(Rung(signal.SIGKILL, REAP_SECONDS),),
            account=account,
        )
        try:
            await child.ended(seconds=seconds)
        finally:
            await self.stop([child])
        return child.process.returncode

    async def stop(self, children: Iterable[Child]) -> None:
        """Stops these children, phase by phase, and forgets them."""
        wanted = list(children)
        await asyncio.to_thread(guardian.stop, [child.watched for child in wanted])
        for child in wanted:
            await child.ended(seconds=REAP_SECONDS)
            self.forget(child)

    async def stop_all(self) -> None:
        """Stops every child, services before servers."""
        await self.stop(list(self._children.values()))

    def forget(self, child: Child) -> None:
        """Reaps an ended child and strikes it from the guardian's list."""
        child.process.poll()
        if self._children.pop(child.pid, None) is not None:
            self._tell({"forget": child.pid})

    def remove_at_end(self, directory: Path) -> None:
        """Has the guardian delete `directory` once the supervisor is gone."""
        self._remove.append(directory)
        self._tell({"remove": str(directory)})

    def ensure_guarded(self) -> None:
        """Starts the guardian again should somebody have killed it; cheap otherwise."""
        if self._guardian is None or self._guardian.poll() is not None:
            self._start_guardian()

    def close(self) -> None:
        """Lets the guardian go; it stops what is left and removes what it was told to."""
        if self._guardian is not None:
            assert self._guardian.stdin is not None  # noqa: S101 - asked for at its start
            assert self._guardian.stdout is not None  # noqa: S101 - asked for at its start
            self._guardian.stdin.close()
            self._guardian.wait()
            self._guardian.stdout.close()
            self._guardian = None

    def _start_guardian(self) -> None:
        if self._guardian is not None:
            for pipe in (self._guardian.stdin, self._guardian.stdout):
                if pipe is not None:
                    pipe.close()
        self._guardian = subprocess.Popen(  # noqa: S603 - the command is ours
            [sys.executable, "-I", "-S", guardian.__file__, str(self.ledger)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            text=True,
        )
        for child in self._children.values():
            self._order({"watch": asdict(child.watched)})
        for directory in self._remove:
            self._order({"remove": str(directory)})

    def _tell(self, order: dict[str, object]) -> None:
        if self._guardian is not None and self._guardian.poll() is None:
            try:
                self._order(order)
            except BrokenPipeError:
                pass
            else:
                return
        self._start_guardian()  # which tells it everything, this order included

    def _order(self, order: dict[str, object]) -> None:
        assert self._guardian is not None  # noqa: S101 - started by both callers
        assert self._guardian.stdin is not None  # noqa: S101 - asked for at its start
        assert self._guardian.stdout is not None  # noqa: S101 - asked for at its start
        self._guardian.stdin.write(json.dumps(order) + "\n")
        self._guardian.stdin.flush()
        if not self._guardian.stdout.readline():
            raise BrokenPipeError


def tail(log: Path, since: int = 0) -> str:
    """The last words of a log, none from before byte `since`; empty when there is no log."""
    try:
        with log.open("rb") as opened:
            opened.seek(max(since, os.path.getsize(log) - _TAIL_BYTES))
            return opened.read().decode(errors="replace")
    except OSError:
        return ""


def last_line(log: Path) -> str | None:
    """The last line of a log that says something, for an error sentence."""
    lines = (line.strip() for line in reversed(tail(log).splitlines()))
    return next((line for line in lines if line), None)


def _begun_by(pid: int) -> list[int]:
    """The processes that a process has begun, and those that they have."""
    shown = subprocess.run(
        ["/bin/ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    begun: dict[int, list[int]] = {}
    for line in shown.splitlines():
        child, parent = map(int, line.split())
        begun.setdefault(parent, []).append(child)
    found = begun.get(pid, [])
    for one in found:
        found += begun.get(one, [])
    return found


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
