"""The operations service, put together.

    python -m trolley.operations.app

It reads every service's database and the event topics, and writes to none of them. One of it is
enough: a second one finds the same, under the same ids.
"""

import asyncio
import signal
from datetime import timedelta

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from messaging.garbage import look_for_garbage_seldom
from messaging.http import problems
from messaging.http.connections import BoundedConfig
from messaging.http.edge import Edge
from messaging.http.openapi import DescribedApi
from messaging.http.rendering import JsonResponse
from messaging.logs import configure_logs
from messaging.service import NO_TELEMETRY_OF_ITS_OWN
from trolley.audit import metrics
from trolley.audit.auditor import Sources
from trolley.audit.findings import Findings
from trolley.audit.rounds import Rounds
from trolley.audit.settings import AuditSettings
from trolley.operations.api import router
from trolley.operations.settings import OperationsSettings
from trolley.runtime.errors import RuntimeStartError
from trolley.runtime.home import Home

NAME = "operations"
FINDINGS_FILE = "audit.sqlite"
"""In the state directory."""


class Operations:
    """One process: the auditor's rounds, and an API over them and over every database."""

    def __init__(
        self, sources: Sources, settings: OperationsSettings, audit_settings: AuditSettings
    ) -> None:
        """Raises OSError when the state directory cannot be made."""
        self._settings = settings
        settings.state_directory.mkdir(parents=True, exist_ok=True)
        self._findings = Findings(
            settings.state_directory / FINDINGS_FILE,
            resolved_kept=timedelta(days=audit_settings.audit_resolved_days),
        )
        self.rounds = Rounds(sources, self._findings, audit_settings)
        self.app = self._make_app(sources)

    def _make_app(self, sources: Sources) -> DescribedApi:
        app = DescribedApi(
            title="Trolley operations", version="1", telemetry=NO_TELEMETRY_OF_ITS_OWN
        )
        app.state.settings = self._settings
        app.state.rounds = self.rounds
        app.state.databases = sources.databases
        problems.install(app)
        app.add_exception_handler(RuntimeStartError, _source_away)
        app.include_router(router)
        app.add_api_route("/health/live", self._live, include_in_schema=False)
        app.add_api_route("/health/ready", self._ready, include_in_schema=False)
        app.add_api_route("/metrics", self._metrics, include_in_schema=False)
        app.add_middleware(
            Edge,
            service=NAME,
            requests_at_once=self._settings.requests_at_once,
            header_bytes=self._settings.http.header_bytes,
            header_fields=self._settings.http.header_fields,
        )
        return app

    async def serve(self) -> None:
        """Look and answer until SIGTERM or SIGINT.

        A defect that ends the looks ends the program: one that only seems to audit is worse.
        """
        stop = asyncio.Event()
        server = uvicorn.Server(
            BoundedConfig(
                self.app,
                service=NAME,
                bounds=self._settings.http,
                host=self._settings.http_host,
                port=self._settings.http_port,
            )
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn takes them over while it serves, and raises them again at its end.
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        try:
            async with asyncio.TaskGroup() as together:
                together.create_task(self.rounds.run(stop))
                await server.serve()
                stop.set()
        finally:
            self._findings.close()

    async def _live(self) -> Response:
        """The process answers."""
        return JsonResponse({"status": "live"})

    async def _ready(self) -> Response:
        """All that the last look asked could be read; before the first there is no trouble yet."""
        trouble = self.rounds.trouble
        content = {"status": "waiting", "reason": trouble} if trouble else {"status": "ready"}
        return JsonResponse(content, 503 if trouble else 200)

    async def _metrics(self) -> Response:
        """Prometheus metrics."""
        metrics.SINCE_LOOK.set(self.rounds.seconds_since_look)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _source_away(_: object, error: Exception) -> Response:
    return problems.unavailable(str(error)).response()


def build(
    settings: OperationsSettings | None = None, audit_settings: AuditSettings | None = None
) -> Operations:
    """The service, ready to run; reads its settings from the environment unless given.

    Raises DatabaseNotNamed.
    """
    settings = settings or OperationsSettings()
    sources = Sources.named_by(Home(settings.state_directory).environment())
    return Operations(sources, settings, audit_settings or AuditSettings())


def main() -> None:
    """The program; exits 1 with one sentence when it cannot start."""
    settings = OperationsSettings()
    configure_logs(NAME, 0, settings.log_level)
    look_for_garbage_seldom()
    try:
        asyncio.run(build(settings).serve())
    except RuntimeStartError as error:
        raise SystemExit(f"trolley: {error}") from error


if __name__ == "__main__":
    main()
