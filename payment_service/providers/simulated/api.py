"""The simulated provider's own endpoints; mounted only where it is one of the providers.

The shopper acts under a link that nobody can guess; everything else needs the role operator.
Nothing here is under an idempotency key: acting twice is acting once, as at a bank's page.
"""

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from messaging.clock import utc_now
from messaging.http.pages import PageSize, decode_cursor, encode_cursor, page
from messaging.http.problems import Problem
from messaging.http.tokens import require_role
from payment_service.domain.outcomes import NAMES, Declined
from payment_service.providers.simulated.account import ACTION_FAILED
from payment_service.providers.simulated.provider import SimulatedProvider
from payment_service.store import operations as store

OPERATOR = Depends(require_role("operator"))
NOT_OPEN: dict[int | str, dict[str, Any]] = {409: {}}
"""An action that is over cannot be passed or failed."""


class ActionState(BaseModel):
    """Where the payment stands at the provider."""

    status: str


def simulated_router(provider: SimulatedProvider, wake: Callable[[], None]) -> APIRouter:
    """The endpoints of this provider; `wake` tells the worker that it has news."""
    router = APIRouter(prefix="/simulated", tags=["simulated provider"])

    async def charge_key_of(secret: str) -> str:
        charge_key = await provider.bank.charge_key_of_action(secret)
        if charge_key is None:
            raise Problem(404, "unknown-action", "There is no such action")
        return charge_key

    async def act(request: Request, secret: str, *, completed: bool) -> ActionState:
        charge_key = await charge_key_of(secret)
        outcome = await provider.shopper_acted(charge_key, completed=completed)
        failed = isinstance(outcome, Declined) and outcome.code == ACTION_FAILED
        status = NAMES[type(outcome)]
        if failed == completed or status not in {"succeeded", "authorized", "declined"}:
            raise Problem(409, "action-not-open", "The action is not open any more", payment=status)
        async with request.app.state.api_database.transaction() as connection:
            await store.hint(connection, charge_key, utc_now())
            connection.after_commit(wake)
        return ActionState(status=status)

    @router.get("/actions/{secret}")
    async def action(secret: str) -> ActionState:
        """Where the action stands: `action_required` while it is open."""
        charge_key = await charge_key_of(secret)
        outcome = await provider.shopper_looked(charge_key)
        return ActionState(status=NAMES[type(outcome)])

    @router.post("/actions/{secret}/complete", responses=NOT_OPEN)
    async def complete(request: Request, secret: str) -> ActionState:
        """The shopper passes the challenge: the payment goes on."""
        return await act(request, secret, completed=True)

    @router.post("/actions/{secret}/fail", responses=NOT_OPEN)
    async def fail(request: Request, secret: str) -> ActionState:
        """The shopper fails the challenge: the payment is declined."""
        return await act(request, secret, completed=False)

    @router.get("/ledger", dependencies=[OPERATOR])
    async def ledger(
        payment_id: UUID | None = None,
        cursor: Annotated[str | None, Query(description="From the page before.")] = None,
        limit: PageSize = 100,
    ) -> dict[str, Any]:
        """The provider's ledger in order, whole or of one payment."""
        after = decode_cursor(cursor, int)[0] if cursor else 0
        entries = await provider.bank.ledger(payment_id, after, limit)
        full = len(entries) == limit
        return page(entries, encode_cursor(entries[-1]["id"]) if full else None)

    @router.get("/counts", dependencies=[OPERATOR])
    async def counts() -> dict[str, Any]:
        """Calls and distinct keys by kind of call; ledger entries by kind and currency."""
        return await provider.bank.counts()

    return router
