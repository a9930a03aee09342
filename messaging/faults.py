"""Which faults time can heal, and which belong to the message or request at hand."""

import asyncpg
from aiokafka.errors import KafkaError

_OF_THE_DATA = ("21", "22", "23", "54")
"""SQLSTATE classes that the data at hand can cause: cardinality, data, constraint, limits."""


def heals_with_time(error: BaseException) -> bool:
    """Whether to wait and try the same again rather than blame a message.

    Everything the database says that its data did not cause counts as healing: a lost
    connection, a deadlock, a full disk, a table that a deployment has yet to migrate.
    """
    if isinstance(error, asyncpg.PostgresError):
        return not (error.sqlstate or "").startswith(_OF_THE_DATA)
    # Lost connections and timeouts are an OSError too.
    return isinstance(
        error, (asyncpg.InterfaceError, asyncpg.InternalClientError, KafkaError, OSError)
    )
