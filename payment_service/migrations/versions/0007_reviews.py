"""Reviews, and what they find: refunds that came back or were made at the provider, disputes."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """A kind of operation beside the others, four kinds of facts, and two amounts."""
    op.execute("ALTER TABLE payments ADD COLUMN disputed_minor bigint NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE payments ADD COLUMN dispute_lost_minor bigint NOT NULL DEFAULT 0")
    op.execute("""
        ALTER TABLE payments ADD CONSTRAINT payments_disputed CHECK (
            0 <= disputed_minor AND 0 <= dispute_lost_minor)
    """)
    op.execute("""
        ALTER TABLE operations DROP CONSTRAINT operations_kind,
        ADD CONSTRAINT operations_kind CHECK (
            kind IN ('charge', 'capture', 'close', 'refund', 'review'))
    """)
    op.execute("DROP INDEX operations_one_open")
    op.execute("""
        CREATE UNIQUE INDEX operations_one_open ON operations (payment_id, attempt)
        WHERE kind NOT IN ('refund', 'review') AND status IN ('due', 'leased', 'reported')
    """)
    op.execute("""
        ALTER TABLE ledger DROP CONSTRAINT ledger_kind,
        ADD CONSTRAINT ledger_kind CHECK (
            kind IN ('authorized', 'voided', 'captured',
                     'refund_requested', 'refunded', 'refund_failed', 'refund_returned',
                     'disputed', 'dispute_won', 'dispute_lost')),
        DROP CONSTRAINT ledger_once_per_operation,
        ADD CONSTRAINT ledger_once_per_operation
            UNIQUE NULLS NOT DISTINCT (operation_id, kind, provider_reference)
    """)
