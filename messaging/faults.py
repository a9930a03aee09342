"""Which faults time can heal, and which belong to the message or request at hand."""

import asyncio

import asyncpg
from aiokafka.errors import KafkaError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_OF_THE_DATA = ("21", "22", "23", "54")
"""SQLSTATE classes that the data at hand can cause: cardinality, data, constraint, limits."""


def sqlstate_of(error: BaseException) -> str | None:
    """The SQLSTATE of a database error, wherever in its chain it stands."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, asyncpg.PostgresError):
            return str(seen.sqlstate)
        if isinstance(seen, DBAPIError):
            state = getattr(seen.orig, "sqlstate", None)
            if state is not None:
                return str(state)
        seen = seen.__cause__ or (seen.orig if isinstance(seen, DBAPIError) else None)
    return None


def heals_with_time(error: BaseException) -> bool:
    """Whether to wait and try the same again rather than blame a message.

    Everything the database says that its data did not cause counts as healing: a lost
    connection, a deadlock, a full disk, a table that a deployment has yet to migrate.
    """
    state = sqlstate_of(error)
    if state is not None:
        return not state.startswith(_OF_THE_DATA)
    return isinstance(
        error,
        (
            OperationalError,
            InterfaceError,
            asyncpg.InterfaceError,
            PoolTimeout,
            KafkaError,
            OSError,
            asyncio.TimeoutError,
            ConnectionError,
        ),
    )
