"""What the routes share: a command is decided at once, and a checkout shown as it is then."""

from datetime import datetime
from typing import Annotated, TypeAlias

from fastapi import Depends, Request

from contracts.messages.order import (
    CancelCheckout,
    PayOrder,
    RefundOrder,
    ResolveCheckout,
    ResolveRefund,
    ReturnOrder,
    ShipOrder,
)
from messaging.database import Connection
from messaging.fold import apply
from messaging.http.problems import Problem
from order_service.after_sale import Refused
from order_service.api.problems import problem_of, problem_of_refusal
from order_service.api.views import CheckoutView, checkout_view
from order_service.checkout import Checkout, Stale, advance
from order_service.handlers import SERVICE, CheckoutHandler
from order_service.settings import OrderSettings
from order_service.store import listings


async def order_settings(request: Request) -> OrderSettings:
    """The settings of this process."""
    settings = request.app.state.settings
    assert isinstance(settings, OrderSettings)  # noqa: S101 - set by the service
    return settings


OrderCommand: TypeAlias = (
    PayOrder
    | CancelCheckout
    | ResolveCheckout
    | RefundOrder
    | ReturnOrder
    | ShipOrder
    | ResolveRefund
)
"""What is decided at once."""

Settings = Annotated[OrderSettings, Depends(order_settings)]


async def decide(
    connection: Connection,
    settings: OrderSettings,
    command: OrderCommand,
    now: datetime,
) -> None:
    """Decide a command at once. Raises the problem of a refusal; nothing is kept then."""
    handler = CheckoutHandler(settings.policy(), settings.sellers)
    decision = await apply(connection, handler, command, now, source=SERVICE)
    if isinstance(decision.result, Refused):
        raise problem_of_refusal(decision.result.why)
    if isinstance(decision.result, Stale):
        problem = problem_of(decision.result.why)
        if problem is not None:
            raise problem


def refusal_of(
    checkout: Checkout, settings: OrderSettings, command: PayOrder, now: datetime
) -> Problem | None:
    """The problem that a command would come to now; nothing is decided."""
    outcome = advance(checkout, command, now, settings.policy())
    return problem_of(outcome.why) if isinstance(outcome, Stale) else None


async def shown(
    connection: Connection, checkout: Checkout, settings: OrderSettings
) -> CheckoutView:
    """A checkout with its history."""
    history = await listings.read_history(connection, checkout.id, settings.history_entries)
    return checkout_view(checkout, history)
