"""Carts, their lines, what came back into them, and the read models they price from."""

from alembic import op

from messaging.migrations import create_messaging_tables_v1

revision = "0001"
down_revision = None

_STATEMENTS = (
    """
    CREATE TABLE carts (
        cart_id uuid PRIMARY KEY,
        shop_id text NOT NULL,
        customer_id text,
        guest_token_hash text,
        currency text NOT NULL,
        status text NOT NULL,
        version bigint NOT NULL,
        event_seq bigint NOT NULL,
        last_line_no integer NOT NULL,
        checkout_id uuid,
        checkout_fingerprint text,
        order_id uuid,
        merged_into uuid REFERENCES carts DEFERRABLE INITIALLY DEFERRED,
        start_command text,
        start_due_at timestamptz,
        start_sends integer,
        failure jsonb,
        left_out jsonb NOT NULL DEFAULT '[]',
        created_at timestamptz NOT NULL,
        changed_at timestamptz NOT NULL,
        CONSTRAINT carts_owner CHECK (num_nonnulls(customer_id, guest_token_hash) = 1),
        CONSTRAINT carts_state CHECK (
            CASE status
            WHEN 'active' THEN
                num_nonnulls(checkout_id, checkout_fingerprint, order_id, merged_into) = 0
            WHEN 'locked' THEN num_nulls(checkout_id, checkout_fingerprint) = 0
                AND num_nonnulls(order_id, merged_into) = 0
            WHEN 'bought' THEN num_nulls(checkout_id, checkout_fingerprint, order_id) = 0
                AND merged_into IS NULL
            WHEN 'merged' THEN num_nonnulls(checkout_id, checkout_fingerprint, order_id) = 0
                AND merged_into <> cart_id AND merged_into IS NOT NULL
            ELSE false END
        ),
        CONSTRAINT carts_start CHECK (
            num_nulls(start_command, start_due_at, start_sends) IN (0, 3)
            AND (start_due_at IS NULL OR status = 'locked')
        ),
        CONSTRAINT carts_failure CHECK (failure IS NULL OR status = 'active'),
        CONSTRAINT carts_counts CHECK (version >= 1 AND event_seq >= 1),
        CONSTRAINT carts_last_line_no CHECK (last_line_no >= 0)
    )
    """,
    """
    CREATE UNIQUE INDEX carts_one_active ON carts (shop_id, customer_id, currency)
    WHERE status = 'active' AND customer_id IS NOT NULL
    """,
    "CREATE UNIQUE INDEX carts_checkout ON carts (checkout_id) WHERE checkout_id IS NOT NULL",
    """
    CREATE INDEX carts_of_customer ON carts (shop_id, customer_id, created_at, cart_id)
    WHERE customer_id IS NOT NULL
    """,
    """
    CREATE INDEX carts_of_guest ON carts (guest_token_hash, created_at, cart_id)
    WHERE guest_token_hash IS NOT NULL
    """,
    "CREATE INDEX carts_start_due ON carts (start_due_at) WHERE start_due_at IS NOT NULL",
    """
    CREATE TABLE cart_lines (
        cart_id uuid NOT NULL REFERENCES carts,
        line_no integer NOT NULL,
        sku text NOT NULL,
        name text NOT NULL,
        quantity integer NOT NULL,
        added_price_minor bigint NOT NULL,
        seen_price_minor bigint NOT NULL,
        PRIMARY KEY (cart_id, line_no),
        CONSTRAINT cart_lines_sku UNIQUE (cart_id, sku),
        CONSTRAINT cart_lines_line_no CHECK (line_no >= 1),
        CONSTRAINT cart_lines_quantity CHECK (quantity >= 1),
        CONSTRAINT cart_lines_prices CHECK (seen_price_minor >= 0 AND added_price_minor >= 0)
    )
    """,
    """
    CREATE TABLE restorations (
        checkout_id uuid PRIMARY KEY,
        shop_id text NOT NULL,
        cart_id uuid NOT NULL REFERENCES carts,
        restored_at timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE catalog_items (
        shop_id text NOT NULL,
        sku text NOT NULL,
        name text NOT NULL,
        active boolean NOT NULL,
        prices jsonb NOT NULL,
        version bigint NOT NULL,
        PRIMARY KEY (shop_id, sku)
    )
    """,
    "COMMENT ON COLUMN catalog_items.prices IS 'Minor units by currency.'",
    """
    CREATE TABLE stock_availability (
        shop_id text NOT NULL,
        sku text NOT NULL,
        available bigint NOT NULL,
        version bigint NOT NULL,
        PRIMARY KEY (shop_id, sku)
    )
    """,
)


def upgrade() -> None:
    """Create all tables of the service."""
    create_messaging_tables_v1()
    for statement in _STATEMENTS:
        op.execute(statement)
