"""Documents, within the order service's database: numbers without gaps, and sums that agree."""

from trolley.audit.invariant import Read, Source, Table, Within
from trolley.audit.subjects import CHECKOUT
from trolley.audit.tables import CHECKOUTS, ORDERS, listed

_SERIES = "{0}.shop_id || ' ' || {0}.series || ' ' || {0}.year"
_COLUMNS = f"""
    d.document_id, d.order_id, d.kind, d.invoice_id, d.gross_minor, d.issued_at,
    {_SERIES.format("d")} AS series, d.sequence
"""

# `step` is how far a number is from the one before it. All numbers in their order are looked
# through once; those of some orders are looked up, each with the number before it.
DOCUMENTS = Table(
    "documents",
    Source.ORDER,
    f"""
    SELECT {_COLUMNS}, d.sequence - coalesce(lag(d.sequence) OVER (
        PARTITION BY shop_id, d.series, year ORDER BY d.sequence), 0) AS step
    FROM documents d
    """,  # noqa: S608 - constants
    {
        CHECKOUT: f"""
            SELECT {_COLUMNS}, d.sequence - coalesce((
                SELECT max(b.sequence) FROM documents b
                WHERE b.shop_id = d.shop_id AND b.series = d.series AND b.year = d.year
                    AND b.sequence <= d.sequence AND b.document_id <> d.document_id
            ), 0) AS step
            FROM documents d WHERE order_id IN (
                SELECT order_id FROM orders
                WHERE checkout_id = ANY(ARRAY(SELECT {listed(CHECKOUT.name, "uuid")})))
        """  # noqa: S608 - constants
    },
)

# A series and where its numbers end, which an index tells at once.
SERIES = Table(
    "document_series",
    Source.ORDER,
    f"""
    SELECT {_SERIES.format("s")} AS key, last, coalesce((
        SELECT max(d.sequence) FROM documents d
        WHERE d.shop_id = s.shop_id AND d.series = s.series AND d.year = s.year
    ), 0) AS highest
    FROM document_series s
    """,  # noqa: S608 - constants
    {},
)

NUMBERED = Read(
    "document",
    Source.ORDER,
    """
    SELECT document_id AS key, checkout_id, issued_at AS since, kind, series, sequence, step
    FROM documents JOIN orders USING (order_id) WHERE kind <> 'receipt'
    """,
    (DOCUMENTS, ORDERS),
    CHECKOUT,
    of="checkout_id",
)

COUNTED = Read(
    "series", Source.ORDER, "SELECT *, NULL AS since FROM document_series", (SERIES,), None
)

# An order's documents beside its money. `kept_invoices` are those that are not credited in full;
# one of nothing is kept. `overcredited` are those of which more was credited than they say.
BILLED = Read(
    "billed",
    Source.ORDER,
    """
    WITH credited AS (
        SELECT invoice_id, sum(gross_minor)::BIGINT AS credited_minor
        FROM documents WHERE kind = 'credit_note' GROUP BY invoice_id
    ), said AS (
        SELECT order_id,
            sum(gross_minor) FILTER (WHERE kind = 'invoice')::BIGINT AS invoiced_minor,
            sum(gross_minor) FILTER (WHERE kind = 'receipt')::BIGINT AS receipted_minor,
            sum(credited_minor) FILTER (WHERE kind = 'invoice')::BIGINT AS credited_minor,
            sum(gross_minor) FILTER (WHERE kind = 'credit_note')::BIGINT AS notes_minor,
            count(*) FILTER (WHERE kind = 'invoice'
                AND (gross_minor = 0 OR gross_minor > coalesce(credited_minor, 0))
            ) AS kept_invoices,
            count(*) FILTER (WHERE kind = 'invoice'
                AND gross_minor < coalesce(credited_minor, 0)) AS overcredited
        FROM documents d LEFT JOIN credited ON credited.invoice_id = d.document_id
        GROUP BY order_id
    )
    SELECT c.checkout_id AS key, c.changed_at AS since, state, final, captured_minor,
        refunded_minor, coalesce(invoiced_minor, 0) AS invoiced_minor,
        coalesce(receipted_minor, 0) AS receipted_minor,
        coalesce(credited_minor, 0) AS credited_minor, coalesce(notes_minor, 0) AS notes_minor,
        to_credit_minor, coalesce(kept_invoices, 0) AS kept_invoices,
        coalesce(overcredited, 0) AS overcredited
    FROM checkouts c LEFT JOIN said USING (order_id)
    """,
    (CHECKOUTS, DOCUMENTS),
    CHECKOUT,
)

INVARIANTS = (
    Within(
        "documents.numbers-are-gapless",
        "The numbers of a series count from 1 without a gap and without a double.",
        NUMBERED,
        "step = 1",
    ),
    Within(
        "documents.counters-end-with-the-last-number",
        "A series is counted as far as its documents go.",
        COUNTED,
        "last = highest",
    ),
    Within(
        "documents.paid-orders-have-one-invoice",
        "A paid order has exactly one invoice that is not credited in full, unless all of it went "
        "back after the sale.",
        BILLED,
        "CASE WHEN final AND state = 'paid'"
        " THEN kept_invoices = CASE WHEN to_credit_minor < captured_minor OR captured_minor = 0"
        " THEN 1 ELSE 0 END END",
    ),
    Within(
        "documents.agree-with-the-money",
        "What was captured is invoiced and receipted, what was refunded is credited, each against "
        "an invoice of the order and never beyond it.",
        BILLED,
        """
        CASE WHEN final THEN invoiced_minor = captured_minor
            AND receipted_minor = captured_minor AND notes_minor = to_credit_minor
            AND credited_minor = notes_minor AND overcredited = 0 END
        """,
    ),
)
