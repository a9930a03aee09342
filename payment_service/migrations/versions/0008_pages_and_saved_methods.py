"""Attempts on a page of the provider's, which shows the order's number; methods that are saved."""

from alembic import op

revision = "0008"
down_revision = "0007"

_STATEMENTS = (
    "ALTER TABLE payments ADD COLUMN order_number text",
    """
    ALTER TABLE attempts
        ADD COLUMN hosted boolean NOT NULL DEFAULT false,
        ADD COLUMN save boolean NOT NULL DEFAULT false,
        ADD COLUMN saved_method_id uuid
    """,
    """
    CREATE TABLE provider_customers (
        shop_id text NOT NULL,
        customer_id text NOT NULL,
        provider text NOT NULL,
        provider_customer_id text NOT NULL,
        created_at timestamptz NOT NULL,
        PRIMARY KEY (shop_id, customer_id, provider)
    )
    """,
    """
    CREATE TABLE saved_methods (
        saved_method_id uuid PRIMARY KEY,
        shop_id text NOT NULL,
        customer_id text NOT NULL,
        provider text NOT NULL,
        provider_customer_id text NOT NULL,
        token text NOT NULL,
        brand text,
        last4 text,
        exp_month integer,
        exp_year integer,
        consented_at timestamptz NOT NULL,
        deleted_at timestamptz,
        forgotten_at timestamptz,
        CONSTRAINT saved_methods_token UNIQUE (shop_id, customer_id, provider, token),
        CONSTRAINT saved_methods_forgotten CHECK (forgotten_at IS NULL OR deleted_at IS NOT NULL)
    )
    """,
    """
    CREATE INDEX saved_methods_to_forget ON saved_methods (deleted_at)
    WHERE deleted_at IS NOT NULL AND forgotten_at IS NULL
    """,
)


def upgrade() -> None:
    """Add what such attempts need; those that are there are none."""
    for statement in _STATEMENTS:
        op.execute(statement)
