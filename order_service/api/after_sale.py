"""What operators do with an order after it was paid for: ship it, refund it, take goods back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path

from contracts.messages.order import RefundOrder, ResolveRefund, ReturnOrder, ShipOrder
from contracts.messages.parts import LinePieces, ReturnedPieces
from messaging.database import Connection
from messaging.http.commands import CommandConnection, CommandRoute, Now
from messaging.http.rendering import JsonResponse
from messaging.http.tokens import Customer, require_role
from order_service.api.bodies import (
    NewRefund,
    NewRefundResolution,
    NewReturn,
    NewShipment,
    PiecesBody,
)
from order_service.api.decisions import OrderCommand, Settings, decide
from order_service.api.problems import order_not_found
from order_service.api.routes import OPERATOR, shown_order
from order_service.api.views import OrderView
from order_service.settings import OrderSettings
from order_service.store import listings
from order_service.store.listings import Holder

router = APIRouter(route_class=CommandRoute, tags=["after sale"])

Operator = Annotated[Customer, Depends(require_role(OPERATOR))]


@dataclass(frozen=True, slots=True)
class Desk:
    """An operator with one order of their shop before them."""

    holder: Holder
    operator: Customer
    connection: Connection
    settings: OrderSettings
    now: datetime

    @property
    def about(self) -> dict[str, Any]:
        """The fields that every command on the order has."""
        return {
            "shop_id": self.holder.shop_id,
            "checkout_id": self.holder.checkout_id,
            "requested_by": self.operator.sub,
        }

    async def done(self, command: OrderCommand) -> JsonResponse:
        """The order after the command. Raises the problem of a refusal."""
        await decide(self.connection, self.settings, command, self.now)
        return JsonResponse(await shown_order(self.connection, self.holder, self.settings), 202)


async def desk(
    order_id: UUID,
    operator: Operator,
    connection: CommandConnection,
    settings: Settings,
    now: Now,
) -> Desk:
    """The operator's desk. An order of another shop is not there."""
    holder = await listings.find_order(connection, order_id)
    if holder is None or holder.shop_id != operator.shop:
        raise order_not_found()
    return Desk(holder, operator, connection, settings, now)


AtDesk = Annotated[Desk, Depends(desk)]


@router.post("/orders/{order_id}/shipments", status_code=202, response_model=OrderView)
async def ship_order(body: NewShipment, desk: AtDesk) -> JsonResponse:
    """Hand goods over: all that is left, or pieces of lines, in as many shipments as it takes.

    From now on the order is not cancelled any more; what never ships is taken back and refunded
    by a return of `unshipped` pieces. Money that was set aside is taken first, whole, with the
    first shipment: the goods have left when the order lists it. A parcel of the same carrier and
    number is recorded once.
    """
    command = ShipOrder(
        **desk.about, carrier=body.carrier, tracking=body.tracking, lines=_pieces(body.lines)
    )
    return await desk.done(command)


@router.post("/orders/{order_id}/refunds", status_code=202, response_model=OrderView)
async def refund_order(body: NewRefund, desk: AtDesk) -> JsonResponse:
    """Give money back, never more than is left; how far it is stands in the order."""
    command = RefundOrder(
        **desk.about,
        amount_minor=body.amount_minor,
        lines=_pieces(body.lines),
        reason=body.reason,
    )
    return await desk.done(command)


@router.post("/orders/{order_id}/returns", status_code=202, response_model=OrderView)
async def return_order(body: NewReturn, desk: AtDesk) -> JsonResponse:
    """Take goods back into stock, or write them off, and give their money back."""
    lines = tuple(
        ReturnedPieces(
            line_no=line.line_no,
            quantity=line.quantity,
            write_off=line.write_off,
            unshipped=line.unshipped,
        )
        for line in body.lines
    )
    command = ReturnOrder(**desk.about, lines=lines, refund=body.refund, reason=body.reason)
    return await desk.done(command)


@router.post(
    "/orders/{order_id}/refunds/{refund}/resolve", status_code=202, response_model=OrderView
)
async def resolve_refund(
    refund: Annotated[int, Path(ge=1, le=1_000_000)], body: NewRefundResolution, desk: AtDesk
) -> JsonResponse:
    """Decide about a refund that failed, or whose answer never came."""
    command = ResolveRefund(**desk.about, claim=refund, decision=body.decision, reason=body.reason)
    return await desk.done(command)


def _pieces(lines: Sequence[PiecesBody]) -> tuple[LinePieces, ...]:
    return tuple(LinePieces(line_no=line.line_no, quantity=line.quantity) for line in lines)
