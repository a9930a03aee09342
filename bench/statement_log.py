"""How many statements a server is asked, counted in its own log."""

import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

_ASKED = re.compile(rb"^\S+ \S+ \S+ \[(\d+)\] (\S+) LOG:  (?:execute|statement)\b", re.MULTILINE)
"""Begins like the `log_line_prefix` of the embedded server, whose last word is the database."""


@asynccontextmanager
async def counted(url: str, log: Path, *, without: int) -> AsyncIterator[Counter[str]]:
    """Statements by database, of all that ask; they are there at the end of the block.

    `url` is a superuser's, of any database of the server that writes this log. Not counted is what
    the server's process `without` is asked, which is a connection of our own.
    """
    found: Counter[str] = Counter()
    connection = await asyncpg.connect(url)
    try:
        await _set(connection, "ALTER SYSTEM SET log_parameter_max_length = 0")
        await _set(connection, "ALTER SYSTEM SET log_statement = 'all'")
        begin = _size(log)
        yield found
        end = _size(log)
        await _set(connection, "ALTER SYSTEM RESET log_statement")
    finally:
        await connection.close()
    with log.open("rb") as written:
        written.seek(begin)
        asked = _ASKED.findall(written.read(end - begin))
    found.update(name.decode() for process, name in asked if int(process) != without)


def _size(log: Path) -> int:
    return log.stat().st_size


async def _set(connection: asyncpg.Connection, statement: str) -> None:
    await connection.execute(statement)
    await connection.execute("SELECT pg_reload_conf()")
