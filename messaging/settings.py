"""Settings that every service shares; a service adds its own in its `settings.py`.

Read from the environment, then from the file that `TROLLEY_ENV_FILE` names (by default
`.trolley/runtime.env`, which `trolley up` writes), then from the defaults here.
"""

import os
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def env_file() -> str:
    """The file of settings that a running local runtime left for every entry point."""
    return os.environ.get("TROLLEY_ENV_FILE", ".trolley/runtime.env")


def service_settings(prefix: str) -> SettingsConfigDict:
    """The pydantic-settings configuration of a service: its prefix, and the shared file."""
    return SettingsConfigDict(
        env_prefix=prefix,
        env_file=env_file(),
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,  # some are secret
    )


LONGEST_HEARTBEAT_MS = 3_000
"""However long a session is."""


class KafkaSettings(BaseSettings):
    """How to reach Kafka; the same names as Kafka's own client settings."""

    model_config = service_settings("KAFKA_")

    bootstrap_servers: str = Field("127.0.0.1:9092", description="host:port, comma separated.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: str | None = Field(None, description="PEM file of the broker's authority.")
    ssl_certfile: str | None = Field(None, description="PEM file of the client's certificate.")
    ssl_keyfile: str | None = Field(None, description="PEM file of the client's key.")
    topic_prefix: str = Field("", description="Put before every topic and group name.")


class ConsumerSettings(BaseSettings):
    """Bounds of the batch consumer."""

    model_config = service_settings("CONSUMER_")

    batch_records: int = Field(1000, ge=1, description="Most records in one batch.")
    batch_bytes: int = Field(8 * 1024 * 1024, ge=1, description="Most bytes in one batch.")
    batch_lines: int = Field(20_000, ge=1, description="Most order lines in one batch.")
    queue_records: int = Field(
        2000, ge=1, description="Records waiting per partition before it is paused."
    )
    queue_bytes: int = Field(
        64 * 1024 * 1024, ge=1, description="Bytes waiting per partition before it is paused."
    )
    linger_ms: int = Field(
        20,
        ge=0,
        description="Least time between two small batches: none after an idle moment, and a third "
        "of the CPU saved when there is none.",
    )
    batches_at_once: int = Field(
        4, ge=1, description="Most batches in the database at a time, of different partitions."
    )
    beside_records: int = Field(
        100,
        ge=1,
        description="So many waiting records are worth a batch beside one that is under way; "
        "fewer wait for its end and share the next.",
    )
    beside_after_ms: int = Field(
        500, ge=0, description="A batch that takes longer holds up no other partition."
    )
    fetch_wait_ms: int = Field(
        250, ge=1, description="How long the broker may hold a fetch; it answers at once with data."
    )
    commit_interval_ms: int = Field(150, ge=1, description="How lazily offsets are committed.")
    stuck_seconds: float = Field(
        60,
        gt=0,
        description="A consumer that has not asked for records for so long, though Kafka answers "
        "and its process was not held up itself, ends its process, to be started afresh.",
    )
    session_timeout_ms: int = Field(
        7_500,
        ge=1,
        description="After this silence the partitions are another replica's, which hears of it "
        "with its next heartbeat: within ten seconds together.",
    )
    retry_first_ms: int = Field(50, ge=1, description="First wait of a retry that time can heal.")
    retry_longest_ms: int = Field(5_000, ge=1, description="Longest wait between such retries.")

    @property
    def heartbeat_ms(self) -> int:
        """How often a member says that it lives, and hears of a rebalance; the others wait."""
        return min(self.session_timeout_ms // 4, LONGEST_HEARTBEAT_MS)


class RelaySettings(BaseSettings):
    """Bounds of the relay from the outbox to Kafka."""

    model_config = service_settings("RELAY_")

    batch_rows: int = Field(
        2000,
        ge=1,
        le=20_000,
        description="Most outbox rows read at once; a position names each of a transaction's.",
    )
    batch_bytes: int = Field(
        16 * 1024 * 1024, ge=1, description="Most payload bytes read at once; one row always is."
    )
    poll_seconds: float = Field(1.0, gt=0, le=10, description="Backstop when no wake-up arrives.")
    linger_ms: int = Field(
        10, ge=0, description="Least time between two small batches; none after an idle moment."
    )
    send_timeout_seconds: float = Field(
        15, gt=0, description="A batch unconfirmed for so long counts as unsent."
    )
    retry_first_ms: int = Field(100, ge=1, description="First wait after a failed batch.")
    retry_longest_ms: int = Field(5_000, ge=1, description="Longest wait after failed batches.")


class HttpSettings(BaseSettings):
    """Bounds of the REST API."""

    model_config = service_settings("HTTP_")

    header_bytes: int = Field(
        64 * 1024, ge=1024, description="Most bytes of all names and values of a request's headers."
    )
    header_fields: int = Field(
        256,
        ge=16,
        description="Most fields of a request's headers; each takes some 160 bytes of memory "
        "beside its text, so small ones would take forty times what was sent.",
    )
    head_seconds: float = Field(
        10,
        gt=0,
        description="How long a connection may take to send a request's line and headers, and to "
        "begin with its first; then it is ended, for it holds one of `connections_at_once`.",
    )
    request_seconds: float = Field(
        30,
        gt=0,
        description="How long a whole request may take to arrive, also when nobody reads its body; "
        "not less than `head_seconds` and `body_seconds` together, which answer first.",
    )
    connections_at_once: int = Field(
        512,
        ge=1,
        description="Open connections; more are answered 503 with Retry-After and closed. Twice "
        "`requests_at_once`, so that as many may rest, and half of the 1,024 files that a process "
        "may often have open.",
    )
    body_bytes: int = Field(1024 * 1024, ge=1, description="Largest request body.")
    body_seconds: float = Field(
        10,
        gt=0,
        description="How long a request's body may take to arrive, before which it holds one of "
        "`requests_at_once`.",
    )
    idempotency_wait_seconds: float = Field(
        2, gt=0, description="How long a request waits for another under the same key."
    )
    idempotency_keep_seconds: int = Field(
        7 * 24 * 3600, ge=60, description="How long stored answers are replayed."
    )
    drain_seconds: int = Field(3, ge=1, description="How long open requests may finish at stop.")
    requests_at_once: int = Field(
        256, ge=1, description="Requests in work; more are answered 503 with Retry-After."
    )

    @model_validator(mode="after")
    def _a_slow_body_is_answered_before_its_connection_ends(self) -> Self:
        if self.request_seconds < self.head_seconds + self.body_seconds:
            raise ValueError("request_seconds is less than head_seconds and body_seconds")
        return self


class ServiceSettings(BaseSettings):
    """What every service needs. Subclasses set the prefix and add their own."""

    model_config = service_settings("")

    database_url: SecretStr = Field(
        SecretStr("postgresql://postgres@127.0.0.1:5432/postgres"),
        description="postgresql://user:password@host:port/database",
    )
    http_host: str = "127.0.0.1"
    http_port: int = Field(0, ge=0, le=65535, description="0 picks a free port.")
    instance_slot: int = Field(
        0, ge=0, description="Stable index of this replica; names its Kafka group membership."
    )
    database_connections: int = Field(
        12, ge=2, description="Pool of the consumers, workers and sweepers."
    )
    api_database_connections: int = Field(10, ge=1, description="Pool of the REST API.")
    signing_key: SecretStr = Field(
        min_length=32,
        validation_alias="TROLLEY_SIGNING_KEY",
        description="Signs and verifies customer tokens, accept tokens and checkout links. "
        "At least 32 characters; has no default, because a known key would open every door.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", validation_alias="LOG_LEVEL"
    )
    otlp_endpoint: str | None = Field(
        None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="Base URL of an OTLP/HTTP collector; without it traces only travel in headers.",
    )
    dead_letter_keep_days: int = Field(
        400, ge=1, description="How long settled dead letters and their history are kept."
    )
    inbox_keep_days: int = Field(
        9, ge=8, description="Longer than the longest topic retention (7) plus the largest lag."
    )

    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    consumer: ConsumerSettings = Field(default_factory=ConsumerSettings)
    relay: RelaySettings = Field(default_factory=RelaySettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
