"""How Alembic is run for one service's database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import asyncpg
from alembic import command, context
from alembic.config import Config
from sqlalchemy import Connection, MetaData, pool, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from messaging.database import CONNECT_SECONDS

_ONE_AT_A_TIME = text("SELECT pg_advisory_lock(hashtext('trolley migrations'))")


def configuration(service_package: str, database_url: str) -> Config:
    """Alembic's configuration for `service_package` (for example `cart_service`)."""
    config = Config()
    location = str(files(service_package) / "migrations")
    config.set_main_option("script_location", location.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["database_url"] = database_url
    return config


def upgrade(service_package: str, database_url: str, revision: str = "head") -> None:
    """Bring a database up to `revision`; several at once take turns.

    Runs an event loop of its own: call it from a thread that has none.
    """
    command.upgrade(configuration(service_package, database_url), revision)


def run(metadata: MetaData) -> None:
    """What a service's `migrations/env.py` does: connect, lock, migrate."""
    asyncio.run(_run(metadata))


async def _run(metadata: MetaData) -> None:
    async with connecting(context.config.attributes["database_url"]) as connection:
        # A session lock, and the connection is closed right after: it cannot leak.
        await connection.execute(_ONE_AT_A_TIME)
        await connection.commit()
        await connection.run_sync(_migrate, metadata)
        await connection.commit()


@asynccontextmanager
async def connecting(database_url: str) -> AsyncIterator[AsyncConnection]:
    """A connection in SQLAlchemy's form, as Alembic needs it, closed at the end."""

    async def connect() -> Any:
        # asyncpg reads the URL itself, here as everywhere else, so that one URL suits all.
        return await asyncpg.connect(database_url, timeout=CONNECT_SECONDS)

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, poolclass=pool.NullPool
    )
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


def _migrate(connection: Connection, metadata: MetaData) -> None:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
