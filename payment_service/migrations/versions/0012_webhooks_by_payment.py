"""Webhooks that bear no more of our name of a payment than its id."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Keep that id."""
    op.execute("ALTER TABLE webhooks ADD COLUMN payment_id uuid")
