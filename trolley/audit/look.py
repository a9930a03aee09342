"""One look: every invariant asked over one snapshot of each database, and the event topics."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trolley.audit.invariant import Invariant, Read, Row, Source
from trolley.audit.join import Chunks, in_order, paired
from trolley.audit.published import Published
from trolley.audit.report import Finding
from trolley.audit.snapshots import Snapshots

Rows = tuple[Row | None, ...]
"""The rows of one key, one for each read of an invariant."""


@dataclass(slots=True)
class Tally:
    """What a look found of one invariant: how many facts, and what breaks it, by entity."""

    facts: int = 0
    broken: int = 0
    candidates: dict[str, Finding] = field(default_factory=dict)

    @property
    def overflowed(self) -> bool:
        """Whether more broke the invariant than are kept."""
        return self.broken > len(self.candidates)


async def look(
    invariants: Iterable[Invariant], snapshots: Snapshots, published: Published, *, kept: int
) -> dict[Invariant, Tally]:
    """Ask every invariant; at most `kept` candidates of each are kept, all are counted.

    Invariants over the same reads are asked in one pass over them.
    """
    passes: defaultdict[tuple[Read[Any], ...], dict[Invariant, Tally]] = defaultdict(dict)
    for invariant in invariants:
        passes[invariant.reads][invariant] = Tally()
    for reads, tallies in passes.items():
        async for rows in _rows(reads, snapshots, published):
            for invariant, tally in tallies.items():
                _ask(invariant, rows, tally, kept)
    return {invariant: tally for tallies in passes.values() for invariant, tally in tallies.items()}


def _ask(invariant: Invariant, rows: Sequence[Rows], tally: Tally, kept: int) -> None:
    holds = invariant.holds
    for one in rows:
        verdict = holds(*one)
        if verdict is None:
            continue
        tally.facts += 1
        if not verdict:
            tally.broken += 1
            if len(tally.candidates) < kept:
                candidate = _candidate(invariant, one)
                tally.candidates[candidate.entity] = candidate


def _candidate(invariant: Invariant, of_one_key: Rows) -> Finding:
    rows = [row for row in of_one_key if row is not None]
    evidence: Mapping[str, Any] = {
        str(read.source): None if row is None else row._asdict()
        for read, row in zip(invariant.reads, of_one_key, strict=True)
    }
    changes = [row.since for row in rows if row.since is not None]
    return Finding(invariant.id, rows[0].key, evidence, max(changes, default=None))


async def _rows(
    reads: tuple[Read[Any], ...], snapshots: Snapshots, published: Published
) -> AsyncIterator[Sequence[Rows]]:
    def chunks(read: Read[Any]) -> Chunks[Any]:
        source = published if read.source is Source.PUBLISHED else snapshots
        return in_order(read, source.chunks(read))

    match reads:
        case (read,):
            async for rows in chunks(read):
                yield [(row,) for row in rows]
        case (one, other):
            forgets = other.topic is not None and published.may_have_forgotten(other.topic)
            async for pairs in paired(chunks(one), chunks(other)):
                yield [pair for pair in pairs if pair[1] is not None] if forgets else pairs
        case _:
            raise ValueError(f"an invariant speaks of one read or of two, not of {len(reads)}")
