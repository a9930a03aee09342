"""The story of one checkout: what every service did about it, in order of time.

The order service notes each message that it took in, with its outcome. The others record each
answer they gave, whose id carries the time of it; payment keeps its attempts and its calls to the
provider. Every service keeps what it put aside, also when that is settled.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from contracts.messages.base import Step
from messaging.dead_letters.letters import Status
from messaging.records import unpack_headers
from order_service.checkout.facts import LIVE, WINDOW_RUNS
from order_service.checkout.policy import CART_STEPS
from trolley.audit.invariant import Source
from trolley.audit.snapshots import Snapshots
from trolley.checkouts.reading import SERVICES

MOST_ENTRIES = 1000
"""Entries of one service that are read; a checkout has some twenty."""

TAKES_IN = "takes in"
DECIDES = "decides"
ANSWERS = "answers"
BEGINS = "begins an attempt"
CALLS = "calls the provider"
HEARS = "hears from the provider"
PUTS_ASIDE = "puts aside"
SETTLES = "settles a dead letter"

AFTER_THE_LAST = {
    Step.RESERVE: "the checkout is given up",
    Step.EXTEND: "it is let be: inventory asks before the reservation ends",
    Step.CHARGE: "its attempt is closed",
}
"""What becomes of a step without an answer; of others somebody has to decide."""


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
    """`moved` or `stale` for a message taken in; the status of an attempt, a call or a letter."""
    state: str
    """Of the checkout, afterwards; empty where another service did something."""
    note: str
    waited_seconds: float | None = None
    """From when a message was sent until this was done about it; None where that is not known."""
    attempts: int | None = None
    """How often its step was asked by then, the provider was called, or a dead letter was tried."""
    message_id: UUID | None = None


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
    window_closes_at: datetime | None
    """The end of the payment window: what is not paid by then is given up. None: it is stopped."""
    entries: tuple[Entry, ...]
    waits: tuple[Wait, ...]
    open_items: tuple[OpenItem, ...]


_CHECKOUT = """
    SELECT state, final, late, blocked, deadline_at, facts->>'waits' AS waits,
           (facts->'order'->>'window_closes_at')::timestamptz AS window_closes_at,
           facts->'attempts'->-1->>'status' AS attempt_status,
           facts->'attempts'->-1->>'expected_by' AS expected_by
    FROM checkouts WHERE checkout_id = $1
"""
_HISTORY = """
    SELECT at, message_id, sent_at, sends, message_type, step, round, outcome, state, note
    FROM checkout_history WHERE checkout_id = $1 ORDER BY entry_no LIMIT $2
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
           o.reported_at, o.status IN ('due', 'leased', 'reported') AS open
    FROM operations o JOIN payments USING (payment_id) WHERE checkout_id = $1
    ORDER BY o.created_at LIMIT $2
"""
_ATTEMPTS = """
    SELECT a.created_at, a.attempt, a.status, a.provider, a.method_token
    FROM attempts a JOIN payments USING (payment_id) WHERE checkout_id = $1
    ORDER BY a.attempt LIMIT $2
"""
_CART = """
    SELECT cart_id, start_due_at, start_sends, changed_at FROM carts WHERE checkout_id = $1
"""
_UNSENT = """
    SELECT type, time, flag_reason FROM outbox WHERE correlation_id = $1::text ORDER BY id LIMIT $2
"""
_DEAD = """
    SELECT id, message_id, consumer, type, status, error_type, fingerprint, attempts, outcome,
           headers, created_at, changed_at
    FROM dead_letters WHERE key = convert_to($1::text, 'UTF8') ORDER BY seq LIMIT $2
"""
_SETTLED = (Status.DONE, Status.DISCARDED)


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
    attempts = await snapshots.fetch(Source.PAYMENT, _ATTEMPTS, checkout_id, MOST_ENTRIES)
    carts = await snapshots.fetch(Source.CART, _CART, checkout_id)
    key = str(checkout_id)
    unsent = {one: await snapshots.fetch(one, _UNSENT, key, MOST_ENTRIES) for one in SERVICES}
    dead = {one: await snapshots.fetch(one, _DEAD, key, MOST_ENTRIES) for one in SERVICES}
    if not checkouts and not carts:
        raise UnknownCheckout(checkout_id)
    checkout = checkouts[0] if checkouts else None
    waits = waits_in(
        None if checkout is None else checkout["waits"], _in_the_way(dead), checkout_id
    )
    entries = [
        *_taken_in(history),
        *_decided(decided),
        *_answered(answers, history, waits),
        *_begun(attempts),
        *_called(calls),
        *_put_aside(dead),
    ]
    return Story(
        checkout_id=checkout_id,
        state="received" if checkout is None else checkout["state"],
        final=checkout is not None and checkout["final"],
        late=checkout is not None and checkout["late"],
        blocked=checkout is not None and checkout["blocked"],
        deadline_at=None if checkout is None else checkout["deadline_at"],
        window_closes_at=None if checkout is None else _window_closes_at(checkout),
        entries=tuple(sorted(entries, key=lambda entry: entry.at)),
        waits=waits,
        open_items=tuple(_open_items(carts, calls, unsent, dead)),
    )


def waits_in(
    facts: str | None,
    in_the_way: Mapping[tuple[str, int], str] | None = None,
    checkout_id: UUID | None = None,
) -> tuple[Wait, ...]:
    """The waits as the order service stores them, as JSON, among the facts of a checkout.

    `in_the_way` names what is put aside and open, by step and round; None where nobody looked.
    """
    return tuple(_wait(one, in_the_way, checkout_id) for one in json.loads(facts or "[]"))


def _wait(
    one: Mapping[str, Any],
    in_the_way: Mapping[tuple[str, int], str] | None,
    checkout_id: UUID | None,
) -> Wait:
    due_at, step = datetime.fromisoformat(one["due_at"]), Step(one["step"])
    at = f"at {due_at:%Y-%m-%d %H:%M:%S}"
    end = AFTER_THE_LAST.get(step, "somebody has to decide")
    match one["hold"]:
        case "blocked":
            following = _lifted_by(in_the_way, (step.value, one["round"]), checkout_id)
        case "exhausted":
            following = "nothing, until somebody decides: it was asked as often as it may be"
        case _ if one["sends"] == 0:
            following = f"{at} it is asked, if nothing calls for it before: a shipment does"
        case _ if step in CART_STEPS:
            following = f"{at} it is asked again, until the cart answers"
        case _ if one["provisional"]:
            following = f"{at} {end}, if the outcome is open still; it is not asked again"
        case _:
            following = f"{at} it is asked again; once it was asked as often as it may be, {end}"
    return Wait(step.value, one["round"], one["sends"], due_at, one["hold"], following)


def _lifted_by(
    in_the_way: Mapping[tuple[str, int], str] | None,
    asked: tuple[str, int],
    checkout_id: UUID | None,
) -> str:
    if in_the_way is None:
        return "nothing, until its dead letter is replayed or discarded"
    if asked in in_the_way:
        return f"nothing, until dead letter {in_the_way[asked]} is replayed or discarded"
    return (
        "nothing: it is blocked, and no dead letter of it is open; "
        f"`trolley checkout resolve {checkout_id} --as retry` asks it again"
    )


def _window_closes_at(checkout: Any) -> datetime | None:
    """See `order_service.checkout.facts.Checkout.window_closes_at`."""
    if checkout["state"] not in WINDOW_RUNS or checkout["blocked"]:
        return None
    own_deadline = checkout["attempt_status"] in LIVE and checkout["expected_by"] is not None
    window_closes_at: datetime | None = checkout["window_closes_at"]
    return None if own_deadline else window_closes_at


def _in_the_way(dead: Mapping[Source, Sequence[Any]]) -> dict[tuple[str, int], str]:
    """What is put aside and open, by the step and round that its envelope names."""
    found: dict[tuple[str, int], str] = {}
    for source, rows in dead.items():
        for row in rows:
            asked = _asked(row)
            if asked is not None and row["status"] not in _SETTLED:
                found.setdefault(asked, f"{row['id']} of {source.value}")
    return found


def _asked(letter: Any) -> tuple[str, int] | None:
    """The step and round that the envelope of a letter names."""
    headers = _headers(letter)
    step, round_ = headers.get("ce_step"), headers.get("ce_round")
    if step is None or round_ is None or not round_.isdigit():
        return None
    return step.decode(errors="replace"), int(round_)


def _sent_at(letter: Any) -> datetime | None:
    """When it was sent, as its envelope says; None where it does not say so."""
    try:
        sent_at = datetime.fromisoformat(_headers(letter).get("ce_time", b"").decode())
    except ValueError:
        return None
    return sent_at if sent_at.tzinfo is not None else None


def _headers(letter: Any) -> dict[str, bytes]:
    """Those that have a value."""
    headers = unpack_headers(letter["headers"])
    return {name: value for name, value in headers if value is not None}


def _waited_seconds(sent_at: datetime | None, at: datetime) -> float | None:
    return None if sent_at is None else (at - sent_at).total_seconds()


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
            _waited_seconds(row["sent_at"], row["at"]),
            row["sends"],
            row["message_id"],
        )


def _decided(decisions: Sequence[Any]) -> Iterator[Entry]:
    for row in decisions:
        note = f"{row['requested_by']}: {row['reason']}"
        yield Entry(row["at"], "operator", DECIDES, row["decision"], None, None, "", "", note)


def _answered(
    answers: dict[Source, list[Any]], history: Sequence[Any], waits: Sequence[Wait]
) -> Iterator[Entry]:
    """Answers; how often one was asked for is known of those that were taken in or are awaited."""
    taken_in = {row["message_id"]: row["sends"] for row in history}
    awaited = {(wait.step, wait.round): wait.sends for wait in waits}
    for source, rows in answers.items():
        for row in rows:
            reply_id, asked = row["reply_id"], (row["step"], row["round"])
            yield Entry(
                *(_moment_of(reply_id), source.value, ANSWERS, row["type"], *asked, "", "", ""),
                attempts=taken_in.get(reply_id, awaited.get(asked)),
                message_id=reply_id,
            )


def _begun(attempts: Sequence[Any]) -> Iterator[Entry]:
    for row in attempts:
        by = " ".join(filter(None, (row["provider"], row["method_token"])))
        number, status = row["attempt"], row["status"]
        yield Entry(
            row["created_at"], "payment", BEGINS, f"attempt {number}", None, number, status, "", by
        )


def _called(calls: Sequence[Any]) -> Iterator[Entry]:
    """A call when it was wanted, and when its outcome was reported last, if it was."""
    for row in calls:
        kind, attempt = row["kind"], row["attempt"]
        counted = f"{row['makes']} made, {row['asks']} asked about"
        yield Entry(
            *(row["created_at"], "payment", CALLS, kind, None, attempt, row["status"], "", counted),
            attempts=row["makes"],
        )
        if row["reported_at"] is not None:
            heard = row["outcome"] or ""
            yield Entry(row["reported_at"], "payment", HEARS, kind, None, attempt, heard, "", "")


def _put_aside(dead: Mapping[Source, Sequence[Any]]) -> Iterator[Entry]:
    """What was put aside, and what became of it."""
    for source, rows in dead.items():
        for row in rows:
            step, round_ = _asked(row) or (None, None)
            what, sent_at = row["type"] or "a record", _sent_at(row)
            yield Entry(
                *(row["created_at"], source.value, PUTS_ASIDE, what, step, round_),
                *(row["status"], "", _detail(row)),
                waited_seconds=_waited_seconds(sent_at, row["created_at"]),
                attempts=row["attempts"],
                message_id=row["message_id"],
            )
            if row["status"] in _SETTLED:
                yield Entry(
                    *(row["changed_at"], source.value, SETTLES, what, step, round_),
                    *(row["status"], "", f"{row['id']}: {row['outcome']}"),
                    waited_seconds=_waited_seconds(sent_at, row["changed_at"]),
                    message_id=row["message_id"],
                )


def _detail(letter: Any) -> str:
    if letter["fingerprint"] is None:
        return f"{letter['id']}: behind a dead letter"
    fault = f"{letter['error_type']}, fingerprint {letter['fingerprint']}"
    return f"{letter['id']}: {fault}, attempt {letter['attempts']}"


def _open_items(
    carts: Sequence[Any],
    calls: Sequence[Any],
    unsent: dict[Source, list[Any]],
    dead: dict[Source, list[Any]],
) -> Iterator[OpenItem]:
    for row in carts:
        if row["start_due_at"] is not None:
            told = (
                f"sent {row['start_sends']} times, again at {row['start_due_at']:%Y-%m-%d %H:%M:%S}"
            )
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
            if row["status"] not in _SETTLED:
                what = f"{row['type'] or 'a record'} is {row['status']} at {row['consumer']}"
                yield OpenItem(source.value, what, row["created_at"], _detail(row))


def _moment_of(message_id: UUID) -> datetime:
    """When a UUIDv7 was made (RFC 9562, section 5.7: 48 bits of milliseconds)."""
    return datetime.fromtimestamp((message_id.int >> 80) / 1000, UTC)
