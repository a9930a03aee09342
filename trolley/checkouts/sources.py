"""The services' databases, each for a question or two."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg

from trolley.audit.invariant import Source
from trolley.audit.snapshots import DatabaseNotReadable, database_urls
from trolley.databases import without_password
from trolley.runtime.errors import DatabaseUnavailable

SERVICES = (Source.CART, Source.ORDER, Source.INVENTORY, Source.PAYMENT)
"""Those that take part in a checkout."""

CONNECT_SECONDS = 5
READ_SECONDS = 30


class Databases:
    """A read-only connection to the database of every service that takes part."""

    def __init__(
        self, urls: Mapping[Source, str], connections: Mapping[Source, asyncpg.Connection]
    ) -> None:
        self._urls = urls
        self._connections = connections

    async def fetch(self, source: Source, statement: str, *arguments: Any) -> list[Any]:
        """The rows of a statement. Raises DatabaseNotReadable."""
        try:
            return list(
                await self._connections[source].fetch(statement, *arguments, timeout=READ_SECONDS)
            )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            reason = str(error) or type(error).__name__
            raise DatabaseNotReadable(without_password(self._urls[source]), reason) from error

    async def fetch_all(self, statement: str, *arguments: Any) -> dict[Source, list[Any]]:
        """The rows of a statement on what every service has."""
        rows = await asyncio.gather(
            *(self.fetch(source, statement, *arguments) for source in SERVICES)
        )
        return dict(zip(SERVICES, rows, strict=True))


@asynccontextmanager
async def connected(environment: Mapping[str, str]) -> AsyncIterator[Databases]:
    """The databases that these settings name; raises DatabaseNotNamed, DatabaseUnavailable."""
    urls = database_urls(environment)
    async with AsyncExitStack() as stack:
        connections = {}
        for source in SERVICES:
            connections[source] = await _connection(urls[source])
            stack.push_async_callback(connections[source].close)
            await connections[source].set_type_codec(
                "json", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
            )
        yield Databases(urls, connections)


async def _connection(url: str) -> asyncpg.Connection:
    try:
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_SECONDS,
            server_settings={"default_transaction_read_only": "on", "jit": "off"},
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = str(error) or type(error).__name__
        raise DatabaseUnavailable(without_password(url), reason) from error
    return connection
