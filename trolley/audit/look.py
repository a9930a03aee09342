"""One look: invariants asked over one snapshot of each database, and the event topics.

A look is at everything, or at some keys of each subject. Within one source the rule is judged by
the source; between two, rows with the same key are brought together here.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from trolley.audit.invariant import Between, Invariant, Read, Row, Source, Subject, Within
from trolley.audit.join import Chunks, Stretch, side_by_side
from trolley.audit.published import Published
from trolley.audit.report import Finding
from trolley.audit.snapshots import Snapshots

Scope = Mapping[Subject, Sequence[str]]
"""The keys that a look is at, of each subject; what has no subject is always looked at."""


@dataclass(slots=True)
class Tally:
    """What a look found of one invariant: how many facts, and what breaks it, by entity."""

    facts: int = 0
    broken: int = 0
    candidates: dict[str, Finding] = field(default_factory=dict)


class Reader(Protocol):
    """A source that can be asked."""

    def chunks(self, read: Read[Any], keys: Sequence[str] | None) -> Chunks[Any]:
        """The rows of a read in order, a bounded number at a time."""

    async def judged(
        self, read: Read[Any], rules: Sequence[str], keys: Sequence[str] | None, *, kept: int
    ) -> Sequence[tuple[int, int, Sequence[Row]]]:
        """For each rule its facts, how many break it, and the first rows that do."""


async def look(
    invariants: Iterable[Invariant],
    snapshots: Snapshots,
    published: Published,
    *,
    kept: int,
    scope: Scope | None = None,
) -> dict[Invariant, Tally]:
    """Ask invariants; at most `kept` candidates of each are kept, all are counted.

    The topics are read to their end meanwhile. Without a scope everything is looked at.
    """
    asked = [one for one in invariants if _keys(one.subject, scope) != ()]
    tallies: dict[Invariant, Tally] = {one: Tally() for one in asked}
    within: defaultdict[Source, defaultdict[Read[Any], list[Within]]]
    within = defaultdict(lambda: defaultdict(list))
    between: defaultdict[Subject, list[Between]] = defaultdict(list)
    for one in asked:
        if isinstance(one, Within):
            within[one.read.source][one.read].append(one)
        else:
            between[one.subject].append(one)
    told: Mapping[Read[Any], list[Within]] = within.pop(Source.PUBLISHED, defaultdict(list))

    async def judge(reader: Reader, reads: Mapping[Read[Any], list[Within]]) -> None:
        for read, rules in reads.items():
            await _judge(reader, read, rules, tallies, kept, _keys(read.subject, scope))

    try:
        async with asyncio.TaskGroup() as together:
            together.create_task(published.read_to_end())
            for reads in within.values():
                together.create_task(judge(snapshots, reads))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None  # one that cannot be read ends the look
    await judge(published, told)
    for subject, rules in between.items():
        await _join(rules, snapshots, published, tallies, kept, _keys(subject, scope))
    return tallies


def _keys(subject: Subject | None, scope: Scope | None) -> Sequence[str] | None:
    """None for everything."""
    if scope is None or subject is None:
        return None
    return tuple(scope.get(subject, ()))


async def _judge(
    reader: Reader,
    read: Read[Any],
    rules: Sequence[Within],
    tallies: Mapping[Invariant, Tally],
    kept: int,
    keys: Sequence[str] | None,
) -> None:
    judged = await reader.judged(read, [one.holds for one in rules], keys, kept=kept)
    for invariant, (facts, broken, rows) in zip(rules, judged, strict=True):
        tally = tallies[invariant]
        tally.facts, tally.broken = facts, broken
        for row in rows:
            tally.candidates[row.key] = _candidate(invariant, (row,))


async def _join(
    rules: Sequence[Between],
    snapshots: Snapshots,
    published: Published,
    tallies: Mapping[Invariant, Tally],
    kept: int,
    keys: Sequence[str] | None,
) -> None:
    """Every read of these rules once, side by side."""
    streams: dict[Read[Any], Chunks[Any]] = {}
    for rule in rules:
        for read in rule.reads:
            if read not in streams:
                reader: Reader = published if read.source is Source.PUBLISHED else snapshots
                streams[read] = reader.chunks(read, keys)
    forgets = {
        rule: rule.other.topic is not None and published.may_have_forgotten(rule.other.topic)
        for rule in rules
    }
    async for stretch in side_by_side(streams):
        for rule in rules:
            one, other = stretch[rule.one], stretch[rule.other]
            _ask(rule, one, other, tallies[rule], kept, forgets=forgets[rule])


def _ask(
    rule: Between,
    one: Stretch[Row],
    other: Stretch[Row],
    tally: Tally,
    kept: int,
    *,
    forgets: bool,
) -> None:
    keys: Iterable[str]
    if forgets:
        keys = other
    elif one.keys() == other.keys():
        keys = one
    else:
        keys = dict.fromkeys((*one, *other))
    verdicts = list(map(rule.holds, map(one.get, keys), map(other.get, keys)))
    tally.facts += len(verdicts) - verdicts.count(None)
    if False not in verdicts:
        return
    broken = sorted(key for key, holds in zip(keys, verdicts, strict=True) if holds is False)
    tally.broken += len(broken)
    for key in broken[: max(0, kept - len(tally.candidates))]:
        tally.candidates[key] = _candidate(rule, (one.get(key), other.get(key)))


def _candidate(invariant: Invariant, of_one_key: Sequence[Row | None]) -> Finding:
    known = [
        (read, row)
        for read, row in zip(invariant.reads, of_one_key, strict=True)
        if row is not None
    ]
    evidence: Mapping[str, Any] = {
        str(read.source): None if row is None else row._asdict()
        for read, row in zip(invariant.reads, of_one_key, strict=True)
    }
    changes = [row.since for _, row in known if row.since is not None]
    read, row = known[0]
    return Finding(
        invariant.id,
        row.key,
        evidence,
        max(changes, default=None),
        read.subject_key(row) if invariant.subject is not None else None,
    )
