"""Refunds that somebody at the provider makes, without being asked."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Tell them from those that were asked for."""
    op.execute("ALTER TABLE refunds ADD COLUMN is_ours boolean NOT NULL DEFAULT true")
