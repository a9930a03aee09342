"""Set-based locks, reads and writes of a batch: a statement per table, whatever its size.

Arrays go in and `unnest` turns them into rows. All locks are taken here, in this order: the rows
of reservations by (shop, owner, round), then those of stock by (shop, SKU).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from contracts.messages.parts import Shortage
from contracts.values import astuple
from inventory_service.domain import (
    Allocation,
    Allotment,
    Level,
    Movement,
    Owner,
    Reservation,
    ReservationKey,
    Status,
    Stock,
)
from messaging.database import Connection, Record, sql

_SHORTAGES = TypeAdapter(tuple[Shortage, ...])

StockKey = tuple[str, str]
"""Shop and SKU."""

LevelKey = tuple[str, str, str]
"""Shop, SKU and warehouse."""


# --- locks --------------------------------------------------------------------------------------

_INSERT_NEW_RESERVATIONS = sql("""
    INSERT INTO reservations (shop_id, owner_id, round, id, owner, status)
    SELECT shop_id, owner_id, round, id, 'checkout', 'new'
    FROM unnest(CAST(:shops AS text[]), CAST(:owners AS uuid[]), CAST(:rounds AS int[]),
                CAST(:ids AS uuid[])) WITH ORDINALITY AS n (shop_id, owner_id, round, id, position)
    ORDER BY position
    ON CONFLICT (shop_id, owner_id, round) DO NOTHING
""")

_LOCK_RESERVATIONS = sql("""
    SELECT count(*) FROM (
        SELECT FROM unnest(CAST(:shops AS text[]), CAST(:owners AS uuid[]), CAST(:rounds AS int[]))
                    AS k (shop_id, owner_id, round)
        JOIN reservations r USING (shop_id, owner_id, round)
        ORDER BY r.shop_id, r.owner_id, r.round
        FOR UPDATE OF r
    ) AS locked
""")

_INSERT_MISSING_STOCK = sql("""
    INSERT INTO stock_items (shop_id, sku)
    SELECT n.shop_id, n.sku
    FROM unnest(CAST(:shops AS text[]), CAST(:skus AS text[]), CAST(:warehouses AS text[]))
         AS n (shop_id, sku, warehouse)
    JOIN warehouses w ON w.shop_id = n.shop_id AND w.code = n.warehouse
    GROUP BY n.shop_id, n.sku
    ORDER BY n.shop_id COLLATE "C", n.sku COLLATE "C"
    ON CONFLICT (shop_id, sku) DO NOTHING
""")

_LOCK_STOCK = sql("""
    WITH touched AS MATERIALIZED (
        SELECT shop_id, sku
        FROM unnest(CAST(:shops AS text[]), CAST(:skus AS text[])) AS n (shop_id, sku)
        UNION
        SELECT l.shop_id, l.sku
        FROM unnest(CAST(:reservation_shops AS text[]), CAST(:owners AS uuid[]),
                    CAST(:rounds AS int[])) AS k (shop_id, owner_id, round)
        JOIN reservation_lines l USING (shop_id, owner_id, round)
    )
    SELECT count(*) FROM (
        SELECT FROM touched t
        JOIN stock_items i ON i.shop_id = t.shop_id AND i.sku = t.sku
        ORDER BY i.shop_id, i.sku
        FOR UPDATE OF i
    ) AS locked
""")

_INSERT_MISSING_LEVELS = sql("""
    INSERT INTO stock_levels (shop_id, sku, warehouse)
    SELECT DISTINCT n.shop_id, n.sku, n.warehouse
    FROM unnest(CAST(:shops AS text[]), CAST(:skus AS text[]), CAST(:warehouses AS text[]))
         AS n (shop_id, sku, warehouse)
    JOIN warehouses w ON w.shop_id = n.shop_id AND w.code = n.warehouse
    ON CONFLICT (shop_id, sku, warehouse) DO NOTHING
""")


async def lock_reservations(
    connection: Connection,
    keys: Collection[ReservationKey],
    missing: Collection[ReservationKey],
) -> None:
    """Lock the reservations of `keys`; those of `missing` that do not exist are inserted as new."""
    if missing:
        ordered = sorted(missing)
        await connection.execute(
            _INSERT_NEW_RESERVATIONS,
            {**_owner_arrays(ordered), "ids": [Reservation(*key).id for key in ordered]},
        )
    if keys:
        await connection.execute(_LOCK_RESERVATIONS, _owner_arrays(sorted(keys)))


async def lock_stock(
    connection: Connection,
    keys: Collection[StockKey],
    reservations: Collection[ReservationKey],
    missing: Collection[LevelKey],
) -> None:
    """Lock the stock of `keys` and of the lines of these (already locked) reservations.

    Levels of `missing` that do not exist are inserted, empty, if their warehouse exists.
    """
    arrays = _level_arrays(sorted(missing))
    if missing:
        await connection.execute(_INSERT_MISSING_STOCK, arrays)
    if keys or reservations:
        owners = _owner_arrays(sorted(reservations))
        ordered = sorted(keys)
        await connection.execute(
            _LOCK_STOCK,
            {
                "shops": [shop for shop, _ in ordered],
                "skus": [sku for _, sku in ordered],
                "reservation_shops": owners["shops"],
                "owners": owners["owners"],
                "rounds": owners["rounds"],
            },
        )
    if missing:
        await connection.execute(_INSERT_MISSING_LEVELS, arrays)


def _owner_arrays(keys: Sequence[ReservationKey]) -> dict[str, list[object]]:
    return {
        "shops": [shop for shop, _, _ in keys],
        "owners": [owner for _, owner, _ in keys],
        "rounds": [round_ for _, _, round_ in keys],
    }


def _level_arrays(keys: Sequence[LevelKey]) -> dict[str, list[object]]:
    return {
        "shops": [shop for shop, _, _ in keys],
        "skus": [sku for _, sku, _ in keys],
        "warehouses": [warehouse for _, _, warehouse in keys],
    }


# --- reads --------------------------------------------------------------------------------------

_RESERVATION = """
    r.shop_id, r.owner_id, r.round, r.owner, r.status, r.expires_at, r.next_question_at,
    r.questions, r.shortages, r.reason, r.changed_at
"""

_READ_RESERVATIONS = sql(f"""
    SELECT {_RESERVATION}
    FROM unnest(CAST(:shops AS text[]), CAST(:owners AS uuid[]), CAST(:rounds AS int[]))
         AS k (shop_id, owner_id, round)
    JOIN reservations r USING (shop_id, owner_id, round)
""")  # noqa: S608 - built from the constant above

_LOCK_DUE = sql(f"""
    SELECT {_RESERVATION}
    FROM reservations r
    WHERE r.next_question_at <= :now
    ORDER BY r.next_question_at
    LIMIT :most
    FOR UPDATE SKIP LOCKED
""")  # noqa: S608 - built from the constant above

_READ_LINES = sql("""
    SELECT l.shop_id, l.owner_id, l.round, l.sku, l.warehouse, l.quantity
    FROM unnest(CAST(:shops AS text[]), CAST(:owners AS uuid[]), CAST(:rounds AS int[]))
         AS k (shop_id, owner_id, round)
    JOIN reservation_lines l USING (shop_id, owner_id, round)
    ORDER BY l.shop_id, l.owner_id, l.round, l.sku, l.warehouse
""")

# The fences (OFFSET 0) keep each look-up on its primary key: without statistics, as after the first
# big receipt, the planner would read all levels of the shop for each SKU.
_READ_STOCK = sql("""
    SELECT i.shop_id, i.sku, i.event_seq, i.availability_version,
           l.warehouse, l.on_hand, l.reserved
    FROM unnest(CAST(:shops AS text[]), CAST(:skus AS text[])) AS k (shop_id, sku)
    CROSS JOIN LATERAL (
        SELECT * FROM stock_items WHERE shop_id = k.shop_id AND sku = k.sku OFFSET 0
    ) AS i
    CROSS JOIN LATERAL (
        SELECT * FROM stock_levels WHERE shop_id = k.shop_id AND sku = k.sku OFFSET 0
    ) AS l
    JOIN warehouses w ON w.shop_id = l.shop_id AND w.code = l.warehouse
    ORDER BY i.shop_id, i.sku, w.priority, w.code
""")


async def read_reservations(
    connection: Connection, keys: Collection[ReservationKey]
) -> list[Reservation]:
    """The reservations of these keys that exist, with their lines."""
    if not keys:
        return []
    arrays = _owner_arrays(sorted(keys))
    found = await connection.fetch(_READ_RESERVATIONS, arrays)
    lines: dict[ReservationKey, list[Allocation]] = defaultdict(list)
    if any(row.status != Status.NEW for row in found):
        for shop, owner, round_, sku, warehouse, quantity in await connection.fetch(
            _READ_LINES, arrays
        ):
            lines[shop, owner, round_].append(Allocation(sku, warehouse, quantity))
    return [
        _reservation(row, lines.get((row.shop_id, row.owner_id, row.round), ())) for row in found
    ]


async def lock_due(connection: Connection, now: datetime, most: int) -> list[Reservation]:
    """Lock and read held reservations that are to be asked about, without their lines.

    Skips what another transaction holds: whoever it is may be ending it.
    """
    found = await connection.fetch(_LOCK_DUE, {"now": now, "most": most})
    return [_reservation(row, ()) for row in found]


def _reservation(row: Record, lines: Sequence[Allocation]) -> Reservation:
    return Reservation(
        row.shop_id,
        row.owner_id,
        row.round,
        status=Status(row.status),
        lines=tuple(lines),
        shortages=_shortages(row.shortages),
        expires_at=row.expires_at,
        next_question_at=row.next_question_at,
        questions=row.questions,
        reason=row.reason,
        changed_at=row.changed_at,
        owner=Owner(row.owner),
    )


def _shortages(stored: list[dict[str, Any]] | None) -> tuple[Shortage, ...]:
    return _SHORTAGES.validate_python(stored) if stored else ()


async def read_stock(connection: Connection, keys: Collection[StockKey]) -> list[Stock]:
    """The stock of these SKUs, where there is any; levels by priority of their warehouses."""
    if not keys:
        return []
    ordered = sorted(keys)
    found = await connection.fetch(
        _READ_STOCK,
        {"shops": [shop for shop, _ in ordered], "skus": [sku for _, sku in ordered]},
    )
    levels: dict[tuple[str, str, int, int], list[Level]] = defaultdict(list)
    for shop, sku, event_seq, version, warehouse, on_hand, reserved in found:
        levels[shop, sku, event_seq, version].append(Level(warehouse, on_hand, reserved))
    return [
        Stock(
            shop,
            sku,
            tuple(of_sku),
            event_seq,
            version,
            announced=sum(level.available for level in of_sku),
        )
        for (shop, sku, event_seq, version), of_sku in levels.items()
    ]


# --- writes -------------------------------------------------------------------------------------

_WRITE_RESERVATIONS = sql("""
    UPDATE reservations r
    SET status = n.status, expires_at = n.expires_at, next_question_at = n.next_question_at,
        questions = n.questions, shortages = n.shortages, reason = n.reason,
        changed_at = n.changed_at
    FROM unnest(
        CAST(:shops AS text[]), CAST(:owners AS uuid[]), CAST(:rounds AS int[]),
        CAST(:statuses AS text[]), CAST(:expiries AS timestamptz[]),
        CAST(:next_questions AS timestamptz[]), CAST(:questions AS int[]),
        CAST(:shortages AS jsonb[]), CAST(:reasons AS text[]), CAST(:changes AS timestamptz[])
    ) AS n (shop_id, owner_id, round, status, expires_at, next_question_at, questions, shortages,
            reason, changed_at)
    WHERE r.shop_id = n.shop_id AND r.owner_id = n.owner_id AND r.round = n.round
""")

_LINE = ("shop_id", "owner_id", "round", "sku", "warehouse", "quantity")

_WRITE_STOCK = sql("""
    UPDATE stock_items i
    SET event_seq = n.event_seq, availability_version = n.availability_version
    FROM unnest(CAST(:shops AS text[]), CAST(:skus AS text[]), CAST(:event_seqs AS bigint[]),
                CAST(:versions AS bigint[])) AS n (shop_id, sku, event_seq, availability_version)
    WHERE i.shop_id = n.shop_id AND i.sku = n.sku
""")

_WRITE_LEVELS = sql("""
    UPDATE stock_levels l
    SET on_hand = n.on_hand, reserved = n.reserved
    FROM unnest(CAST(:shops AS text[]), CAST(:skus AS text[]), CAST(:warehouses AS text[]),
                CAST(:on_hands AS bigint[]), CAST(:reserveds AS bigint[]))
         AS n (shop_id, sku, warehouse, on_hand, reserved)
    WHERE l.shop_id = n.shop_id AND l.sku = n.sku AND l.warehouse = n.warehouse
      AND (l.on_hand, l.reserved) IS DISTINCT FROM (n.on_hand, n.reserved)
""")


async def write_reservations(connection: Connection, reservations: Sequence[Reservation]) -> None:
    """Write what became of reservations; their lines are `insert_lines`'s."""
    if not reservations:
        return
    await connection.execute(
        _WRITE_RESERVATIONS,
        {
            **_owner_arrays([one.key for one in reservations]),
            "statuses": [one.status.value for one in reservations],
            "expiries": [one.expires_at for one in reservations],
            "next_questions": [one.next_question_at for one in reservations],
            "questions": [one.questions for one in reservations],
            "shortages": [_dumped(one.shortages) for one in reservations],
            "reasons": [one.reason for one in reservations],
            "changes": [one.changed_at for one in reservations],
        },
    )


def _dumped(shortages: tuple[Shortage, ...]) -> str | None:
    return _SHORTAGES.dump_json(shortages).decode() if shortages else None


async def insert_lines(connection: Connection, allotments: Iterable[Allotment]) -> None:
    """Write the lines that reservations were given."""
    rows = [
        (*one.key, line.sku, line.warehouse, line.quantity)
        for one in allotments
        for line in one.lines
    ]
    await connection.append("reservation_lines", _LINE, rows)


async def write_stock(connection: Connection, stock: Sequence[Stock]) -> None:
    """Write counters and levels of SKUs: one update each, however often the batch changed it."""
    if not stock:
        return
    await connection.execute(
        _WRITE_STOCK,
        {
            "shops": [one.shop_id for one in stock],
            "skus": [one.sku for one in stock],
            "event_seqs": [one.event_seq for one in stock],
            "versions": [one.availability_version for one in stock],
        },
    )
    rows = [(one.shop_id, one.sku, level) for one in stock for level in one.levels]
    await connection.execute(
        _WRITE_LEVELS,
        {
            "shops": [shop for shop, _, _ in rows],
            "skus": [sku for _, sku, _ in rows],
            "warehouses": [level.warehouse for _, _, level in rows],
            "on_hands": [level.on_hand for _, _, level in rows],
            "reserveds": [level.reserved for _, _, level in rows],
        },
    )


async def insert_movements(connection: Connection, movements: Sequence[Movement]) -> None:
    """Append to the ledger."""
    columns = Movement.__struct_fields__
    await connection.append("movements", columns, [astuple(one) for one in movements])
