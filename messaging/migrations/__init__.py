"""Migrations: each service has its own Alembic versions; this runs them, one at a time.

A service's `migrations/env.py` calls `run` with its metadata; its first version calls
`create_messaging_tables_v1` and then creates its own tables.
"""

from messaging.migrations.runner import run, upgrade
from messaging.migrations.v1 import create_messaging_tables_v1

__all__ = ["create_messaging_tables_v1", "run", "upgrade"]
