"""Migrations: each service has its own Alembic versions; this runs them, one at a time.

A service's `migrations/env.py` calls `run` with its metadata; its first version calls
`create_messaging_tables_v1` and then creates its own tables, later ones call what is later here.
"""

from messaging.migrations import v1, v2, v3
from messaging.migrations.runner import run, upgrade
from messaging.migrations.v1 import create_messaging_tables_v1
from messaging.migrations.v2 import upgrade_messaging_tables_v2
from messaging.migrations.v3 import upgrade_messaging_tables_v3

STATEMENTS = (*v1.STATEMENTS, *v2.STATEMENTS, *v3.STATEMENTS)
"""What makes messaging's tables as they are now, from nothing."""

__all__ = [
    "STATEMENTS",
    "create_messaging_tables_v1",
    "run",
    "upgrade",
    "upgrade_messaging_tables_v2",
    "upgrade_messaging_tables_v3",
]
