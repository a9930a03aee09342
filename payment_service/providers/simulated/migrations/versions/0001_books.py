"""The simulated provider's books."""

from alembic import op

revision = "0001"
down_revision = None

_STATEMENTS = (
    """
    CREATE TABLE payments (
        charge_key text PRIMARY KEY,
        status text NOT NULL,
        payment_id uuid,
        attempt integer,
        method_token text NOT NULL,
        flow text NOT NULL,
        amount_minor bigint NOT NULL,
        captured_minor bigint NOT NULL,
        released_minor bigint NOT NULL,
        currency text NOT NULL,
        code text,
        action_secret text,
        due_at timestamptz,
        CONSTRAINT payments_captured CHECK (captured_minor BETWEEN 0 AND amount_minor),
        CONSTRAINT payments_due CHECK (
            status NOT IN ('authorized', 'processing', 'action_required') OR due_at IS NOT NULL)
    )
    """,
    "CREATE INDEX payments_payment ON payments (payment_id)",
    """
    CREATE UNIQUE INDEX payments_action ON payments (action_secret)
    WHERE action_secret IS NOT NULL
    """,
    """
    CREATE TABLE refunds (
        refund_key text PRIMARY KEY,
        charge_key text NOT NULL REFERENCES payments,
        amount_minor bigint NOT NULL,
        status text NOT NULL,
        code text,
        due_at timestamptz,
        CONSTRAINT refunds_amount CHECK (amount_minor > 0)
    )
    """,
    "CREATE INDEX refunds_payment ON refunds (charge_key)",
    """
    CREATE TABLE answers (
        idempotency_key text PRIMARY KEY,
        charge_key text NOT NULL REFERENCES payments,
        call text NOT NULL,
        fingerprint text NOT NULL,
        outcome text NOT NULL,
        facts jsonb NOT NULL
    )
    """,
    "CREATE INDEX answers_payment ON answers (charge_key)",
    """
    CREATE TABLE calls (
        call text NOT NULL,
        key text NOT NULL,
        charge_key text NOT NULL,
        calls bigint NOT NULL,
        PRIMARY KEY (call, key)
    )
    """,
    "CREATE INDEX calls_payment ON calls (charge_key)",
    """
    CREATE TABLE ledger (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        charge_key text NOT NULL REFERENCES payments,
        payment_id uuid NOT NULL,
        attempt integer NOT NULL,
        kind text NOT NULL,
        amount_minor bigint NOT NULL,
        currency text NOT NULL,
        refund_key text,
        booked_at timestamptz NOT NULL,
        CONSTRAINT ledger_amount CHECK (amount_minor > 0)
    )
    """,
    "CREATE INDEX ledger_payment ON ledger (payment_id, attempt, kind)",
    """
    CREATE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'restrict_violation'; END $$
    """,
    """
    CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE ON ledger
    FOR EACH ROW EXECUTE FUNCTION refuse_ledger_change()
    """,
)


def upgrade() -> None:
    """Create the books."""
    for statement in _STATEMENTS:
        op.execute(statement)
