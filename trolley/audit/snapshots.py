"""Every database in one snapshot of its own: what one look of the auditor reads from."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TypeVar

import asyncpg

from trolley.audit.invariant import DATABASES, Read, Row, Source
from trolley.audit.join import Chunks
from trolley.databases import without_password
from trolley.runtime.errors import DatabaseUnavailable, RuntimeStartError
from trolley.services import databases

R = TypeVar("R", bound=Row)


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


class Snapshots:
    """One REPEATABLE READ, read-only transaction on each database."""

    def __init__(
        self,
        urls: Mapping[Source, str],
        connections: Mapping[Source, asyncpg.Connection],
        *,
        chunk_rows: int,
    ) -> None:
        self._urls = urls
        self._connections = connections
        self._chunk_rows = chunk_rows

    @classmethod
    @asynccontextmanager
    async def taken(
        cls,
        urls: Mapping[Source, str],
        *,
        chunk_rows: int,
        connect_seconds: float,
        statement_seconds: float | None = None,
    ) -> AsyncIterator["Snapshots"]:
        """Snapshots of these databases, all taken at nearly the same moment.

        A statement takes at most `statement_seconds`. Raises DatabaseUnavailable.
        """
        async with AsyncExitStack() as stack:
            connections = {
                source: await stack.enter_async_context(
                    _connected(url, connect_seconds, statement_seconds)
                )
                for source, url in urls.items()
            }
            for connection in connections.values():
                await stack.enter_async_context(
                    connection.transaction(isolation="repeatable_read", readonly=True)
                )
            # A transaction's snapshot is that of its first statement.
            await asyncio.gather(*(one.fetchval("SELECT 1") for one in connections.values()))
            yield cls(urls, connections, chunk_rows=chunk_rows)

    async def chunks(self, read: Read[R]) -> Chunks[R]:
        """The rows of a read, a bounded number at a time. Raises DatabaseNotReadable."""
        with self._reading(read.source) as connection:
            cursor = await connection.cursor(read.sql)
            while records := await cursor.fetch(self._chunk_rows):
                yield [read.row(*record) for record in records]

    async def keys(self, source: Source, sql: str, among: Collection[str]) -> set[str]:
        """Those of the keys that `sql`, which has them as text array $1, gives back.

        Raises DatabaseNotReadable.
        """
        with self._reading(source) as connection:
            return {record[0] for record in await connection.fetch(sql, list(among))}

    async def fetch(self, source: Source, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """The few rows of a statement. Raises DatabaseNotReadable."""
        with self._reading(source) as connection:
            return list(await connection.fetch(sql, *arguments))

    @contextmanager
    def _reading(self, source: Source) -> Iterator[asyncpg.Connection]:
        try:
            yield self._connections[source]
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            reason = str(error) or type(error).__name__
            raise DatabaseNotReadable(without_password(self._urls[source]), reason) from error


@asynccontextmanager
async def _connected(
    url: str, connect_seconds: float, statement_seconds: float | None
) -> AsyncIterator[asyncpg.Connection]:
    try:
        connection = await asyncpg.connect(
            url,
            timeout=connect_seconds,
            command_timeout=statement_seconds,
            server_settings={"application_name": "trolley audit", "jit": "off"},
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = str(error) or type(error).__name__
        raise DatabaseUnavailable(without_password(url), reason) from error
    try:
        yield connection
    finally:
        await connection.close()
