"""The audit: a look at everything, and a second one at what disagreed between sources."""

import asyncio
import time
from collections import defaultdict
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set,
)
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from messaging.clock import utc_now
from messaging.settings import KafkaSettings
from trolley.audit import checkpoints
from trolley.audit.engine import Engine
from trolley.audit.findings import Known
from trolley.audit.invariant import Between, Invariant, Source, Subject
from trolley.audit.invariants import INVARIANTS, stripe_money
from trolley.audit.look import Scope, look
from trolley.audit.open_items import open_items
from trolley.audit.published import Published
from trolley.audit.report import AuditReport, Checked, Finding
from trolley.audit.settings import AuditSettings
from trolley.audit.snapshots import Connections, Snapshots, database_urls
from trolley.audit.stripe_books import StripeAccount, StripeBooks
from trolley.audit.suspicions import Seen, Suspicions
from trolley.audit.unread import NOTHING_UNREAD, Unread
from trolley.topics import kafka_settings


@dataclass(frozen=True, slots=True)
class Sources:
    """Where everything is that an audit reads; Stripe only where payments are made with it."""

    databases: Mapping[Source, str]
    kafka: KafkaSettings
    stripe: StripeAccount | None = None

    @classmethod
    def named_by(cls, environment: Mapping[str, str]) -> "Sources":
        """The sources that these settings name: they are those of the services.

        Raises DatabaseNotNamed and StripeUnavailable.
        """
        return cls(
            database_urls(environment),
            kafka_settings(environment),
            StripeAccount.named_by(environment),
        )

    @property
    def books(self) -> tuple[str, ...]:
        """Whose books our ledger is compared with."""
        return ("the simulated provider", *((self.stripe.name,) if self.stripe else ()))

    @property
    def invariants(self) -> tuple[Invariant, ...]:
        """All invariants that these sources can show."""
        return (*INVARIANTS, *(stripe_money.INVARIANTS if self.stripe else ()))


async def audit(
    sources: Sources,
    settings: AuditSettings | None = None,
    *,
    invariants: Sequence[Invariant] | None = None,
    before_second_look: Callable[[int], Awaitable[None]] | None = None,
) -> AuditReport:
    """Check every invariant once, or these.

    `before_second_look` is told for how many candidates the audit is going to wait. Raises
    DatabaseUnavailable, KafkaUnavailable and StripeUnavailable.
    """
    invariants = sources.invariants if invariants is None else invariants
    settings = settings or AuditSettings()
    began, at = time.monotonic(), utc_now()
    suspicions = Suspicions(settle_seconds=settings.audit_settle_seconds)
    looks = 1
    async with reading(sources, settings) as (engine, published, books):
        async with snapshots_of(sources, settings) as snapshots:
            first = await seen(invariants, engine, snapshots, published, books, settings)
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
                if books is not None:
                    await books.read_on(intents_of(finding for _, finding in suspicions))
                scope = scope_of(suspicions)
                second = await seen(
                    suspected, engine, snapshots, published, books, settings, scope, unread
                )
                found.update(suspicions.certain(second))
                items = await open_items(snapshots)
    return AuditReport(
        at=at,
        books=sources.books,
        checked=tuple(_checked(one, first, found[one]) for one in invariants),
        open_items=items,
        looks=looks,
        seconds=time.monotonic() - began,
    )


@asynccontextmanager
async def reading(
    sources: Sources, settings: AuditSettings
) -> AsyncIterator[tuple[Engine, Published, StripeBooks | None]]:
    """An engine, with the event topics and the books of Stripe that it is going to take in.

    Raises KafkaUnavailable and TopicMissing.
    """
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(Engine.opened(settings))
        await checkpoints.prepare(engine)
        published = await stack.enter_async_context(
            Published.opened(sources.kafka, engine, settings)
        )
        books = None
        if sources.stripe is not None:
            books = await stack.enter_async_context(
                StripeBooks.opened(sources.stripe, engine, settings)
            )
        yield engine, published, books


def snapshots_of(
    sources: Sources,
    settings: AuditSettings,
    statement_seconds: float | None = None,
    kept: Connections | None = None,
) -> AbstractAsyncContextManager[Snapshots]:
    """Every database in a snapshot of now; see `Snapshots.taken`."""
    return Snapshots.taken(
        sources.databases,
        connect_seconds=settings.audit_connect_seconds,
        statement_seconds=statement_seconds,
        kept=kept,
    )


async def seen(
    invariants: Iterable[Invariant],
    engine: Engine,
    snapshots: Snapshots,
    published: Published,
    books: StripeBooks | None,
    settings: AuditSettings,
    scope: Scope | None = None,
    unread: Unread = NOTHING_UNREAD,
) -> Seen:
    """One look at everything, or at some keys, and at what is open of what disagreed."""
    at_seconds = time.monotonic()
    tallies = await look(
        invariants,
        engine,
        snapshots,
        published,
        books,
        kept=settings.audit_candidates_kept,
        scope=scope,
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


def intents_of(findings: Iterable[Finding | Known]) -> Iterator[str]:
    """What Stripe calls the payments that these findings are about."""
    for finding in findings:
        for row in finding.evidence.values():
            yield from ((row or {}).get("intents") or "").split()


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
