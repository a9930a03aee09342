"""Prometheus metrics of messaging; served at /metrics of every service."""

from prometheus_client import Counter, Gauge, Histogram

MESSAGES = Counter(
    "trolley_messages", "Messages settled, by what became of them.", ["consumer", "outcome"]
)
DEAD_LETTERS = Gauge(
    "trolley_dead_letters", "Messages put aside whose fate is open.", ["service", "status"]
)
BATCH_RECORDS = Histogram(
    "trolley_batch_records",
    "Records in a batch.",
    ["consumer"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
BATCH_SECONDS = Histogram(
    "trolley_batch_seconds",
    "Time from a batch's begin to its commit.",
    ["consumer"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
)
BATCH_RETRIES = Counter(
    "trolley_batch_retries", "Batches tried again, by the kind of fault.", ["consumer", "fault"]
)
PUBLISHED = Counter("trolley_outbox_published", "Outbox rows known to be on Kafka.", ["service"])
RELAY_FAILURES = Counter("trolley_relay_failures", "Batches the relay failed to send.", ["service"])
ASSIGNED = Gauge(
    "trolley_assigned_partitions", "Partitions that this process reads at present.", ["consumer"]
)
SINCE_POLL = Gauge(
    "trolley_seconds_since_poll", "Seconds since records were last asked for.", ["consumer"]
)
RELAY_LEADS = Gauge(
    "trolley_relay_leads", "1 where this process relays a lane.", ["service", "lane"]
)
FLAGGED = Counter("trolley_outbox_flagged", "Outbox rows that can never be sent.", ["service"])
REQUESTS = Counter("trolley_http_requests", "Requests answered.", ["service", "method", "status"])
REQUEST_SECONDS = Histogram(
    "trolley_http_request_seconds",
    "Time to the answer.",
    ["service", "method"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
REQUESTS_SHED = Counter("trolley_http_requests_shed", "Requests answered 503 at once.", ["service"])
CONNECTIONS_ENDED = Counter(
    "trolley_http_connections_ended",
    "Connections ended because there were enough, or for what came over them or did not come.",
    ["service", "reason"],
)
