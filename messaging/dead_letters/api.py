"""`/dead-letters`: what operators do with them, the same in every service that reads messages."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from contracts.topics import TOPICS_BY_NAME
from messaging.clock import utc_now
from messaging.database import Connection
from messaging.dead_letters import desk, history, notes, runs, stored
from messaging.dead_letters.desk import Selection, Waiting
from messaging.dead_letters.letters import Status
from messaging.dead_letters.replayer import Replayer
from messaging.dead_letters.stored import StoredLetter
from messaging.dead_letters.views import (
    FiguresPage,
    LetterView,
    ListedPage,
    RunPage,
    RunView,
    TrialPage,
    TrialView,
    figures_view,
    letter_view,
    listed_view,
    run_view,
    trial_view,
)
from messaging.delivery import UndecodableRecord, decode
from messaging.fold import Incoming
from messaging.http.bodies import RequestBody, ShortText
from messaging.http.commands import CommandConnection, CommandRoute, Now, ReadConnection
from messaging.http.declared import answers_with
from messaging.http.pages import decode_cursor, encode_cursor, page
from messaging.http.problems import Problem, invalid_request
from messaging.http.rendering import JsonResponse
from messaging.http.tokens import Customer, require_role

BEYOND_EVERY_LETTER = 2**63 - 1
LARGEST_LIST = 10_000
LARGEST_TRIAL = 100
MOST_FAULTS = 200
MOST_RUNS = 200
MOST_IDS = 1000
FASTEST_PER_SECOND = 1000.0
SLOWEST_PER_SECOND = 0.1
"""A slower run would hold up the others of its service, and its own stop, for too long."""

router = APIRouter(prefix="/dead-letters", route_class=CommandRoute, tags=["dead letters"])

Operator = Annotated[Customer, Depends(require_role("operations"))]
Name = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00]+$")]


async def _replayer(request: Request) -> Replayer:
    replayer = request.app.state.replayer
    assert isinstance(replayer, Replayer)  # noqa: S101 - set by the service
    return replayer


ItsReplayer = Annotated[Replayer, Depends(_replayer)]


async def _selection(
    ids: Annotated[list[UUID] | None, Query(alias="id", max_length=MOST_IDS)] = None,
    status: Annotated[list[Status] | None, Query(max_length=len(Status))] = None,
    fingerprint: Annotated[Name | None, Query(description="Letters of this fault.")] = None,
    consumer: Annotated[Name | None, Query(description="`<service>.<topic>`.")] = None,
    message_type: Annotated[Name | None, Query(alias="type")] = None,
    key: Annotated[Name | None, Query(description="The record's key.")] = None,
    since: Annotated[AwareDatetime | None, Query(description="Put aside then or later.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Put aside before.")] = None,
) -> Selection:
    return Selection(
        ids=None if ids is None else tuple(ids),
        statuses=None if status is None else tuple(status),
        fingerprint=fingerprint,
        consumer=consumer,
        type=message_type,
        key=key,
        since=since,
        until=until,
    )


Chosen = Annotated[Selection, Depends(_selection)]
Reason = Annotated[ShortText, Field(description="Why; it is kept in the history.")]


class NewRun(RequestBody):
    """Which letters are replayed or discarded: those for which all that is given holds."""

    action: Literal["replay", "discard"]
    reason: Reason
    ids: Annotated[tuple[UUID, ...] | None, Field(min_length=1, max_length=MOST_IDS)] = None
    fingerprint: Name | None = None
    consumer: Name | None = None
    type: Name | None = None
    key: Name | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    rate_per_second: Annotated[
        float | None,
        Field(
            ge=SLOWEST_PER_SECOND, le=FASTEST_PER_SECOND, description="Letters a second at most."
        ),
    ] = None

    @model_validator(mode="after")
    def _chooses(self) -> "NewRun":
        if self.selection() == Selection():
            raise ValueError("say which letters: by ids, fingerprint, consumer, type, key or time")
        return self

    def selection(self) -> Selection:
        """Which letters are meant."""
        return Selection(
            ids=self.ids,
            fingerprint=self.fingerprint,
            consumer=self.consumer,
            type=self.type,
            key=self.key,
            since=self.since,
            until=self.until,
        )


class Stop(RequestBody):
    """Leave the rest of a run untried."""

    reason: Reason


class Edit(RequestBody):
    """Another value to be replayed; it must be a message of the same type and key."""

    value: dict[str, Any]
    reason: Reason


@router.get("", response_model=ListedPage)
async def list_letters(
    connection: ReadConnection,
    _: Operator,
    chosen: Chosen,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=LARGEST_LIST, description="Items on a page.")] = 50,
) -> JsonResponse:
    """Dead letters and parked messages, the newest first."""
    before = BEYOND_EVERY_LETTER if cursor is None else decode_cursor(cursor, int)[0]
    found = await desk.page_of(connection, chosen, before=before, most=limit + 1)
    shown = found[:limit]
    more = encode_cursor(shown[-1].seq) if len(found) > limit else None
    return JsonResponse(page([listed_view(one) for one in shown], more))


@router.get("/figures", response_model=FiguresPage)
async def count_faults(connection: ReadConnection, _: Operator) -> JsonResponse:
    """What is unsettled, by fault, the most frequent first."""
    found = await desk.figures(connection, MOST_FAULTS)
    return JsonResponse(page([figures_view(one) for one in found], None))


@router.get("/dry-run", response_model=TrialPage)
async def try_many(
    request: Request,
    replayer: ItsReplayer,
    _: Operator,
    chosen: Chosen,
    limit: Annotated[int, Query(ge=1, le=LARGEST_TRIAL, description="Letters tried.")] = 20,
) -> JsonResponse:
    """What replays of dead letters would come to now, one by one; nothing of it is kept."""
    async with request.app.state.api_database.reading() as connection:
        found = await desk.oldest_dead(connection, chosen, limit)
    tried = [await _try_out(request, replayer, letter_id) for letter_id in found]
    return JsonResponse(page(tried, None))


@router.get("/runs", response_model=RunPage)
async def list_runs(
    connection: ReadConnection,
    _: Operator,
    limit: Annotated[int, Query(ge=1, le=MOST_RUNS, description="Items.")] = 20,
) -> JsonResponse:
    """The latest replays and discards."""
    found = await runs.latest(connection, limit)
    return JsonResponse(page([run_view(one) for one in found], None))


@router.post(
    "/runs",
    status_code=202,
    response_model=RunView,
    responses={202: answers_with("Location")},
)
async def begin_run(
    body: NewRun, connection: CommandConnection, replayer: ItsReplayer, operator: Operator, now: Now
) -> JsonResponse:
    """Replay or discard dead letters, oldest first; what is parked behind them follows.

    At most 10,000 at once. A replay stops at the first letter that fails as one of the chosen
    had; those whose turn had not come are dead as before. A dead letter of which a replay is
    under way is not chosen, so that asking twice replays once.
    """
    run = await desk.begin_run(
        connection,
        replayer.service,
        body.action,
        body.selection(),
        who=operator.sub,
        reason=body.reason,
        rate_per_second=body.rate_per_second,
        now=now,
    )
    if run is None:
        raise Problem(
            409,
            "no-such-dead-letters",
            "No dead letter is to be replayed or discarded by that",
            "What is parked is replayed after the letter that it waits for.",
        )
    location = {"Location": f"/dead-letters/runs/{run.id}"}
    return JsonResponse(run_view(run), 202, headers=location)


@router.get("/runs/{run_id}", response_model=RunView)
async def read_run(run_id: UUID, connection: ReadConnection, _: Operator) -> JsonResponse:
    """A run and how far it is."""
    run = await runs.find(connection, run_id)
    if run is None:
        raise Problem(404, "unknown-run", "There is no such run")
    return JsonResponse(run_view(run))


@router.post("/runs/{run_id}/stop", response_model=RunView)
async def stop_run(
    run_id: UUID, body: Stop, connection: CommandConnection, operator: Operator
) -> JsonResponse:
    """Leave the letters of a run untried whose turn has not come."""
    if not await runs.stop(connection, run_id, f"{operator.sub}: {body.reason}"):
        raise Problem(409, "run-not-under-way", "There is no such run under way")
    run = await runs.find(connection, run_id)
    assert run is not None  # noqa: S101 - it was just stopped
    return JsonResponse(run_view(run))


@router.get("/{letter_id}", response_model=LetterView)
async def read_letter(
    letter_id: UUID, connection: ReadConnection, replayer: ItsReplayer, _: Operator
) -> JsonResponse:
    """A dead letter whole, with what waits behind it and what was done with it."""
    one = await _found(connection, replayer, letter_id)
    return await _whole(connection, one)


@router.post("/{letter_id}/edits", response_model=LetterView)
async def edit_letter(
    letter_id: UUID,
    body: Edit,
    connection: CommandConnection,
    replayer: ItsReplayer,
    operator: Operator,
    now: Now,
) -> JsonResponse:
    """Have another value replayed; the one that came is kept, and both stand in the history."""
    one = await stored.lock(connection, replayer.service, letter_id)
    if one is None:
        raise _unknown()
    if one.status not in (Status.DEAD, Status.PARKED):
        raise Problem(
            409,
            "dead-letter-settled",
            "It has had its turn, or has it now",
            dead_letter_status=one.status.value,
        )
    try:
        value = orjson.dumps(body.value)
    except orjson.JSONEncodeError as error:
        raise _bad_value(str(error)) from None
    _check_value(one, value)
    await desk.edit(connection, one, value, who=operator.sub, reason=body.reason, now=now)
    return await _whole(connection, await _found(connection, replayer, letter_id))


@router.get("/{letter_id}/dry-run", response_model=TrialView)
async def try_letter(
    letter_id: UUID, request: Request, replayer: ItsReplayer, _: Operator
) -> JsonResponse:
    """What a replay of this letter would come to now; nothing of it is kept."""
    return JsonResponse(await _try_out(request, replayer, letter_id))


class _Undone(Exception):
    """Rolls a dry run back."""


@asynccontextmanager
async def _rolled_back(request: Request) -> AsyncIterator[Connection]:
    try:
        async with request.app.state.api_database.transaction() as connection:
            yield connection
            raise _Undone
    except _Undone:
        pass


async def _try_out(request: Request, replayer: Replayer, letter_id: UUID) -> TrialView:
    """A replay that is rolled back; an error of the database is its outcome like any other."""
    async with _rolled_back(request) as connection:
        one = await _found(connection, replayer, letter_id)
        trial = await replayer.rehearse(connection, one, utc_now())
        return trial_view(one, trial)


def _check_value(one: StoredLetter, value: bytes) -> None:
    letter = one.letter
    topic = TOPICS_BY_NAME.get(letter.record.topic)
    if letter.type is None or topic is None:
        raise Problem(
            409,
            "dead-letter-not-editable",
            "The record has no envelope that says what its value should be",
        )
    try:
        message = decode(value, letter.type, topic)
    except UndecodableRecord as error:
        raise _bad_value(str(error)) from None
    if message.key.encode() != letter.record.key:
        raise _bad_value("it has another key than the record")
    before = one.delivery(topic)
    after = replace(before, incoming=Incoming(message, before.envelope), error=None)
    if notes.question(before) not in (None, notes.question(after)):
        raise _bad_value("it is of another step or round than the record")


def _bad_value(reason: str) -> Problem:
    return invalid_request([{"location": "body.value", "reason": reason}])


async def _found(connection: Connection, replayer: Replayer, letter_id: UUID) -> StoredLetter:
    one = await stored.find(connection, replayer.service, letter_id)
    if one is None:
        raise _unknown()
    return one


def _unknown() -> Problem:
    return Problem(404, "unknown-dead-letter", "There is no such dead letter here")


async def _whole(connection: Connection, one: StoredLetter) -> JsonResponse:
    waiting: Sequence[Waiting] = ()
    if one.status not in (Status.PARKED, Status.DONE, Status.DISCARDED):
        waiting = await desk.waiting_behind(connection, one)
    entries = await history.entries(connection, one.letter.id)
    return JsonResponse(letter_view(one, waiting, entries))
