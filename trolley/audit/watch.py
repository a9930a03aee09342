"""The audit that goes on: after one look at everything, looks at what changed since.

What changed is asked of each database by the moment that its rows carry, over an index, and by the
transaction that wrote them. Neither numbers nor moments commit in their order, so nothing is read
from "the last one seen" on: a look remembers the oldest transaction that was open in its snapshot,
and the next one asks for whatever that transaction, or a later one, may have written. Moments are
read by clocks of several machines, and a little before a transaction begins; an overlap covers
that, and the transaction's number keeps the rows of the overlap from being looked at again.
"""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter

from messaging.clock import utc_now
from trolley.audit import checkpoints
from trolley.audit.auditor import Sources, intents_of, reading, scope_of, seen, snapshots_of
from trolley.audit.engine import Engine
from trolley.audit.findings import Findings, News
from trolley.audit.invariant import Between, Invariant, Source, Subject
from trolley.audit.invariants import INVARIANTS
from trolley.audit.look import Scope
from trolley.audit.open_items import open_items
from trolley.audit.published import Published
from trolley.audit.report import OpenItem
from trolley.audit.settings import AuditSettings
from trolley.audit.snapshots import Connections, Horizon, Snapshots, let_go
from trolley.audit.stripe_books import StripeBooks
from trolley.audit.subjects import PAYMENT
from trolley.audit.suspicions import Suspicions
from trolley.audit.unread import NOTHING_UNREAD, Unread
from trolley.together import together

SUBJECTS = tuple({one.subject: None for one in INVARIANTS if one.subject is not None})


@dataclass(frozen=True, slots=True)
class Looked:
    """One look that came to its end.

    `keys` counts the entities it was at, `due` those left for the next; `suspected` what broke an
    invariant between sources and may be under way, `unjudged` what broke one and was too much to
    be kept and looked at again.
    """

    whole: bool
    keys: int
    due: int
    facts: int
    suspected: int
    unjudged: int
    statements: int
    seconds: float
    news: News
    open_items: tuple[OpenItem, ...]


class Watch:
    """Looks one after the other; what one found is known to the next."""

    def __init__(
        self,
        sources: Sources,
        engine: Engine,
        published: Published,
        books: StripeBooks | None,
        findings: Findings,
        settings: AuditSettings,
        invariants: Sequence[Invariant],
    ) -> None:
        self.findings = findings
        self._sources = sources
        self._engine = engine
        self._published = published
        self._books = books
        self._settings = settings
        self._invariants = {one.id: one for one in invariants}
        self._suspicions = Suspicions(settle_seconds=settings.audit_settle_seconds)
        self._horizons: dict[Source, Horizon] = {}
        self._connections: Connections = {}
        """Those of narrow looks, which come one upon the other."""
        self._due: defaultdict[Subject, dict[str, None]] = defaultdict(dict)

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        sources: Sources,
        findings: Findings,
        settings: AuditSettings,
        invariants: Sequence[Invariant] | None = None,
    ) -> AsyncIterator["Watch"]:
        """A watch that has not looked yet; without `invariants` it asks all that it can.

        Raises KafkaUnavailable and TopicMissing.
        """
        asked = sources.invariants if invariants is None else invariants
        async with reading(sources, settings) as (engine, published, books):
            watch = cls(sources, engine, published, books, findings, settings, asked)
            try:
                yield watch
            finally:
                await let_go(watch._connections, settings.audit_connect_seconds)

    async def look(self) -> Looked:
        """Look at everything the first time, later at what changed; what fails is looked at again.

        Raises DatabaseUnavailable, DatabaseNotReadable, KafkaUnavailable and StripeUnavailable.
        """
        began, at, whole = time.monotonic(), utc_now(), not self._horizons
        unread = NOTHING_UNREAD
        if self._suspicions:
            unread = await Unread.now(self._sources.kafka, self._settings)
        bound = None if whole else self._settings.audit_statement_seconds
        kept = None if whole else self._connections
        async with snapshots_of(self._sources, self._settings, bound, kept) as snapshots:
            scope = None if whole else await self._scope(snapshots)
            saw = await seen(
                self._invariants.values(),
                self._engine,
                snapshots,
                self._published,
                self._books,
                self._settings,
                scope,
                unread,
            )
            items = await open_items(snapshots)
        news = self.findings.take(saw, self._suspicions.certain(saw), at)
        self._horizons = dict(snapshots.horizons)
        for subject, keys in (scope or {}).items():
            for key in keys:
                self._due[subject].pop(key, None)
        return Looked(
            whole=whole,
            keys=sum(map(len, scope.values())) if scope else 0,
            due=sum(map(len, self._due.values())),
            facts=sum(tally.facts for tally in saw.tallies.values()),
            suspected=len(self._suspicions),
            unjudged=sum(
                tally.broken - len(tally.candidates)
                for invariant, tally in saw.tallies.items()
                if isinstance(invariant, Between)
            ),
            statements=snapshots.statements,
            seconds=time.monotonic() - began,
            news=news,
            open_items=items,
        )

    async def _scope(self, snapshots: Snapshots) -> Scope:
        """What is due: suspected, known to be wrong, changed, and published about.

        Of each subject only so many, so that a flood of changes makes more looks, not larger ones.
        At most half of them are suspected and a quarter known: what was looked at goes to the end
        of either line, and what changed has its turn however many there are of these.
        """
        reading = [self._published.read_to_end(), self._note_changes(snapshots)]
        if self._books is not None:
            suspected = intents_of(finding for _, finding in self._suspicions)
            wrong = intents_of(self.findings.open())
            reading.append(self._books.read_on((*suspected, *wrong)))
        await together(reading)
        for subject in SUBJECTS:
            self._due[subject].update(dict.fromkeys(self._published.news(subject.published)))
        self._published.forget_news()
        if self._books is not None:
            self._due[PAYMENT].update(self._books.news)
            self._books.news.clear()
        most = self._settings.audit_look_keys
        due: defaultdict[Subject, dict[str, None]] = defaultdict(dict)
        for subject, keys in scope_of(self._suspicions).items():
            due[subject].update(dict.fromkeys(keys[: most // 2]))
        for known in sorted(self.findings.open(), key=attrgetter("last_seen"))[: most // 4]:
            invariant = self._invariants.get(known.invariant)
            if invariant is not None and invariant.subject and known.subject_key:
                due[invariant.subject][known.subject_key] = None
        for subject, keys_due in self._due.items():
            due[subject].update(keys_due)
        return {subject: tuple(keys)[:most] for subject, keys in due.items()}

    async def _note_changes(self, snapshots: Snapshots) -> None:
        """Keys are due of which a database has rows that the look before may not have seen."""
        overlap = timedelta(seconds=self._settings.audit_overlap_seconds)
        moved: dict[str, int] = {}

        async def ask(source: Source, asked: Iterable[tuple[Subject, str]]) -> None:
            since = self._horizons[source]
            for subject, sql in asked:
                rows = await snapshots.fetch(source, sql, since.moment - overlap, since.transaction)
                self._due[subject].update((row[0], None) for row in rows)
                if rows and len(rows[0]) > 1:
                    moved.update((key, number) for key, number in rows)

        asked: defaultdict[Source, list[tuple[Subject, str]]] = defaultdict(list)
        for subject in SUBJECTS:
            for source, sql in subject.changed:
                asked[source].append((subject, sql))
        await together(ask(source, statements) for source, statements in asked.items())
        if moved:
            await checkpoints.void(self._engine, moved)
