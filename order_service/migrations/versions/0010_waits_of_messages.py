"""How long a message of a checkout waited, and how often its step was asked until it came."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Columns without a default: nothing is rewritten, and what is there has no wait."""
    op.execute("""
        ALTER TABLE checkout_history
        ADD COLUMN message_id uuid,
        ADD COLUMN sent_at timestamptz,
        ADD COLUMN sends integer
    """)
