"""What the operations API answers with."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from typing_extensions import TypedDict

from trolley.audit.findings import Known
from trolley.checkouts.stuck import Stuck


class FindingView(TypedDict):
    """Something that must never be. `evidence` is what each source says of the entity."""

    id: str
    invariant: str
    entity: str
    first_seen: datetime
    last_seen: datetime
    age_seconds: float
    resolved_at: datetime | None
    evidence: Mapping[str, Any]


class FindingPage(TypedDict):
    """A page of findings."""

    items: list[FindingView]
    next_cursor: str | None


class OpenItemView(TypedDict):
    """How much of a kind is open without being wrong, such as unsent outbox rows."""

    what: str
    where: str
    count: int


class AuditView(TypedDict):
    """How the auditor stands. `trouble` is why the last look could not be taken.

    `unjudged` counts what broke a rule at the last look and was too much to be looked at again.
    """

    looked_seconds_ago: float | None
    trouble: str | None
    findings: int
    suspected: int
    unjudged: int
    due: int
    open_items: list[OpenItemView]


class StuckPage(TypedDict):
    """The checkouts that are stuck for longest."""

    items: list[Stuck]
    next_cursor: str | None


def finding_view(one: Known, at: datetime) -> FindingView:
    """A finding with its age at this moment."""
    return {
        "id": one.id,
        "invariant": one.invariant,
        "entity": one.entity,
        "first_seen": one.first_seen,
        "last_seen": one.last_seen,
        "age_seconds": one.age_seconds(at),
        "resolved_at": one.resolved_at,
        "evidence": one.evidence,
    }
