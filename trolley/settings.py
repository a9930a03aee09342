"""Bounds and switches of the local runtime, each with one home here."""

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _user_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "trolley"


class RuntimeSettings(BaseSettings):
    """Settings of the embedded servers and the supervisor; environment prefix `TROLLEY_`."""

    model_config = SettingsConfigDict(env_prefix="TROLLEY_", extra="ignore")

    kafka_coordinates: str = "org.apache.kafka:kafka_2.13:4.3.0+org.slf4j:slf4j-simple:1.7.36"
    """Maven coordinates of the embedded Kafka and of the logger without which it is silent."""

    cache_dir: Path = Field(default_factory=_user_cache)
    """Where Kafka's jars (43 MB) and the archive of its classes (62 MB) are kept for all checkouts
    of this user."""

    kafka_port: int | None = Field(default=None, ge=1, le=65_535)
    """Port of the embedded Kafka; a free one is picked, and kept if it can be, without it."""

    postgres_port: int | None = Field(default=None, ge=1, le=65_535)
    """Port of the embedded PostgreSQL; likewise."""

    kafka_heap_mib: int = Field(default=512, ge=256, le=8192)
    """Largest Java heap of the embedded Kafka; 322 MiB resident were measured in use."""

    kafka_start_seconds: float = Field(default=60, gt=0)
    """How long the embedded Kafka may take to answer; a recovery after a crash takes 2 to 5."""

    kafka_download_seconds: float = Field(default=600, gt=0)
    """How long the one download of Kafka may take; 33 s were measured on a slow machine."""

    kafka_session_ms: int = Field(default=1500, ge=1000)
    """How long the broker may be silent before it leads nothing until it is heard again.

    After a kill it may register again, and open its port, when its old session has expired. It
    tries after 0.1, 0.3, 0.7, 1.5 and 3.1 s: one of 2 s cost 3.1. A shorter one gains nothing, and
    on a busy machine heartbeats are late for half of 1 s.
    """

    kafka_stop_seconds: float = Field(default=15, gt=0)
    """How long a clean stop of Kafka may take before it is killed; it loses nothing either way."""

    postgres_start_seconds: float = Field(default=60, gt=0)
    """How long the embedded PostgreSQL may take to answer, crash recovery included."""

    postgres_fast_stop_seconds: float = Field(default=10, gt=0)
    """How long a fast shutdown (sessions ended, checkpoint written) may take."""

    postgres_immediate_stop_seconds: float = Field(default=5, gt=0)
    """How long an immediate shutdown (recovery at next start) may take before SIGKILL."""

    postgres_max_connections: int = Field(default=300, ge=20, le=5000)
    """Five services, two replicas and a test suite share the one embedded server."""

    postgres_connections_per_replica: int = Field(default=140, ge=1)
    """What all five services together may open once; more replicas raise the limit by this."""

    database_connect_seconds: float = Field(default=10, gt=0)
    """How long a connection for creating databases may take."""

    setup_seconds: float = Field(default=120, gt=0)
    """How long all migrations together may take."""

    killed_gone_seconds: float = Field(default=10, gt=0)
    """How long to wait for a process to vanish after SIGKILL."""

    smallest_free_mib: int = Field(default=512, ge=0)
    """Free disk space below which nothing is started: PostgreSQL and Kafka stop hard when full."""

    server_poll_seconds: float = Field(default=0.03, gt=0)
    """How often a starting server is asked whether it answers."""

    ready_wait_poll_seconds: float = Field(default=0.03, gt=0)
    """How often a wait for readiness looks at what the supervisor knows."""

    service_stop_seconds: float = Field(default=12, gt=0)
    """How long a service may drain after SIGTERM; its own bound is 10."""

    down_seconds: float = Field(default=60, gt=0)
    """How long `trolley down` waits for a clean end before it leaves the rest to the guardian."""

    service_ready_seconds: float = Field(default=120, gt=0)
    """How long all services together may take until they are ready."""

    service_start_attempts: int = Field(default=3, ge=1)
    """Early ends in a row after which a start is given up rather than tried on."""

    unready_poll_seconds: float = Field(default=0.05, gt=0)
    """How often a service that is being started is asked whether it is ready."""

    waiting_poll_seconds: float = Field(default=0.3, gt=0)
    """How often one that was ready and waits for a server is asked: each answer costs it a look at
    its database and at Kafka, and the server that is starting needs the processor more."""

    ready_poll_seconds: float = Field(default=1, gt=0)
    """How often a ready service is asked whether it still is."""

    ready_answer_seconds: float = Field(default=5, gt=0)
    """A service that takes longer to answer whether it is ready counts as not ready."""

    restart_first_seconds: float = Field(default=0.05, gt=0)
    """Wait before the first restart of a process that died."""

    restart_longest_seconds: float = Field(default=10, gt=0)
    """Longest wait before a restart; each early death doubles the wait up to this."""

    restart_forgiven_seconds: float = Field(default=10, gt=0)
    """A process that ran for so long starts over with the first wait."""

    log_rotate_mib: int = Field(default=16, ge=1)
    """A log that grew beyond this is moved to `<name>.log.1`, in place of the one before."""

    log_look_seconds: float = Field(default=2, gt=0)
    """How often the sizes of the logs are looked at."""

    figures_seconds: float = Field(default=1, gt=0)
    """How often lag and saga counts are read for the live table."""

    figures_timeout_seconds: float = Field(default=2, gt=0)
    """A figure that takes longer is left out of the table."""

    first_port: int = Field(default=20_000, ge=1024, le=65_535)
    last_port: int = Field(default=29_999, ge=1024, le=65_535)
    """Free ports are picked in this range, below the ephemeral ports of common systems (32,768
    and up), so that no outgoing connection takes a port between its choice and its use."""


class ClientSettings(BaseSettings):
    """How patient the clients of the services are; prefix `TROLLEY_CLIENT_`."""

    model_config = SettingsConfigDict(env_prefix="TROLLEY_CLIENT_", extra="ignore")

    patience_seconds: float = Field(
        default=60,
        gt=0,
        description="How long one request is repeated, under its key, while a service is away.",
    )
    retry_first_seconds: float = Field(
        default=0.05, gt=0, description="First wait before a request is repeated; it doubles."
    )
    retry_longest_seconds: float = Field(
        default=1, gt=0, description="Longest wait before a request is repeated."
    )
    avoided_seconds: float = Field(
        default=2,
        ge=0,
        description="How long a replica that lost a request, or put it off, is not asked while "
        "there are others.",
    )
    connections_per_service: int = Field(
        default=8,
        ge=1,
        description="Connections to one service; requests beyond them wait for their turn. Eight "
        "keep a service busy, and 24 cost the client twice the time for each request.",
    )
    request_seconds: float = Field(
        default=15, gt=0, description="A request without an answer for so long counts as lost."
    )
