"""How stock is shown."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from typing_extensions import TypedDict

from inventory_service.domain import Level, Movement, Reservation, Status, Stock
from inventory_service.store.listings import ListedLevel, Warehouse


class WarehouseView(TypedDict):
    """A warehouse; among several that could serve, the least priority goes first."""

    code: str
    name: str
    priority: int
    created_at: datetime


class WarehousePage(TypedDict):
    """The warehouses of a shop, by priority: always all of them."""

    items: list[WarehouseView]
    next_cursor: str | None


class BookedView(TypedDict):
    """A receipt or an adjustment that is booked: its lines, and pieces in sum."""

    operation_id: UUID
    lines: int
    pieces: int
    booked_at: datetime


class LevelView(TypedDict):
    """The pieces of one SKU in one warehouse."""

    warehouse: str
    on_hand: int
    reserved: int
    available: int


class ListedLevelView(LevelView):
    """A level in a list over all SKUs."""

    sku: str


class LevelPage(TypedDict):
    """Levels by SKU and warehouse."""

    items: list[ListedLevelView]
    next_cursor: str | None


class StockView(TypedDict):
    """One SKU over all its warehouses, by priority.

    `availability_version` orders what `inventory.availability` says of it; `event_seq` is the
    number of its last movement.
    """

    sku: str
    on_hand: int
    reserved: int
    available: int
    availability_version: int
    event_seq: int
    levels: list[LevelView]


class MovementView(TypedDict):
    """An entry of the ledger: pieces came (negative: went), and then so many were on hand.

    `operation_id` is the receipt or adjustment, or the checkout, with the round of its
    reservation.
    """

    movement_id: UUID
    event_seq: int
    warehouse: str
    kind: Literal["receipt", "adjustment", "sale", "return"]
    quantity: int
    on_hand: int
    operation_id: UUID
    reservation_round: int | None
    reason: str | None
    moved_at: datetime


class MovementPage(TypedDict):
    """Movements, the latest first."""

    items: list[MovementView]
    next_cursor: str | None


class ReservedLineView(TypedDict):
    """Pieces of one SKU from one warehouse."""

    sku: str
    warehouse: str
    quantity: int


class ShortageView(TypedDict):
    """What was left of a SKU when it did not suffice."""

    sku: str
    requested: int
    available: int


ReservationStatus = Literal[
    "held", "expired", "committed", "released", "booked_back", "rejected", "not_held"
]


class ReservationView(TypedDict):
    """One round of a checkout.

    `expired` still holds its stock: its time is up, and the saga is asked (`questions` times so
    far, again at `next_question_at`) what is to become of it.
    """

    reservation_id: UUID
    round: int
    status: ReservationStatus
    lines: list[ReservedLineView]
    shortages: list[ShortageView]
    expires_at: datetime | None
    next_question_at: datetime | None
    questions: int
    reason: str | None
    changed_at: datetime | None


class ReservationPage(TypedDict):
    """The rounds of a checkout, from the first."""

    checkout_id: UUID
    items: list[ReservationView]
    next_cursor: str | None


def warehouse_view(warehouse: Warehouse) -> WarehouseView:
    """A warehouse."""
    return {
        "code": warehouse.code,
        "name": warehouse.name,
        "priority": warehouse.priority,
        "created_at": warehouse.created_at,
    }


def level_view(level: Level) -> LevelView:
    """A level of a known SKU."""
    return {
        "warehouse": level.warehouse,
        "on_hand": level.on_hand,
        "reserved": level.reserved,
        "available": level.available,
    }


def listed_level_view(listed: ListedLevel) -> ListedLevelView:
    """A level with its SKU."""
    return {"sku": listed.sku, **level_view(listed.level)}


def stock_view(stock: Stock) -> StockView:
    """A SKU."""
    return {
        "sku": stock.sku,
        "on_hand": sum(level.on_hand for level in stock.levels),
        "reserved": sum(level.reserved for level in stock.levels),
        "available": stock.available,
        "availability_version": stock.availability_version,
        "event_seq": stock.event_seq,
        "levels": [level_view(level) for level in stock.levels],
    }


def movement_view(movement: Movement) -> MovementView:
    """An entry of the ledger."""
    return {
        "movement_id": movement.id,
        "event_seq": movement.event_seq,
        "warehouse": movement.warehouse,
        "kind": movement.kind.value,
        "quantity": movement.quantity,
        "on_hand": movement.on_hand,
        "operation_id": movement.operation_id,
        "reservation_round": movement.round or None,
        "reason": movement.reason,
        "moved_at": movement.moved_at,
    }


def reservation_view(reservation: Reservation, now: datetime) -> ReservationView:
    """One round."""
    return {
        "reservation_id": reservation.id,
        "round": reservation.round,
        "status": _status(reservation, now),
        "lines": [
            {"sku": line.sku, "warehouse": line.warehouse, "quantity": line.quantity}
            for line in reservation.lines
        ],
        "shortages": [
            {"sku": short.sku, "requested": short.requested, "available": short.available}
            for short in reservation.shortages
        ],
        "expires_at": reservation.expires_at,
        "next_question_at": reservation.next_question_at,
        "questions": reservation.questions,
        "reason": reservation.reason,
        "changed_at": reservation.changed_at,
    }


def _status(reservation: Reservation, now: datetime) -> ReservationStatus:
    match reservation.status:
        case Status.HELD:
            due = reservation.expires_at is not None and reservation.expires_at <= now
            return "expired" if due else "held"
        case Status.NEW:
            raise ValueError("a reservation on which nothing is decided is not shown")
        case Status.COMMITTED:
            return "committed"
        case Status.RELEASED:
            return "released"
        case Status.BOOKED_BACK:
            return "booked_back"
        case Status.REJECTED:
            return "rejected"
        case Status.NOT_HELD:
            return "not_held"
