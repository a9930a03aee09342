"""Disputes: money that a shopper's bank withdraws."""

from alembic import op

revision = "0004"
down_revision = "0003"

_STATEMENTS = (
    """
    CREATE TABLE disputes (
        dispute_key text PRIMARY KEY,
        charge_key text NOT NULL REFERENCES payments,
        amount_minor bigint NOT NULL,
        status text NOT NULL,
        CONSTRAINT disputes_amount CHECK (amount_minor > 0)
    )
    """,
    "CREATE INDEX disputes_payment ON disputes (charge_key)",
)


def upgrade() -> None:
    """Keep them beside the refunds."""
    for statement in _STATEMENTS:
        op.execute(statement)
