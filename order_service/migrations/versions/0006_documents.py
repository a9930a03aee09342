"""Invoices, credit notes and receipts, and the counters that number the former two."""

from alembic import op

revision = "0006"
down_revision = "0005"

# A counter is updated with every batch of paid orders: its page has room for many versions.
STATEMENTS = (
    """
    CREATE TABLE document_series (
        shop_id text NOT NULL,
        series text NOT NULL,
        year integer NOT NULL,
        last bigint NOT NULL,
        PRIMARY KEY (shop_id, series, year),
        CONSTRAINT document_series_last CHECK (last >= 1)
    ) WITH (fillfactor = 10)
    """,
    """
    CREATE TABLE documents (
        document_id uuid PRIMARY KEY,
        shop_id text NOT NULL,
        order_id uuid NOT NULL REFERENCES orders (order_id),
        kind text NOT NULL,
        attempt integer NOT NULL,
        refund integer NOT NULL,
        invoice_id uuid REFERENCES documents (document_id),
        series text,
        year integer,
        sequence bigint,
        currency text NOT NULL,
        net_minor bigint NOT NULL,
        gross_minor bigint NOT NULL,
        content json NOT NULL,
        issued_at timestamptz NOT NULL,
        CONSTRAINT documents_number UNIQUE (shop_id, series, year, sequence),
        CONSTRAINT documents_of_order UNIQUE (order_id, kind, attempt, refund),
        CONSTRAINT documents_kind CHECK (kind IN ('invoice', 'receipt', 'credit_note')),
        CONSTRAINT documents_amounts CHECK (net_minor >= 0 AND gross_minor >= net_minor),
        CONSTRAINT documents_about CHECK (
            attempt >= 0 AND refund >= 0
            AND (kind = 'credit_note') = (refund > 0)
            AND (kind = 'invoice') = (invoice_id IS NULL)),
        CONSTRAINT documents_numbered CHECK (
            num_nonnulls(series, year, sequence) = CASE kind WHEN 'receipt' THEN 0 ELSE 3 END
            AND sequence >= 1)
    )
    """,
    """
    CREATE FUNCTION refuse_document_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'a document is corrected by another' USING ERRCODE = 'restrict_violation';
    END $$
    """,
    """
    CREATE TRIGGER documents_immutable BEFORE UPDATE OR DELETE ON documents
    FOR EACH ROW EXECUTE FUNCTION refuse_document_change()
    """,
)


def upgrade() -> None:
    """Create both tables, and refuse every change of a document."""
    for statement in STATEMENTS:
        op.execute(statement)
