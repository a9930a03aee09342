"""A word for orders that have left in part, and what of older ones stays in the house."""

from alembic import op

revision = "0011"
down_revision = "0010"

_WORDS = "pending ready partly_shipped shipped cancelled"

WITHHELD = """
    UPDATE checkouts c
    SET facts = jsonb_set(c.facts::jsonb, '{order,withheld}', back.lines)::json
    FROM (
        SELECT checkout_id,
            jsonb_agg(jsonb_build_object('line_no', line_no, 'pieces', pieces)) AS lines
        FROM (
            SELECT checkout_id, (line->>'line_no')::int AS line_no,
                sum((line->>'pieces')::int) AS pieces
            FROM after_sales, json_array_elements(facts->'returns') AS came_back,
                json_array_elements(came_back->'lines') AS line
            GROUP BY 1, 2 ORDER BY 1, 2
        ) AS of_line
        GROUP BY checkout_id
    ) AS back
    JOIN orders o USING (checkout_id)
    WHERE c.checkout_id = back.checkout_id AND o.fulfilment_status = 'ready'
"""
"""What came back to an order that has not left is not to be shipped any more."""


def upgrade() -> None:
    """Replicas from before have to stop first: they would lose what is known of shipments."""
    words = ", ".join(f"'{word}'" for word in _WORDS.split())
    op.execute(
        "ALTER TABLE orders DROP CONSTRAINT orders_fulfilment_status,"
        f" ADD CONSTRAINT orders_fulfilment_status CHECK (fulfilment_status IN ({words}))"
    )
    op.execute(WITHHELD)
