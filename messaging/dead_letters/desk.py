"""What operators do with dead letters: find them, count them, mend them, choose them for a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from contracts.ids import new_id
from contracts.messages import MESSAGES_BY_TYPE
from contracts.messages.replays import ReplayDeadLetter
from messaging.database import Connection, sql
from messaging.database import Record as Row
from messaging.dead_letters import history, runs
from messaging.dead_letters.history import Entry
from messaging.dead_letters.letters import Fault, Status
from messaging.dead_letters.runs import Action, Run
from messaging.dead_letters.stored import StoredLetter, fault_of
from messaging.outbox import emit

MOST_WAITING = 1000
"""Messages behind one letter that are shown."""

LARGEST_RUN = 10_000
"""Letters of one run: a transaction and a burst of records that nobody notices."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant: those for which all that is given holds.

    `since` and `until` bound when they were put aside, the end not included.
    """

    ids: tuple[UUID, ...] | None = None
    statuses: tuple[Status, ...] | None = None
    fingerprint: str | None = None
    consumer: str | None = None
    type: str | None = None
    key: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def values(self) -> dict[str, Any]:
        """For the statements."""
        return {
            "ids": None if self.ids is None else list(self.ids),
            "statuses": self.statuses and [status.value for status in self.statuses],
            "fingerprint": self.fingerprint,
            "consumer": self.consumer,
            "type": self.type,
            "key": None if self.key is None else self.key.encode(),
            "since": self.since,
            "until": self.until,
        }

    def as_json(self) -> dict[str, Any]:
        """What was given, as it is written down with a run."""
        told: dict[str, Any] = {
            "ids": None if self.ids is None else [str(one) for one in self.ids],
            "statuses": self.statuses and [status.value for status in self.statuses],
            "fingerprint": self.fingerprint,
            "consumer": self.consumer,
            "type": self.type,
            "key": self.key,
            "since": self.since and self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
        }
        return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Listed:
    """A dead letter in a list; `waiting` counts what is parked behind it."""

    seq: int
    id: UUID
    status: Status
    consumer: str
    type: str | None
    key: bytes | None
    fault: Fault | None
    outcome: str | None
    created_at: datetime
    waiting: int


@dataclass(frozen=True, slots=True)
class Figures:
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


_CHOSEN = """
    (CAST(:ids AS uuid[]) IS NULL OR id = ANY(CAST(:ids AS uuid[])))
    AND (CAST(:statuses AS text[]) IS NULL OR status = ANY(CAST(:statuses AS text[])))
    AND (CAST(:fingerprint AS text) IS NULL OR fingerprint = :fingerprint)
    AND (CAST(:consumer AS text) IS NULL OR consumer = :consumer)
    AND (CAST(:type AS text) IS NULL OR type = :type)
    AND (CAST(:key AS bytea) IS NULL OR key = :key)
    AND (CAST(:since AS timestamptz) IS NULL OR created_at >= :since)
    AND (CAST(:until AS timestamptz) IS NULL OR created_at < :until)
"""
_WAITING = """
    SELECT count(*) FROM dead_letters p
    WHERE p.consumer = d.consumer AND p.key_hash = d.key_hash AND p.seq > d.seq
      AND p.status = 'parked' AND d.status NOT IN ('parked', 'done', 'discarded')
"""
_LIST = sql(f"""
    SELECT seq, id, status, consumer, type, substring(key FOR 256) AS key, error_type, error_text,
           fingerprint, attempts, outcome, created_at, ({_WAITING}) AS waiting
    FROM dead_letters d
    WHERE seq < :before AND {_CHOSEN}
    ORDER BY seq DESC LIMIT :most
""")  # noqa: S608 - made of the constants above
_STATS = sql(f"""
    SELECT f.consumer, f.fingerprint, n.type, n.error_type, n.error_text, f.dead, f.replaying,
           f.waiting, f.first_at, f.last_at
    FROM (
        SELECT consumer, fingerprint, max(seq) AS newest, count(*) AS letters,
               count(*) FILTER (WHERE status = 'dead') AS dead,
               count(*) FILTER (WHERE status <> 'dead') AS replaying,
               sum(({_WAITING})) AS waiting,
               min(created_at) AS first_at, max(created_at) AS last_at
        FROM dead_letters d
        WHERE status IN ('dead', 'replaying', 'discarding') AND fingerprint IS NOT NULL
        GROUP BY consumer, fingerprint
    ) f JOIN dead_letters n ON n.seq = f.newest
    ORDER BY f.letters DESC, f.consumer, f.fingerprint LIMIT :most
""")  # noqa: S608 - made of the constants above
_CHOOSE = sql(f"""
    SELECT id, fingerprint FROM dead_letters
    WHERE {_CHOSEN} AND status = ANY(CAST(:allowed AS text[]))
    ORDER BY seq LIMIT :most FOR UPDATE
""")  # noqa: S608 - made of the constants above
_OLDEST = sql(f"""
    SELECT id FROM dead_letters WHERE {_CHOSEN} AND status = 'dead' ORDER BY seq LIMIT :most
""")  # noqa: S608 - made of the constants above
_BEGIN = sql("""
    UPDATE dead_letters SET status = :status, run_id = :run_id, outcome = NULL, changed_at = :now
    WHERE id = ANY(CAST(:ids AS uuid[]))
""")
_PARKED_BEHIND = sql("""
    SELECT id, type, created_at FROM dead_letters
    WHERE consumer = :consumer AND key_hash = :key_hash AND seq > :seq AND status = 'parked'
    ORDER BY seq LIMIT :most
""")
_EDIT = sql("UPDATE dead_letters SET edited_value = :value, changed_at = :now WHERE id = :id")


async def page_of(
    connection: Connection, selection: Selection, *, before: int, most: int
) -> list[Listed]:
    """The newest letters with a number below `before`."""
    values = {**selection.values(), "before": before, "most": most}
    return [_listed(row) for row in await connection.fetch(_LIST, values)]


async def oldest_dead(connection: Connection, selection: Selection, most: int) -> list[UUID]:
    """The letters whose turns would be the first of a replay."""
    return await connection.fetch_column(_OLDEST, {**selection.values(), "most": most})


def _listed(row: Row) -> Listed:
    return Listed(
        seq=row.seq,
        id=row.id,
        status=Status(row.status),
        consumer=row.consumer,
        type=row.type,
        key=row.key,
        fault=fault_of(row),
        outcome=row.outcome,
        created_at=row.created_at,
        waiting=row.waiting,
    )


async def figures(connection: Connection, most: int) -> list[Figures]:
    """What is unsettled, by fault, the most frequent first."""
    rows = await connection.fetch(_STATS, {"most": most})
    return [Figures(**{**dict(row), "waiting": int(row.waiting)}) for row in rows]


async def begin_run(
    connection: Connection,
    service: str,
    action: Action,
    selection: Selection,
    *,
    who: str,
    reason: str,
    rate_per_second: float | None,
    now: datetime,
) -> Run | None:
    """Give the chosen letters their turns, oldest first; None when there are none.

    Only dead ones are replayed: what is parked follows by itself. Parked ones can be discarded.
    """
    allowed = [Status.DEAD] if action == "replay" else [Status.DEAD, Status.PARKED]
    chosen = await connection.fetch(
        _CHOOSE, {**selection.values(), "allowed": allowed, "most": LARGEST_RUN}
    )
    if not chosen:
        return None
    ids = [row.id for row in chosen]
    run = Run(
        id=new_id(),
        action=action,
        who=who,
        reason=reason,
        selection=selection.as_json(),
        fingerprints=tuple(sorted({row.fingerprint for row in chosen if row.fingerprint})),
        rate_per_second=rate_per_second,
        chosen=len(ids),
        created_at=now,
    )
    await runs.begin(connection, run)
    status = Status.REPLAYING if action == "replay" else Status.DISCARDING
    values = {"ids": ids, "status": status.value, "run_id": run.id, "now": now}
    await connection.execute(_BEGIN, values)
    await history.note(connection, ids, Entry(now, who, f"{action} asked for", reason))
    await emit_turns(connection, service, ids, now)
    return run


async def emit_turns(
    connection: Connection, service: str, ids: Sequence[UUID], now: datetime
) -> None:
    """Call these letters to their turns, in this order, on the replays topic of their service."""
    turn = MESSAGES_BY_TYPE[f"{service}.replay_dead_letter.v1"]
    assert issubclass(turn, ReplayDeadLetter)  # noqa: S101 - by its name
    await emit(connection, [turn(dead_letter_id=one) for one in ids], source=service, now=now)


async def edit(
    connection: Connection, one: StoredLetter, value: bytes, *, who: str, reason: str, now: datetime
) -> None:
    """Have another value replayed than the one that came, which is kept beside it."""
    await connection.execute(_EDIT, {"id": one.letter.id, "value": value, "now": now})
    await history.note(
        connection, [one.letter.id], Entry(now, who, "edited", reason, one.value, value)
    )


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that is parked behind a letter."""

    id: UUID
    type: str | None
    created_at: datetime


async def waiting_behind(connection: Connection, one: StoredLetter) -> Sequence[Waiting]:
    """What is parked behind a letter, in order."""
    letter = one.letter
    values = {"consumer": letter.consumer, "key_hash": letter.key_hash, "seq": one.seq}
    rows = await connection.fetch(_PARKED_BEHIND, {**values, "most": MOST_WAITING})
    return [Waiting(row.id, row.type, row.created_at) for row in rows]
