"""Read models: what the cart believes of catalog and stock, against those who know.

Being behind is no violation as long as something is on its way. What has arrived must be what was
sent, and at rest everything has arrived.
"""

from trolley.audit.invariant import Between, Read, Source
from trolley.audit.subjects import SKU
from trolley.audit.tables import (
    CATALOG_ITEMS,
    PRICES,
    PRODUCTS,
    STOCK_AVAILABILITY,
    STOCK_ITEMS,
    STOCK_LEVELS,
    VARIANTS,
)

# A SKU as catalog and cart have it; `prices` are minor units by currency.
KNOWN_ITEMS = Read(
    "known",
    Source.CATALOG,
    """
    SELECT v.shop_id || '/' || v.sku AS key, greatest(v.updated_at, p.updated_at) AS since,
        v.version, v.status = 'active' AND p.status = 'active' AS active,
        coalesce(nullif(v.name, ''), p.name) AS name, coalesce(x.prices, '{}') AS prices
    FROM variants v
    JOIN products p ON p.shop_id = v.shop_id AND p.code = v.product_code
    LEFT JOIN (
        SELECT shop_id, sku,
            '{' || string_agg(format('"{}": {}', currency, amount_minor), ', ' ORDER BY currency)
                || '}' AS prices
        FROM prices GROUP BY shop_id, sku
    ) x ON x.shop_id = v.shop_id AND x.sku = v.sku
    """,
    (VARIANTS, PRODUCTS, PRICES),
    SKU,
)
BELIEVED_ITEMS = Read(
    "believed",
    Source.CART,
    "SELECT shop_id || '/' || sku AS key, NULL::TIMESTAMP AS since, version, active, name, prices"
    " FROM catalog_items",
    (CATALOG_ITEMS,),
    SKU,
)

# What is available of a SKU over all warehouses, as inventory and cart have it.
KNOWN_STOCK = Read(
    "known",
    Source.INVENTORY,
    """
    SELECT shop_id || '/' || sku AS key, NULL::TIMESTAMP AS since,
        availability_version AS version, coalesce(sum(on_hand - reserved), 0)::BIGINT AS available
    FROM stock_items LEFT JOIN stock_levels USING (shop_id, sku)
    GROUP BY shop_id, sku, availability_version
    """,
    (STOCK_ITEMS, STOCK_LEVELS),
    SKU,
)
BELIEVED_STOCK = Read(
    "believed",
    Source.CART,
    "SELECT shop_id || '/' || sku AS key, NULL::TIMESTAMP AS since, version, available"
    " FROM stock_availability",
    (STOCK_AVAILABILITY,),
    SKU,
)

INVARIANTS = (
    Between(
        "read-models.cart-knows-the-catalog",
        "The cart sells every SKU by the name, prices and status that the catalog gave it.",
        KNOWN_ITEMS,
        BELIEVED_ITEMS,
        """
        coalesce(known.version = believed.version AND known.active = believed.active
            AND known.name = believed.name AND known.prices = believed.prices, false)
        """,
    ),
    # Changes that cancel out are not announced, so the version may lag where the pieces do not.
    Between(
        "read-models.cart-knows-the-stock",
        "The cart shows what inventory has available of every SKU.",
        KNOWN_STOCK,
        BELIEVED_STOCK,
        """
        CASE WHEN believed.key IS NULL THEN known.available = 0
        ELSE coalesce(believed.version <= known.version
            AND believed.available = known.available, false) END
        """,
    ),
)
