"""Whether a migrated database is what the tables declare, as far as Alembic can compare."""

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData

from messaging.migrations.runner import connecting

OPTIONS = {
    "compare_type": True,
    "compare_server_default": True,
    # The partitions of the inbox come and go with time.
    "include_name": lambda name, kind, _: kind != "table" or not str(name).startswith("inbox_"),
}


async def differences(database_url: str, metadata: MetaData) -> list[Any]:
    """What a migration would have to change; nothing, when both agree."""

    def compare(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts=OPTIONS)
        return list(compare_metadata(context, metadata))

    async with connecting(database_url) as connection:
        return await connection.run_sync(compare)
