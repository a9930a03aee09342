"""What went back by hand and at the provider, too."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """An amount of a payment, with an index of the few that have it."""
    op.execute("ALTER TABLE payments ADD COLUMN over_refunded_minor bigint NOT NULL DEFAULT 0")
    op.execute("""
        ALTER TABLE payments ADD CONSTRAINT payments_over_refunded CHECK (0 <= over_refunded_minor)
    """)
    op.execute("""
        CREATE INDEX payments_given_back_twice ON payments (payment_id)
        WHERE over_refunded_minor > 0
    """)
