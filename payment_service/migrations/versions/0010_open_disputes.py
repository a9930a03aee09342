"""Disputes that are open are found without reading the rest."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Index the few payments that are under dispute."""
    op.execute(
        "CREATE INDEX payments_under_dispute ON payments (payment_id) WHERE disputed_minor > 0"
    )
