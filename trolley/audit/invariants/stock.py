"""Stock, within inventory's database: levels, the ledger of movements, reservations."""

from trolley.audit.invariant import Read, Source, Within
from trolley.audit.subjects import CHECKOUT, SKU
from trolley.audit.tables import (
    HELD,
    INVENTORY_REPLIES,
    MOVEMENTS,
    RESERVATION_LINES,
    RESERVATIONS,
    STOCK_ITEMS,
    STOCK_LEVELS,
)

_LEDGER = """
    SELECT shop_id, sku, warehouse, event_seq, quantity, on_hand, moved_at, 1 AS entries
    FROM movements
    UNION ALL SELECT shop_id, sku, warehouse, event_seq, balance, balance, moved_at, entries
    FROM checkpoints
"""
"""All movements; those that were found right before are one entry per SKU and warehouse."""

# One SKU in one warehouse, beside what movements and reservations say of it. `on_hand` and
# `reserved` are NULL where there are movements or holds without a level. `wrong_balances` counts
# the movements whose `on_hand` is not the sum up to them.
LEVELS = Read(
    "level",
    Source.INVENTORY,
    f"""
    SELECT shop_id || '/' || sku || '@' || warehouse AS key,
        greatest(moved.since, taken.since) AS since, shop_id || '/' || sku AS item, on_hand,
        reserved, coalesce(moved.pieces, 0) AS moved, coalesce(taken.pieces, 0) AS held,
        coalesce(wrong, 0) AS wrong_balances
    FROM stock_levels FULL JOIN (
        SELECT shop_id, sku, warehouse, max(moved_at) AS since, sum(quantity)::BIGINT AS pieces,
            count(*) FILTER (WHERE on_hand <> balance) AS wrong
        FROM (
            SELECT *, sum(quantity) OVER (
                PARTITION BY shop_id, sku, warehouse ORDER BY event_seq
            ) AS balance
            FROM ({_LEDGER})
        ) GROUP BY shop_id, sku, warehouse
    ) AS moved USING (shop_id, sku, warehouse)
    FULL JOIN (
        SELECT shop_id, sku, warehouse, max(changed_at) AS since, sum(quantity)::BIGINT AS pieces
        FROM held GROUP BY shop_id, sku, warehouse
    ) AS taken USING (shop_id, sku, warehouse)
    """,  # noqa: S608 - constants
    (STOCK_LEVELS, MOVEMENTS, HELD),
    SKU,
    of="item",
)

# The counter of one SKU, beside its movements.
ITEMS = Read(
    "item",
    Source.INVENTORY,
    f"""
    SELECT shop_id || '/' || sku AS key, since, stock_items.event_seq,
        coalesce(movements, 0) AS movements, coalesce(last_movement, 0) AS last_movement
    FROM stock_items FULL JOIN (
        SELECT shop_id, sku, max(moved_at) AS since, sum(entries)::BIGINT AS movements,
            max(event_seq) AS last_movement
        FROM ({_LEDGER}) GROUP BY shop_id, sku
    ) AS moved USING (shop_id, sku)
    """,  # noqa: S608 - constants
    (STOCK_ITEMS, MOVEMENTS),
    SKU,
)

# What one round of a checkout took, beside what the movements under its name say: pieces by
# `SKU@warehouse`. `oversold` counts the places of which not what was taken was sold, `undone`
# likewise what was returned. `status` is NULL where movements name a round that is not there.
# Goods that came back after the sale have rounds of their own, from 1,001 on.
RESERVATIONS_MOVED = Read(
    "reservation",
    Source.INVENTORY,
    """
    WITH line AS (
        SELECT shop_id, owner_id, round, sku || '@' || warehouse AS place, quantity AS taken
        FROM reservation_lines
    ), move AS (
        SELECT shop_id, operation_id AS owner_id, round, sku || '@' || warehouse AS place,
            max(moved_at) AS since,
            -sum(quantity) FILTER (WHERE kind = 'sale')::BIGINT AS sold,
            sum(quantity) FILTER (WHERE kind = 'return')::BIGINT AS returned
        FROM movements WHERE kind = 'sale' OR kind = 'return' AND round <= 1000
        GROUP BY ALL
    ), moved AS (
        SELECT shop_id, owner_id, round, max(since) AS since,
            count(*) FILTER (WHERE taken IS DISTINCT FROM sold) AS unlike_sold,
            count(*) FILTER (WHERE taken IS DISTINCT FROM returned) AS unlike_returned,
            count(sold) AS sales, count(returned) AS returns,
            string_agg(place || ' ' || taken, ', ' ORDER BY place) AS taken,
            string_agg(place || ' ' || sold, ', ' ORDER BY place) AS sold,
            string_agg(place || ' ' || returned, ', ' ORDER BY place) AS returned
        FROM line FULL JOIN move USING (shop_id, owner_id, round, place)
        GROUP BY shop_id, owner_id, round
    )
    SELECT shop_id || '/' || owner_id || ' ' || round AS key,
        greatest(changed_at, since) AS since, owner_id, status, taken, sold, returned,
        coalesce(unlike_sold, 0) AS unlike_sold, coalesce(unlike_returned, 0) AS unlike_returned,
        coalesce(sales, 0) AS sales, coalesce(returns, 0) AS returns
    FROM reservations FULL JOIN moved USING (shop_id, owner_id, round)
    """,
    (RESERVATIONS, RESERVATION_LINES, MOVEMENTS),
    CHECKOUT,
    of="owner_id",
)

# What inventory last answered to a question of a saga, beside the reservation it spoke of.
REPLIES = Read(
    "answer",
    Source.INVENTORY,
    """
    SELECT checkout_id || ' ' || step || ' ' || a.round AS key, r.changed_at AS since,
        checkout_id, a.type AS reply, r.status
    FROM inventory_replies a
    LEFT JOIN reservations r ON r.owner_id = a.checkout_id AND r.round = a.round
    """,
    (INVENTORY_REPLIES, RESERVATIONS),
    CHECKOUT,
    of="checkout_id",
)

_MOVED_WHAT_IT_TOOK = """
    CASE WHEN status IN ('committed', 'booked_back') THEN unlike_sold = 0 ELSE sales = 0 END
    AND CASE WHEN status = 'booked_back' THEN unlike_returned = 0 ELSE returns = 0 END
"""

_AFTER_REPLY = """
    coalesce(CASE reply
        WHEN 'inventory.stock_reserved.v1'
            THEN status IN ('held', 'committed', 'released', 'booked_back')
        WHEN 'inventory.stock_rejected.v1'
            THEN status IN ('released', 'booked_back', 'not_held', 'rejected', 'committed')
        WHEN 'inventory.reservation_committed.v1' THEN status IN ('committed', 'booked_back')
        WHEN 'inventory.reservation_not_held.v1'
            THEN status IN ('released', 'booked_back', 'not_held')
        WHEN 'inventory.stock_released.v1' THEN status IN ('released', 'booked_back', 'not_held')
    END, false)
"""
"""Where a reservation can stand once inventory has given this answer about it. A rejected one
can still be sold: commit takes the stock again."""


INVARIANTS = (
    Within(
        "stock.on-hand-is-sum-of-movements",
        "Per SKU and warehouse, on hand is the sum of the movements.",
        LEVELS,
        "on_hand IS NOT DISTINCT FROM moved",
    ),
    Within(
        "stock.reserved-is-sum-of-held",
        "Per SKU and warehouse, reserved is the sum of what held reservations took.",
        LEVELS,
        "reserved IS NOT DISTINCT FROM held",
    ),
    Within(
        "stock.reserved-within-on-hand",
        "Per SKU and warehouse, reserved is at least nothing and at most what is on hand.",
        LEVELS,
        "coalesce(reserved, 0) BETWEEN 0 AND coalesce(on_hand, 0)",
    ),
    Within(
        "stock.movements-say-what-was-left",
        "Each movement says what was on hand after it: the sum of the movements up to it.",
        LEVELS,
        "wrong_balances = 0",
    ),
    Within(
        "stock.movements-are-gapless",
        "Per SKU, the movements are numbered from 1 up to its counter without a gap.",
        ITEMS,
        "event_seq IS NOT DISTINCT FROM movements AND movements = last_movement",
    ),
    Within(
        "stock.reservations-move-what-they-took",
        "A committed reservation sold exactly what it took, one booked back returned it, and no "
        "other moved anything.",
        RESERVATIONS_MOVED,
        _MOVED_WHAT_IT_TOOK,
    ),
    Within(
        "stock.replies-say-what-was-done",
        "What inventory answered to a saga is what became of the reservation.",
        REPLIES,
        _AFTER_REPLY,
    ),
)
