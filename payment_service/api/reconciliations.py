"""Operators have our ledger compared with a provider's books, and see what was found."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, BaseModel

from contracts.ids import new_id
from messaging.http.bodies import RequestBody, ShortText
from messaging.http.commands import CommandConnection, CommandRoute, Now, ReadConnection
from messaging.http.problems import Problem
from messaging.http.tokens import Customer, require_role
from payment_service.store import reconciliations as store

Operator = Annotated[Customer, Depends(require_role("operator"))]

MOST_RUNS = 50
MOST_DIFFERENCES = 1_000

LONGEST = timedelta(days=90)
"""How far back a run reaches at most: a provider's lists are read whole."""


class NewReconciliation(RequestBody):
    """Asks for a run of each provider, or of one, over what moved since a moment."""

    since: AwareDatetime
    provider: ShortText | None = None


class RunView(BaseModel):
    """A run: due, running, done or failed. Counts grow while it runs."""

    run_id: UUID
    provider: str
    since: datetime
    requested_by: str
    state: str
    compared: int
    under_way: int
    foreign_payments: int
    differences: int
    error: str | None
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class DifferenceView(BaseModel):
    """Where the sides differ; `state` is under_review, repaired, or reported."""

    name: str
    kind: str
    state: str
    payment_id: UUID | None
    attempt: int | None
    ours: dict[str, int | str | None] | None
    theirs: dict[str, int | str | None] | None
    noted_at: datetime


class RunList(BaseModel):
    """Runs, the newest first."""

    items: list[RunView]


class RunWithDifferences(RunView):
    """A run with what it found, by name."""

    found: list[DifferenceView]


def reconciliations_router(providers: Collection[str]) -> APIRouter:
    """The endpoints; `providers` are those that can be compared with."""
    router = APIRouter(route_class=CommandRoute, tags=["reconciliation"])

    @router.post("/reconciliations", status_code=202)
    async def ask(
        body: NewReconciliation, operator: Operator, connection: CommandConnection, now: Now
    ) -> RunList:
        """Have runs made; look at each until it is done."""
        if body.provider is not None and body.provider not in providers:
            raise Problem(
                422,
                "provider-not-offered",
                "There is no such provider",
                providers=sorted(providers),
            )
        if not now - LONGEST <= body.since <= now:
            raise Problem(
                422,
                "since-out-of-range",
                "A run reaches back into the past, and at most so far",
                days=LONGEST.days,
            )
        wanted = [body.provider] if body.provider is not None else sorted(providers)
        ids = {provider: new_id() for provider in wanted}
        for provider, run_id in ids.items():
            await store.ask(connection, run_id, provider, body.since, operator.sub, now)
        runs = [(await store.runs(connection, 1, run_id))[0] for run_id in ids.values()]
        return RunList.model_validate({"items": runs})

    @router.get("/reconciliations")
    async def runs(operator: Operator, connection: ReadConnection) -> RunList:
        """The newest runs."""
        return RunList.model_validate({"items": await store.runs(connection, MOST_RUNS)})

    @router.get("/reconciliations/{run_id}")
    async def run(
        run_id: UUID, operator: Operator, connection: ReadConnection
    ) -> RunWithDifferences:
        """A run with what it found."""
        found: list[Any] = list(await store.runs(connection, 1, run_id))
        if not found:
            raise Problem(404, "unknown-reconciliation", "There is no such run")
        different = await store.differences(connection, run_id, MOST_DIFFERENCES)
        return RunWithDifferences.model_validate({**found[0], "found": different})

    return router
