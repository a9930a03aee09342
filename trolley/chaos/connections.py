"""Cuts the connections of a process to a server, as a network does that loses them.

PostgreSQL ends sessions when it is asked to. Kafka cannot be asked, so connections to it are ended
at the process that holds them.
"""

import ctypes
import errno
import os
import socket
from collections.abc import Collection, Iterator

_PIDFD_GETFD = 438
"""The number of pidfd_getfd(2), the same on all architectures of Linux since 5.6."""

_INTERNET = (socket.AF_INET, socket.AF_INET6)


def ports_of(servers: str) -> frozenset[int]:
    """The ports in `host:port,host:port`."""
    return frozenset(int(server.rpartition(":")[2]) for server in servers.split(","))


def cut(pid: int, ports: Collection[int]) -> int:
    """End every TCP connection of a process that leads to one of these ports; how many there were.

    Both sides find that the other has hung up. What the process had handed to its kernel still
    arrives, so a request may be carried out whose answer nobody hears.

    Raises OSError where the process is gone or not ours to look into; of another process than the
    caller's also on a system that is not Linux.
    """
    return sum(_end(descriptor, ports) for descriptor in _descriptors(pid))


def _descriptors(pid: int) -> Iterator[int]:
    """What a process has open, each under a descriptor of our own, which the caller closes."""
    ours = pid == os.getpid()
    handle = -1 if ours else os.pidfd_open(pid)
    try:
        for name in os.listdir("/dev/fd" if ours else f"/proc/{pid}/fd"):
            try:
                yield os.dup(int(name)) if ours else _copied(handle, int(name))
            except OSError as error:
                if error.errno != errno.EBADF:  # closed since it was listed
                    raise
    finally:
        if handle != -1:
            os.close(handle)


def _copied(handle: int, number: int) -> int:
    """A descriptor of another process as one of ours (pidfd_getfd(2))."""
    descriptor = int(ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, handle, number, 0))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor


def _end(descriptor: int, ports: Collection[int]) -> bool:
    """Close a descriptor; if it is such a connection, end that."""
    try:
        found = socket.socket(fileno=descriptor)
    except OSError as error:
        os.close(descriptor)
        if error.errno != errno.ENOTSOCK:
            raise
        return False
    with found:
        try:
            if found.family not in _INTERNET or found.getpeername()[1] not in ports:
                return False
            found.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # it listens, or has ended meanwhile
                raise
            return False
        return True
