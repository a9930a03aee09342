"""Warehouses, stock levels, reservations and the ledger of movements."""

from alembic import op

from messaging.migrations import create_messaging_tables_v1

revision = "0001"
down_revision = None

# Rows that many batches update in place leave room on their page for the next version, which
# keeps the update out of the indexes (HOT).
_STATEMENTS = (
    """
    CREATE TABLE warehouses (
        shop_id text COLLATE "C" NOT NULL,
        code text COLLATE "C" NOT NULL,
        name text NOT NULL,
        priority integer NOT NULL,
        created_at timestamptz NOT NULL,
        PRIMARY KEY (shop_id, code)
    )
    """,
    """
    INSERT INTO warehouses (shop_id, code, name, priority, created_at)
    VALUES ('main', 'main', 'Main warehouse', 0, now())
    """,
    """
    CREATE TABLE stock_items (
        shop_id text COLLATE "C" NOT NULL,
        sku text COLLATE "C" NOT NULL,
        event_seq bigint NOT NULL DEFAULT 0,
        availability_version bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (shop_id, sku),
        CONSTRAINT stock_items_counters CHECK (event_seq >= 0 AND availability_version >= 0)
    ) WITH (fillfactor = 60)
    """,
    """
    CREATE TABLE stock_levels (
        shop_id text COLLATE "C" NOT NULL,
        sku text COLLATE "C" NOT NULL,
        warehouse text COLLATE "C" NOT NULL,
        on_hand bigint NOT NULL DEFAULT 0,
        reserved bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (shop_id, sku, warehouse),
        FOREIGN KEY (shop_id, sku) REFERENCES stock_items (shop_id, sku),
        FOREIGN KEY (shop_id, warehouse) REFERENCES warehouses (shop_id, code),
        CONSTRAINT stock_levels_possible CHECK (0 <= reserved AND reserved <= on_hand)
    ) WITH (fillfactor = 60)
    """,
    """
    CREATE TABLE movements (
        shop_id text COLLATE "C" NOT NULL,
        sku text COLLATE "C" NOT NULL,
        event_seq bigint NOT NULL,
        warehouse text COLLATE "C" NOT NULL,
        kind text NOT NULL,
        quantity bigint NOT NULL,
        on_hand bigint NOT NULL,
        operation_id uuid NOT NULL,
        round integer NOT NULL,
        line integer NOT NULL,
        reason text,
        moved_at timestamptz NOT NULL,
        PRIMARY KEY (shop_id, sku, event_seq),
        CONSTRAINT movements_once UNIQUE (operation_id, round, kind, line),
        CONSTRAINT movements_kind CHECK (
            CASE kind
            WHEN 'receipt' THEN quantity > 0
            WHEN 'return' THEN quantity > 0
            WHEN 'sale' THEN quantity < 0
            WHEN 'adjustment' THEN quantity <> 0
            ELSE false END
        ),
        CONSTRAINT movements_counts CHECK (on_hand >= 0 AND event_seq > 0)
    )
    """,
    """
    CREATE FUNCTION refuse_change_of_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the ledger of movements is append-only'
            USING ERRCODE = 'integrity_constraint_violation';
    END $$
    """,
    """
    CREATE TRIGGER movements_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON movements
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_ledger()
    """,
    """
    CREATE TABLE reservations (
        shop_id text COLLATE "C" NOT NULL,
        owner_id uuid NOT NULL,
        round integer NOT NULL,
        id uuid NOT NULL,
        owner text NOT NULL,
        status text NOT NULL,
        expires_at timestamptz,
        next_question_at timestamptz,
        questions integer NOT NULL DEFAULT 0,
        shortages jsonb,
        reason text,
        changed_at timestamptz,
        PRIMARY KEY (shop_id, owner_id, round),
        CONSTRAINT reservations_owner CHECK (owner IN ('checkout', 'cart')),
        CONSTRAINT reservations_status CHECK (
            status IN (
                'new', 'held', 'committed', 'released', 'booked_back', 'rejected', 'not_held'
            )
        ),
        CONSTRAINT reservations_question CHECK (
            (status = 'held') = (next_question_at IS NOT NULL)
            AND (next_question_at IS NULL OR expires_at IS NOT NULL)
        ),
        CONSTRAINT reservations_questions CHECK (questions >= 0)
    )
    """,
    """
    CREATE INDEX reservations_due ON reservations (next_question_at)
    WHERE next_question_at IS NOT NULL
    """,
    """
    CREATE TABLE reservation_lines (
        shop_id text COLLATE "C" NOT NULL,
        owner_id uuid NOT NULL,
        round integer NOT NULL,
        sku text COLLATE "C" NOT NULL,
        warehouse text COLLATE "C" NOT NULL,
        quantity bigint NOT NULL,
        PRIMARY KEY (shop_id, owner_id, round, sku, warehouse),
        CONSTRAINT reservation_lines_quantity CHECK (quantity > 0)
    )
    """,
)


def upgrade() -> None:
    """Create messaging's tables and those of inventory, with the default shop's warehouse."""
    create_messaging_tables_v1()
    for statement in _STATEMENTS:
        op.execute(statement)
