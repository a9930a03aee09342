"""Dead letters park their keys and can be replayed."""

from messaging.migrations import upgrade_messaging_tables_v3

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Give dead letters parking, replays and a history."""
    upgrade_messaging_tables_v3()
