"""The auditor at work: looks, rests, looks again, and remembers how it went.

What cannot be read ends a look, is told, and is tried again after the rest.
"""

import asyncio
import time

import structlog

from messaging.clock import utc_now
from messaging.waiting import happens
from trolley.audit import metrics
from trolley.audit.auditor import Sources
from trolley.audit.findings import Findings
from trolley.audit.settings import AuditSettings
from trolley.audit.watch import Looked, Watch
from trolley.runtime.errors import RuntimeStartError

log = structlog.get_logger()


class Rounds:
    """Looks until it is stopped.

    `last` is the look that came to its end last, `trouble` why the one after it could not.
    """

    def __init__(self, sources: Sources, findings: Findings, settings: AuditSettings) -> None:
        self.findings = findings
        self.last: Looked | None = None
        self.trouble: str | None = None
        self._sources = sources
        self._settings = settings
        self._looked_at: float | None = None
        self._began = time.monotonic()
        self._count_findings()

    @property
    def looked_seconds_ago(self) -> float | None:
        """How long ago the last look ended; None before the first."""
        return None if self._looked_at is None else time.monotonic() - self._looked_at

    @property
    def seconds_since_look(self) -> float:
        """The same; before the first look how long this has been waited for."""
        return time.monotonic() - (self._looked_at or self._began)

    async def run(self, stop: asyncio.Event) -> None:
        """Look, rest, look, until `stop` is set; the look that is being taken ends first."""
        while not stop.is_set():
            try:
                async with Watch.opened(self._sources, self.findings, self._settings) as watch:
                    await self._look_on(watch, stop)
            except RuntimeStartError as error:
                self._note_trouble(error)
                await happens(stop, self._settings.audit_pause_seconds)

    async def _look_on(self, watch: Watch, stop: asyncio.Event) -> None:
        """Until it is time to look at everything again: the topics are read anew, too."""
        until = time.monotonic() + self._settings.audit_whole_hours * 3600
        while not stop.is_set() and time.monotonic() < until:
            rest = self._settings.audit_pause_seconds
            try:
                looked = await watch.look()
            except RuntimeStartError as error:
                self._note_trouble(error)
            else:
                self._note(looked)
                rest = max(rest, looked.seconds)
            await happens(stop, rest)

    def _note(self, looked: Looked) -> None:
        self.last, self._looked_at, self.trouble = looked, time.monotonic(), None
        for one in looked.news.new:
            log.error("violation found", finding=one.id, invariant=one.invariant, entity=one.entity)
        for one in looked.news.resolved:
            log.info(
                "violation resolved", finding=one.id, invariant=one.invariant, entity=one.entity
            )
        of = "everything" if looked.whole else "changes"
        metrics.LOOKS.labels(of).inc()
        metrics.LOOK_SECONDS.labels(of).set(looked.seconds)
        metrics.FACTS.inc(looked.facts)
        metrics.STATEMENTS.inc(looked.statements)
        metrics.SUSPECTED.set(looked.suspected)
        metrics.UNJUDGED.set(looked.unjudged)
        metrics.DUE.set(looked.due)
        self._count_findings()

    def _count_findings(self) -> None:
        known, now = self.findings.open(), utc_now()
        counts = dict.fromkeys((one.id for one in self._sources.invariants), 0)
        for one in known:
            counts[one.invariant] = counts.get(one.invariant, 0) + 1
        for invariant, count in counts.items():
            metrics.FINDINGS.labels(invariant).set(count)
        ages = [(now - one.first_seen).total_seconds() for one in known]
        metrics.OLDEST_FINDING.set(max(ages, default=0.0))

    def _note_trouble(self, error: RuntimeStartError) -> None:
        self.trouble = str(error)
        metrics.FAILED.inc()
        log.warning("could not look", reason=self.trouble)
