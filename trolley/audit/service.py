"""The auditor as a program that goes on: looks, and tells what it found over HTTP.

    python -m trolley.audit.service [--home DIR]

It reads the settings of the stack in that directory. `/findings` tells what is wrong, as JSON,
with evidence and age; `/metrics` the same in numbers; `/health/live` and `/health/ready` whether
it runs and whether it has looked at everything and still does.
"""

import argparse
import asyncio
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    generate_latest,
)

from messaging.clock import utc_now
from messaging.logs import configure_logs
from messaging.waiting import happens
from trolley.audit.auditor import Sources
from trolley.audit.findings import Findings
from trolley.audit.invariants import INVARIANTS
from trolley.audit.settings import AuditSettings
from trolley.audit.watch import Looked, Watch
from trolley.runtime.errors import RuntimeStartError
from trolley.runtime.home import Home

log = structlog.get_logger()

FINDINGS_FILE = "audit.sqlite"
"""In the state directory."""


class AuditService:
    """Looks until it is stopped. `app` tells what it knows."""

    def __init__(self, sources: Sources, findings: Findings, settings: AuditSettings) -> None:
        self.app = FastAPI(title="Trolley auditor", version="1")
        self.app.get("/findings")(self._tell_findings)
        self.app.get("/health/live")(self._live)
        self.app.get("/health/ready")(self._ready)
        self.app.get("/metrics")(self._metrics)
        self._sources = sources
        self._findings = findings
        self._settings = settings
        self._stop = asyncio.Event()
        self._last: Looked | None = None
        self._looked_at: float | None = None
        self._trouble: str | None = None
        self._numbers = _Numbers()

    async def run(self) -> None:
        """Look, rest, look. What cannot be read is told, and tried again after the rest."""
        while not self._stop.is_set():
            try:
                async with Watch.opened(self._sources, self._findings, self._settings) as watch:
                    await self._look_on(watch)
            except RuntimeStartError as error:
                self._note_trouble(error)
                await happens(self._stop, self._settings.audit_pause_seconds)

    def stop(self) -> None:
        """End after the look that is being taken."""
        self._stop.set()

    async def _look_on(self, watch: Watch) -> None:
        """Until it is time to look at everything again: the topics are read anew, too."""
        until = time.monotonic() + self._settings.audit_whole_hours * 3600
        while not self._stop.is_set() and time.monotonic() < until:
            rest = self._settings.audit_pause_seconds
            try:
                looked = await watch.look()
            except RuntimeStartError as error:
                self._note_trouble(error)
            else:
                self._note(looked)
                rest = max(rest, looked.seconds)
            await happens(self._stop, rest)

    def _note(self, looked: Looked) -> None:
        self._last, self._looked_at, self._trouble = looked, time.monotonic(), None
        self._numbers.note(looked, self._findings)
        for one in looked.news.new:
            log.error("violation found", finding=one.id, invariant=one.invariant, entity=one.entity)
        for one in looked.news.resolved:
            log.info(
                "violation resolved", finding=one.id, invariant=one.invariant, entity=one.entity
            )

    def _note_trouble(self, error: RuntimeStartError) -> None:
        self._trouble = str(error)
        self._numbers.failed.inc()
        log.warning("could not look", reason=self._trouble)

    async def _tell_findings(self) -> JSONResponse:
        """What is wrong now, what was not long ago, and what is open without being wrong."""
        at, last = utc_now(), self._last
        return JSONResponse(
            {
                "at": at.isoformat(),
                "looked_seconds_ago": self._since_look(),
                "findings": [one.as_json(at) for one in self._findings.open()],
                "resolved": [one.as_json(at) for one in self._findings.resolved()],
                "suspected": last.suspected if last else 0,
                "due": last.due if last else 0,
                "open_items": [
                    {"what": item.what, "where": item.where, "count": item.count}
                    for item in (last.open_items if last else ())
                ],
            }
        )

    async def _live(self) -> JSONResponse:
        """The process answers."""
        return JSONResponse({"status": "live"})

    async def _ready(self) -> JSONResponse:
        """Everything was looked at once, and the last look came to its end."""
        ready = self._last is not None and self._trouble is None
        content: dict[str, Any] = {"status": "ready" if ready else "waiting"}
        if self._trouble:
            content["reason"] = self._trouble
        return JSONResponse(content, 200 if ready else 503)

    async def _metrics(self) -> Response:
        """Prometheus metrics."""
        since = self._since_look()
        if since is not None:
            self._numbers.since_look.set(since)
        return Response(generate_latest(self._numbers.registry), media_type=CONTENT_TYPE_LATEST)

    def _since_look(self) -> float | None:
        return None if self._looked_at is None else time.monotonic() - self._looked_at


class _Numbers:
    """What a dashboard draws and an alert asks."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.findings = Gauge(
            "trolley_audit_findings",
            "Violations that are open, by invariant.",
            ["invariant"],
            registry=registry,
        )
        self.oldest = Gauge(
            "trolley_audit_oldest_finding_seconds",
            "Since when the oldest open violation is known.",
            registry=registry,
        )
        self.suspected = Gauge(
            "trolley_audit_suspected",
            "Disagreements between services that may be under way.",
            registry=registry,
        )
        self.due = Gauge(
            "trolley_audit_keys_due", "Entities that wait for the next look.", registry=registry
        )
        self.look_seconds = Gauge(
            "trolley_audit_look_seconds", "How long the last look took.", ["of"], registry=registry
        )
        self.since_look = Gauge(
            "trolley_audit_seconds_since_look", "How long ago it ended.", registry=registry
        )
        self.looks = Counter("trolley_audit_looks", "Looks taken.", ["of"], registry=registry)
        self.failed = Counter(
            "trolley_audit_looks_failed", "Looks that could not be taken.", registry=registry
        )
        self.facts = Counter("trolley_audit_facts", "Facts checked.", registry=registry)
        self.statements = Counter(
            "trolley_audit_statements", "Statements asked of the databases.", registry=registry
        )

    def note(self, looked: Looked, findings: Findings) -> None:
        """Take in a look."""
        of = "everything" if looked.whole else "changes"
        self.looks.labels(of).inc()
        self.look_seconds.labels(of).set(looked.seconds)
        self.facts.inc(looked.facts)
        self.statements.inc(looked.statements)
        self.suspected.set(looked.suspected)
        self.due.set(looked.due)
        known, now = findings.open(), utc_now()
        counts = dict.fromkeys((one.id for one in INVARIANTS), 0)
        for one in known:
            counts[one.invariant] = counts.get(one.invariant, 0) + 1
        for invariant, count in counts.items():
            self.findings.labels(invariant).set(count)
        ages = [(now - one.first_seen).total_seconds() for one in known]
        self.oldest.set(max(ages, default=0.0))


async def serve(home: Home, settings: AuditSettings) -> None:
    """Audit the stack of a state directory until SIGTERM or SIGINT."""
    sources = Sources.named_by(home.environment())
    home.path.mkdir(parents=True, exist_ok=True)
    findings = Findings(
        home.path / FINDINGS_FILE, resolved_kept=timedelta(days=settings.audit_resolved_days)
    )
    service = AuditService(sources, findings, settings)
    server = uvicorn.Server(
        uvicorn.Config(
            service.app,
            host=settings.audit_http_host,
            port=settings.audit_http_port,
            log_config=None,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn takes them over while it serves, and raises them again at its end.
        asyncio.get_running_loop().add_signal_handler(number, service.stop)
    try:
        # A defect that ends the looks ends the program: one that only seems to audit is worse.
        async with asyncio.TaskGroup() as together:
            together.create_task(service.run())
            await server.serve()
            service.stop()
    finally:
        findings.close()


def main() -> None:
    """The program's entry point; exits 1 with one sentence when it cannot start."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path(".trolley"))
    options = parser.parse_args()
    configure_logs("auditor", 0, "INFO")
    try:
        asyncio.run(serve(Home(options.home), AuditSettings()))
    except RuntimeStartError as error:
        raise SystemExit(f"trolley: {error}") from error


if __name__ == "__main__":
    main()
