"""Runs the migrations of the catalog."""

from catalog_service.tables import Table
from messaging.migrations import run

run(Table.metadata)
