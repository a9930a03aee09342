"""The audit trail of dead letters: who did what with which, when and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from messaging.database import Connection, sql


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done; `before` and `after` are the values of an edit."""

    at: datetime
    who: str
    action: str
    reason: str | None
    before: bytes | None = None
    after: bytes | None = None


_INSERT = sql("""
    INSERT INTO dead_letter_history (dead_letter_id, at, who, action, reason, before, after)
    SELECT id, :at, :who, :action, :reason, CAST(:before AS bytea), CAST(:after AS bytea)
    FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS d (id, position) ORDER BY position
""")
_READ = sql("""
    SELECT at, who, action, reason, before, after FROM dead_letter_history
    WHERE dead_letter_id = :id ORDER BY id LIMIT :most
""")

MOST_ENTRIES = 1000
"""Entries of one letter that are shown."""


async def note(connection: Connection, letter_ids: Sequence[UUID], entry: Entry) -> None:
    """Add an entry to each of these letters."""
    await connection.execute(
        _INSERT,
        {
            "ids": list(letter_ids),
            "at": entry.at,
            "who": entry.who,
            "action": entry.action,
            "reason": entry.reason,
            "before": entry.before,
            "after": entry.after,
        },
    )


async def entries(connection: Connection, letter_id: UUID) -> list[Entry]:
    """What was done with a letter, in order."""
    rows = await connection.fetch(_READ, {"id": letter_id, "most": MOST_ENTRIES})
    return [Entry(row.at, row.who, row.action, row.reason, row.before, row.after) for row in rows]
