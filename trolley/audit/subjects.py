"""What facts between services are about, and where to see that something of it is under way.

Keys are compared as text: one that came from a topic may be anything.
"""

import re

from contracts.topics import (
    CART_COMMANDS,
    CART_EVENTS,
    CATALOG_ITEMS,
    INVENTORY_AVAILABILITY,
    INVENTORY_COMMANDS,
    INVENTORY_EVENTS,
    ORDER_COMMANDS,
    ORDER_EVENTS,
    ORDER_REPLIES,
    PAYMENT_COMMANDS,
    PAYMENT_EVENTS,
)
from trolley.audit.invariant import Source, Subject

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_id(key: str) -> bool:
    """Whether a key is an id, as text of it is written everywhere here."""
    return _ID.fullmatch(key) is not None


_NEWER = "({table}.xmin::text::bigint - $2::bigint) & 4294967295 < 2147483648"
"""Whether a row was written by transaction $2 or a later one: ids are compared as PostgreSQL does,
modulo 2^32."""


def _written(keys: str, table: str, moment: str | None = None) -> str:
    """The keys of rows of a table that were written lately.

    `moment` is the column that holds when; it has an index. Without one the whole table is read:
    such tables grow with the goods and not with the orders.
    """
    recent = "$1::timestamptz IS NOT NULL" if moment is None else f"{moment} >= $1::timestamptz"
    newer = _NEWER.format(table=table.split()[0])
    return f"SELECT {keys} FROM {table} WHERE {recent} AND {newer}"  # noqa: S608 - constants


# A flagged row waits for an operator, not for a relay: nothing is under way there.
_IN_OUTBOX = """
    SELECT DISTINCT correlation_id FROM outbox
    WHERE correlation_id = ANY($1) AND flagged_at IS NULL
"""

_SHOP_SKU = "shop_id || '/' || sku"

CHECKOUT = Subject(
    "checkout",
    topics=(
        ORDER_COMMANDS,
        ORDER_REPLIES,
        INVENTORY_COMMANDS,
        PAYMENT_COMMANDS,
        CART_COMMANDS,
    ),
    under_way=(
        # An order that only waits to be shipped is at rest: its one wait is the capture put off.
        (
            Source.ORDER,
            "SELECT checkout_id::text FROM checkouts WHERE checkout_id::text = ANY($1)"
            " AND NOT final AND state NOT IN ('unseen', 'tombstone') AND NOT (state = 'authorized'"
            " AND coalesce(json_array_length(facts->'waits'), 0) <= 1)",
        ),
        (
            Source.CART,
            "SELECT checkout_id::text FROM carts WHERE checkout_id::text = ANY($1)"
            " AND start_due_at IS NOT NULL",
        ),
        (
            Source.PAYMENT,
            "SELECT checkout_id::text FROM payments JOIN operations USING (payment_id)"
            " WHERE checkout_id::text = ANY($1)"
            " AND operations.status IN ('due', 'leased', 'reported')",
        ),
        (Source.CART, _IN_OUTBOX),
        (Source.INVENTORY, _IN_OUTBOX),
        (Source.ORDER, _IN_OUTBOX),
        (Source.PAYMENT, _IN_OUTBOX),
    ),
    changed=(
        (Source.ORDER, _written("checkout_id::text", "checkouts", "changed_at")),
        (Source.ORDER, _written("checkout_id::text", "orders", "changed_at")),
        # What nobody writes to becomes overdue by itself.
        (
            Source.ORDER,
            "SELECT checkout_id::text FROM checkouts WHERE deadline_at < now()"
            " AND $1::timestamptz IS NOT NULL AND $2::bigint IS NOT NULL",
        ),
        (
            Source.CART,
            _written("checkout_id::text", "carts", "changed_at") + " AND checkout_id IS NOT NULL",
        ),
        (Source.CART, _written("checkout_id::text", "restorations", "restored_at")),
        (Source.INVENTORY, _written("owner_id::text", "reservations", "changed_at")),
        (
            Source.INVENTORY,
            _written("operation_id::text", "movements", "moved_at")
            + " AND kind IN ('sale', 'return')",
        ),
        (Source.PAYMENT, _written("checkout_id::text", "payments", "updated_at")),
    ),
    published=(ORDER_EVENTS, PAYMENT_EVENTS),
)
"""Keys are checkout ids."""

PAYMENT = Subject(
    "payment",
    topics=(),
    under_way=(
        (
            Source.PAYMENT,
            "SELECT payment_id::text FROM operations WHERE payment_id::text = ANY($1)"
            " AND status IN ('due', 'leased', 'reported')",
        ),
    ),
    changed=(
        (Source.PAYMENT, _written("payment_id::text", "payments", "updated_at")),
        (Source.PAYMENT, _written("payment_id::text", "operations", "updated_at")),
        (Source.SIMULATED_PROVIDER, _written("payment_id::text", "ledger", "booked_at")),
    ),
    published=(),
)
"""Keys are payment ids. An operation is open from our intent until the provider's last word on it
is booked, so it covers every message between."""

SKU = Subject(
    "sku",
    topics=(CATALOG_ITEMS, INVENTORY_AVAILABILITY),
    under_way=((Source.CATALOG, _IN_OUTBOX), (Source.INVENTORY, _IN_OUTBOX)),
    changed=(
        (Source.CATALOG, _written(_SHOP_SKU, "variants")),
        (Source.CATALOG, _written(_SHOP_SKU, "prices")),
        (
            Source.CATALOG,
            _written(
                "products.shop_id || '/' || sku",
                "products JOIN variants ON variants.shop_id = products.shop_id"
                " AND product_code = code",
            ),
        ),
        (Source.CART, _written(_SHOP_SKU, "catalog_items")),
        (Source.CART, _written(_SHOP_SKU, "stock_availability")),
        (Source.INVENTORY, _written(_SHOP_SKU, "stock_items")),
        (Source.INVENTORY, _written(_SHOP_SKU, "stock_levels")),
        # And from which number on: no checkpoint counts any more that covers it.
        (
            Source.INVENTORY,
            _written(f"{_SHOP_SKU}, min(event_seq)", "movements", "moved_at")
            + " GROUP BY shop_id, sku",
        ),
    ),
    published=(INVENTORY_EVENTS,),
    pair=True,
)
"""Keys are `shop/SKU`."""

CART = Subject(
    "cart",
    topics=(),
    under_way=((Source.CART, _IN_OUTBOX),),
    changed=((Source.CART, _written("cart_id::text", "carts", "changed_at")),),
    published=(CART_EVENTS,),
)
"""Keys are cart ids."""
