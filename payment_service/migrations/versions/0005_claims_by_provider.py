"""What is due is found by its provider: one that answers slowly does not hide the others' work."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Index what workers take by provider and time, and by itself what reports are sent again."""
    op.execute("DROP INDEX operations_claimable")
    op.execute(
        "CREATE INDEX operations_claimable ON operations (provider, claimable_at)"
        " WHERE status IN ('due', 'leased')"
    )
    op.execute(
        "CREATE INDEX operations_reported ON operations (claimable_at) WHERE status = 'reported'"
    )
