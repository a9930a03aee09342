"""Products, variants and their prices."""

from alembic import op

from messaging.migrations import create_messaging_tables_v1

revision = "0001"
down_revision = None

_STATEMENTS = (
    'CREATE TABLE catalogs (shop_id text COLLATE "C" PRIMARY KEY)',
    """
    CREATE TABLE products (
        shop_id text COLLATE "C" NOT NULL,
        code text COLLATE "C" NOT NULL,
        name text NOT NULL,
        folded_name text COLLATE "C" GENERATED ALWAYS AS (lower(name)) STORED,
        status text NOT NULL,
        attributes jsonb NOT NULL,
        version bigint NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        PRIMARY KEY (shop_id, code),
        CONSTRAINT products_status CHECK (status IN ('active', 'inactive')),
        CONSTRAINT products_version CHECK (version > 0)
    )
    """,
    "CREATE INDEX products_by_name ON products (shop_id, folded_name, code)",
    """
    CREATE TABLE base_prices (
        shop_id text COLLATE "C" NOT NULL,
        product_code text COLLATE "C" NOT NULL,
        currency text COLLATE "C" NOT NULL,
        amount_minor bigint NOT NULL,
        PRIMARY KEY (shop_id, product_code, currency),
        CONSTRAINT base_prices_amount UNIQUE (shop_id, product_code, currency, amount_minor),
        FOREIGN KEY (shop_id, product_code) REFERENCES products (shop_id, code),
        CONSTRAINT base_prices_not_negative CHECK (amount_minor >= 0)
    )
    """,
    """
    CREATE TABLE variants (
        shop_id text COLLATE "C" NOT NULL,
        sku text COLLATE "C" NOT NULL,
        product_code text COLLATE "C" NOT NULL,
        name text NOT NULL,
        status text NOT NULL,
        attributes jsonb NOT NULL,
        version bigint NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        PRIMARY KEY (shop_id, sku),
        CONSTRAINT variants_of_product UNIQUE (shop_id, product_code, sku),
        FOREIGN KEY (shop_id, product_code) REFERENCES products (shop_id, code),
        CONSTRAINT variants_status CHECK (status IN ('active', 'inactive')),
        CONSTRAINT variants_version CHECK (version > 0)
    )
    """,
    """
    CREATE TABLE prices (
        shop_id text COLLATE "C" NOT NULL,
        sku text COLLATE "C" NOT NULL,
        currency text COLLATE "C" NOT NULL,
        product_code text COLLATE "C" NOT NULL,
        base_minor bigint NOT NULL,
        additional_minor bigint NOT NULL,
        amount_minor bigint GENERATED ALWAYS AS (base_minor + additional_minor) STORED,
        PRIMARY KEY (shop_id, sku, currency),
        FOREIGN KEY (shop_id, product_code, sku) REFERENCES variants (shop_id, product_code, sku),
        FOREIGN KEY (shop_id, product_code, currency, base_minor)
            REFERENCES base_prices (shop_id, product_code, currency, amount_minor)
            DEFERRABLE INITIALLY DEFERRED,
        CONSTRAINT prices_not_negative CHECK (base_minor + additional_minor >= 0)
    )
    """,
    "CREATE INDEX prices_of_product ON prices (shop_id, product_code, currency, amount_minor)",
    "CREATE INDEX prices_by_amount ON prices (shop_id, currency, amount_minor)",
)


def upgrade() -> None:
    """Create messaging's tables and those of the catalog."""
    create_messaging_tables_v1()
    for statement in _STATEMENTS:
        op.execute(statement)
