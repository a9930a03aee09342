"""Free TCP ports that two runtimes on one machine never pick at the same time."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

from trolley.runtime.errors import NoFreePort

_LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """True if nothing listens on the port of the loopback interface."""
    with socket.socket() as probe:
        # As servers do: connections of an earlier run in TIME_WAIT do not make a port busy.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True


class PortReservations:
    """Ports held by a lock file each, from their choice until `close`, whoever listens on them.

    Without the lock two runtimes that start together could both find the same port free.
    The kernel gives the locks back when the process ends in any way.
    """

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self._locks: dict[int, IO[str]] = {}
        self._directory = Path(tempfile.gettempdir()) / f"trolley-ports-{os.getuid()}"

    def reserve(self, port: int) -> bool:
        """Takes this port; False when it is in use or reserved by another runtime."""
        if port in self._locks:
            return True
        self._directory.mkdir(mode=0o700, exist_ok=True)
        lock = (self._directory / str(port)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return False
        if not is_free(port):
            lock.close()
            return False
        self._locks[port] = lock
        return True

    def pick(self, preferred: int | None = None) -> int:
        """A free port, the preferred one if it still is; raises NoFreePort."""
        if preferred is not None and self.reserve(preferred):
            return preferred
        candidates = list(range(self.first, self.last + 1))
        random.shuffle(candidates)
        for port in candidates:
            if self.reserve(port):
                return port
        raise NoFreePort(self.first, self.last)

    def close(self) -> None:
        """Gives all ports back."""
        for lock in self._locks.values():
            lock.close()
        self._locks.clear()
