"""Runs of the reconciliation, and the differences that they find."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """What was compared, how far it is, and where the sides differ."""
    op.execute("""
        CREATE TABLE reconciliations (
            run_id uuid PRIMARY KEY,
            provider text NOT NULL,
            since timestamptz NOT NULL,
            requested_by text NOT NULL,
            state text NOT NULL,
            compared integer NOT NULL DEFAULT 0,
            under_way integer NOT NULL DEFAULT 0,
            foreign_payments integer NOT NULL DEFAULT 0,
            error text,
            requested_at timestamptz NOT NULL,
            started_at timestamptz,
            leased_until timestamptz,
            finished_at timestamptz,
            CONSTRAINT reconciliations_state CHECK (
                state IN ('due', 'running', 'done', 'failed'))
        )
    """)
    op.execute("CREATE INDEX reconciliations_asked ON reconciliations (provider, requested_at)")
    op.execute("""
        CREATE TABLE differences (
            run_id uuid NOT NULL REFERENCES reconciliations,
            name text NOT NULL,
            kind text NOT NULL,
            payment_id uuid,
            attempt integer,
            ours jsonb,
            theirs jsonb,
            state text NOT NULL,
            noted_at timestamptz NOT NULL,
            PRIMARY KEY (run_id, name),
            CONSTRAINT differences_state CHECK (
                state IN ('under_review', 'repaired', 'reported'))
        )
    """)
