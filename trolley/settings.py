"""Bounds and switches of the local runtime, each with one home here."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class RuntimeSettings(BaseSettings):
    """Settings of the embedded servers and the supervisor; environment prefix `TROLLEY_`."""

    model_config = SettingsConfigDict(env_prefix="TROLLEY_", extra="ignore")

    kafka_coordinates: str = "org.apache.kafka:kafka_2.13:4.3.0+org.slf4j:slf4j-simple:1.7.36"
    """Maven coordinates of the embedded Kafka and of the logger without which it is silent."""

    kafka_heap_mib: int = Field(default=512, ge=256, le=8192)
    """Largest Java heap of the embedded Kafka; 322 MiB resident were measured in use."""

    kafka_start_seconds: float = Field(default=60, gt=0)
    """How long the embedded Kafka may take to answer; a recovery after a crash takes about 5."""

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

    killed_gone_seconds: float = Field(default=10, gt=0)
    """How long to wait for a process to vanish after SIGKILL."""

    smallest_free_mib: int = Field(default=512, ge=0)
    """Free disk space below which nothing is started: PostgreSQL and Kafka stop hard when full."""

    first_port: int = Field(default=20_000, ge=1024, le=65_535)
    last_port: int = Field(default=29_999, ge=1024, le=65_535)
    """Free ports are picked in this range, below the ephemeral ports of common systems (32,768
    and up), so that no outgoing connection takes a port between its choice and its use."""
