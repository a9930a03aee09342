"""From what looks disagreements are seen, to what is certain.

Every database is read in one snapshot, but the snapshots are not of one moment, and messages are
on their way between them. So what breaks an invariant between two sources is suspected at first.
It becomes a finding when a later look sees the very same rows disagree, and nothing of it was open
at either look: no step of its saga, no outbox row, no provider operation, no unread record.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from trolley.audit.invariant import Between, Invariant, Subject
from trolley.audit.look import Scope, Tally
from trolley.audit.report import Finding


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look saw; `open` has what was under way of the candidates, by subject.

    `at_seconds` is when it was taken, on a clock that only goes on.
    """

    at_seconds: float
    scope: Scope | None
    tallies: Mapping[Invariant, Tally]
    open: Mapping[Subject | None, Set[str]]

    def looked_at(self, invariant: Invariant, subject_key: str | None) -> bool:
        """Whether an entity of this subject would have shown."""
        if invariant not in self.tallies:
            return False
        if self.scope is None or invariant.subject is None:
            return True
        return subject_key in self.scope.get(invariant.subject, ())


@dataclass(frozen=True, slots=True)
class _Suspicion:
    invariant: Invariant
    finding: Finding
    at_seconds: float
    is_open: bool


class Suspicions:
    """What broke an invariant between two sources at a look, and may only be under way."""

    def __init__(self, *, settle_seconds: float) -> None:
        self._settle_seconds = settle_seconds
        self._held: dict[str, _Suspicion] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[tuple[Invariant, Finding]]:
        """All of them, with the invariant that they seem to break."""
        return ((one.invariant, one.finding) for one in self._held.values())

    def certain(self, seen: Seen) -> dict[Invariant, tuple[Finding, ...]]:
        """Findings after this look, for each invariant that was looked at."""
        found: dict[Invariant, tuple[Finding, ...]] = {}
        held = dict(self._held)
        for known, one in self._held.items():
            if seen.looked_at(one.invariant, one.finding.subject_key):
                del held[known]
        for invariant, tally in seen.tallies.items():
            candidates = tuple(tally.candidates.values())
            if isinstance(invariant, Between):
                sure = []
                for candidate in candidates:
                    held[candidate.id], is_certain = self._weighed(invariant, candidate, seen)
                    if is_certain:
                        sure.append(candidate)
                candidates = tuple(sure)
            found[invariant] = candidates
        self._held = held
        return found

    def _weighed(
        self, invariant: Between, candidate: Finding, seen: Seen
    ) -> tuple[_Suspicion, bool]:
        """A candidate as it is held from now on, and whether it is certain."""
        is_open = candidate.entity in seen.open.get(invariant.subject, ())
        now = _Suspicion(invariant, candidate, seen.at_seconds, is_open)
        before = self._held.get(candidate.id)
        if before is None or before.finding.evidence != candidate.evidence:
            return now, False
        if is_open or before.is_open:
            return now, False
        return before, seen.at_seconds - before.at_seconds >= self._settle_seconds
