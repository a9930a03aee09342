"""What operators see and decide of checkouts that do not go on by themselves."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from typing_extensions import TypedDict

from contracts.messages.order import ResolveCheckout
from messaging.http.commands import CommandConnection, CommandRoute, Now, ReadConnection
from messaging.http.pages import page
from messaging.http.rendering import JsonResponse
from messaging.http.tokens import Customer, require_role
from order_service.api.bodies import NewResolution
from order_service.api.decisions import Settings, decide, shown
from order_service.api.problems import checkout_not_found
from order_service.api.views import CheckoutView
from order_service.checkout import Checkout
from order_service.store import listings

MOST_STUCK = 1000

router = APIRouter(prefix="/checkouts", route_class=CommandRoute, tags=["operations"])

Operator = Annotated[Customer, Depends(require_role("operator"))]


class StuckView(TypedDict):
    """A checkout that is late, blocked, overdue, or waits for somebody's decision."""

    checkout_id: UUID
    state: str
    late: bool
    blocked: bool
    deadline_at: datetime | None
    since: datetime


class StuckPage(TypedDict):
    """The checkouts that are stuck for longest."""

    items: list[StuckView]
    next_cursor: str | None


@router.get("/stuck", response_model=StuckPage)
async def list_stuck(
    connection: ReadConnection,
    operator: Operator,
    limit: Annotated[int, Query(ge=1, le=MOST_STUCK, description="Items.")] = 50,
) -> JsonResponse:
    """The checkouts of the shop that do not go on, stuck for longest first."""
    values = {"shop_id": operator.shop, "overdue_seconds": listings.OVERDUE_SECONDS, "most": limit}
    rows = await connection.fetch(listings.STUCK, values)
    items = [
        StuckView(
            checkout_id=row.checkout_id,
            state=row.state,
            late=row.late,
            blocked=row.blocked,
            deadline_at=row.deadline_at,
            since=row.changed_at,
        )
        for row in rows
    ]
    return JsonResponse(page(items, None))


@router.post("/{checkout_id}/resolve", status_code=202, response_model=CheckoutView)
async def resolve_checkout(
    checkout_id: UUID,
    body: NewResolution,
    connection: CommandConnection,
    settings: Settings,
    operator: Operator,
    now: Now,
) -> JsonResponse:
    """Decide what a checkout that needs attention could not decide by itself.

    Who decided, and why, is kept. To give the checkout up, cancel it: that is kept as well.
    """
    known = await listings.read_checkout(connection, checkout_id)
    if not isinstance(known, Checkout) or known.request.shop_id != operator.shop:
        raise checkout_not_found()
    command = ResolveCheckout(
        shop_id=operator.shop,
        checkout_id=checkout_id,
        decision=body.decision,
        reason=body.reason,
        requested_by=operator.sub,
    )
    await decide(connection, settings, command, now)
    after = await listings.read_checkout(connection, checkout_id)
    assert isinstance(after, Checkout)  # noqa: S101 - it was one before
    return JsonResponse(await shown(connection, after, settings), 202)
