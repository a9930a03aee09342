"""The audit: one look, and where sources disagree that are not of one moment, a second one.

Every database is read in one snapshot, but the snapshots are not of one moment, and messages are
on their way between them. So what breaks an invariant between two sources is a candidate. It
becomes a finding when a second look, `audit_settle_seconds` later, sees the very same rows
disagree, and nothing of it was open at either look: no step of its saga, no outbox row, no
provider operation, no unread record.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass

from messaging.clock import utc_now
from messaging.settings import KafkaSettings
from trolley.audit.invariant import Invariant, Source, Subject
from trolley.audit.invariants import INVARIANTS
from trolley.audit.look import Tally, look
from trolley.audit.open_items import open_items
from trolley.audit.published import Published
from trolley.audit.report import AuditReport, Checked, OpenItem
from trolley.audit.settings import AuditSettings
from trolley.audit.snapshots import Snapshots, database_urls
from trolley.audit.unread import NOTHING_UNREAD, Unread
from trolley.topics import kafka_settings


@dataclass(frozen=True, slots=True)
class Sources:
    """Where everything is that an audit reads."""

    databases: Mapping[Source, str]
    kafka: KafkaSettings

    @classmethod
    def named_by(cls, environment: Mapping[str, str]) -> "Sources":
        """The sources that these settings name: they are those of the services.

        Raises DatabaseNotNamed.
        """
        return cls(database_urls(environment), kafka_settings(environment))


async def audit(
    sources: Sources,
    settings: AuditSettings | None = None,
    *,
    invariants: Sequence[Invariant] = INVARIANTS,
    before_second_look: Callable[[int], Awaitable[None]] | None = None,
) -> AuditReport:
    """Check every invariant once.

    `before_second_look` is told for how many candidates the audit is going to wait. Raises
    DatabaseUnavailable and KafkaUnavailable.
    """
    settings = settings or AuditSettings()
    began, at = time.monotonic(), utc_now()
    async with Published.opened(sources.kafka, settings) as published:
        first = second = await _look(invariants, sources, published, settings)
        suspects = [one for one in invariants if one.about and first.tallies[one].broken]
        if suspects:
            if before_second_look is not None:
                await before_second_look(sum(first.tallies[one].broken for one in suspects))
            await asyncio.sleep(settings.audit_settle_seconds)
            unread = await Unread.now(sources.kafka)
            second = await _look(suspects, sources, published, settings, unread)
    return AuditReport(
        at=at,
        checked=tuple(
            _judged_at_once(one, first)
            if one not in suspects
            else _judged_twice(one, first, second)
            for one in invariants
        ),
        open_items=second.open_items,
        looks=1 if second is first else 2,
        seconds=time.monotonic() - began,
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look saw; `open` has the candidates of which something was under way, by subject."""

    tallies: Mapping[Invariant, Tally]
    open: Mapping[str, Set[str]]
    open_items: tuple[OpenItem, ...]


async def _look(
    invariants: Sequence[Invariant],
    sources: Sources,
    published: Published,
    settings: AuditSettings,
    unread: Unread = NOTHING_UNREAD,
) -> _Seen:
    async with Snapshots.taken(
        sources.databases,
        chunk_rows=settings.audit_chunk_rows,
        connect_seconds=settings.audit_connect_seconds,
    ) as snapshots:
        await published.read_to_end()
        tallies = await look(invariants, snapshots, published, kept=settings.audit_candidates_kept)
        candidates: defaultdict[Subject, set[str]] = defaultdict(set)
        for invariant, tally in tallies.items():
            if invariant.about:
                candidates[invariant.about].update(tally.candidates)
        return _Seen(
            tallies=tallies,
            open={
                subject.name: await _open_of(subject, keys, snapshots, unread)
                for subject, keys in candidates.items()
                if keys
            },
            open_items=await open_items(snapshots),
        )


async def _open_of(
    subject: Subject, keys: Set[str], snapshots: Snapshots, unread: Unread
) -> Set[str]:
    """Those of the keys of which something is under way anywhere."""
    found = {key for key in keys if unread.concerns(key, subject.topics)}
    for source, sql in subject.under_way:
        found |= await snapshots.keys(source, sql, keys)
    return found


def _judged_at_once(invariant: Invariant, seen: _Seen) -> Checked:
    """All rows were of one snapshot, or there is nothing to judge."""
    tally = seen.tallies[invariant]
    return Checked(
        invariant.id,
        invariant.says,
        tally.facts,
        violations=tally.broken,
        findings=tuple(tally.candidates.values()),
    )


def _judged_twice(invariant: Invariant, first: _Seen, second: _Seen) -> Checked:
    """A finding is what both looks saw alike, and of which neither saw anything open."""
    assert invariant.about is not None  # noqa: S101 - only such invariants are looked at again
    before, after = first.tallies[invariant], second.tallies[invariant]
    subject = invariant.about.name
    is_open = first.open.get(subject, set()) | second.open.get(subject, set())
    seen_twice = before.candidates.keys() & after.candidates.keys()
    findings = tuple(
        after.candidates[entity]
        for entity in sorted(seen_twice - is_open)
        if before.candidates[entity].evidence == after.candidates[entity].evidence
    )
    unjudged = after.broken - len(seen_twice) if before.overflowed or after.overflowed else 0
    return Checked(
        invariant.id,
        invariant.says,
        after.facts,
        violations=len(findings),
        findings=findings,
        under_way=max(before.broken - len(findings) - unjudged, 0),
        unjudged=unjudged,
    )
