"""Alembic's entry for the simulated provider's database."""

from messaging.migrations import run
from payment_service.providers.simulated.tables import Table

run(Table.metadata)
