"""How much a benchmark does, each with one home here; environment prefix `TROLLEY_BENCH_`."""

from typing import Self

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class BenchSettings(BaseSettings):
    """The sizes of all cases. `short()` gives those of a trial: it shows that a case works."""

    model_config = SettingsConfigDict(env_prefix="TROLLEY_BENCH_", extra="ignore")

    kafka: str | None = Field(
        default=None, description="`host:port` of a Kafka that runs already, to be used."
    )
    postgres: str | None = Field(
        default=None, description="A superuser's URL of a PostgreSQL that runs already; with it."
    )
    turns: int = Field(default=3, ge=1, description="How often each case is measured.")
    checkouts: int = Field(default=50_000, ge=10, description="Checkouts of a backlog.")
    warm_checkouts: int = Field(default=20_000, ge=1, description="Checkouts before a measurement.")
    warm_seconds: float = Field(default=15, ge=0, description="Requests before a measurement.")
    measured_seconds: float = Field(default=60, gt=0, description="How long requests are measured.")
    floor_seconds: float = Field(default=5, ge=1, description="How long each floor is measured.")
    seen_checkouts: int = Field(
        default=200, ge=1, description="Checkouts whose rows and statements are counted together."
    )
    connections: int = Field(default=32, ge=1, description="Connections of the HTTP cases.")
    most_carts: int = Field(
        default=200_000, ge=1, description="Carts that are made ready before an HTTP case, at most."
    )
    alone_checkouts: int = Field(default=200, ge=1, description="Checkouts one at a time.")
    load_shares: tuple[float, ...] = Field(
        default=(0.1, 0.3, 0.6), description="Parts of a case's own maximum that it is loaded with."
    )
    longest_lag_ms: float = Field(
        default=5, gt=0, description="A turn whose generator is later than this (p99) is void."
    )
    hot_pieces: int = Field(default=1_000, ge=1, description="Pieces that buyers race for.")
    shoppers: int = Field(default=24, ge=1, description="Shoppers at a time in the shop.")
    provider_ms: int = Field(default=300, ge=0, description="How long a provider takes to answer.")
    provider_in_flight: int = Field(default=2_000, ge=1, description="Calls to it at a time.")
    replicas: tuple[int, ...] = Field(default=(1, 2, 4), description="Replicas of each service.")
    idle_seconds: float = Field(default=60, gt=0, description="How long nothing is done.")
    soak_minutes: float = Field(default=30, gt=0, description="How long the soak takes.")
    soak_share: float = Field(default=0.5, gt=0, lt=1, description="Part of the maximum it loads.")
    soak_windows: int = Field(default=6, ge=2, description="Parts that a soak is looked at in.")
    full_orders: int = Field(default=5_000_000, ge=1, description="Orders of a full database.")

    def short(self) -> Self:
        """A trial of a minute or two; its figures say little."""
        return self.model_copy(
            update={
                "turns": 1,
                "checkouts": 2_000,
                "warm_checkouts": 200,
                "warm_seconds": 1.0,
                "measured_seconds": 4.0,
                "floor_seconds": 1.0,
                "most_carts": 8_000,
                "alone_checkouts": 20,
                "hot_pieces": 100,
                "shoppers": 8,
                "replicas": (1, 2),
                "idle_seconds": 5.0,
                "soak_minutes": 0.5,
                "full_orders": 10_000,
            }
        )
