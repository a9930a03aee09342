"""What facts between services are about, and where to see that something of it is under way.

Keys are compared as text: one that came from a topic may be anything.
"""

from contracts.topics import (
    CART_COMMANDS,
    CATALOG_ITEMS,
    INVENTORY_AVAILABILITY,
    INVENTORY_COMMANDS,
    ORDER_COMMANDS,
    ORDER_REPLIES,
    PAYMENT_COMMANDS,
)
from trolley.audit.invariant import Source, Subject

_IN_OUTBOX = "SELECT DISTINCT correlation_id FROM outbox WHERE correlation_id = ANY($1)"

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
        (
            Source.ORDER,
            "SELECT checkout_id::text FROM checkouts WHERE checkout_id::text = ANY($1)"
            " AND NOT final AND state NOT IN ('unseen', 'tombstone')",
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
)
"""Keys are payment ids. An operation is open from our intent until the provider's last word on it
is booked, so it covers every message between."""

SKU = Subject(
    "sku",
    topics=(CATALOG_ITEMS, INVENTORY_AVAILABILITY),
    under_way=((Source.CATALOG, _IN_OUTBOX), (Source.INVENTORY, _IN_OUTBOX)),
)
"""Keys are `shop/SKU`."""

CART = Subject("cart", topics=(), under_way=((Source.CART, _IN_OUTBOX),))
"""Keys are cart ids."""
