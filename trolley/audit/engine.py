"""The engine that joins and judges: DuckDB in memory, within bounds.

What exceeds its memory goes to a temporary directory, where rows also pass through on their way
in. Each look has a space of its own for the tables that it takes in; what looks have in common,
the events among it, stands in `main` and is seen from every space that has no table of that name.
"""

import asyncio
import csv
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from trolley.audit.settings import AuditSettings
from trolley.runtime.errors import RuntimeStartError

T = TypeVar("T")

TYPES = {
    "bool": "BOOLEAN",
    "float8": "DOUBLE",
    "int4": "INTEGER",
    "int8": "BIGINT",
    "text": "VARCHAR",
    "timestamptz": "TIMESTAMP",  # of UTC
    "uuid": "UUID",
    "varchar": "VARCHAR",
}
"""What the engine takes PostgreSQL's types for."""


class AuditTooLarge(RuntimeStartError):
    """What a look needs exceeds the memory and the disk that it may use."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"The audit needs more than it may use ({reason}): raise TROLLEY_AUDIT_MEMORY_MIB, or "
            f"make room in the temporary directory."
        )


class Engine:
    """One database of DuckDB; `main` is what all looks share."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, directory: Path, threads: int
    ) -> None:
        self.types: dict[str, dict[str, str]] = {}
        """Of the columns of each table that was ever taken in."""
        self.main = Space(connection, directory)
        self._threads = threads
        self._connection = connection
        self._directory = directory
        self._numbers = count(1)

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: AuditSettings) -> AsyncIterator["Engine"]:
        """An empty engine; nothing is left of it at the end."""
        with tempfile.TemporaryDirectory(prefix="trolley-audit-") as directory:
            bounds: dict[str, Any] = {
                "memory_limit": f"{settings.audit_memory_mib}MiB",
                "threads": settings.audit_threads,
                "temp_directory": f"{directory}/spilled",
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
            with duckdb.connect(":memory:", config=bounds) as connection:
                yield cls(connection, Path(directory), settings.audit_threads)

    async def share_out(self, rows_are_many: bool) -> None:
        """Let threads share the work of each statement, or have one do it.

        To share what is done in a millisecond takes longer than to do it.
        """
        await self.main.run(f"SET threads = {self._threads if rows_are_many else 1}")

    @asynccontextmanager
    async def space(self) -> AsyncIterator["Space"]:
        """A space for one look's tables, gone at the end."""
        name = f"look{next(self._numbers)}"
        await self.main.run(f"CREATE SCHEMA {name}")
        space = Space(self._connection, self._directory, name)
        try:
            yield space
        finally:
            space.close()
            await self.main.run(f"DROP SCHEMA {name} CASCADE")


class Space:
    """Tables that are found by their plain names, before those of `main`."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, directory: Path, name: str = "main"
    ) -> None:
        self.name = name
        self._connection = connection
        self._directory = directory
        self._idle: list[duckdb.DuckDBPyConnection] = []
        """Cursors that see this space, for the next statements: making one costs as much as a
        small statement does."""

    def path(self, table: str) -> Path:
        """Where the rows of a table pass through on their way in."""
        return self._directory / f"{self.name}.{table}.csv"

    def close(self) -> None:
        """Give up its cursors, and delete what was cut short on its way in."""
        while self._idle:
            self._idle.pop().close()
        for path in self._directory.glob(f"{self.name}.*"):
            path.unlink()

    async def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement. Raises AuditTooLarge."""
        return await self._ended(lambda cursor: cursor.execute(sql, parameters).fetchall())

    async def make(self, table: str, columns: Mapping[str, str]) -> None:
        """Make an empty table of these columns."""
        named = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        await self.run(f"CREATE TABLE {self.name}.{table} ({named})")

    async def take_in(self, table: str, columns: Mapping[str, str], path: Path) -> None:
        """Make a table of a CSV file's rows; the file is gone then. Raises AuditTooLarge."""

        def make(cursor: duckdb.DuckDBPyConnection) -> None:
            rows = _rows(columns)
            cursor.execute(f"CREATE TABLE {self.name}.{table} AS {rows}", [str(path)])
            path.unlink()

        await self._ended(make)

    async def take_over(
        self, table: str, columns: Mapping[str, str], rows: list[tuple[Any, ...]]
    ) -> None:
        """Add rows to a table, or leave them all where they are. Raises AuditTooLarge."""

        def add(cursor: duckdb.DuckDBPyConnection) -> None:
            path = self.path(table)
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(rows)
            cursor.execute(f"INSERT INTO {self.name}.{table} {_rows(columns)}", [str(path)])
            path.unlink()
            rows.clear()

        await self._ended(add)

    async def _ended(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Work of another thread; whoever is cancelled meanwhile leaves nothing running."""
        cursor = self._idle.pop() if self._idle else self._made_cursor()
        running = asyncio.ensure_future(asyncio.to_thread(_at_work, work, cursor))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            cursor.interrupt()
            await asyncio.wait([running])
            raise
        finally:
            self._idle.append(cursor)

    def _made_cursor(self) -> duckdb.DuckDBPyConnection:
        cursor = self._connection.cursor()
        cursor.execute(f"SET search_path = '{self.name},main'")
        return cursor


def _at_work(
    work: Callable[[duckdb.DuckDBPyConnection], T], cursor: duckdb.DuckDBPyConnection
) -> T:
    try:
        return work(cursor)
    except duckdb.OutOfMemoryException as error:
        raise AuditTooLarge(str(error).splitlines()[0]) from error


def _rows(columns: Mapping[str, str]) -> str:
    """The rows of the CSV file ?, as PostgreSQL writes it: NULL is nothing, '' a pair of quotes."""
    typed = ", ".join(f"'{column}': '{kind}'" for column, kind in columns.items())
    return (
        "SELECT * FROM read_csv(?, header = false, auto_detect = false, parallel = false,"  # noqa: S608 - names of ours
        " delim = ',', quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false,"
        f" max_line_size = 16777216, columns = {{{typed}}})"
    )
