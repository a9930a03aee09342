"""What surrounds every request: bounds on what is sent, load shedding, metrics, trace context."""

from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from messaging import metrics
from messaging.http.card_fields import card_number_in_query
from messaging.http.problems import card_number_refused, headers_too_large, unavailable
from messaging.tracing import request_span

LONGEST_TRACEPARENT = 55
"""Characters of a version 00 traceparent; anything longer is ignored."""


class Edge:
    """ASGI middleware of every service."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        service: str,
        requests_at_once: int,
        header_bytes: int,
        header_fields: int,
    ) -> None:
        self._app = app
        self._service = service
        self._most = requests_at_once
        self._header_bytes = header_bytes
        self._header_fields = header_fields
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it at once when it or what is in work is too much."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if len(scope["headers"]) > self._header_fields or _header_bytes(scope) > self._header_bytes:
            problem = headers_too_large(self._header_bytes, self._header_fields)
            await problem.response()(scope, receive, send)
            return
        query = scope["query_string"]
        if query and (location := card_number_in_query(query)) is not None:
            await card_number_refused(location).response()(scope, receive, send)
            return
        path = scope["path"]
        if path.startswith(("/health", "/metrics")):
            await self._app(scope, receive, send)
            return
        if self._running >= self._most:
            metrics.REQUESTS_SHED.labels(self._service).inc()
            await unavailable("Too many requests are in work.").response()(scope, receive, send)
            return
        await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 500
        started = perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        method = scope["method"]
        self._running += 1
        try:
            with request_span(method, _trace_headers(scope)) as span:
                await self._app(scope, receive, noting)
                span.set_attribute("http.response.status_code", status)
        finally:
            self._running -= 1
            metrics.REQUESTS.labels(self._service, method, str(status)).inc()
            metrics.REQUEST_SECONDS.labels(self._service, method).observe(perf_counter() - started)


def _header_bytes(scope: Scope) -> int:
    return sum(len(name) + len(value) for name, value in scope["headers"])


def _trace_headers(scope: Scope) -> dict[str, str]:
    for name, value in scope["headers"]:
        if name == b"traceparent" and len(value) <= LONGEST_TRACEPARENT:
            return {"traceparent": value.decode("latin-1")}
    return {}
