"""What operators look at, page by page, and the list of warehouses."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from inventory_service.domain import Level, Movement, MovementKind, Reservation
from inventory_service.store.stock import read_reservations
from messaging.database import Connection, sql


@dataclass(frozen=True, slots=True)
class Warehouse:
    """A place where stock lies."""

    shop_id: str
    code: str
    name: str
    priority: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ListedLevel:
    """A level together with its SKU."""

    sku: str
    level: Level


_LOCK_WAREHOUSES = sql("SELECT pg_advisory_xact_lock(hashtext('warehouses'), hashtext(:shop))")

_COUNT_WAREHOUSES = sql("SELECT count(*) FROM warehouses WHERE shop_id = :shop")

_INSERT_WAREHOUSE = sql("""
    INSERT INTO warehouses (shop_id, code, name, priority, created_at)
    VALUES (:shop, :code, :name, :priority, :created_at)
    ON CONFLICT (shop_id, code) DO NOTHING
""")

_LIST_WAREHOUSES = sql("""
    SELECT shop_id, code, name, priority, created_at FROM warehouses
    WHERE shop_id = :shop
    ORDER BY priority, code
""")

_LIST_LEVELS = sql("""
    SELECT sku, warehouse, on_hand, reserved FROM stock_levels
    WHERE shop_id = :shop
      AND (CAST(:sku AS text) IS NULL OR sku = :sku)
      AND (CAST(:warehouse AS text) IS NULL OR warehouse = :warehouse)
      AND (sku, warehouse) > (:after_sku, :after_warehouse)
    ORDER BY sku, warehouse
    LIMIT :most
""")

_LIST_MOVEMENTS = sql("""
    SELECT sku, event_seq, warehouse, kind, quantity, on_hand, operation_id, round, line, reason,
           moved_at
    FROM movements
    WHERE shop_id = :shop AND sku = :sku AND event_seq < :before
    ORDER BY event_seq DESC
    LIMIT :most
""")

_LIST_ROUNDS = sql("""
    SELECT round FROM reservations
    WHERE shop_id = :shop AND owner_id = :owner AND status <> 'new'
    ORDER BY round
    LIMIT :most
""")


async def open_warehouse(connection: Connection, warehouse: Warehouse) -> bool:
    """Add a warehouse; False when the shop has one of this code."""
    opened = await connection.execute(
        _INSERT_WAREHOUSE,
        {
            "shop": warehouse.shop_id,
            "code": warehouse.code,
            "name": warehouse.name,
            "priority": warehouse.priority,
            "created_at": warehouse.created_at,
        },
    )
    return opened == 1


async def count_warehouses(connection: Connection, shop_id: str) -> int:
    """How many warehouses a shop has; nobody else opens one until this transaction ends."""
    await connection.execute(_LOCK_WAREHOUSES, {"shop": shop_id})
    return int(await connection.fetch_value(_COUNT_WAREHOUSES, {"shop": shop_id}))


async def list_warehouses(connection: Connection, shop_id: str) -> list[Warehouse]:
    """The warehouses of a shop, by priority."""
    found = await connection.fetch(_LIST_WAREHOUSES, {"shop": shop_id})
    return [Warehouse(*row) for row in found]


async def list_levels(
    connection: Connection,
    shop_id: str,
    *,
    sku: str | None,
    warehouse: str | None,
    after: tuple[str, str],
    most: int,
) -> Sequence[ListedLevel]:
    """Levels by SKU and warehouse, beyond those `after`; `("", "")` is the beginning."""
    found = await connection.fetch(
        _LIST_LEVELS,
        {
            "shop": shop_id,
            "sku": sku,
            "warehouse": warehouse,
            "after_sku": after[0],
            "after_warehouse": after[1],
            "most": most,
        },
    )
    return [ListedLevel(row.sku, Level(row.warehouse, row.on_hand, row.reserved)) for row in found]


async def list_movements(
    connection: Connection, shop_id: str, sku: str, *, before: int, most: int
) -> Sequence[Movement]:
    """Movements of a SKU with an `event_seq` less than `before`, the latest first."""
    found = await connection.fetch(
        _LIST_MOVEMENTS, {"shop": shop_id, "sku": sku, "before": before, "most": most}
    )
    return [
        Movement(
            shop_id,
            row.sku,
            row.event_seq,
            row.warehouse,
            MovementKind(row.kind),
            row.quantity,
            row.on_hand,
            row.operation_id,
            row.round,
            row.line,
            row.reason,
            row.moved_at,
        )
        for row in found
    ]


async def list_rounds(
    connection: Connection, shop_id: str, owner_id: UUID, most: int
) -> list[Reservation]:
    """The reservations of one owner, from the first round, with their lines."""
    rounds = await connection.fetch_column(
        _LIST_ROUNDS, {"shop": shop_id, "owner": owner_id, "most": most}
    )
    found = await read_reservations(connection, [(shop_id, owner_id, round_) for round_ in rounds])
    return sorted(found, key=lambda reservation: reservation.round)
