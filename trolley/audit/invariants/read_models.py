"""Read models: what the cart believes of catalog and stock, against those who know.

Being behind is no violation as long as something is on its way. What has arrived must be what was
sent, and at rest everything has arrived.
"""

from datetime import datetime
from typing import NamedTuple

from trolley.audit.invariant import Read, Source, between
from trolley.audit.subjects import SKU


class Item(NamedTuple):
    """A SKU as catalog or cart has it; `prices` are minor units by currency."""

    key: str
    since: datetime | None
    version: int
    active: bool
    name: str
    prices: str


CATALOG_ITEMS = Read(
    Source.CATALOG,
    Item,
    """
    SELECT (v.shop_id || '/' || v.sku) COLLATE "C" AS key,
        greatest(v.updated_at, p.updated_at) AS since, v.version,
        v.status = 'active' AND p.status = 'active' AS active,
        coalesce(nullif(v.name, ''), p.name) AS name,
        coalesce(jsonb_object_agg(x.currency, x.amount_minor)
            FILTER (WHERE x.currency IS NOT NULL), '{}')::text AS prices
    FROM variants v
    JOIN products p ON p.shop_id = v.shop_id AND p.code = v.product_code
    LEFT JOIN prices x ON x.shop_id = v.shop_id AND x.sku = v.sku
    WHERE only(v.shop_id, v.sku)
    GROUP BY v.shop_id, v.sku, p.shop_id, p.code
    """,
    SKU,
)

CARTS_ITEMS = Read(
    Source.CART,
    Item,
    """
    SELECT (shop_id || '/' || sku) COLLATE "C" AS key, NULL::timestamptz AS since,
        version, active, name, prices::text AS prices
    FROM catalog_items WHERE only(shop_id, sku)
    """,
    SKU,
)


class Available(NamedTuple):
    """What is available of a SKU over all warehouses, as inventory or cart has it."""

    key: str
    since: datetime | None
    version: int
    available: int


STOCK_AVAILABLE = Read(
    Source.INVENTORY,
    Available,
    """
    SELECT (shop_id || '/' || sku) COLLATE "C" AS key, NULL::timestamptz AS since,
        availability_version AS version, coalesce(sum(on_hand - reserved), 0)::bigint AS available
    FROM stock_items LEFT JOIN stock_levels USING (shop_id, sku)
    WHERE only(shop_id, sku)
    GROUP BY shop_id, sku, availability_version
    """,
    SKU,
)

CARTS_AVAILABLE = Read(
    Source.CART,
    Available,
    """
    SELECT (shop_id || '/' || sku) COLLATE "C" AS key, NULL::timestamptz AS since,
        version, available
    FROM stock_availability WHERE only(shop_id, sku)
    """,
    SKU,
)


def _same_item(known: Item | None, believed: Item | None) -> bool:
    if known is None or believed is None:
        return False
    return known[2:] == believed[2:]


def _same_available(known: Available | None, believed: Available | None) -> bool:
    if known is None:
        return False
    if believed is None:
        return known.available == 0
    # Changes that cancel out are not announced, so the version may lag where the pieces do not.
    return believed.version <= known.version and believed.available == known.available


INVARIANTS = (
    between(
        "read-models.cart-knows-the-catalog",
        "The cart sells every SKU by the name, prices and status that the catalog gave it.",
        CATALOG_ITEMS,
        CARTS_ITEMS,
        _same_item,
        about=SKU,
    ),
    between(
        "read-models.cart-knows-the-stock",
        "The cart shows what inventory has available of every SKU.",
        STOCK_AVAILABLE,
        CARTS_AVAILABLE,
        _same_available,
        about=SKU,
    ),
)
