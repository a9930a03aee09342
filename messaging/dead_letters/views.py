"""How dead letters, their replays and their history are shown."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from typing_extensions import TypedDict

from messaging.dead_letters.desk import Figures, Listed, Waiting
from messaging.dead_letters.history import Entry
from messaging.dead_letters.letters import Fault, Status
from messaging.dead_letters.replayer import Trial
from messaging.dead_letters.runs import Run
from messaging.dead_letters.stored import StoredLetter
from messaging.fold import Fold


class BytesView(TypedDict, total=False):
    """Bytes as what they are: JSON, text, or else base64."""

    json: Any
    text: str
    base64: str


class FaultView(TypedDict):
    """Why a message could not be handled."""

    error_type: str
    error_text: str
    fingerprint: str
    attempts: int


class ListedView(TypedDict):
    """A dead letter in a list; `waiting` messages of its key are parked behind it."""

    id: UUID
    status: str
    consumer: str
    type: str | None
    key: str | None
    fault: FaultView | None
    outcome: str | None
    created_at: datetime
    waiting: int


class ListedPage(TypedDict):
    """Dead letters, the newest first."""

    items: list[ListedView]
    next_cursor: str | None


class FiguresView(TypedDict):
    """What is unsettled of one fault at one consumer."""

    consumer: str
    fingerprint: str
    type: str | None
    error_type: str
    error_text: str
    dead: int
    replaying: int
    waiting: int
    first_at: datetime
    last_at: datetime


class FiguresPage(TypedDict):
    """What is unsettled, the most frequent fault first."""

    items: list[FiguresView]
    next_cursor: str | None


class HeaderView(TypedDict):
    """A header of the record; null is a header without a value."""

    name: str
    value: BytesView | None


class WaitingView(TypedDict):
    """A message that is parked behind a dead letter."""

    id: UUID
    type: str | None
    created_at: datetime


class EntryView(TypedDict):
    """What was done with a dead letter: by whom, when and why."""

    at: datetime
    who: str
    action: str
    reason: str | None
    before: BytesView | None
    after: BytesView | None


class LetterView(TypedDict):
    """A dead letter whole: the record as it came, its fault, and what was done with it."""

    id: UUID
    status: str
    service: str
    consumer: str
    topic: str
    partition: int
    offset: int
    message_id: UUID
    type: str | None
    key: BytesView | None
    headers: list[HeaderView]
    value: BytesView | None
    edited_value: BytesView | None
    fault: FaultView | None
    outcome: str | None
    run_id: UUID | None
    created_at: datetime
    changed_at: datetime | None
    waiting: list[WaitingView]
    history: list[EntryView]


class MessageView(TypedDict):
    """A message that a replay would send."""

    topic: str
    key: BytesView | None
    type: str | None
    value: BytesView | None


class TrialView(TypedDict):
    """What a replay would come to now; nothing of it is kept.

    `outcome` is handled, fails or overtaken; for a letter that no replay is asked for its status.
    """

    id: UUID
    outcome: str
    fault: FaultView | None
    same_fault: bool
    overtaken_by: str | None
    changes: list[str]
    messages: list[MessageView]


class TrialPage(TypedDict):
    """What replays would come to now."""

    items: list[TrialView]
    next_cursor: str | None


class RunView(TypedDict):
    """A replay or discard of many, and how far it is."""

    id: UUID
    action: str
    status: str
    who: str
    reason: str
    selection: dict[str, Any]
    rate_per_second: float | None
    chosen: int
    done: int
    failed: int
    untried: int
    drained: int
    stopped_because: str | None
    created_at: datetime
    ended_at: datetime | None


class RunPage(TypedDict):
    """Runs, the newest first."""

    items: list[RunView]
    next_cursor: str | None


def bytes_view(value: bytes | None) -> BytesView | None:
    """Bytes as JSON or text where they are that."""
    if value is None:
        return None
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        return text_view(value)
    return {"json": orjson.Fragment(value)}


def text_view(value: bytes | None) -> BytesView | None:
    """Bytes as text, whatever it says."""
    if value is None:
        return None
    try:
        return {"text": value.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def fault_view(fault: Fault | None) -> FaultView | None:
    """The fault of a letter; None for one that is parked."""
    if fault is None:
        return None
    return {
        "error_type": fault.error_type,
        "error_text": fault.error_text,
        "fingerprint": fault.fingerprint,
        "attempts": fault.attempts,
    }


def listed_view(one: Listed) -> ListedView:
    """A line of the list."""
    return {
        "id": one.id,
        "status": one.status.value,
        "consumer": one.consumer,
        "type": one.type,
        "key": None if one.key is None else one.key.decode(errors="replace"),
        "fault": fault_view(one.fault),
        "outcome": one.outcome,
        "created_at": one.created_at,
        "waiting": one.waiting,
    }


def figures_view(one: Figures) -> FiguresView:
    """A line of the figures."""
    return {
        "consumer": one.consumer,
        "fingerprint": one.fingerprint,
        "type": one.type,
        "error_type": one.error_type,
        "error_text": one.error_text,
        "dead": one.dead,
        "replaying": one.replaying,
        "waiting": one.waiting,
        "first_at": one.first_at,
        "last_at": one.last_at,
    }


def entry_view(entry: Entry) -> EntryView:
    """A line of the history."""
    return {
        "at": entry.at,
        "who": entry.who,
        "action": entry.action,
        "reason": entry.reason,
        "before": bytes_view(entry.before),
        "after": bytes_view(entry.after),
    }


def letter_view(
    one: StoredLetter, waiting: Sequence[Waiting], entries: Sequence[Entry]
) -> LetterView:
    """A letter whole."""
    letter, record = one.letter, one.letter.record
    return {
        "id": letter.id,
        "status": one.status.value,
        "service": letter.service,
        "consumer": letter.consumer,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "message_id": letter.message_id,
        "type": letter.type,
        "key": text_view(record.key),
        "headers": [{"name": name, "value": text_view(value)} for name, value in record.headers],
        "value": bytes_view(record.value),
        "edited_value": bytes_view(one.edited_value),
        "fault": fault_view(letter.fault),
        "outcome": one.outcome,
        "run_id": one.run_id,
        "created_at": letter.created_at,
        "changed_at": one.changed_at,
        "waiting": [
            {"id": each.id, "type": each.type, "created_at": each.created_at} for each in waiting
        ],
        "history": [entry_view(entry) for entry in entries],
    }


def trial_view(one: StoredLetter, trial: Trial) -> TrialView:
    """What a trial came to."""
    before = one.letter.fault
    fault: Fault | None = None
    if trial.error is not None:
        fault = Fault.of(
            trial.error,
            consumer=one.letter.consumer,
            message_type=one.letter.type,
            attempts=1 + (before.attempts if before else 0),
        )
    outcome = "fails" if fault else "overtaken" if trial.overtaken_by else "handled"
    if one.status in (Status.DONE, Status.DISCARDED, Status.PARKED):
        outcome = one.status.value
    done = trial.fold if fault is None else None
    return {
        "id": one.letter.id,
        "outcome": outcome,
        "fault": fault_view(fault),
        "same_fault": bool(fault and before and fault.fingerprint == before.fingerprint),
        "overtaken_by": trial.overtaken_by,
        "changes": [] if done is None else _changes(done),
        "messages": [] if done is None else _messages(done),
    }


def _changes(fold: Fold) -> list[str]:
    return [f"{kind.__name__} {key}" for kind, key in fold.changed]


def _messages(fold: Fold) -> list[MessageView]:
    return [
        {
            "topic": sent.topic,
            "key": text_view(sent.key),
            "type": None if sent.envelope is None else sent.envelope.type,
            "value": bytes_view(sent.payload),
        }
        for sent in fold.outgoing
    ]


def run_view(run: Run) -> RunView:
    """A run."""
    return {
        "id": run.id,
        "action": run.action,
        "status": run.status.value,
        "who": run.who,
        "reason": run.reason,
        "selection": dict(run.selection),
        "rate_per_second": run.rate_per_second,
        "chosen": run.chosen,
        "done": run.done,
        "failed": run.failed,
        "untried": run.untried,
        "drained": run.drained,
        "stopped_because": run.stopped_because,
        "created_at": run.created_at,
        "ended_at": run.ended_at,
    }
