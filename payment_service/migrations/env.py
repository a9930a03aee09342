"""Alembic's entry for the payment service's database."""

from messaging.migrations import run
from payment_service.tables import Table

run(Table.metadata)
