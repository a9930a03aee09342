"""Every database in one snapshot of its own: what one look of the auditor reads from."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from trolley.audit.invariant import DATABASES, Read, Row, Source
from trolley.audit.join import Chunks
from trolley.audit.statements import Asked
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


_OLDEST = """
    SELECT least(now(), min(xact_start)) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend'
"""
_HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"


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
        connections: Mapping[Source, asyncpg.Connection],
        horizons: Mapping[Source, Horizon],
        *,
        chunk_rows: int,
    ) -> None:
        self.horizons = horizons
        self.statements = 0
        self._urls = urls
        self._connections = connections
        self._turns = {source: asyncio.Lock() for source in connections}
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
        sort_mib: int | None = None,
    ) -> AsyncIterator["Snapshots"]:
        """Snapshots of these databases, all taken at nearly the same moment.

        A statement takes at most `statement_seconds`; each sort or hash table of one may take
        `sort_mib` of the server's memory. Raises DatabaseUnavailable.
        """
        options = {"application_name": "trolley audit", "jit": "off"}
        if sort_mib is not None:
            options["work_mem"] = f"{sort_mib}MB"
        async with AsyncExitStack() as stack:
            connections = {
                source: await stack.enter_async_context(
                    _connected(url, connect_seconds, statement_seconds, options)
                )
                for source, url in urls.items()
            }
            # Asked before the snapshot: what is open in it had begun by then, or began later.
            oldest = await _of_each(connections, _OLDEST)
            for connection in connections.values():
                await stack.enter_async_context(
                    connection.transaction(isolation="repeatable_read", readonly=True)
                )
            # A transaction's snapshot is that of its first statement.
            transactions = await _of_each(connections, _HORIZON)
            horizons = {one: Horizon(oldest[one], transactions[one]) for one in connections}
            yield cls(urls, connections, horizons, chunk_rows=chunk_rows)

    async def chunks(self, read: Read[R], keys: Sequence[str] | None = None) -> Chunks[R]:
        """The rows of a read in order, a bounded number at a time. Raises DatabaseNotReadable."""
        async with self._reading(read.source) as connection:
            sql = Asked(read, keys is not None).ordered
            cursor = await connection.cursor(sql, *_arguments(read, keys))
        while True:
            async with self._reading(read.source):
                records = await cursor.fetch(self._chunk_rows)
            if not records:
                return
            yield [read.row(*record) for record in records]

    async def judged(
        self, read: Read[Any], rules: Sequence[str], keys: Sequence[str] | None, *, kept: int
    ) -> Sequence[tuple[int, int, Sequence[Row]]]:
        """For each rule its facts, how many break it, and the first rows that do.

        Raises DatabaseNotReadable.
        """
        asked, arguments = Asked(read, keys is not None), _arguments(read, keys)
        (counts,) = await self.fetch(read.source, asked.counted(rules), *arguments)
        judged = []
        for rule, facts, broken in zip(rules, counts[::2], counts[1::2], strict=True):
            rows = []
            if broken:
                sql = asked.breaking(rule, kept)
                found = await self.fetch(read.source, sql, *arguments)
                rows = [read.row(*record) for record in found]
            judged.append((facts, broken, rows))
        return judged

    async def keys(self, source: Source, sql: str, among: Collection[str]) -> set[str]:
        """Those of the keys that `sql`, which has them as text array $1, gives back.

        Raises DatabaseNotReadable.
        """
        return {record[0] for record in await self.fetch(source, sql, list(among))}

    async def fetch(self, source: Source, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """The few rows of a statement. Raises DatabaseNotReadable."""
        async with self._reading(source) as connection:
            return list(await connection.fetch(sql, *arguments))

    @asynccontextmanager
    async def _reading(self, source: Source) -> AsyncIterator[asyncpg.Connection]:
        """The connection of a source, for one of those who take turns on it."""
        async with self._turns[source]:
            self.statements += 1
            try:
                yield self._connections[source]
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                reason = str(error) or type(error).__name__
                raise DatabaseNotReadable(without_password(self._urls[source]), reason) from error


def _arguments(read: Read[Any], keys: Sequence[str] | None) -> tuple[list[str], ...]:
    """Keys as $1; what came from a topic may be no id, and no row has it then."""
    if keys is None or read.subject is None:
        return ()
    return (list(keys) if read.subject.pair else [key for key in keys if _is_id(key)],)


def _is_id(key: str) -> bool:
    try:
        return str(UUID(key)) == key
    except ValueError:
        return False


async def _of_each(connections: Mapping[Source, asyncpg.Connection], sql: str) -> dict[Source, Any]:
    """What a statement says in each database."""
    values = await asyncio.gather(*(one.fetchval(sql) for one in connections.values()))
    return dict(zip(connections, values, strict=True))


@asynccontextmanager
async def _connected(
    url: str,
    connect_seconds: float,
    statement_seconds: float | None,
    options: Mapping[str, str],
) -> AsyncIterator[asyncpg.Connection]:
    try:
        connection = await asyncpg.connect(
            url,
            timeout=connect_seconds,
            command_timeout=statement_seconds,
            server_settings=dict(options),
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = str(error) or type(error).__name__
        raise DatabaseUnavailable(without_password(url), reason) from error
    try:
        yield connection
    finally:
        await connection.close()
