"""The findings that are open, kept in a file of the auditor's own.

A file and not a table: the auditor only reads the services' databases, and what it knows must
outlive none of them. Losing the file costs the moments of first sight; the next look at everything
finds again what is wrong.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from trolley.audit.invariant import Invariant
from trolley.audit.report import Finding, finding_as_json
from trolley.audit.suspicions import Seen

_TABLES = """
    CREATE TABLE IF NOT EXISTS findings (
        id TEXT PRIMARY KEY, invariant TEXT NOT NULL, entity TEXT NOT NULL, subject_key TEXT,
        first_seen TEXT NOT NULL, last_seen TEXT NOT NULL, since TEXT, evidence TEXT NOT NULL,
        resolved_at TEXT
    ) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Known:
    """A finding in the file. `resolved_at` is when it was first seen to hold again."""

    id: str
    invariant: str
    entity: str
    subject_key: str | None
    first_seen: datetime
    last_seen: datetime
    since: datetime | None
    evidence: Mapping[str, Any]
    resolved_at: datetime | None

    def age_seconds(self, at: datetime) -> float:
        """How long ago it went wrong, as far as that is recorded; else, was first seen."""
        return max(0.0, (at - (self.since or self.first_seen)).total_seconds())


@dataclass(frozen=True, slots=True)
class News:
    """What a look changed."""

    new: tuple[Known, ...]
    resolved: tuple[Known, ...]


class Findings:
    """Open findings, and those resolved lately, by their stable ids."""

    def __init__(self, path: Path | str, *, resolved_kept: timedelta) -> None:
        self._file = sqlite3.connect(path)
        self._file.executescript(_TABLES)
        self._resolved_kept = resolved_kept

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def open(self) -> list[Known]:
        """Those that are wrong now, the oldest first."""
        return list(self._known("resolved_at IS NULL ORDER BY first_seen, id"))

    def count(self) -> int:
        """How many are wrong now."""
        (count,) = self._file.execute(
            "SELECT count(*) FROM findings WHERE resolved_at IS NULL"
        ).fetchone()
        return int(count)

    def page(self, *, resolved: bool, after: tuple[str, str] | None, most: int) -> list[Known]:
        """Findings by the moment of first sight, behind one of this moment and id.

        With `resolved` those that were wrong not long ago, else those that are wrong now.
        """
        state = "NOT NULL" if resolved else "NULL"
        where = f"resolved_at IS {state} AND (first_seen, id) > (?, ?)"
        order = "ORDER BY first_seen, id LIMIT ?"
        return list(self._known(f"{where} {order}", *(after or ("", "")), most))

    def take(
        self,
        seen: Seen,
        found: Mapping[Invariant, Sequence[Finding]],
        at: datetime,
    ) -> News:
        """Take in what a look made certain, and what it saw to hold again.

        What is still broken and no longer certain (something of it moves) stays as it is.
        """
        before = {one.id: one for one in self.open()}
        invariants = {one.id: one for one in seen.tallies}
        resolved = [
            known for known in before.values() if self._holds_again(known, seen, invariants)
        ]
        certain = [finding for findings in found.values() for finding in findings]
        with self._file:
            self._file.executemany(
                "INSERT INTO findings VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, NULL)"
                " ON CONFLICT (id) DO UPDATE SET last_seen = ?5, since = ?6, evidence = ?7,"
                " first_seen = CASE WHEN resolved_at IS NULL THEN first_seen ELSE ?5 END,"
                " resolved_at = NULL",
                [_columns(finding, at) for finding in certain],
            )
            self._file.executemany(
                "UPDATE findings SET resolved_at = ? WHERE id = ?",
                [(at.isoformat(), known.id) for known in resolved],
            )
            self._file.execute(
                "DELETE FROM findings WHERE resolved_at < ?",
                ((at - self._resolved_kept).isoformat(),),
            )
        new = {finding.id for finding in certain} - before.keys()
        return News(
            tuple(known for known in self.open() if known.id in new),
            tuple(resolved),
        )

    @staticmethod
    def _holds_again(known: Known, seen: Seen, invariants: Mapping[str, Invariant]) -> bool:
        invariant = invariants.get(known.invariant)
        if invariant is None or not seen.looked_at(invariant, known.subject_key):
            return False
        tally = seen.tallies[invariant]
        # Where not all that is broken was kept, nothing says that it is not among the rest.
        return known.entity not in tally.candidates and tally.broken == len(tally.candidates)

    def _known(self, where: str, *arguments: str | int) -> Iterator[Known]:
        columns = (
            "id, invariant, entity, subject_key, first_seen, last_seen, since, evidence,"
            " resolved_at"
        )
        statement = f"SELECT {columns} FROM findings WHERE {where}"  # noqa: S608 - constants
        for row in self._file.execute(statement, arguments):
            known, invariant, entity, key, first, last, since, evidence, resolved = row
            yield Known(
                known,
                invariant,
                entity,
                key,
                datetime.fromisoformat(first),
                datetime.fromisoformat(last),
                since and datetime.fromisoformat(since),
                orjson.loads(evidence),
                resolved and datetime.fromisoformat(resolved),
            )


def _columns(finding: Finding, at: datetime) -> tuple[str | None, ...]:
    evidence = finding_as_json(finding, at)["evidence"]
    return (
        finding.id,
        finding.invariant,
        finding.entity,
        finding.subject_key,
        at.isoformat(),
        None if finding.since is None else finding.since.isoformat(),
        orjson.dumps(evidence, default=str).decode(),
    )
