"""What happens after the sale, and what an order can come to by it."""

from alembic import op

revision = "0008"
down_revision = "0006"

_AXES = {
    "payment_status": (
        "pending processing requires_action authorized unknown failed paid refund_pending"
        " refund_failed partly_refunded refunded disputed dispute_lost cancelled not_due"
    ),
    "return_status": "none partly wholly",
}


def upgrade() -> None:
    """A table beside the checkouts, under their locks, and more words for two axes."""
    op.execute("""
        CREATE TABLE after_sales (
            checkout_id uuid PRIMARY KEY REFERENCES checkouts,
            facts json NOT NULL,
            refunded_minor bigint NOT NULL,
            credited_minor bigint NOT NULL,
            refund_pending_minor bigint NOT NULL,
            disputed_minor bigint NOT NULL,
            dispute_lost_minor bigint NOT NULL,
            blocked boolean NOT NULL,
            needs_attention boolean NOT NULL,
            deadline_at timestamptz,
            changed_at timestamptz NOT NULL,
            CONSTRAINT after_sales_amounts CHECK (
                least(refunded_minor, refund_pending_minor, disputed_minor, dispute_lost_minor)
                    >= 0)
        )
    """)
    op.execute(
        "CREATE INDEX after_sales_deadline ON after_sales (deadline_at)"
        " WHERE deadline_at IS NOT NULL"
    )
    op.execute(
        "CREATE INDEX after_sales_attention ON after_sales (changed_at) WHERE needs_attention"
    )
    op.execute(
        "CREATE INDEX after_sales_changed ON after_sales USING brin (changed_at)"
        " WITH (autosummarize = on)"
    )
    for column, words in _AXES.items():
        values = ", ".join(f"'{word}'" for word in words.split())
        op.execute(
            f"ALTER TABLE orders DROP CONSTRAINT orders_{column},"
            f" ADD CONSTRAINT orders_{column} CHECK ({column} IN ({values}))"
        )
