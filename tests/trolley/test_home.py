"""The state directory, ports, and what is told when they cannot be had."""

import os
import re
import socket
import stat
from pathlib import Path

import pytest

from trolley.runtime.children import Children
from trolley.runtime.errors import (
    AlreadyRunning,
    DirectoryUnwritable,
    DiskFull,
    DownloadMissing,
    NoFreePort,
    PortInUse,
)
from trolley.runtime.home import Home, python_environment
from trolley.runtime.jars import WrongChecksum, verified
from trolley.runtime.kafka import EmbeddedKafka
from trolley.runtime.ports import PortReservations, is_free
from trolley.runtime.stack import Runtime
from trolley.settings import RuntimeSettings

A_SENTENCE = re.compile(r"^[A-Z][^\n]*\.$")


def prepared(path: Path) -> Home:
    home = Home(path)
    home.prepare(smallest_free_mib=0)
    return home


def test_only_one_supervisor_at_a_time(home: Path) -> None:
    first, second = prepared(home), prepared(home)
    first.lock()

    with pytest.raises(AlreadyRunning) as caught:
        second.lock()

    assert A_SENTENCE.match(str(caught.value))
    assert str(home) in str(caught.value)
    first.unlock()
    second.lock()
    second.unlock()


def test_a_state_directory_that_cannot_be_made(home: Path) -> None:
    home.write_text("a file is in the way")

    with pytest.raises(DirectoryUnwritable) as caught:
        prepared(home)

    assert A_SENTENCE.match(str(caught.value))
    assert "it is a file" in str(caught.value)


def test_a_state_directory_below_a_file(home: Path) -> None:
    home.write_text("a file is in the way")

    with pytest.raises(DirectoryUnwritable, match="it is a file"):
        prepared(home / "state")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_state_directory_of_somebody_else(home: Path) -> None:
    home.mkdir(mode=0o500)

    with pytest.raises(DirectoryUnwritable, match="permission denied"):
        prepared(home)


def test_too_little_space(home: Path) -> None:
    more_than_any_disk = 2**40

    with pytest.raises(DiskFull) as caught:
        Home(home).prepare(more_than_any_disk)

    assert A_SENTENCE.match(str(caught.value))
    assert f"{more_than_any_disk} MiB needed" in str(caught.value)


async def test_a_full_disk_stops_the_start_before_anything_runs(home: Path) -> None:
    runtime = Runtime(home, settings=RuntimeSettings(smallest_free_mib=2**40))

    with pytest.raises(DiskFull):
        await runtime.start()

    assert runtime.processes() == ()


async def test_a_port_that_was_asked_for_and_is_in_use(home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        runtime = Runtime(home, environment={"CART_HTTP_PORT": str(port)})

        with pytest.raises(PortInUse) as caught:
            await runtime.start()

    assert A_SENTENCE.match(str(caught.value))
    assert f"Port {port}" in str(caught.value)
    assert "CART_HTTP_PORT" in str(caught.value)
    assert not Home(home).held()


async def test_no_way_to_download_kafka(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody answers there
    settings = RuntimeSettings(cache_dir=tmp_path / "cache")
    children = Children(prepared(home).path)
    kafka = EmbeddedKafka(home, children, settings, port=19_998, controller_port=19_999)

    with pytest.raises(DownloadMissing) as caught:
        await kafka.start()

    children.close()
    assert A_SENTENCE.match(str(caught.value))
    assert "connect to the network, or set KAFKA_BOOTSTRAP_SERVERS" in str(caught.value)


def test_a_download_that_was_cut_short_is_noticed(tmp_path: Path) -> None:
    """jgo would take the shortened jar for whole ever after."""
    shortened, other = tmp_path / "kafka-clients-4.3.0.jar", tmp_path / "not-of-ours-1.0.jar"
    shortened.write_bytes(b"PK")
    other.write_bytes(b"PK")

    with pytest.raises(WrongChecksum, match=r"kafka-clients-4\.3\.0\.jar"):
        verified([str(other), str(shortened)])

    assert verified([str(other)]) == [str(other)]


def test_two_runtimes_never_pick_the_same_port() -> None:
    one, other = PortReservations(20_000, 29_999), PortReservations(20_000, 29_999)
    try:
        port = one.pick()
        assert is_free(port)  # nobody listens yet, and still:
        assert not other.reserve(port)
        assert other.pick(preferred=port) != port
        one.close()
        assert other.reserve(port)
    finally:
        one.close()
        other.close()


def test_a_remembered_port_is_taken_again() -> None:
    ports = PortReservations(20_000, 29_999)
    port = ports.pick()
    ports.close()

    assert ports.pick(preferred=port) == port
    ports.close()


def test_every_port_of_the_range_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(NoFreePort) as caught:
            PortReservations(port, port).pick()

    assert A_SENTENCE.match(str(caught.value))


def test_secrets_are_made_once_and_are_ours_alone(home: Path) -> None:
    place = prepared(home)

    key = place.signing_key()
    place.write_environment({"A_PASSWORD": "it's a\\secret # $HOME"})

    assert place.signing_key() == key
    assert len(key) >= 32
    for name in ("signing.key", "runtime.env"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    assert place.written_environment() == {"A_PASSWORD": "it's a\\secret # $HOME"}


def test_the_environment_wins_over_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = prepared(home)
    place.write_environment({"KAFKA_BOOTSTRAP_SERVERS": "file:1", "ORDER_HTTP_PORT": "1"})
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "environment:1")

    assert place.environment()["KAFKA_BOOTSTRAP_SERVERS"] == "environment:1"
    assert place.environment()["ORDER_HTTP_PORT"] == "1"


def test_a_directory_that_was_there_keeps_its_permissions(home: Path) -> None:
    home.mkdir(mode=0o750)
    home.chmod(0o750)

    prepared(home)

    assert stat.S_IMODE(home.stat().st_mode) == 0o750


def test_children_find_our_packages_and_what_the_caller_adds() -> None:
    path = python_environment({"PYTHONPATH": "/more"})["PYTHONPATH"].split(os.pathsep)

    assert path[-1] == "/more"
    assert (Path(path[0]) / "trolley" / "__init__.py").exists()
