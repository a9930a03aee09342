"""A state for money that is set aside until the goods are shipped."""

from alembic import op

revision = "0009"
down_revision = "0008"

_STATES = (
    "unseen tombstone reserving awaiting_payment paying action_required processing"
    " payment_unknown payment_failed authorized capturing committing closing_payment releasing"
    " refunding needs_attention paid cancelled rejected"
)


def upgrade() -> None:
    """One more state, in which the attempt is live and the stock committed."""
    states = ", ".join(f"'{state}'" for state in _STATES.split())
    op.execute(f"""
        ALTER TABLE checkouts
        DROP CONSTRAINT checkouts_state,
        ADD CONSTRAINT checkouts_state CHECK (state IN ({states})),
        DROP CONSTRAINT checkouts_live_state,
        ADD CONSTRAINT checkouts_live_state CHECK (
            CASE WHEN state IN (
                'paying', 'action_required', 'processing', 'payment_unknown', 'capturing',
                'authorized')
            THEN live_attempt IS NOT NULL
            ELSE live_attempt IS NULL
                OR state = 'committing' AND live_attempt_status = 'authorized'
                OR state IN ('closing_payment', 'needs_attention') END)
    """)
