"""What a look takes in from the databases: narrow columns, of all rows or of those of some keys.

The databases only hand over rows; sums, joins and comparisons are the look's own.
"""

from collections.abc import Mapping

from trolley.audit.invariant import Source, Subject, Table
from trolley.audit.subjects import CART, CHECKOUT, PAYMENT, SKU


def _one_of(column: str) -> str:
    return f"{column} = ANY($1::uuid[])"


def _goods() -> str:
    parts = "split_part(one, '/', 1), substr(one, strpos(one, '/') + 1)"
    return f"(shop_id, sku) IN (SELECT {parts} FROM unnest($1::text[]) AS one)"  # noqa: S608 - constants


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
    {SKU: _goods()},
)
PRODUCTS = _table(
    "products",
    Source.CATALOG,
    "SELECT shop_id, code, name, status, updated_at FROM products",
    {
        SKU: "(shop_id, code) IN (SELECT shop_id, product_code FROM variants"  # noqa: S608 - constants
        f" WHERE {_goods()})"
    },
)
PRICES = _table(
    "prices",
    Source.CATALOG,
    "SELECT shop_id, sku, currency, amount_minor FROM prices",
    {SKU: _goods()},
)

# Cart.

CATALOG_ITEMS = _table(
    "catalog_items",
    Source.CART,
    "SELECT shop_id, sku, version, active, name, prices::text AS prices FROM catalog_items",
    {SKU: _goods()},
)
STOCK_AVAILABILITY = _table(
    "stock_availability",
    Source.CART,
    "SELECT shop_id, sku, version, available FROM stock_availability",
    {SKU: _goods()},
)
CARTS = _table(
    "carts",
    Source.CART,
    "SELECT cart_id, checkout_id, order_id, status, start_due_at IS NOT NULL AS starting,"
    " event_seq, changed_at FROM carts",
    {CHECKOUT: _one_of("checkout_id"), CART: _one_of("cart_id")},
)
RESTORATIONS = _table(
    "restorations",
    Source.CART,
    "SELECT checkout_id, restored_at FROM restorations",
    {CHECKOUT: _one_of("checkout_id")},
)

# Inventory.

STOCK_ITEMS = _table(
    "stock_items",
    Source.INVENTORY,
    "SELECT shop_id, sku, event_seq, availability_version FROM stock_items",
    {SKU: _goods()},
)
STOCK_LEVELS = _table(
    "stock_levels",
    Source.INVENTORY,
    "SELECT shop_id, sku, warehouse, on_hand, reserved FROM stock_levels",
    {SKU: _goods()},
)
# A question is due of those that are held, and of no other: there is an index of these.
HELD = _table(
    "held",
    Source.INVENTORY,
    "SELECT shop_id, sku, warehouse, quantity, changed_at"
    " FROM reservation_lines JOIN reservations USING (shop_id, owner_id, round)",
    {SKU: _goods()},
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
        CHECKOUT: f"{_MOVEMENTS} WHERE kind IN ('sale', 'return') AND {_one_of('operation_id')}",
        # Of a SKU those after $2, up to which they were found right before: `checkpoints.py`.
        SKU: f"{_MOVEMENTS} JOIN unnest($1::text[], $2::bigint[]) AS verified (key, seq)"
        " ON shop_id = split_part(key, '/', 1) AND sku = substr(key, strpos(key, '/') + 1)"
        " AND event_seq > seq",
    },
)
RESERVATIONS = _table(
    "reservations",
    Source.INVENTORY,
    "SELECT shop_id, owner_id, round, owner, status, changed_at FROM reservations",
    {CHECKOUT: _one_of("owner_id")},
)
RESERVATION_LINES = _table(
    "reservation_lines",
    Source.INVENTORY,
    "SELECT shop_id, owner_id, round, sku, warehouse, quantity FROM reservation_lines",
    {CHECKOUT: _one_of("owner_id")},
)
INVENTORY_REPLIES = _table(
    "inventory_replies",
    Source.INVENTORY,
    "SELECT checkout_id, step, round, type FROM recorded_replies",
    {CHECKOUT: _one_of("checkout_id")},
    where="step IN ('reserve', 'commit', 'release')",
)

# Order. A row that is only there to be locked, or to refuse a late start, is no checkout.

CHECKOUTS = _table(
    "checkouts",
    Source.ORDER,
    "SELECT checkout_id, state, final, blocked,"
    " extract(epoch FROM now() - deadline_at)::float8 AS overdue_seconds, cart_id, order_id,"
    " currency, total_minor, captured_minor, refund_pending_minor, refunded_minor, changed_at"
    " FROM checkouts",
    {CHECKOUT: _one_of("checkout_id")},
    where="state NOT IN ('unseen', 'tombstone')",
)
ORDERS = _table(
    "orders",
    Source.ORDER,
    "SELECT order_id, checkout_id, payment_status, fulfilment_status, total_minor, event_seq,"
    " changed_at FROM orders",
    {CHECKOUT: _one_of("checkout_id")},
)
ORDER_LINES = _table(
    "order_lines",
    Source.ORDER,
    "SELECT order_id, sku, quantity, unit_price_minor, net_minor, gross_minor,"
    " nullif(discounts, '[]')::text AS discounts, nullif(taxes, '[]')::text AS taxes"
    " FROM order_lines",
    {
        CHECKOUT: f"order_id IN (SELECT order_id FROM orders WHERE {_one_of('checkout_id')})"  # noqa: S608 - constants
    },
)

# Payment and its provider.

PAYMENTS = _table(
    "payments",
    Source.PAYMENT,
    "SELECT payment_id, checkout_id, order_id, currency, authorized_minor, captured_minor,"
    " refund_pending_minor, refunded_minor, event_seq, updated_at FROM payments",
    {CHECKOUT: _one_of("checkout_id"), PAYMENT: _one_of("payment_id")},
)
_ANSWERED = "(convert_from(payload, 'UTF8')::json->>'payment_id')::uuid"
_FOR_GOOD = "step IN ('charge', 'capture', 'close_payment')"
ATTEMPTS = _table(
    "attempts",
    Source.PAYMENT,
    "SELECT payment_id, attempt, status, amount_minor, updated_at FROM attempts",
    {
        PAYMENT: _one_of("payment_id"),
        CHECKOUT: f"""payment_id IN (
            SELECT payment_id FROM payments WHERE {_one_of("checkout_id")}
            UNION ALL SELECT {_ANSWERED} FROM recorded_replies
            WHERE {_FOR_GOOD} AND {_one_of("checkout_id")}
        )""",  # noqa: S608 - constants
    },
)
REFUNDS = _table(
    "refunds",
    Source.PAYMENT,
    "SELECT refund_id, payment_id, status, amount_minor, updated_at FROM refunds",
    {PAYMENT: _one_of("payment_id")},
)
LEDGER = _table(
    "ledger",
    Source.PAYMENT,
    "SELECT payment_id, seq, attempt, kind, amount_minor, currency, refund_id, provider,"
    " recorded_at FROM ledger",
    {PAYMENT: _one_of("payment_id")},
)
PAYMENT_REPLIES = _table(
    "payment_replies",
    Source.PAYMENT,
    f"SELECT checkout_id, step, round, type, {_ANSWERED} AS payment_id,"  # noqa: S608 - constants
    " (convert_from(payload, 'UTF8')::json->>'attempt')::int AS attempt FROM recorded_replies",
    {CHECKOUT: _one_of("checkout_id")},
    where=_FOR_GOOD,
)
PROVIDER_LEDGER = _table(
    "provider_ledger",
    Source.SIMULATED_PROVIDER,
    "SELECT charge_key, refund_key, payment_id, attempt, kind, amount_minor, currency, booked_at"
    " FROM ledger",
    {PAYMENT: _one_of("payment_id")},
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
