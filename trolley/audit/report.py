"""What an audit found, in values: per invariant, and what is open without being wrong."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Evidence = Mapping[str, Mapping[str, Any] | None]
"""What each source says of the entity, column by column; None where it does not know it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must never be: what breaks the invariant, and what shows it.

    `since` is when the newer of its rows last changed: it has been wrong at least from then on.
    `subject_key` names what the entity is of, where that can be looked at again by itself.
    """

    invariant: str
    entity: str
    evidence: Evidence
    since: datetime | None
    subject_key: str | None = None

    @property
    def id(self) -> str:
        """The same at every audit that finds the same entity break the same invariant."""
        name = f"{self.invariant}\n{self.entity}".encode()
        return hashlib.blake2b(name, digest_size=8).hexdigest()

    def age_seconds(self, at: datetime) -> float | None:
        """How long it has been wrong at least; None where no source says."""
        return None if self.since is None else max(0.0, (at - self.since).total_seconds())


@dataclass(frozen=True, slots=True)
class Checked:
    """How one invariant fared over `facts` facts.

    `violations` counts all that are certain, `findings` are those kept. `under_way` broke the
    invariant at the first look and were settled, or open, at the second. `unjudged` were too many
    to be looked at again.
    """

    invariant: str
    says: str
    facts: int
    violations: int = 0
    findings: tuple[Finding, ...] = ()
    under_way: int = 0
    unjudged: int = 0


@dataclass(frozen=True, slots=True)
class OpenItem:
    """Something that waits, for somebody or something, and is no violation."""

    what: str
    where: str
    count: int
    oldest_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class AuditReport:
    """One audit: every invariant, in the order of their declaration."""

    at: datetime
    books: tuple[str, ...]
    """Whose books our ledger was compared with."""
    checked: tuple[Checked, ...]
    open_items: tuple[OpenItem, ...]
    looks: int
    seconds: float

    @property
    def facts_checked(self) -> int:
        """Facts over all invariants; a row that two invariants speak of is two facts."""
        return sum(one.facts for one in self.checked)

    @property
    def violations(self) -> int:
        """Violations over all invariants."""
        return sum(one.violations for one in self.checked)

    @property
    def unjudged(self) -> int:
        """Candidates that could not be looked at again."""
        return sum(one.unjudged for one in self.checked)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong, for certain."""
        return not self.violations and not self.unjudged

    @property
    def findings(self) -> Iterator[Finding]:
        """All findings that were kept."""
        return (finding for one in self.checked for finding in one.findings)

    def as_json(self) -> dict[str, Any]:
        """For a report; holds only what JSON has."""
        return {
            "at": self.at.isoformat(),
            "books": list(self.books),
            "clean": self.clean,
            "facts_checked": self.facts_checked,
            "violations": self.violations,
            "unjudged": self.unjudged,
            "looks": self.looks,
            "seconds": round(self.seconds, 3),
            "invariants": [
                {
                    "id": one.invariant,
                    "says": one.says,
                    "facts": one.facts,
                    "violations": one.violations,
                    "under_way": one.under_way,
                    "unjudged": one.unjudged,
                    "findings": [finding_as_json(finding, self.at) for finding in one.findings],
                }
                for one in self.checked
            ],
            "open_items": [
                {
                    "what": item.what,
                    "where": item.where,
                    "count": item.count,
                    "oldest_seconds": item.oldest_seconds,
                }
                for item in self.open_items
            ],
        }


def finding_as_json(finding: Finding, at: datetime) -> dict[str, Any]:
    """A finding for a report; holds only what JSON has."""
    return {
        "id": finding.id,
        "entity": finding.entity,
        "age_seconds": finding.age_seconds(at),
        "evidence": {
            source: None if row is None else {name: _plain(value) for name, value in row.items()}
            for source, row in finding.evidence.items()
        },
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
