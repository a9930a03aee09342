"""What a connection may cost before there is a request: bytes, time, and a place among others.

uvicorn hands a request on once its head is complete, and keeps all of a head until then, however
large it becomes and however long it takes. What is bounded here is what no middleware sees.
"""

import asyncio
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from messaging import metrics
from messaging.http.problems import Problem, headers_too_large, unavailable
from messaging.settings import HttpSettings

HEAD_BYTES_PER_HEADER_BYTE = 2
"""A head on its way may have as many bytes again as its fields' names and values: for its line, and
for what stands between the fields. `Edge` counts exactly when it is complete."""


class BoundedConfig(uvicorn.Config):
    """The configuration of the server of a service, whose connections are bounded."""

    def __init__(
        self, app: ASGIApp, *, service: str, bounds: HttpSettings, host: str, port: int
    ) -> None:
        super().__init__(
            app,
            host=host,
            port=port,
            http=BoundedProtocol,
            ws="none",
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=bounds.drain_seconds,
        )
        self.service = service
        self.bounds = bounds


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    It is refused when there are enough (503), and ended when a head becomes too large (431) or a
    request does not arrive in time (408). It is ended without a word where an earlier answer is
    still under way, or where no request has begun.
    """

    def __init__(self, config: BoundedConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self._service = config.service
        self._bounds = config.bounds
        self._largest_head = HEAD_BYTES_PER_HEADER_BYTE * config.bounds.header_bytes
        self._loose_bytes = 0
        """What came since the last that was whole: of a head, or of what follows a body."""
        self._in_head = False
        self._in_body = False
        self._begun = 0.0
        self._due: float | None = None
        """Loop time at which what is awaited has to be here; None while nothing is."""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request, or refuse the connection."""
        super().connection_made(transport)
        if len(self.connections) > self._bounds.connections_at_once:
            self._refuse("full", unavailable("Too many connections are open."))
            return
        self._due = self.loop.time() + self._bounds.head_seconds
        self._keep_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was awaited."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what arrived, unless it makes a head too large."""
        if self.transport.is_closing():
            return
        if self._due is None:
            self._due = self.loop.time() + self._bounds.head_seconds
        self._loose_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._loose_bytes > self._largest_head or (
            self._in_head and len(self.headers) > self._bounds.header_fields
        ):
            self._refuse(
                "head too large",
                headers_too_large(self._bounds.header_bytes, self._bounds.header_fields)
                if self._in_head
                else None,
            )
            return
        self._keep_time()

    def on_message_begin(self) -> None:
        """From here a request has its time."""
        self._in_head = True
        self._begun = self.loop.time()
        self._due = self._begun + self._bounds.head_seconds
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole; its body has its time, if it has one."""
        self._in_head, self._in_body = False, True
        self._loose_bytes = 0
        self._due = self._begun + self._bounds.request_seconds
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """What is body is bounded where it is read."""
        self._loose_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Nothing of this request is awaited any more."""
        self._in_body = False
        self._loose_bytes = 0
        self._due = None
        super().on_message_complete()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _keep_time(self) -> None:
        """Once for all that arrived together: most requests are whole at once, without a timer."""
        if self._due is None and not self._answering and self.timeout_keep_alive_task is None:
            # Its answer came before its end, and uvicorn forgot that the connection rests.
            self._due = self.loop.time() + self._bounds.head_seconds
        if self._due is None:
            self._stop_timer()
        elif self._timer is None or self._timer.when() != self._due:
            self._stop_timer()
            self._timer = self.loop.call_at(self._due, self._end_late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_late(self) -> None:
        """End the connection, unless it is we who hold it up."""
        self._timer = None
        if self.transport.is_closing() or self._due is None:
            return
        if self.flow.read_paused or (self._answering and not self._in_body):
            self._due = self.loop.time() + self._bounds.head_seconds
            self._keep_time()
            return
        self._refuse("too late", _too_slow() if self._in_head else None)

    def _refuse(self, reason: str, problem: Problem | None) -> None:
        """Close the connection; say why, if this comes between no two parts of an answer."""
        metrics.CONNECTIONS_ENDED.labels(self._service, reason).inc()
        self._stop_timer()
        if problem is not None and not self._answering:
            response = problem.response()
            response.headers["Connection"] = "close"
            head = [*self.server_state.default_headers, *response.raw_headers]
            lines = b"".join(b"%b: %b\r\n" % field for field in head)
            status = STATUS_LINE[response.status_code]
            self.transport.write(status + lines + b"\r\n" + bytes(response.body))
        self.transport.close()


def _too_slow() -> Problem:
    """408 (RFC 9110, section 15.5.9)."""
    return Problem(408, "request-too-slow", "The request took too long to arrive")
