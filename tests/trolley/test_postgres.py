"""PostgreSQL for root, who may not run it, in places that its user cannot enter."""

import os
import shutil
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from trolley.runtime import postgres
from trolley.runtime.children import Children
from trolley.runtime.home import Home
from trolley.runtime.ports import PortReservations
from trolley.runtime.postgres import EmbeddedPostgres
from trolley.settings import RuntimeSettings

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the user"),
]


@pytest.fixture
def closed(home: Path) -> Path:
    """A directory that only root can enter."""
    path = home / "root only"
    path.mkdir(parents=True)
    path.chmod(0o700)
    return path


@asynccontextmanager
async def started(place: Home) -> AsyncIterator[tuple[EmbeddedPostgres, asyncpg.Connection]]:
    """A server of this state directory and a session on it."""
    place.prepare(smallest_free_mib=0)
    children, ports = Children(place.path), PortReservations(20_000, 29_999)
    server = EmbeddedPostgres(place.path, children, RuntimeSettings(), port=ports.pick())
    try:
        await server.start()
        connection = await asyncpg.connect(server.url)
        yield server, connection
        await connection.close()
    finally:
        await children.stop_all()
        children.close()
        ports.close()


def is_there(path: Path) -> bool:
    return path.exists()


def owner_and_mode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_uid, stat.S_IMODE(status.st_mode)


async def test_data_goes_where_its_user_can_and_permissions_stay(closed: Path) -> None:
    place = Home(closed / ".trolley")

    async with started(place) as (server, connection):
        assert server.child is not None
        assert os.stat(f"/proc/{server.child.pid}").st_uid != 0
        data = Path(await connection.fetchval("SHOW data_directory"))
        await connection.execute("CREATE TABLE kept ()")

    assert not data.is_relative_to(closed)
    assert owner_and_mode(closed) == (0, 0o700)
    async with started(place) as (_, connection):
        assert await connection.fetchval("SELECT count(*) FROM kept") == 0
        assert Path(await connection.fetchval("SHOW data_directory")) == data
    place.remove()
    assert not is_there(data.parent.parent)


async def test_data_stays_inside_where_its_user_can_go(home: Path) -> None:
    async with started(Home(home)) as (_, connection):
        data = Path(await connection.fetchval("SHOW data_directory"))

    assert data == home / "postgres" / "data"


async def test_an_installation_out_of_reach_is_copied(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkout, with PostgreSQL's binaries in it, may be closed to its user as well."""
    package = postgres.wheel_install().parent
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, closed / part.name, symlinks=True)
    out_of_reach = closed / package.name / postgres.wheel_install().name
    monkeypatch.setattr(postgres, "wheel_install", lambda: out_of_reach)
    place = Home(closed / ".trolley")

    async with started(place) as (server, connection):
        assert await connection.fetchval("SELECT 1") == 1
        outside = server.outside_directory()

    assert outside is not None
    place.remove()
    assert not is_there(outside)


async def test_a_password_is_needed(home: Path) -> None:
    async with started(Home(home)) as (server, _):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(f"postgresql://postgres:guess@127.0.0.1:{server.port}/postgres")
