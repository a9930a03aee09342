"""Connections of a process are cut from outside: those to one server, and no others."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from trolley.chaos.connections import cut, ports_of

WAIT_SECONDS = 10

TALKS_TO_BOTH = """
import socket, sys
seconds, *ports = map(int, sys.argv[1:])
connections = [socket.create_connection(("127.0.0.1", port), seconds) for port in ports]
for connection in connections:
    print(connection.recv(1), flush=True)
"""


class Servers(NamedTuple):
    """One to be cut off, and one to be left alone."""

    lost: socket.socket
    kept: socket.socket


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Both listen."""
    with ExitStack() as stack:
        yield Servers(*(stack.enter_context(listening()) for _ in range(2)))


def listening() -> socket.socket:
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(WAIT_SECONDS)
    return server


def port(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def accepted(server: socket.socket) -> socket.socket:
    connection, _ = server.accept()
    connection.settimeout(WAIT_SECONDS)
    return connection


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives out another's descriptors")
def test_another_process_loses_its_connections_to_one_server_and_keeps_the_others(
    servers: Servers,
) -> None:
    ports = [str(port(server)) for server in servers]
    command = [sys.executable, "-c", TALKS_TO_BOTH, str(WAIT_SECONDS), *ports]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other,
        accepted(servers.lost) as lost,
        accepted(servers.kept) as kept,
    ):
        assert cut(other.pid, {port(servers.lost)}) == 1
        assert lost.recv(1) == b""
        kept.send(b"!")
        assert other.communicate(timeout=WAIT_SECONDS)[0].split() == ["b''", "b'!'"]


def test_a_process_cuts_its_own_connections_and_goes_on(servers: Servers) -> None:
    with ExitStack() as stack:
        ours = [
            stack.enter_context(socket.create_connection(server.getsockname(), WAIT_SECONDS))
            for server in servers
        ]
        lost, kept = (stack.enter_context(accepted(server)) for server in servers)
        assert cut(os.getpid(), {port(servers.lost)}) == 1
        assert (ours[0].recv(1), lost.recv(1)) == (b"", b"")
        kept.send(b"!")
        assert ours[1].recv(1) == b"!"


def test_a_process_that_is_gone_has_no_connections_to_cut() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait(WAIT_SECONDS)
    with pytest.raises(OSError, match="No such"):
        cut(gone.pid, {1})


def test_ports_are_those_of_all_servers() -> None:
    assert ports_of("127.0.0.1:9092,[::1]:9093") == {9092, 9093}
