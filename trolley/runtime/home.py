"""The state directory: everything a runtime keeps between two starts, and who holds it now."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from dotenv import dotenv_values

from trolley.runtime.errors import AlreadyRunning, DirectoryUnwritable, DiskFull
from trolley.runtime.guardian import birth

_SIGNING_KEY_BYTES = 48


def default_home() -> Path:
    """`TROLLEY_HOME`, or `.trolley` in the working directory, where services look for settings."""
    return Path(os.environ.get("TROLLEY_HOME", ".trolley"))


@dataclass(frozen=True)
class ProcessState:
    """One process of a runtime, as the status table shows it."""

    name: str
    kind: str
    """`server` or `service`."""
    state: str
    """starting, ready, unready (runs but is not ready), restarting, stopping or stopped."""
    pid: int | None = None
    port: int | None = None
    restarts: int = 0
    since: float | None = None
    """When the process was started, in seconds since 1970."""
    note: str | None = None
    """Why it ended last, or why it cannot be started."""


@dataclass(frozen=True)
class RuntimeState:
    """What the supervisor writes down at every change."""

    pid: int
    born: str
    """Tells this supervisor from a later process with the same pid."""
    state: str
    """starting, ready or stopping."""
    started: float
    """When the supervisor was started, in seconds since 1970."""
    processes: tuple[ProcessState, ...] = field(default_factory=tuple)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "RuntimeState":
        """The inverse of `dataclasses.asdict` after a way through JSON."""
        processes = tuple(ProcessState(**process) for process in value.pop("processes"))
        return cls(processes=processes, **value)

    def alive(self) -> bool:
        """True while this very supervisor runs."""
        return birth(self.pid) == self.born


class Home:
    """The state directory at `path`, absolute from here on."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.logs = self.path / "logs"
        self.environment_file = self.path / "runtime.env"
        self._lock: IO[str] | None = None

    def prepare(self, smallest_free_mib: int) -> None:
        """Makes the directory; raises DirectoryUnwritable or DiskFull."""
        try:
            if not self.path.exists():
                self.path.mkdir(parents=True)
                # As root, PostgreSQL's own user must pass through; secrets have 0600 each.
                self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
            self.logs.mkdir(exist_ok=True)
            probe = self.path / "writable"
            probe.write_text("yes")
            probe.unlink()
        except OSError as error:
            if isinstance(error, FileExistsError | NotADirectoryError):
                raise DirectoryUnwritable(self.path, "it is a file") from error
            if error.strerror == "No space left on device":
                raise DiskFull(self.path, 0, smallest_free_mib) from error
            raise DirectoryUnwritable(self.path, (error.strerror or str(error)).lower()) from error
        free_mib = shutil.disk_usage(self.path).free // 2**20
        if free_mib < smallest_free_mib:
            raise DiskFull(self.path, free_mib, smallest_free_mib)

    def lock(self) -> None:
        """Takes the directory for this process until `unlock` or its end.

        Raises AlreadyRunning.
        """
        held = (self.path / "lock").open("a")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            held.close()
            state = self.state()
            raise AlreadyRunning(self.path, state.pid if state else None) from error
        self._lock = held

    @property
    def locked(self) -> bool:
        """True while this object holds the directory."""
        return self._lock is not None

    def unlock(self) -> None:
        """Gives the directory back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def held(self) -> bool:
        """True while some process holds the lock."""
        try:
            with (self.path / "lock").open("r+") as probe:
                fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def state(self) -> RuntimeState | None:
        """The running supervisor's state; None if none runs here."""
        try:
            value = json.loads((self.path / "state.json").read_text())
            state = RuntimeState.from_json(value)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return state if state.alive() else None

    def write_state(self, state: RuntimeState) -> None:
        """Replaces the state in one step."""
        self._replace("state.json", json.dumps(asdict(state), indent=1))

    def clear_state(self) -> None:
        """Says that no supervisor runs here."""
        with contextlib.suppress(OSError):
            (self.path / "state.json").unlink(missing_ok=True)

    def ports(self) -> dict[str, int]:
        """The ports of the last run by process name; they are taken again if they are free."""
        try:
            return dict(json.loads((self.path / "ports.json").read_text()))
        except (OSError, ValueError):
            return {}

    def write_ports(self, ports: Mapping[str, int]) -> None:
        """Remembers the ports for the next start."""
        self._replace("ports.json", json.dumps(dict(ports), indent=1))

    def signing_key(self) -> str:
        """The key that signs tokens, made once per state directory."""
        secret = self.path / "signing.key"
        with contextlib.suppress(FileNotFoundError):
            if key := secret.read_text():
                return key
        key = secrets.token_urlsafe(_SIGNING_KEY_BYTES)
        self._replace("signing.key", key)
        return key

    def write_environment(self, environment: Mapping[str, str]) -> None:
        """Writes `runtime.env`, from which every entry point reads the same settings."""
        lines = (f"{name}={_quoted(value)}\n" for name, value in sorted(environment.items()))
        self._replace("runtime.env", "".join(lines))

    def written_environment(self) -> dict[str, str]:
        """The settings in `runtime.env`; empty before the first start."""
        written = dotenv_values(self.environment_file, interpolate=False)
        return {name: value for name, value in written.items() if value is not None}

    def environment(self) -> dict[str, str]:
        """The settings in `runtime.env`, under those of this process, which win."""
        return {**self.written_environment(), **os.environ}

    def is_ours(self) -> bool:
        """True if a runtime has been started here; anything else is never deleted."""
        return (self.path / "lock").is_file()

    def remove(self) -> None:
        """Deletes all state, PostgreSQL's data outside of the directory too."""
        with contextlib.suppress(OSError, ValueError):
            outside = json.loads((self.path / "postgres.json").read_text())["outside"]
            if outside is not None:
                shutil.rmtree(outside, ignore_errors=True)
        if self.path.exists():
            shutil.rmtree(self.path)

    def _replace(self, name: str, text: str) -> None:
        """Writes a file, readable by us alone, whole or not at all."""
        fresh = self.path / f"{name}.new"
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text(text)
        fresh.replace(self.path / name)


def _quoted(value: str) -> str:
    # Single quotes: read alike by python-dotenv and by a shell.
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def python_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a Python child: ours, `extra`, and our packages on its path."""
    root = str(Path(__file__).parents[2])
    path = extra.get("PYTHONPATH") or os.environ.get("PYTHONPATH")
    environment = {
        **os.environ,
        **extra,
        "PYTHONPATH": f"{root}{os.pathsep}{path}" if path else root,
        "PYTHONUNBUFFERED": "1",
    }
    # Without compiled files each restart of a service would compile all of it again.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment
