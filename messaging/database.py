"""A service's database: one pool, one way to open a transaction."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

_EMITTED = "trolley_outbox_written"
_AFTER_COMMIT = "trolley_after_commit"

DIALECT = "postgresql+asyncpg://"
CONNECT_SECONDS = 10

RECYCLE_SECONDS = 1800
"""Connections are renewed half-hourly, so that a moved database is found without a restart."""


def connector(url: str, **options: Any) -> Callable[[], Awaitable[Any]]:
    """How to connect to a `postgresql://` URL, which may carry options such as `sslmode`.

    asyncpg reads the URL itself, here as everywhere else, so that one URL suits all. Raises
    `ValueError` for another scheme.
    """
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("a database URL starts with postgresql://")

    async def connect() -> Any:
        return await asyncpg.connect(url, timeout=CONNECT_SECONDS, **options)

    return connect


class Database:
    """A pool of connections to one PostgreSQL database, READ COMMITTED throughout."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._after_emit: list[Callable[[], None]] = []

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        pool_connections: int,
        application_name: str,
        pool_wait_seconds: float = 30,
        lock_timeout_ms: int | None = None,
    ) -> "Database":
        """A pool of at most `pool_connections`; connects when first used.

        Who finds all of them taken waits `pool_wait_seconds`, then gets SQLAlchemy's
        `TimeoutError`.
        `lock_timeout_ms` bounds every wait for a lock on these connections (requests have it,
        consumers wait).
        """
        server_settings = {"application_name": application_name, "jit": "off"}
        if lock_timeout_ms is not None:
            server_settings["lock_timeout"] = str(lock_timeout_ms)
        engine = create_async_engine(
            DIALECT,
            async_creator=connector(url, server_settings=server_settings),
            pool_size=pool_connections,
            max_overflow=0,
            pool_timeout=pool_wait_seconds,
            pool_recycle=RECYCLE_SECONDS,
            pool_pre_ping=False,
        )
        return cls(engine)

    def after_emit(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each commit of a transaction that wrote to the outbox."""
        self._after_emit.append(wake)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: commits at the end of the block, rolls back when it raises."""
        async with self._engine.connect() as connection:
            info = connection.info
            info.pop(_EMITTED, None)
            info.pop(_AFTER_COMMIT, None)
            async with connection.begin():
                yield connection
            emitted = info.pop(_EMITTED, False)
            wakes = info.pop(_AFTER_COMMIT, {})
        if emitted:
            for wake in self._after_emit:
                wake()
        for wake in wakes:
            wake()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read from; each statement sees what was committed before it."""
        async with self._engine.connect() as connection:
            autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
            yield autocommit

    async def close(self) -> None:
        """Close the pool."""
        await self._engine.dispose()


def note_emitted(connection: AsyncConnection) -> None:
    """Remember that this transaction wrote to the outbox, so that its commit wakes the relay."""
    connection.info[_EMITTED] = True


def after_commit(connection: AsyncConnection, wake: Callable[[], None]) -> None:
    """Call `wake` once when this transaction has committed, never when it rolls back."""
    connection.info.setdefault(_AFTER_COMMIT, {})[wake] = None
