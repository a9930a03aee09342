"""Alembic's entry point for the cart service."""

from cart_service.tables import Table
from messaging.migrations import run

run(Table.metadata)
