"""Traces (OpenTelemetry): a request's `traceparent` travels with every message it leads to.

Each HTTP request is a span; messages carry its W3C trace context from the outbox row on, so the
whole story of a checkout hangs under the request that began it. Spans leave the process only
when `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("trolley")


def configure_tracing(service: str, instance: int, otlp_endpoint: str | None) -> None:
    """Set tracing up for this process; called once, by the service that runs."""
    resource = Resource.create(
        {"service.name": service, "service.namespace": "trolley", "service.instance.id": instance}
    )
    provider = TracerProvider(resource=resource)
    if otlp_endpoint is not None:
        # It takes a fifth of a second to import, which a process without a collector saves.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=f"{otlp_endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


@contextmanager
def request_span(method: str, headers: Mapping[str, str]) -> Iterator[Span]:
    """The span of one HTTP request, under the client's trace if it sent one."""
    context = _propagator.extract(dict(headers))
    with _tracer.start_as_current_span(method, context, kind=SpanKind.SERVER) as span:
        yield span


def current_traceparent() -> str | None:
    """The `traceparent` of the running span (W3C Trace Context, section 3.2), if there is one."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent")
