"""The audit: a look at everything, and a second one at what disagreed between sources."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from messaging.clock import utc_now
from messaging.settings import KafkaSettings
from trolley.audit import checkpoints
from trolley.audit.engine import Engine
from trolley.audit.invariant import Between, Invariant, Source, Subject
from trolley.audit.invariants import INVARIANTS
from trolley.audit.look import Scope, look
from trolley.audit.open_items import open_items
from trolley.audit.published import Published
from trolley.audit.report import AuditReport, Checked, Finding
from trolley.audit.settings import AuditSettings
from trolley.audit.snapshots import Snapshots, database_urls
from trolley.audit.suspicions import Seen, Suspicions
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
    suspicions = Suspicions(settle_seconds=settings.audit_settle_seconds)
    looks = 1
    async with reading(sources, settings) as (engine, published):
        async with snapshots_of(sources, settings) as snapshots:
            first = await seen(invariants, engine, snapshots, published, settings)
            found = suspicions.certain(first)
            items = await open_items(snapshots)
        if suspicions:
            if before_second_look is not None:
                await before_second_look(
                    sum(first.tallies[one].broken for one in invariants if _is_joined(one))
                )
            await asyncio.sleep(settings.audit_settle_seconds)
            looks, unread = 2, await Unread.now(sources.kafka, settings)
            suspected = {invariant for invariant, _ in suspicions}
            async with snapshots_of(sources, settings) as snapshots:
                await published.read_to_end()
                scope = scope_of(suspicions)
                second = await seen(
                    suspected, engine, snapshots, published, settings, scope, unread
                )
                found.update(suspicions.certain(second))
                items = await open_items(snapshots)
    return AuditReport(
        at=at,
        checked=tuple(_checked(one, first, found[one]) for one in invariants),
        open_items=items,
        looks=looks,
        seconds=time.monotonic() - began,
    )


@asynccontextmanager
async def reading(
    sources: Sources, settings: AuditSettings
) -> AsyncIterator[tuple[Engine, Published]]:
    """An engine, and the event topics that it is going to take in.

    Raises KafkaUnavailable and TopicMissing.
    """
    async with Engine.opened(settings) as engine:
        await checkpoints.prepare(engine)
        async with Published.opened(sources.kafka, engine, settings) as published:
            yield engine, published


def snapshots_of(
    sources: Sources, settings: AuditSettings, statement_seconds: float | None = None
) -> AbstractAsyncContextManager[Snapshots]:
    """Every database in a snapshot of now."""
    return Snapshots.taken(
        sources.databases,
        connect_seconds=settings.audit_connect_seconds,
        statement_seconds=statement_seconds,
    )


async def seen(
    invariants: Iterable[Invariant],
    engine: Engine,
    snapshots: Snapshots,
    published: Published,
    settings: AuditSettings,
    scope: Scope | None = None,
    unread: Unread = NOTHING_UNREAD,
) -> Seen:
    """One look at everything, or at some keys, and at what is open of what disagreed."""
    at_seconds = time.monotonic()
    tallies = await look(
        invariants, engine, snapshots, published, kept=settings.audit_candidates_kept, scope=scope
    )
    candidates: defaultdict[Subject, set[str]] = defaultdict(set)
    for invariant, tally in tallies.items():
        if isinstance(invariant, Between) and invariant.subject is not None:
            candidates[invariant.subject].update(tally.candidates)
    return Seen(
        at_seconds,
        scope,
        tallies,
        {
            subject: await _open_of(subject, keys, snapshots, unread)
            for subject, keys in candidates.items()
            if keys
        },
    )


def scope_of(findings: Iterable[tuple[Invariant, Finding]]) -> Scope:
    """The keys to look at again."""
    keys: defaultdict[Subject, dict[str, None]] = defaultdict(dict)
    for invariant, finding in findings:
        if invariant.subject is not None and finding.subject_key is not None:
            keys[invariant.subject][finding.subject_key] = None
    return {subject: tuple(of_subject) for subject, of_subject in keys.items()}


async def _open_of(
    subject: Subject, keys: Set[str], snapshots: Snapshots, unread: Unread
) -> Set[str]:
    """Those of the keys of which something is under way anywhere."""
    found = {key for key in keys if unread.concerns(key, subject.topics)}
    for source, sql in subject.under_way:
        found |= await snapshots.keys(source, sql, keys)
    return found


def _is_joined(invariant: Invariant) -> bool:
    return isinstance(invariant, Between)


def _checked(invariant: Invariant, first: Seen, findings: Sequence[Finding]) -> Checked:
    """Within one source all that broke the rule is certain, counted or kept."""
    tally = first.tallies[invariant]
    unjudged = tally.broken - len(tally.candidates) if _is_joined(invariant) else 0
    violations = len(findings) if _is_joined(invariant) else tally.broken
    return Checked(
        invariant.id,
        invariant.says,
        tally.facts,
        violations=violations,
        findings=tuple(findings),
        under_way=tally.broken - violations - unjudged,
        unjudged=unjudged,
    )
