"""Public events leave the outbox by a lane of their own."""

from messaging.migrations import upgrade_messaging_tables_v2

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Give the outbox its lanes."""
    upgrade_messaging_tables_v2()
