"""Runs: a replay, or a discard, of the dead letters that an operator chose.

Each letter of a run has its turn on `<service>.replays`. The run counts what became of them, and
stops at the first that fails as one of the chosen did: the fix is not there yet.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from messaging.database import Connection, sql
from messaging.database import Record as Row

Action = Literal["replay", "discard"]


class RunStatus(StrEnum):
    """Whether a run's letters still have their turns."""

    RUNNING = "running"
    STOPPED = "stopped"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Run:
    """A run and how far it is; `drained` counts what waited behind its letters."""

    id: UUID
    action: Action
    who: str
    reason: str
    selection: Mapping[str, Any]
    fingerprints: tuple[str, ...]
    rate_per_second: float | None
    chosen: int
    created_at: datetime
    status: RunStatus = RunStatus.RUNNING
    done: int = 0
    failed: int = 0
    untried: int = 0
    drained: int = 0
    stopped_because: str | None = None
    ended_at: datetime | None = None


_INSERT = sql("""
    INSERT INTO dead_letter_runs (id, action, who, reason, selection, fingerprints,
                                  rate_per_second, chosen, created_at)
    VALUES (:id, :action, :who, :reason, CAST(:selection AS jsonb),
            CAST(:fingerprints AS text[]), :rate_per_second, :chosen, :now)
""")
_FIND = sql("SELECT * FROM dead_letter_runs WHERE id = :id")
_LIST = sql("SELECT * FROM dead_letter_runs ORDER BY created_at DESC, id DESC LIMIT :most")
_COUNT = sql("""
    UPDATE dead_letter_runs
    SET done = done + :done, failed = failed + :failed, untried = untried + :untried,
        drained = drained + :drained,
        ended_at = CASE WHEN done + failed + untried + :done + :failed + :untried = chosen
                        THEN coalesce(ended_at, :now) ELSE ended_at END,
        status = CASE WHEN status = 'running'
                           AND done + failed + untried + :done + :failed + :untried = chosen
                      THEN 'finished' ELSE status END
    WHERE id = :id
""")
_STOP = sql("""
    UPDATE dead_letter_runs SET status = 'stopped', stopped_because = :because
    WHERE id = :id AND status = 'running'
""")


def run_of(row: Row) -> Run:
    """What a row of the table says."""
    return Run(
        id=row.id,
        action=row.action,
        status=RunStatus(row.status),
        who=row.who,
        reason=row.reason,
        selection=row.selection,
        fingerprints=tuple(row.fingerprints),
        rate_per_second=row.rate_per_second,
        chosen=row.chosen,
        done=row.done,
        failed=row.failed,
        untried=row.untried,
        drained=row.drained,
        stopped_because=row.stopped_because,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


async def begin(connection: Connection, run: Run) -> None:
    """Write a run down, as it begins."""
    await connection.execute(
        _INSERT,
        {
            "id": run.id,
            "action": run.action,
            "who": run.who,
            "reason": run.reason,
            "selection": json.dumps(run.selection),
            "fingerprints": list(run.fingerprints),
            "rate_per_second": run.rate_per_second,
            "chosen": run.chosen,
            "now": run.created_at,
        },
    )


async def find(connection: Connection, run_id: UUID) -> Run | None:
    """The run of this id."""
    row = await connection.fetch_one(_FIND, {"id": run_id})
    return None if row is None else run_of(row)


async def latest(connection: Connection, most: int) -> list[Run]:
    """The latest runs, newest first."""
    return [run_of(row) for row in await connection.fetch(_LIST, {"most": most})]


async def count(
    connection: Connection,
    run_id: UUID,
    now: datetime,
    *,
    done: int = 0,
    failed: int = 0,
    untried: int = 0,
    drained: int = 0,
) -> None:
    """Add what became of its letters; with the last of them the run ends."""
    values = {"done": done, "failed": failed, "untried": untried, "drained": drained}
    await connection.execute(_COUNT, {"id": run_id, "now": now, **values})


async def stop(connection: Connection, run_id: UUID, because: str) -> bool:
    """Leave the letters untried whose turn has not come; whether the run was under way."""
    return await connection.execute(_STOP, {"id": run_id, "because": because}) > 0
