"""What a look takes in from the databases: narrow columns, of all rows or of those of some keys.

The databases only hand over rows; sums, joins and comparisons are the look's own. The keys that a
look is at are told to a database once, as lists that go by names for the time of its snapshot.
"""

from collections.abc import Mapping

from trolley.audit.invariant import Source, Subject, Table
from trolley.audit.subjects import CART, CHECKOUT, PAYMENT, SKU


def listed(name: str, kind: str) -> str:
    """A list that was told, as rows of a type."""
    return f"unnest(current_setting('trolley.{name}')::{kind}[])"


TELL = "SELECT set_config('trolley.' || $1, $2::text[]::text, true)"
"""Tells a database the list $2 under the name $1, until its transaction ends."""
VERIFIED = "verified"
"""For each of the SKUs told, the number of the movement up to which they were found right."""


def _of(subject: Subject, column: str) -> str:
    return f"{column} = ANY(ARRAY(SELECT {listed(subject.name, 'uuid')}))"


_SHOP, _CODE = "split_part(key, '/', 1)", "substr(key, strpos(key, '/') + 1)"
_GOODS = f"(shop_id, sku) IN (SELECT {_SHOP}, {_CODE} FROM {listed(SKU.name, 'text')} AS key)"  # noqa: S608 - constants


def _table(
    name: str, source: Source, select: str, of: Mapping[Subject, str], *, where: str = "true"
) -> Table:
    """A table of which the rows of some keys are found by conditions."""
    everything = f"{select} WHERE {where}"
    narrowed = {subject: f"{everything} AND {condition}" for subject, condition in of.items()}
    return Table(name, source, everything, narrowed)


# Catalog.

VARIANTS = _table(
    "variants",
    Source.CATALOG,
    "SELECT shop_id, sku, product_code, name, status, version, updated_at FROM variants",
    {SKU: _GOODS},
)
PRODUCTS = _table(
    "products",
    Source.CATALOG,
    "SELECT shop_id, code, name, status, updated_at FROM products",
    {
        SKU: "(shop_id, code) IN (SELECT shop_id, product_code FROM variants"  # noqa: S608 - constants
        f" WHERE {_GOODS})"
    },
)
PRICES = _table(
    "prices",
    Source.CATALOG,
    "SELECT shop_id, sku, currency, amount_minor FROM prices",
    {SKU: _GOODS},
)

# Cart.

CATALOG_ITEMS = _table(
    "catalog_items",
    Source.CART,
    "SELECT shop_id, sku, version, active, name, prices::text AS prices FROM catalog_items",
    {SKU: _GOODS},
)
STOCK_AVAILABILITY = _table(
    "stock_availability",
    Source.CART,
    "SELECT shop_id, sku, version, available FROM stock_availability",
    {SKU: _GOODS},
)
CARTS = _table(
    "carts",
    Source.CART,
    "SELECT cart_id, checkout_id, order_id, status, start_due_at IS NOT NULL AS starting,"
    " event_seq, changed_at FROM carts",
    {CHECKOUT: _of(CHECKOUT, "checkout_id"), CART: _of(CART, "cart_id")},
)
RESTORATIONS = _table(
    "restorations",
    Source.CART,
    "SELECT checkout_id, restored_at FROM restorations",
    {CHECKOUT: _of(CHECKOUT, "checkout_id")},
)

# Inventory.

STOCK_ITEMS = _table(
    "stock_items",
    Source.INVENTORY,
    "SELECT shop_id, sku, event_seq, availability_version FROM stock_items",
    {SKU: _GOODS},
)
STOCK_LEVELS = _table(
    "stock_levels",
    Source.INVENTORY,
    "SELECT shop_id, sku, warehouse, on_hand, reserved FROM stock_levels",
    {SKU: _GOODS},
)
# A question is due of those that are held, and of no other: there is an index of these.
HELD = _table(
    "held",
    Source.INVENTORY,
    "SELECT shop_id, sku, warehouse, quantity, changed_at"
    " FROM reservation_lines JOIN reservations USING (shop_id, owner_id, round)",
    {SKU: _GOODS},
    where="status = 'held' AND next_question_at IS NOT NULL",
)
_MOVEMENTS = (
    "SELECT shop_id, sku, event_seq, warehouse, kind, quantity, on_hand, operation_id, round,"
    " moved_at FROM movements"
)
MOVEMENTS = Table(
    "movements",
    Source.INVENTORY,
    _MOVEMENTS,
    {
        CHECKOUT: f"{_MOVEMENTS} WHERE {_of(CHECKOUT, 'operation_id')}",
        # Of a SKU those after which it was not found right before: see `checkpoints.py`.
        SKU: f"""
            {_MOVEMENTS} JOIN (
                SELECT {_SHOP} AS shop_id, {_CODE} AS sku, seq FROM ROWS FROM (
                    {listed(SKU.name, "text")}, {listed(VERIFIED, "bigint")}
                ) AS told (key, seq)
            ) AS verified USING (shop_id, sku) WHERE event_seq > seq
        """,  # noqa: S608 - constants
    },
)
RESERVATIONS = _table(
    "reservations",
    Source.INVENTORY,
    "SELECT shop_id, owner_id, round, owner, status, changed_at FROM reservations",
    {CHECKOUT: _of(CHECKOUT, "owner_id")},
)
RESERVATION_LINES = _table(
    "reservation_lines",
    Source.INVENTORY,
    "SELECT shop_id, owner_id, round, sku, warehouse, quantity FROM reservation_lines",
    {CHECKOUT: _of(CHECKOUT, "owner_id")},
)
INVENTORY_REPLIES = _table(
    "inventory_replies",
    Source.INVENTORY,
    "SELECT checkout_id, step, round, type FROM recorded_replies",
    {CHECKOUT: _of(CHECKOUT, "checkout_id")},
    # Goods that came back have rounds of their own, and no reservation.
    where="step IN ('reserve', 'commit', 'release') AND round <= 1000",
)

# Order. A row that is only there to be locked, or to refuse a late start, is no checkout.

CHECKOUTS = _table(
    "checkouts",
    Source.ORDER,
    # What comes after the sale is part of a checkout's money; while it is open, nothing is final.
    "SELECT checkout_id, state, final AND a.deadline_at IS NULL AND NOT coalesce(a.blocked, false)"
    " AND NOT coalesce(a.needs_attention, false) AS final, c.blocked,"
    " extract(epoch FROM now() - c.deadline_at)::float8 AS overdue_seconds, cart_id, order_id,"
    " currency, total_minor, captured_minor,"
    " c.refund_pending_minor + coalesce(a.refund_pending_minor, 0) AS refund_pending_minor,"
    " c.refunded_minor + coalesce(a.refunded_minor, 0) AS refunded_minor,"
    " c.refunded_minor + coalesce(a.credited_minor, 0) AS to_credit_minor,"
    " coalesce(a.refunded_minor, 0) AS claimed_minor, coalesce(a.disputed_minor, 0)"
    " AS disputed_minor, coalesce(a.dispute_lost_minor, 0) AS dispute_lost_minor, c.changed_at"
    " FROM checkouts c LEFT JOIN after_sales a USING (checkout_id)",
    {CHECKOUT: _of(CHECKOUT, "checkout_id")},
    where="state NOT IN ('unseen', 'tombstone')",
)
RETURNED_PIECES = _table(
    "returned_pieces",
    Source.ORDER,
    """
    SELECT checkout_id, sku, pieces, changed_at FROM (
        SELECT a.checkout_id, line->>'sku' AS sku, max(a.changed_at) AS changed_at,
            sum((line->>'pieces')::bigint)::bigint AS pieces
        FROM after_sales a
        CROSS JOIN LATERAL json_array_elements(a.facts->'returns') AS came
        CROSS JOIN LATERAL json_array_elements(came->'lines') AS line
        WHERE (came->>'booked')::boolean
        GROUP BY a.checkout_id, line->>'sku'
    ) AS returned
    """,
    {CHECKOUT: _of(CHECKOUT, "checkout_id")},
)
ORDERS = _table(
    "orders",
    Source.ORDER,
    "SELECT order_id, checkout_id, payment_status, fulfilment_status, total_minor, event_seq,"
    " changed_at FROM orders",
    {CHECKOUT: _of(CHECKOUT, "checkout_id")},
)
ORDER_LINES = _table(
    "order_lines",
    Source.ORDER,
    "SELECT order_id, sku, quantity, unit_price_minor, net_minor, gross_minor,"
    " CASE WHEN jsonb_array_length(discounts) > 0 THEN discounts::text END AS discounts,"
    " CASE WHEN jsonb_array_length(taxes) > 0 THEN taxes::text END AS taxes"
    " FROM order_lines",
    {
        CHECKOUT: "order_id IN (SELECT order_id FROM orders"  # noqa: S608 - constants
        f" WHERE {_of(CHECKOUT, 'checkout_id')})"
    },
)

# Payment and its provider.

PAYMENTS = _table(
    "payments",
    Source.PAYMENT,
    "SELECT payment_id, checkout_id, order_id, currency, authorized_minor, captured_minor,"
    " refund_pending_minor, refunded_minor, disputed_minor, dispute_lost_minor,"
    " over_refunded_minor, event_seq, updated_at FROM payments",
    {CHECKOUT: _of(CHECKOUT, "checkout_id"), PAYMENT: _of(PAYMENT, "payment_id")},
)
# What was answered is parsed once: without OFFSET for each thing that is taken out of it.
_ANSWERS = """
    SELECT checkout_id, step, round, type, (said->>'payment_id')::uuid AS payment_id,
        (said->>'attempt')::int AS attempt
    FROM recorded_replies
    CROSS JOIN LATERAL (SELECT convert_from(payload, 'UTF8')::jsonb AS said OFFSET 0) AS answer
"""
_FOR_GOOD = "step IN ('charge', 'capture', 'close_payment')"
ATTEMPTS = _table(
    "attempts",
    Source.PAYMENT,
    "SELECT payment_id, attempt, status, amount_minor, updated_at FROM attempts",
    {
        PAYMENT: _of(PAYMENT, "payment_id"),
        CHECKOUT: f"""payment_id IN (
            SELECT payment_id FROM payments WHERE {_of(CHECKOUT, "checkout_id")}
            UNION ALL SELECT payment_id FROM ({_ANSWERS}) AS answers
            WHERE {_FOR_GOOD} AND {_of(CHECKOUT, "checkout_id")}
        )""",  # noqa: S608 - constants
    },
)
STRIPE_ATTEMPTS = _table(
    "stripe_attempts",
    Source.PAYMENT,
    "SELECT payment_id, provider_payment_id, created_at, updated_at FROM attempts",
    {PAYMENT: _of(PAYMENT, "payment_id")},
    where="provider = 'stripe'",
)
REFUNDS = _table(
    "refunds",
    Source.PAYMENT,
    "SELECT refund_id, payment_id, status, amount_minor, updated_at FROM refunds",
    {PAYMENT: _of(PAYMENT, "payment_id")},
)
LEDGER = _table(
    "ledger",
    Source.PAYMENT,
    "SELECT payment_id, seq, attempt, kind, amount_minor, currency, refund_id, provider,"
    " recorded_at FROM ledger",
    {PAYMENT: _of(PAYMENT, "payment_id")},
)
PAYMENT_REPLIES = _table(
    "payment_replies",
    Source.PAYMENT,
    _ANSWERS,
    {CHECKOUT: _of(CHECKOUT, "checkout_id")},
    where=_FOR_GOOD,
)
PROVIDER_LEDGER = _table(
    "provider_ledger",
    Source.SIMULATED_PROVIDER,
    "SELECT charge_key, refund_key, payment_id, attempt, kind, amount_minor, currency, booked_at"
    " FROM ledger",
    {PAYMENT: _of(PAYMENT, "payment_id")},
)


def outbox(source: Source) -> Table:
    """What waits in a service's outbox, in one row; flagged keys are open items."""
    return Table(
        f"{source}_outbox",
        source,
        """
        SELECT min(time) AS since, count(*) AS rows,
            coalesce(extract(epoch FROM now() - min(time)), 0)::float8 AS oldest_seconds
        FROM outbox o
        WHERE NOT EXISTS (
            SELECT FROM outbox flagged
            WHERE flagged.flagged_at IS NOT NULL AND flagged.topic = o.topic
                AND flagged.key IS NOT DISTINCT FROM o.key
        )
        """,
        {},
    )
