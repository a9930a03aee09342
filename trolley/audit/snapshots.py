"""Every database in one snapshot of its own: what one look of the auditor reads from."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg

from trolley.audit.invariant import DATABASES, Source
from trolley.databases import without_password
from trolley.runtime.errors import DatabaseUnavailable, RuntimeStartError
from trolley.services import databases
from trolley.together import together


class DatabaseNotNamed(RuntimeStartError):
    """The settings do not say where a database is."""

    def __init__(self, setting: str) -> None:
        self.setting = setting
        super().__init__(
            f"{setting} is not set: start `trolley up` once, or set it to the URL of that database."
        )


class DatabaseNotReadable(RuntimeStartError):
    """A database is there and an invariant's statement fails on it; shown without the password."""

    def __init__(self, url: str, reason: str) -> None:
        self.url, self.reason = url, reason
        super().__init__(
            f"The database {url} cannot be read ({reason}): bring it up to date with `trolley "
            f"migrate`, and let its user read every table."
        )


def database_urls(environment: Mapping[str, str]) -> dict[Source, str]:
    """Where every database is, by the settings that the services use. Raises DatabaseNotNamed."""
    settings = {database.name: database.setting for database in databases()}
    urls: dict[Source, str] = {}
    for source in DATABASES:
        url = environment.get(settings[source])
        if not url:
            raise DatabaseNotNamed(settings[source])
        urls[source] = url
    return urls


_AWAY = (
    OSError,  # a timeout among them
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # where it ends between two messages
)
"""What a driver raises of a database that is not there, or not there any more."""

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_OLDEST = """
    SELECT least(now(), min(xact_start)) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend'
"""


Connections: TypeAlias = dict[Source, asyncpg.Connection]
"""A connection to each database, as far as they are open."""


async def let_go(connections: Connections, seconds: float) -> None:
    """End connections in whatever state they are: nothing was written."""
    ending = [one.close(timeout=seconds) for one in connections.values()]
    connections.clear()
    await asyncio.gather(*ending, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Horizon:
    """What a snapshot may not have seen: of what comes later, and of what was open then.

    Whatever commits after the snapshot is of a transaction that is `transaction` or comes after
    it, and that began at `moment` or later, by the database's clock.
    """

    moment: datetime
    transaction: int


class Snapshots:
    """One REPEATABLE READ, read-only transaction on each database.

    `statements` counts what was asked of the databases.
    """

    def __init__(
        self,
        urls: Mapping[Source, str],
        connections: Connections,
        statement_seconds: float | None,
    ) -> None:
        self.horizons: dict[Source, Horizon] = {}
        self.statements = 0
        self._urls = urls
        self._connections = connections
        self._turns = {source: asyncio.Lock() for source in urls}
        self._statement_seconds = statement_seconds

    @classmethod
    @asynccontextmanager
    async def taken(
        cls,
        urls: Mapping[Source, str],
        *,
        connect_seconds: float,
        statement_seconds: float | None = None,
        kept: Connections | None = None,
    ) -> AsyncIterator["Snapshots"]:
        """Snapshots of these databases, all taken at nearly the same moment.

        A statement takes at most `statement_seconds`. Connections come from `kept` and stay there
        for the next snapshots, with their statements prepared; without it they end with these.
        Raises DatabaseUnavailable.
        """
        connections = {} if kept is None else kept
        snapshots = cls(urls, connections, statement_seconds)
        is_at_rest = False
        try:
            await together(snapshots._connect(source, connect_seconds) for source in urls)
            await together(snapshots._begin(source) for source in urls)
            yield snapshots
            is_at_rest = kept is not None and await snapshots._rolled_back()
        finally:
            if not is_at_rest:
                await let_go(connections, connect_seconds)

    async def copy(self, source: Source, sql: str, path: Path) -> None:
        """Write the rows of a statement to a CSV file.

        Raises DatabaseUnavailable and DatabaseNotReadable.
        """
        with _file(path) as write:
            async with self._reading(source) as connection:
                await connection.copy_from_query(sql, output=write, format="csv")

    async def columns(self, source: Source, sql: str) -> dict[str, str]:
        """The columns that a statement has, with PostgreSQL's names of their types.

        Raises DatabaseUnavailable and DatabaseNotReadable.
        """
        async with self._reading(source) as connection:
            statement = await connection.prepare(sql)
        return {column.name: column.type.name for column in statement.get_attributes()}

    async def keys(self, source: Source, sql: str, among: Collection[str]) -> set[str]:
        """Those of the keys that `sql`, which has them as text array $1, gives back.

        Raises DatabaseUnavailable and DatabaseNotReadable.
        """
        return {record[0] for record in await self.fetch(source, sql, list(among))}

    async def fetch(self, source: Source, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """The few rows of a statement. Raises DatabaseUnavailable and DatabaseNotReadable."""
        async with self._reading(source) as connection:
            return list(await connection.fetch(sql, *arguments))

    async def _connect(self, source: Source, connect_seconds: float) -> None:
        known = self._connections.get(source)
        if known is not None and not known.is_closed():
            return
        with self._told(source, (*_AWAY, asyncpg.PostgresError)):
            self._connections[source] = await asyncpg.connect(
                self._urls[source],
                timeout=connect_seconds,
                command_timeout=self._statement_seconds,
                server_settings={
                    "application_name": "trolley audit",
                    "jit": "off",
                    # What a statement prepared earlier was planned for may have grown since.
                    "plan_cache_mode": "force_custom_plan",
                    "timezone": "UTC",
                },
            )

    async def _begin(self, source: Source) -> None:
        with self._told(source):
            connection = self._connections[source]
            # Asked before the snapshot: what is open in it had begun by then, or began later.
            oldest = await connection.fetchval(_OLDEST)
            await connection.execute(_BEGIN)
            # A transaction's snapshot is that of its first statement.
            self.horizons[source] = Horizon(oldest, await connection.fetchval(_HORIZON))

    async def _rolled_back(self) -> bool:
        """End every transaction, or say that one could not be ended."""
        ending = (one.execute("ROLLBACK") for one in self._connections.values())
        ended = await asyncio.gather(*ending, return_exceptions=True)
        return not any(isinstance(one, BaseException) for one in ended)

    @asynccontextmanager
    async def _reading(self, source: Source) -> AsyncIterator[asyncpg.Connection]:
        """The connection of a source, for one of those who take turns on it."""
        async with self._turns[source]:
            self.statements += 1
            with self._told(source):
                yield self._connections[source]

    @contextmanager
    def _told(self, source: Source, away: tuple[type[Exception], ...] = _AWAY) -> Iterator[None]:
        """What goes wrong with a database is told with its address, without the password."""
        url = without_password(self._urls[source])
        try:
            yield
        except away as error:
            raise DatabaseUnavailable(url, _reason(error)) from error
        except asyncpg.PostgresError as error:
            raise DatabaseNotReadable(url, _reason(error)) from error


def _reason(error: Exception) -> str:
    """In one line: the next one of PostgreSQL's may hold a row."""
    return str(error).partition("\n")[0] or type(error).__name__


@contextmanager
def _file(path: Path) -> Iterator[Callable[[bytes], Coroutine[Any, Any, None]]]:
    """Writes to a file without a thread of its own for each of some thousand small pieces."""
    with path.open("wb") as file:

        async def write(data: bytes) -> None:
            file.write(data)

        yield write
