"""The story of one checkout: what every service did about it, in order of time.

The order service notes each message that it took in, with its outcome. The others record each
answer they gave, whose id carries the time of it; payment keeps its calls to the provider.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from trolley.audit.invariant import Source
from trolley.audit.snapshots import Snapshots
from trolley.checkouts.reading import SERVICES

MOST_ENTRIES = 1000
"""Entries of one service that are read; a checkout has some twenty."""

TAKES_IN = "takes in"
DECIDES = "decides"
ANSWERS = "answers"
CALLS = "calls the provider"


class UnknownCheckout(Exception):
    """No service knows a checkout of this id."""

    def __init__(self, checkout_id: UUID) -> None:
        self.checkout_id = checkout_id
        super().__init__(f"No service knows the checkout {checkout_id}.")


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that a service did, or an operator."""

    at: datetime
    service: str
    does: str
    what: str
    step: str | None
    round: int | None
    outcome: str
    """`moved` or `stale` for a message taken in; a call's status and how often it was made."""
    state: str
    """Of the checkout, afterwards; empty where another service did something."""
    note: str


@dataclass(frozen=True, slots=True)
class Wait:
    """An answer that the saga waits for; `next` is what happens if none comes."""

    step: str
    round: int
    sends: int
    due_at: datetime
    hold: str | None
    next: str


@dataclass(frozen=True, slots=True)
class OpenItem:
    """Something of this checkout that a service has not finished with."""

    service: str
    what: str
    since: datetime
    detail: str


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of one checkout."""

    checkout_id: UUID
    state: str
    final: bool
    late: bool
    blocked: bool
    deadline_at: datetime | None
    entries: tuple[Entry, ...]
    waits: tuple[Wait, ...]
    open_items: tuple[OpenItem, ...]


_CHECKOUT = """
    SELECT state, final, late, blocked, deadline_at, facts->>'waits' AS waits
    FROM checkouts WHERE checkout_id = $1
"""
_HISTORY = """
    SELECT at, message_type, step, round, outcome, state, note FROM checkout_history
    WHERE checkout_id = $1 ORDER BY entry_no LIMIT $2
"""
_DECIDED = """
    SELECT at, decision, requested_by, reason FROM resolutions
    WHERE checkout_id = $1 ORDER BY id LIMIT $2
"""
_ANSWERS = (
    "SELECT reply_id, step, round, type FROM recorded_replies WHERE checkout_id = $1 LIMIT $2"
)
_CALLS = """
    SELECT o.created_at, o.updated_at, o.kind, o.attempt, o.status, o.makes, o.asks, o.outcome,
           o.claimable_at, o.status IN ('due', 'leased', 'reported') AS open
    FROM operations o JOIN payments USING (payment_id) WHERE checkout_id = $1
    ORDER BY o.created_at LIMIT $2
"""
_CART = """
    SELECT cart_id, start_due_at, start_sends, changed_at FROM carts WHERE checkout_id = $1
"""
_UNSENT = """
    SELECT type, time, flag_reason FROM outbox WHERE correlation_id = $1::text ORDER BY id LIMIT $2
"""
_DEAD = """
    SELECT id, consumer, type, status, error_type, fingerprint, created_at FROM dead_letters
    WHERE key = convert_to($1::text, 'UTF8') AND status NOT IN ('done', 'discarded')
    ORDER BY seq LIMIT $2
"""


async def story_of(snapshots: Snapshots, checkout_id: UUID) -> Story:
    """Read what every service knows of a checkout. Raises `UnknownCheckout`."""
    checkouts = await snapshots.fetch(Source.ORDER, _CHECKOUT, checkout_id)
    history = await snapshots.fetch(Source.ORDER, _HISTORY, checkout_id, MOST_ENTRIES)
    decided = await snapshots.fetch(Source.ORDER, _DECIDED, checkout_id, MOST_ENTRIES)
    answers = {
        source: await snapshots.fetch(source, _ANSWERS, checkout_id, MOST_ENTRIES)
        for source in (Source.CART, Source.INVENTORY, Source.PAYMENT)
    }
    calls = await snapshots.fetch(Source.PAYMENT, _CALLS, checkout_id, MOST_ENTRIES)
    carts = await snapshots.fetch(Source.CART, _CART, checkout_id)
    key = str(checkout_id)
    unsent = {one: await snapshots.fetch(one, _UNSENT, key, MOST_ENTRIES) for one in SERVICES}
    dead = {one: await snapshots.fetch(one, _DEAD, key, MOST_ENTRIES) for one in SERVICES}
    if not checkouts and not carts:
        raise UnknownCheckout(checkout_id)
    checkout = checkouts[0] if checkouts else None
    entries = [*_taken_in(history), *_decided(decided), *_answered(answers), *_called(calls)]
    return Story(
        checkout_id=checkout_id,
        state="received" if checkout is None else checkout["state"],
        final=checkout is not None and checkout["final"],
        late=checkout is not None and checkout["late"],
        blocked=checkout is not None and checkout["blocked"],
        deadline_at=None if checkout is None else checkout["deadline_at"],
        entries=tuple(sorted(entries, key=lambda entry: entry.at)),
        waits=waits_in(None if checkout is None else checkout["waits"]),
        open_items=tuple(_open_items(carts, calls, unsent, dead)),
    )


def waits_in(facts: str | None) -> tuple[Wait, ...]:
    """The waits as the order service stores them, as JSON, among the facts of a checkout."""
    return tuple(map(_wait, json.loads(facts or "[]")))


def _wait(one: Mapping[str, Any]) -> Wait:
    due_at = datetime.fromisoformat(one["due_at"])
    match one["hold"]:
        case "blocked":
            following = "nothing, until its dead letter is replayed or discarded"
        case "exhausted":
            following = "nothing, until somebody decides: it was asked as often as it may be"
        case _:
            following = f"at {due_at:%H:%M:%S} it is asked again, or its budget is used up"
    return Wait(one["step"], one["round"], one["sends"], due_at, one["hold"], following)


def _taken_in(history: Sequence[Any]) -> Iterator[Entry]:
    for row in history:
        yield Entry(
            row["at"],
            Source.ORDER.value,
            TAKES_IN,
            row["message_type"],
            row["step"],
            row["round"],
            row["outcome"],
            row["state"],
            row["note"],
        )


def _decided(decisions: Sequence[Any]) -> Iterator[Entry]:
    for row in decisions:
        note = f"{row['requested_by']}: {row['reason']}"
        yield Entry(row["at"], "operator", DECIDES, row["decision"], None, None, "", "", note)


def _answered(answers: dict[Source, list[Any]]) -> Iterator[Entry]:
    for source, rows in answers.items():
        for row in rows:
            at = _moment_of(row["reply_id"])
            yield Entry(
                at, source.value, ANSWERS, row["type"], row["step"], row["round"], "", "", ""
            )


def _called(calls: Sequence[Any]) -> Iterator[Entry]:
    for row in calls:
        counted = f"{row['makes']} made, {row['asks']} asked about"
        yield Entry(
            row["updated_at"],
            Source.PAYMENT.value,
            CALLS,
            row["kind"],
            None,
            row["attempt"],
            row["status"],
            "",
            f"{row['outcome'] or 'no outcome yet'}; {counted}",
        )


def _open_items(
    carts: Sequence[Any],
    calls: Sequence[Any],
    unsent: dict[Source, list[Any]],
    dead: dict[Source, list[Any]],
) -> Iterator[OpenItem]:
    for row in carts:
        if row["start_due_at"] is not None:
            told = f"sent {row['start_sends']} times, again at {row['start_due_at']:%H:%M:%S}"
            yield OpenItem("cart", "StartCheckout without an answer", row["changed_at"], told)
    for row in calls:
        if row["open"]:
            what = f"{row['kind']} is {row['status']}"
            yield OpenItem("payment", what, row["created_at"], f"{row['asks']} times asked about")
    for source, rows in unsent.items():
        for row in rows:
            yield OpenItem(
                source.value, f"{row['type']} is not sent", row["time"], row["flag_reason"] or ""
            )
    for source, rows in dead.items():
        for row in rows:
            what = f"{row['type'] or 'a record'} is {row['status']} at {row['consumer']}"
            fault = f"{row['error_type']}, fingerprint {row['fingerprint']}"
            detail = f"{row['id']}: {fault if row['fingerprint'] else 'behind a dead letter'}"
            yield OpenItem(source.value, what, row["created_at"], detail)


def _moment_of(message_id: UUID) -> datetime:
    """When a UUIDv7 was made (RFC 9562, section 5.7: 48 bits of milliseconds)."""
    return datetime.fromtimestamp((message_id.int >> 80) / 1000, UTC)
