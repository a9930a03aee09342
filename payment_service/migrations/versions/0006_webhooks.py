"""Webhooks of payment providers, each kept once."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """What came, what became of it, and by which name its payment is found."""
    op.execute("""
        CREATE TABLE webhooks (
            provider text NOT NULL,
            event_id text NOT NULL,
            type text NOT NULL,
            provider_payment_id text,
            charge_key text,
            state text NOT NULL,
            received_at timestamptz NOT NULL,
            due_at timestamptz NOT NULL,
            PRIMARY KEY (provider, event_id),
            CONSTRAINT webhooks_state CHECK (
                state IN ('heeded', 'waiting', 'foreign', 'given_up'))
        )
    """)
    op.execute("CREATE INDEX webhooks_waiting ON webhooks (due_at) WHERE state = 'waiting'")
    op.execute("CREATE INDEX webhooks_received ON webhooks (received_at)")
    op.execute(
        "CREATE INDEX attempts_provider_payment ON attempts (provider, provider_payment_id)"
        " WHERE provider_payment_id IS NOT NULL"
    )
