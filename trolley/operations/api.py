"""The routes of the operations service; all of them read, over all services and shops."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from messaging.clock import utc_now
from messaging.http.pages import PageSize, decode_cursor, encode_cursor, page
from messaging.http.problems import Problem
from messaging.http.rendering import JsonResponse
from messaging.http.tokens import require_role
from trolley.audit.rounds import Rounds
from trolley.checkouts.reading import snapshots_of
from trolley.checkouts.story import Story, UnknownCheckout, story_of
from trolley.checkouts.stuck import stuck_checkouts
from trolley.operations.views import (
    AuditView,
    FindingPage,
    StuckPage,
    finding_view,
)

MOST_STUCK = 1000

router = APIRouter(tags=["operations"], dependencies=[Depends(require_role("operations"))])


async def rounds_of(request: Request) -> Rounds:
    """The auditor of this process."""
    rounds = request.app.state.rounds
    assert isinstance(rounds, Rounds)  # noqa: S101 - set by the service
    return rounds


Auditor = Annotated[Rounds, Depends(rounds_of)]


@router.get("/audit", response_model=AuditView)
async def show_audit(auditor: Auditor) -> JsonResponse:
    """How the auditor stands: when it looked last, what it found, what it still has to look at."""
    last = auditor.last
    return JsonResponse(
        AuditView(
            looked_seconds_ago=auditor.looked_seconds_ago,
            trouble=auditor.trouble,
            findings=auditor.findings.count(),
            suspected=last.suspected if last else 0,
            unjudged=last.unjudged if last else 0,
            due=last.due if last else 0,
            open_items=[
                {"what": item.what, "where": item.where, "count": item.count}
                for item in (last.open_items if last else ())
            ],
        )
    )


@router.get("/findings", response_model=FindingPage)
async def list_findings(
    auditor: Auditor,
    limit: PageSize = 50,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    resolved: Annotated[
        bool, Query(description="Those that were wrong not long ago, instead of what is wrong now.")
    ] = False,
) -> JsonResponse:
    """What must never be and is, with its evidence and age, the oldest first."""
    after: tuple[str, str] | None = None
    if cursor is not None:
        moment, finding_id = decode_cursor(cursor, str, str)
        after = moment, finding_id
    found = auditor.findings.page(resolved=resolved, after=after, most=limit + 1)
    shown, at = found[:limit], utc_now()
    following = None
    if len(found) > limit:
        following = encode_cursor(shown[-1].first_seen.isoformat(), shown[-1].id)
    return JsonResponse(page([finding_view(one, at) for one in shown], following))


@router.get("/checkouts/stuck", response_model=StuckPage)
async def list_stuck(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MOST_STUCK, description="Items.")] = 50,
) -> JsonResponse:
    """The checkouts of every shop that do not go on, stuck for longest first, with the reason."""
    async with snapshots_of(request.app.state.databases) as snapshots:
        found = await stuck_checkouts(snapshots, limit)
    return JsonResponse(page(found, None))


@router.get("/checkouts/{checkout_id}", response_model=Story)
async def show_checkout(checkout_id: UUID, request: Request) -> JsonResponse:
    """The timeline of one checkout over all services: messages, waits, calls, what is open."""
    async with snapshots_of(request.app.state.databases) as snapshots:
        try:
            story = await story_of(snapshots, checkout_id)
        except UnknownCheckout as error:
            raise Problem(404, "checkout-not-found", "There is no such checkout") from error
    return JsonResponse(story)
