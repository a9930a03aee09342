"""Payments, attempts, refunds, operations and the ledger."""

from alembic import op

from messaging.migrations import create_messaging_tables_v1

revision = "0001"
down_revision = None

_STATEMENTS = (
    """
    CREATE TABLE payments (
        payment_id uuid PRIMARY KEY,
        shop_id text NOT NULL,
        checkout_id uuid NOT NULL,
        order_id uuid,
        customer_id text,
        currency text,
        status text NOT NULL,
        authorized_minor bigint NOT NULL,
        captured_minor bigint NOT NULL,
        refund_pending_minor bigint NOT NULL,
        refunded_minor bigint NOT NULL,
        event_seq bigint NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        CONSTRAINT payments_amounts CHECK (
            0 <= refund_pending_minor AND 0 <= refunded_minor
            AND refunded_minor + refund_pending_minor <= captured_minor
            AND captured_minor <= authorized_minor),
        CONSTRAINT payments_currency CHECK (authorized_minor = 0 OR currency IS NOT NULL),
        CONSTRAINT payments_checkout UNIQUE (shop_id, checkout_id)
    )
    """,
    "CREATE INDEX payments_order ON payments (order_id)",
    """
    CREATE TABLE attempts (
        payment_id uuid NOT NULL REFERENCES payments,
        attempt integer NOT NULL,
        status text NOT NULL,
        details jsonb NOT NULL,
        provider text,
        method_token text,
        flow text,
        amount_minor bigint NOT NULL,
        charge_key text NOT NULL,
        provider_payment_id text,
        charge_round integer NOT NULL,
        window_closes_at timestamptz,
        close_round integer,
        close_reason text,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        PRIMARY KEY (payment_id, attempt),
        CONSTRAINT attempts_tombstone CHECK (provider IS NOT NULL OR status = 'never_created'),
        CONSTRAINT attempts_amount CHECK (amount_minor >= 0),
        CONSTRAINT attempts_charge_key UNIQUE (charge_key)
    )
    """,
    """
    CREATE UNIQUE INDEX attempts_one_live ON attempts (payment_id)
    WHERE status IN ('requested', 'processing', 'action_required', 'authorized', 'unknown')
    """,
    """
    CREATE TABLE refunds (
        refund_id uuid PRIMARY KEY,
        payment_id uuid NOT NULL,
        attempt integer NOT NULL,
        round integer NOT NULL,
        amount_minor bigint NOT NULL,
        reason text NOT NULL,
        status text NOT NULL,
        details jsonb NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        FOREIGN KEY (payment_id, attempt) REFERENCES attempts
    )
    """,
    "CREATE INDEX refunds_payment ON refunds (payment_id)",
    """
    CREATE TABLE operations (
        operation_id uuid PRIMARY KEY,
        payment_id uuid NOT NULL,
        attempt integer NOT NULL,
        refund_id uuid REFERENCES refunds,
        kind text NOT NULL,
        idempotency_key text NOT NULL,
        provider text NOT NULL,
        amount_minor bigint NOT NULL,
        round integer,
        status text NOT NULL,
        next_call text NOT NULL,
        claimable_at timestamptz NOT NULL,
        makes integer NOT NULL,
        asks integer NOT NULL,
        answered boolean NOT NULL,
        hinted boolean NOT NULL,
        waited_for boolean NOT NULL,
        reports integer NOT NULL,
        outcome text,
        facts jsonb,
        reported_at timestamptz,
        lease_token uuid,
        lease_instance text,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        FOREIGN KEY (payment_id, attempt) REFERENCES attempts,
        CONSTRAINT operations_kind CHECK (kind IN ('charge', 'capture', 'close', 'refund')),
        CONSTRAINT operations_status CHECK (
            status IN ('due', 'leased', 'reported', 'done', 'superseded', 'withdrawn')),
        CONSTRAINT operations_next_call CHECK (next_call IN ('make', 'ask')),
        CONSTRAINT operations_lease CHECK (
            (status = 'leased') = (lease_token IS NOT NULL)
            AND (status = 'leased') = (lease_instance IS NOT NULL)),
        CONSTRAINT operations_refund CHECK ((kind = 'refund') = (refund_id IS NOT NULL)),
        CONSTRAINT operations_idempotency_key UNIQUE (idempotency_key)
    )
    """,
    """
    CREATE UNIQUE INDEX operations_one_open ON operations (payment_id, attempt)
    WHERE kind <> 'refund' AND status IN ('due', 'leased', 'reported')
    """,
    """
    CREATE INDEX operations_claimable ON operations (claimable_at)
    WHERE status IN ('due', 'leased', 'reported')
    """,
    "CREATE INDEX operations_payment ON operations (payment_id)",
    """
    CREATE TABLE ledger (
        payment_id uuid NOT NULL REFERENCES payments,
        seq integer NOT NULL,
        attempt integer NOT NULL,
        kind text NOT NULL,
        amount_minor bigint NOT NULL,
        currency text NOT NULL,
        operation_id uuid NOT NULL REFERENCES operations,
        refund_id uuid,
        provider text NOT NULL,
        provider_reference text,
        recorded_at timestamptz NOT NULL,
        PRIMARY KEY (payment_id, seq),
        CONSTRAINT ledger_amount CHECK (amount_minor > 0),
        CONSTRAINT ledger_kind CHECK (
            kind IN ('authorized', 'voided', 'captured',
                     'refund_requested', 'refunded', 'refund_failed')),
        CONSTRAINT ledger_once_per_operation UNIQUE (operation_id, kind)
    )
    """,
    """
    CREATE UNIQUE INDEX ledger_one_capture ON ledger (payment_id, attempt) WHERE kind = 'captured'
    """,
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
    """Create messaging's tables and ours."""
    create_messaging_tables_v1()
    for statement in _STATEMENTS:
        op.execute(statement)
