"""W3C trace context: a request's `traceparent` travels with every message it leads to."""

from contextvars import ContextVar, Token

from opentelemetry import trace
from opentelemetry.trace import format_span_id, format_trace_id

_incoming: ContextVar[str | None] = ContextVar("traceparent", default=None)


def current_traceparent() -> str | None:
    """The `traceparent` of the running span, else the one that came with the request."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        flags = f"{int(context.trace_flags):02x}"
        return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-{flags}"
    return _incoming.get()


def enter_traceparent(value: str | None) -> Token[str | None]:
    """Make `value` the current traceparent of this task; undo with `leave_traceparent`."""
    return _incoming.set(value)


def leave_traceparent(token: Token[str | None]) -> None:
    """Undo `enter_traceparent`."""
    _incoming.reset(token)
