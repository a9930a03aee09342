"""The guardian: outlives the supervisor for as long as it takes to stop what it left behind.

The supervisor starts it with a pipe as standard input, and announces each child before that child
may run. When the pipe closes, by whatever end the supervisor came to, the guardian stops every
child that still runs: services first, servers after them, each politely before by force. It also
keeps the list of children in a file, so that the next start can clear up even when the
supervisor and the guardian were killed together.

Standard library only, since it runs as `python -I -S guardian.py` and must be up in no time.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.02
"""How often a process that is to end is looked at."""


@dataclass(frozen=True)
class Rung:
    """One step of a stop: the signal, and how long the process may take to end after it."""

    signal: int
    seconds: float


@dataclass(frozen=True)
class Watched:
    """A process to stop; `born` tells it from a later process that got the same pid."""

    name: str
    pid: int
    born: str
    phase: int
    """Lower phases are stopped first and gone before the next is begun."""
    ladder: tuple[Rung, ...]

    def alive(self) -> bool:
        """True while this very process runs; a zombie counts as gone."""
        return birth(self.pid) == self.born

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Watched":
        """The inverse of `dataclasses.asdict` after a way through JSON."""
        ladder = tuple(Rung(rung["signal"], rung["seconds"]) for rung in value["ladder"])
        return cls(value["name"], value["pid"], value["born"], value["phase"], ladder)


def birth(pid: int) -> str | None:
    """What identifies the process behind `pid` over the machine's life, or None when it is gone.

    On Linux the boot id and the start in clock ticks since boot, which no change of the clock
    moves; elsewhere the start time as `ps` prints it.
    """
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        # The command in parentheses may itself hold blanks and parentheses.
        fields = stat.rpartition(")")[2].split()
        state, threads, started = fields[0], int(fields[17]), fields[19]
        # The first thread of a process with many may be a zombie while the others still end.
        return None if state in "ZX" and threads <= 1 else f"{boot}:{started}"
    shown = subprocess.run(  # noqa: S603 - a fixed command
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    state, _, started = shown.partition(" ")
    return None if not shown or state.startswith("Z") else started.strip()


def stop(watched: Iterable[Watched]) -> list[Watched]:
    """Stops the processes, phase by phase; returns those that even SIGKILL did not end."""
    left: list[Watched] = []
    everything = list(watched)
    for phase in sorted({one.phase for one in everything}):
        left += _stop_phase([one for one in everything if one.phase == phase])
    return left


def _stop_phase(processes: list[Watched]) -> list[Watched]:
    rungs = {one: list(one.ladder) for one in processes}
    deadlines = dict.fromkeys(processes, 0.0)
    stubborn: list[Watched] = []
    while rungs:
        now = time.monotonic()
        for one in list(rungs):
            if not one.alive():
                del rungs[one]
            elif now >= deadlines[one]:
                if not rungs[one]:
                    stubborn.append(one)
                    del rungs[one]
                    continue
                rung = rungs[one].pop(0)
                deadlines[one] = now + rung.seconds
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    if rung.signal == signal.SIGKILL:
                        os.killpg(one.pid, signal.SIGKILL)
                    os.kill(one.pid, rung.signal)
        if rungs:
            time.sleep(POLL_SECONDS)
    return stubborn


def read_ledger(ledger: Path) -> list[Watched]:
    """The children of an earlier run; empty when the file is missing or torn."""
    try:
        return [Watched.from_json(value) for value in json.loads(ledger.read_text())]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def write_ledger(ledger: Path, watched: Iterable[Watched]) -> None:
    """Replaces the list of children in one step."""
    fresh = ledger.with_name(ledger.name + ".new")
    fresh.write_text(json.dumps([asdict(one) for one in watched]))
    fresh.replace(ledger)


def main(ledger: Path) -> None:
    """Follows the supervisor's orders on standard input until it closes, then clears up.

    Orders are lines of JSON, each answered by an empty line once it is written down:
    `{"watch": {...}}`, `{"forget": pid}`, `{"remove": directory}`.
    """
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    watched: dict[int, Watched] = {}
    remove: list[str] = []
    for line in sys.stdin:
        if not line.endswith("\n"):
            break  # the supervisor died while it wrote; the child it was for never ran
        order = json.loads(line)
        if "watch" in order:
            one = Watched.from_json(order["watch"])
            watched[one.pid] = one
        elif "forget" in order:
            watched.pop(order["forget"], None)
        elif "remove" in order:
            remove.append(order["remove"])
        # A full disk must not end the guardian: it still knows the children by heart.
        with contextlib.suppress(OSError):
            write_ledger(ledger, watched.values())
        with contextlib.suppress(OSError):
            sys.stdout.write("\n")
            sys.stdout.flush()
    left = stop(watched.values())
    with contextlib.suppress(OSError):
        write_ledger(ledger, left) if left else ledger.unlink(missing_ok=True)
    for directory in remove:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
