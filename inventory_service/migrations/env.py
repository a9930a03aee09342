"""Alembic's entry point for the inventory service."""

from inventory_service.tables import Table
from messaging.migrations import run

run(Table.metadata)
