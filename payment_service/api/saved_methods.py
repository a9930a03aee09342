"""What a customer saved: their own methods only, listed and deleted."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel

from messaging.http.commands import CommandConnection, CommandRoute, Now, ReadConnection
from messaging.http.problems import Problem
from messaging.http.tokens import RequiredCustomer
from payment_service.store import saved_methods as store

router = APIRouter(route_class=CommandRoute, tags=["saved methods"])

MOST_METHODS = 100
"""Of one customer, the newest; nobody chooses among more."""


class SavedMethodView(BaseModel):
    """A saved method, by what its owner knows of it."""

    saved_method_id: UUID
    provider: str
    brand: str | None
    last4: str | None
    exp_month: int | None
    exp_year: int | None
    consented_at: datetime


class SavedMethodList(BaseModel):
    """A customer's saved methods, the newest first."""

    items: list[SavedMethodView]


@router.get("/saved-methods")
async def saved_methods(customer: RequiredCustomer, connection: ReadConnection) -> SavedMethodList:
    """What the customer saved."""
    return _view(await store.methods_of(connection, customer.shop, customer.sub, MOST_METHODS))


@router.delete("/saved-methods/{saved_method_id}")
async def delete_saved_method(
    saved_method_id: UUID, customer: RequiredCustomer, connection: CommandConnection, now: Now
) -> SavedMethodList:
    """Forget a method, here at once and at its provider soon; answers what is left."""
    if not await store.delete(connection, customer.shop, customer.sub, saved_method_id, now):
        raise Problem(404, "unknown-saved-method", "There is no such saved method")
    return _view(await store.methods_of(connection, customer.shop, customer.sub, MOST_METHODS))


def _view(rows: object) -> SavedMethodList:
    return SavedMethodList.model_validate({"items": rows}, from_attributes=True)
