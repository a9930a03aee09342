"""What is bought, for the page of the provider's that shows it."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Keep the lines with the attempt; those that are there have none."""
    op.execute("ALTER TABLE attempts ADD COLUMN lines jsonb")
