"""Alembic's entry point for the order service."""

from messaging.migrations import run
from order_service.tables import Table

run(Table.metadata)
