"""Stock, within inventory's database: levels, the ledger of movements, reservations."""

from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

from trolley.audit.invariant import Read, Source, within
from trolley.audit.subjects import CHECKOUT, SKU


class Level(NamedTuple):
    """One SKU in one warehouse, beside what movements and reservations say of it.

    `on_hand` and `reserved` are None where there are movements or holds without a level.
    `wrong_balances` counts the movements whose `on_hand` is not the sum up to them.
    """

    key: str
    since: datetime | None
    item: str
    on_hand: int | None
    reserved: int | None
    moved: int
    held: int
    wrong_balances: int


LEVELS = Read(
    Source.INVENTORY,
    Level,
    """
    WITH moved AS (
        SELECT shop_id, sku, warehouse, max(moved_at) AS since, sum(quantity)::bigint AS pieces,
            count(*) FILTER (WHERE on_hand <> balance) AS wrong
        FROM (
            SELECT *, sum(quantity) OVER (
                PARTITION BY shop_id, sku, warehouse ORDER BY event_seq
            ) AS balance
            FROM movements WHERE only(shop_id, sku)
        ) AS movement
        GROUP BY shop_id, sku, warehouse
    ), held AS (
        SELECT shop_id, sku, warehouse, max(r.changed_at) AS since, sum(quantity)::bigint AS pieces
        FROM reservation_lines JOIN reservations r USING (shop_id, owner_id, round)
        -- A question is due of those that are held, and of no other: there is an index of these.
        WHERE r.status = 'held' AND r.next_question_at IS NOT NULL AND only(shop_id, sku)
        GROUP BY shop_id, sku, warehouse
    )
    SELECT (shop_id || '/' || sku || '@' || warehouse) COLLATE "C" AS key,
        greatest(moved.since, held.since) AS since,
        (shop_id || '/' || sku) COLLATE "C" AS item, on_hand, reserved,
        coalesce(moved.pieces, 0) AS moved, coalesce(held.pieces, 0) AS held,
        coalesce(moved.wrong, 0) AS wrong_balances
    FROM (SELECT * FROM stock_levels WHERE only(shop_id, sku)) AS level
    FULL JOIN moved USING (shop_id, sku, warehouse)
    FULL JOIN held USING (shop_id, sku, warehouse)
    """,
    SKU,
    subject_key=attrgetter("item"),
)


class Item(NamedTuple):
    """The counter of one SKU, beside its movements."""

    key: str
    since: datetime | None
    event_seq: int | None
    movements: int
    last_movement: int


ITEMS = Read(
    Source.INVENTORY,
    Item,
    """
    SELECT (shop_id || '/' || sku) COLLATE "C" AS key, since, event_seq,
        coalesce(movements, 0) AS movements, coalesce(last_movement, 0) AS last_movement
    FROM (SELECT * FROM stock_items WHERE only(shop_id, sku)) AS item FULL JOIN (
        SELECT shop_id, sku, max(moved_at) AS since, count(*) AS movements,
            max(event_seq) AS last_movement
        FROM movements WHERE only(shop_id, sku) GROUP BY shop_id, sku
    ) AS moved USING (shop_id, sku)
    """,
    SKU,
)


class Reservation(NamedTuple):
    """What one round of a checkout took, beside what the movements under its name say.

    `taken`, `sold` and `returned` are pieces by `SKU@warehouse`. `status` is None where movements
    name a round that is not there.
    """

    key: str
    since: datetime | None
    owner_id: str
    status: str | None
    taken: str | None
    sold: str | None
    returned: str | None


RESERVATIONS = Read(
    Source.INVENTORY,
    Reservation,
    """
    WITH taken AS (
        SELECT shop_id, owner_id, round,
            jsonb_object_agg(sku || '@' || warehouse, quantity)::text AS pieces
        FROM reservation_lines WHERE only(owner_id) GROUP BY shop_id, owner_id, round
    ), moved AS (
        SELECT shop_id, owner_id, round, max(since) AS since,
            jsonb_object_agg(place, sold) FILTER (WHERE sold IS NOT NULL)::text AS sold,
            jsonb_object_agg(place, returned) FILTER (WHERE returned IS NOT NULL)::text AS returned
        FROM (
            SELECT shop_id, operation_id AS owner_id, round, sku || '@' || warehouse AS place,
                max(moved_at) AS since,
                -sum(quantity) FILTER (WHERE kind = 'sale') AS sold,
                sum(quantity) FILTER (WHERE kind = 'return') AS returned
            FROM movements WHERE kind IN ('sale', 'return') AND only(operation_id)
            GROUP BY shop_id, operation_id, round, place
        ) AS moves
        GROUP BY shop_id, owner_id, round
    )
    SELECT (shop_id || '/' || owner_id || ' ' || round) COLLATE "C" AS key,
        greatest(r.changed_at, moved.since) AS since, owner_id::text AS owner_id, r.status,
        taken.pieces AS taken,
        moved.sold, moved.returned
    FROM (SELECT * FROM reservations WHERE only(owner_id)) AS r
    LEFT JOIN taken USING (shop_id, owner_id, round)
    FULL JOIN moved USING (shop_id, owner_id, round)
    """,
    CHECKOUT,
    subject_key=attrgetter("owner_id"),
)


class Reply(NamedTuple):
    """What inventory last answered to a question of a saga, beside the reservation it spoke of."""

    key: str
    since: datetime | None
    checkout_id: str
    reply: str
    status: str | None


REPLIES = Read(
    Source.INVENTORY,
    Reply,
    """
    SELECT (checkout_id || ' ' || step || ' ' || a.round) COLLATE "C" AS key,
        r.changed_at AS since, checkout_id::text AS checkout_id, a.type AS reply, r.status
    FROM recorded_replies a
    LEFT JOIN reservations r ON r.owner_id = a.checkout_id AND r.round = a.round
    WHERE step IN ('reserve', 'commit', 'release') AND only(checkout_id)
    """,
    CHECKOUT,
    subject_key=attrgetter("checkout_id"),
)

_AFTER_REPLY = """
    coalesce(status = ANY((CASE reply
        WHEN 'inventory.stock_reserved.v1' THEN '{held,committed,released,booked_back}'
        WHEN 'inventory.stock_rejected.v1' THEN '{released,booked_back,not_held,rejected,committed}'
        WHEN 'inventory.reservation_committed.v1' THEN '{committed,booked_back}'
        WHEN 'inventory.reservation_not_held.v1' THEN '{released,booked_back,not_held}'
        WHEN 'inventory.stock_released.v1' THEN '{released,booked_back,not_held}'
    END)::text[]), false)
"""
"""Where a reservation can stand once inventory has given this answer about it. A rejected one
can still be sold: commit takes the stock again."""


INVARIANTS = (
    within(
        "stock.on-hand-is-sum-of-movements",
        "Per SKU and warehouse, on hand is the sum of the movements.",
        LEVELS,
        "on_hand IS NOT DISTINCT FROM moved",
    ),
    within(
        "stock.reserved-is-sum-of-held",
        "Per SKU and warehouse, reserved is the sum of what held reservations took.",
        LEVELS,
        "reserved IS NOT DISTINCT FROM held",
    ),
    within(
        "stock.reserved-within-on-hand",
        "Per SKU and warehouse, reserved is at least nothing and at most what is on hand.",
        LEVELS,
        "coalesce(reserved, 0) BETWEEN 0 AND coalesce(on_hand, 0)",
    ),
    within(
        "stock.movements-say-what-was-left",
        "Each movement says what was on hand after it: the sum of the movements up to it.",
        LEVELS,
        "wrong_balances = 0",
    ),
    within(
        "stock.movements-are-gapless",
        "Per SKU, the movements are numbered from 1 up to its counter without a gap.",
        ITEMS,
        "event_seq IS NOT DISTINCT FROM movements AND movements = last_movement",
    ),
    within(
        "stock.reservations-move-what-they-took",
        "A committed reservation sold exactly what it took, one booked back returned it, and no "
        "other moved anything.",
        RESERVATIONS,
        """
        sold IS NOT DISTINCT FROM CASE WHEN status IN ('committed', 'booked_back') THEN taken END
        AND returned IS NOT DISTINCT FROM CASE WHEN status = 'booked_back' THEN taken END
        """,
    ),
    within(
        "stock.replies-say-what-was-done",
        "What inventory answered to a saga is what became of the reservation.",
        REPLIES,
        _AFTER_REPLY,
    ),
)
