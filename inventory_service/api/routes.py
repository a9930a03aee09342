"""The routes of inventory. Stock is moved by operators here, and by the saga through Kafka."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from contracts.codes import is_code
from contracts.ids import new_id
from inventory_service.api.bodies import Adjustment, Code, NewWarehouse, Receipt
from inventory_service.api.problems import problem_of
from inventory_service.api.views import (
    BookedView,
    LevelPage,
    MovementPage,
    ReservationPage,
    StockView,
    WarehousePage,
    WarehouseView,
    listed_level_view,
    movement_view,
    reservation_view,
    stock_view,
    warehouse_view,
)
from inventory_service.domain import (
    AdjustStock,
    Overdrawn,
    ReceiveStock,
    Stock,
    UnknownWarehouses,
)
from inventory_service.handlers import SERVICE, StockHandler
from inventory_service.settings import InventorySettings
from inventory_service.store import listings
from inventory_service.store.stock import read_stock
from messaging.database import Connection
from messaging.fold import apply
from messaging.http.commands import CommandConnection, CommandRoute, Now, ReadConnection
from messaging.http.pages import PageSize, decode_cursor, encode_cursor, page
from messaging.http.problems import Problem
from messaging.http.rendering import JsonResponse
from messaging.http.tokens import Customer, require_role

BEYOND_EVERY_MOVEMENT = 2**63 - 1


class BookingRoute(CommandRoute):
    """A command whose body has thousands of lines."""

    body_setting = "booking_body_bytes"


router = APIRouter(route_class=CommandRoute, tags=["stock"])
bookings = APIRouter(route_class=BookingRoute, tags=["bookings"])


async def inventory_settings(request: Request) -> InventorySettings:
    """The settings of this process."""
    settings = request.app.state.settings
    assert isinstance(settings, InventorySettings)  # noqa: S101 - set by the service
    return settings


Settings = Annotated[InventorySettings, Depends(inventory_settings)]
allowed_operator = require_role("operator")
Operator = Annotated[Customer, Depends(allowed_operator)]
AfterCursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]


@bookings.post("/receipts", status_code=201, response_model=BookedView)
async def book_receipt(
    body: Receipt, connection: CommandConnection, operator: Operator, settings: Settings, now: Now
) -> JsonResponse:
    """Book goods in: all lines, or none."""
    _check_bounds(body, settings)
    lines = tuple(line.change() for line in body.lines)
    request = ReceiveStock(operator.shop, new_id(), body.reason, lines)
    return await _book(connection, request, now)


@bookings.post("/adjustments", status_code=201, response_model=BookedView)
async def book_adjustment(
    body: Adjustment,
    connection: CommandConnection,
    operator: Operator,
    settings: Settings,
    now: Now,
) -> JsonResponse:
    """Set the books right: all lines, or none; never below what is reserved (409)."""
    _check_bounds(body, settings)
    lines = tuple(line.change() for line in body.lines)
    request = AdjustStock(operator.shop, new_id(), body.reason, lines)
    return await _book(connection, request, now)


def _check_bounds(body: Receipt | Adjustment, settings: InventorySettings) -> None:
    if len(body.lines) > settings.booking_lines:
        raise Problem(
            422,
            "too-many-lines",
            "That many lines are not booked at once",
            largest_lines=settings.booking_lines,
        )
    largest = settings.booking_line_pieces
    quantities = (line.quantity for line in body.lines)
    beyond = [number for number, pieces in enumerate(quantities) if abs(pieces) > largest]
    if beyond:
        raise Problem(
            422,
            "quantity-too-large",
            "That many pieces are not booked in one line",
            "`lines` count from 0.",
            lines=beyond,
            largest_quantity=largest,
        )


async def _book(
    connection: Connection, request: ReceiveStock | AdjustStock, now: datetime
) -> JsonResponse:
    decision = await apply(connection, StockHandler(), request, now, source=SERVICE)
    match decision.result:
        case UnknownWarehouses() | Overdrawn() as refused:
            raise problem_of(refused)
        case _:
            booked: BookedView = {
                "operation_id": request.operation_id,
                "lines": len(request.lines),
                "pieces": sum(line.quantity for line in request.lines),
                "booked_at": now,
            }
            return JsonResponse(booked, 201)


@router.post("/warehouses", status_code=201, response_model=WarehouseView)
async def open_warehouse(
    body: NewWarehouse,
    connection: CommandConnection,
    operator: Operator,
    settings: Settings,
    now: Now,
) -> JsonResponse:
    """Open a warehouse."""
    if await listings.count_warehouses(connection, operator.shop) >= settings.warehouses_per_shop:
        raise Problem(
            409,
            "too-many-warehouses",
            "The shop cannot have more warehouses",
            largest_warehouses=settings.warehouses_per_shop,
        )
    warehouse = listings.Warehouse(operator.shop, body.code, body.name, body.priority, now)
    if not await listings.open_warehouse(connection, warehouse):
        raise Problem(
            409, "warehouse-exists", "The shop has a warehouse of this code", code=body.code
        )
    return JsonResponse(warehouse_view(warehouse), 201)


@router.get("/warehouses", response_model=WarehousePage)
async def list_warehouses(connection: ReadConnection, operator: Operator) -> JsonResponse:
    """The warehouses of the shop, by priority."""
    found = await listings.list_warehouses(connection, operator.shop)
    return JsonResponse(page([warehouse_view(one) for one in found], None))


@router.get("/stock", response_model=LevelPage)
async def list_levels(
    connection: ReadConnection,
    operator: Operator,
    sku: Annotated[Code | None, Query(description="Only levels of this SKU.")] = None,
    warehouse: Annotated[Code | None, Query(description="Only levels in this warehouse.")] = None,
    cursor: AfterCursor = None,
    limit: PageSize = 50,
) -> JsonResponse:
    """Levels by SKU and warehouse, page by page."""
    found = await listings.list_levels(
        connection,
        operator.shop,
        sku=sku,
        warehouse=warehouse,
        after=("", "") if cursor is None else decode_cursor(cursor, str, str),
        most=limit + 1,
    )
    shown = found[:limit]
    more = None
    if len(found) > limit:
        more = encode_cursor(shown[-1].sku, shown[-1].level.warehouse)
    return JsonResponse(page([listed_level_view(one) for one in shown], more))


@router.get("/stock/{sku}", response_model=StockView)
async def read_sku(sku: str, connection: ReadConnection, operator: Operator) -> JsonResponse:
    """One SKU over all warehouses."""
    return JsonResponse(stock_view(await _stock(connection, operator.shop, sku)))


@router.get("/stock/{sku}/movements", response_model=MovementPage)
async def list_movements(
    sku: str,
    connection: ReadConnection,
    operator: Operator,
    cursor: AfterCursor = None,
    limit: PageSize = 50,
) -> JsonResponse:
    """The ledger of one SKU, the latest movement first."""
    (before,) = (BEYOND_EVERY_MOVEMENT,) if cursor is None else decode_cursor(cursor, int)
    await _stock(connection, operator.shop, sku)
    found = await listings.list_movements(
        connection, operator.shop, sku, before=before, most=limit + 1
    )
    shown = found[:limit]
    more = encode_cursor(shown[-1].event_seq) if len(found) > limit else None
    return JsonResponse(page([movement_view(one) for one in shown], more))


async def _stock(connection: Connection, shop_id: str, sku: str) -> Stock:
    found = await read_stock(connection, [(shop_id, sku)]) if is_code(sku) else []
    if not found:
        raise Problem(404, "unknown-sku", "The shop never had stock of this SKU")
    return found[0]


@router.get("/reservations/{checkout_id}", response_model=ReservationPage)
async def read_reservations(
    checkout_id: UUID,
    connection: ReadConnection,
    operator: Operator,
    settings: Settings,
    now: Now,
) -> JsonResponse:
    """What a checkout holds, has held or was refused, round by round."""
    found = await listings.list_rounds(
        connection, operator.shop, checkout_id, settings.rounds_listed
    )
    if not found:
        raise Problem(404, "unknown-reservation", "Nothing was ever reserved for this checkout")
    items = [reservation_view(one, now) for one in found]
    return JsonResponse({"checkout_id": checkout_id, **page(items, None)})
