"""The embedded pair alone, as a program: what the test suite and other programs share.

    python -m trolley.runtime.servers --home DIR [--lease FILE] [--remove DIR]

It writes `DIR/servers.json` when both answer and runs until SIGTERM. With `--lease` it also ends
when nobody holds a shared lock on that file any more: each user takes the lock before it asks for
the servers, and the kernel gives the lock back however the user ends. `--remove` deletes a
directory after the servers, for a pair that was meant for once.
"""

import argparse
import asyncio
import fcntl
import json
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from messaging.waiting import happens
from trolley.runtime.children import Children
from trolley.runtime.errors import RuntimeStartError
from trolley.runtime.kafka import EmbeddedKafka
from trolley.runtime.ports import PortReservations
from trolley.runtime.postgres import EmbeddedPostgres
from trolley.settings import RuntimeSettings

_LEASE_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Servers:
    """Where the pair can be reached."""

    kafka: str
    """`host:port`"""
    postgres: str
    """The superuser's URL of the database `postgres`."""

    @classmethod
    def read(cls, home: Path) -> "Servers | None":
        """What a running pair has written, or None."""
        try:
            return cls(**json.loads((home / "servers.json").read_text()))
        except FileNotFoundError:
            return None


async def run(home: Path, lease: Path | None, remove: Path | None) -> None:
    """Runs the pair until it is told to end; raises RuntimeStartError when it cannot start."""
    settings = RuntimeSettings()
    (home / "logs").mkdir(parents=True, exist_ok=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    children, ports = Children(home), PortReservations(settings.first_port, settings.last_port)
    children.clear_leftovers()
    ready = home / "servers.json"
    ready.unlink(missing_ok=True)
    if remove is not None:
        children.remove_at_end(remove)
    try:
        postgres = EmbeddedPostgres(home, children, settings, port=ports.pick())
        kafka = EmbeddedKafka(
            home, children, settings, port=ports.pick(), controller_port=ports.pick()
        )
        try:
            await asyncio.gather(postgres.start(), kafka.start())
        finally:
            outside = postgres.outside_directory()
            if remove is not None and outside is not None:
                children.remove_at_end(outside)
        fresh = ready.with_name("servers.json.new")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(asdict(Servers(kafka.bootstrap_servers, postgres.url))))
        fresh.replace(ready)
        while not ended.is_set() and not (lease is not None and _is_free(lease)):
            if not await happens(ended, _LEASE_POLL_SECONDS):
                children.ensure_guarded()
    finally:
        ready.unlink(missing_ok=True)
        await children.stop_all()
        children.close()
        ports.close()


def _is_free(lease: Path) -> bool:
    try:
        with lease.open("r+") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


def main() -> None:
    """The program's entry point; exits 1 with one sentence when the pair cannot start."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--lease", type=Path)
    parser.add_argument("--remove", type=Path)
    options = parser.parse_args()
    try:
        asyncio.run(run(options.home.absolute(), options.lease, options.remove))
    except RuntimeStartError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
