"""Checkouts with their history, orders with their lines."""

from alembic import op

from messaging.migrations import create_messaging_tables_v1

revision = "0001"
down_revision = None

# Checkouts and orders are updated several times in their first seconds; room on the page keeps
# the new versions out of the indexes that did not change.
_STATEMENTS = (
    """
    CREATE TABLE checkouts (
        checkout_id uuid PRIMARY KEY,
        shop_id text NOT NULL,
        state text NOT NULL,
        customer_id text,
        guest_token_hash text,
        cart_id uuid,
        order_id uuid UNIQUE,
        currency text,
        total_minor bigint,
        request bytea,
        facts json,
        live_attempt integer,
        live_attempt_status text,
        captured_minor bigint NOT NULL DEFAULT 0,
        refund_pending_minor bigint NOT NULL DEFAULT 0,
        refunded_minor bigint NOT NULL DEFAULT 0,
        final boolean NOT NULL DEFAULT false,
        late boolean NOT NULL DEFAULT false,
        blocked boolean NOT NULL DEFAULT false,
        deadline_at timestamptz,
        created_at timestamptz NOT NULL,
        changed_at timestamptz NOT NULL,
        CONSTRAINT checkouts_state CHECK (state IN (
            'unseen', 'tombstone', 'reserving', 'awaiting_payment', 'paying', 'action_required',
            'processing', 'payment_unknown', 'payment_failed', 'capturing', 'committing',
            'closing_payment', 'releasing', 'refunding', 'needs_attention', 'paid', 'cancelled',
            'rejected')),
        CONSTRAINT checkouts_begun CHECK (
            state IN ('unseen', 'tombstone')
                AND num_nonnulls(request, facts, cart_id, currency, total_minor) = 0
            OR NOT state IN ('unseen', 'tombstone')
                AND num_nulls(request, facts, cart_id, currency, total_minor) = 0
                AND num_nonnulls(customer_id, guest_token_hash) = 1),
        CONSTRAINT checkouts_final CHECK (
            NOT final OR state IN ('tombstone', 'cancelled', 'paid', 'rejected')
                AND deadline_at IS NULL AND NOT late AND NOT blocked),
        CONSTRAINT checkouts_moves_or_is_seen CHECK (
            final OR blocked OR deadline_at IS NOT NULL
            OR state IN ('unseen', 'needs_attention')),
        CONSTRAINT checkouts_live_attempt CHECK (
            num_nulls(live_attempt, live_attempt_status) IN (0, 2)
            AND (live_attempt_status IS NULL OR live_attempt_status IN (
                'action_required', 'authorized', 'processing', 'requested', 'unknown'))),
        CONSTRAINT checkouts_live_state CHECK (
            CASE WHEN state IN (
                'paying', 'action_required', 'processing', 'payment_unknown', 'capturing')
            THEN live_attempt IS NOT NULL
            ELSE live_attempt IS NULL OR state IN ('closing_payment', 'needs_attention') END),
        CONSTRAINT checkouts_money CHECK (
            captured_minor >= 0 AND refunded_minor >= 0 AND refund_pending_minor >= 0
            AND refunded_minor + refund_pending_minor <= captured_minor),
        CONSTRAINT checkouts_money_kept CHECK (
            CASE state
            WHEN 'paid' THEN captured_minor - refunded_minor - refund_pending_minor = total_minor
            WHEN 'cancelled' THEN captured_minor = refunded_minor
            WHEN 'rejected' THEN captured_minor = 0
            ELSE true END),
        CONSTRAINT checkouts_order CHECK (
            CASE WHEN state IN ('unseen', 'tombstone', 'rejected') THEN order_id IS NULL
            WHEN state IN ('reserving', 'releasing', 'cancelled', 'needs_attention')
            THEN order_id IS NOT NULL OR captured_minor = 0
            ELSE order_id IS NOT NULL END)
    ) WITH (fillfactor = 50)
    """,
    "CREATE INDEX checkouts_deadline ON checkouts (deadline_at) WHERE deadline_at IS NOT NULL",
    "CREATE INDEX checkouts_open_states ON checkouts (state) WHERE NOT final",
    """
    CREATE TABLE checkout_history (
        entry_no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        checkout_id uuid NOT NULL,
        at timestamptz NOT NULL,
        message_type text NOT NULL,
        step text,
        round integer,
        outcome text NOT NULL,
        state text NOT NULL,
        note text NOT NULL DEFAULT '',
        CONSTRAINT checkout_history_outcome CHECK (outcome IN ('moved', 'stale'))
    )
    """,
    "CREATE INDEX checkout_history_checkout ON checkout_history (checkout_id, entry_no)",
    """
    CREATE TABLE orders (
        order_id uuid PRIMARY KEY,
        shop_id text NOT NULL,
        checkout_id uuid NOT NULL UNIQUE REFERENCES checkouts (checkout_id),
        number text NOT NULL,
        customer_id text,
        guest_token_hash text,
        email text NOT NULL,
        shipping_address jsonb NOT NULL,
        currency text NOT NULL,
        total_minor bigint NOT NULL,
        payment_status text NOT NULL,
        fulfilment_status text NOT NULL,
        return_status text NOT NULL,
        event_seq bigint NOT NULL,
        placed_at timestamptz NOT NULL,
        window_closes_at timestamptz NOT NULL,
        changed_at timestamptz NOT NULL,
        CONSTRAINT orders_number UNIQUE (shop_id, number),
        CONSTRAINT orders_amounts CHECK (total_minor >= 0 AND event_seq >= 1),
        CONSTRAINT orders_payment_status CHECK (payment_status IN (
            'pending', 'processing', 'requires_action', 'authorized', 'unknown', 'failed', 'paid',
            'refund_pending', 'refund_failed', 'refunded', 'cancelled', 'not_due')),
        CONSTRAINT orders_fulfilment_status CHECK (
            fulfilment_status IN ('pending', 'ready', 'shipped', 'cancelled')),
        CONSTRAINT orders_return_status CHECK (return_status IN ('none')),
        CONSTRAINT orders_one_owner CHECK ((customer_id IS NULL) <> (guest_token_hash IS NULL))
    ) WITH (fillfactor = 60)
    """,
    "CREATE INDEX orders_of_customer ON orders (shop_id, customer_id, placed_at, order_id)",
    """
    CREATE TABLE order_lines (
        order_id uuid NOT NULL REFERENCES orders (order_id),
        line_no integer NOT NULL,
        sku text COLLATE "C",
        method text,
        name text NOT NULL,
        quantity integer NOT NULL,
        unit_price_minor bigint NOT NULL,
        net_minor bigint NOT NULL,
        gross_minor bigint NOT NULL,
        discounts jsonb NOT NULL,
        taxes jsonb NOT NULL,
        PRIMARY KEY (order_id, line_no),
        CONSTRAINT order_lines_amounts CHECK (
            quantity >= 1 AND unit_price_minor >= 0 AND net_minor >= 0 AND gross_minor >= 0)
    )
    """,
)


def upgrade() -> None:
    """Messaging's tables, then ours."""
    create_messaging_tables_v1()
    for statement in _STATEMENTS:
        op.execute(statement)
