"""Bounds of a chaos run, each with one home here."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from trolley.demo.settings import DemoSettings


class ChaosSettings(DemoSettings):
    """How hard shoppers and faults press, and how long is waited; prefix `TROLLEY_CHAOS_`."""

    model_config = SettingsConfigDict(env_prefix="TROLLEY_CHAOS_", extra="ignore")

    replicas: int = Field(
        default=2,
        ge=2,
        le=4,
        description="Processes of each service: while one is away another must work on.",
    )
    shoppers_per_second: float = Field(
        default=3, gt=0, le=100, description="How many shoppers come in; two cores serve them all."
    )
    shoppers_under_way: int = Field(
        default=60,
        ge=1,
        description="Shoppers at a time; while so many wait for something, nobody else comes in.",
    )
    scarce_pieces: int = Field(
        default=20, ge=1, description="Pieces of the article that some are too late for."
    )
    articles: int = Field(
        default=5, ge=1, description="Articles that are always there; shoppers meet on each."
    )

    request_seconds: float = Field(
        default=3,
        gt=0,
        description="A request without an answer for so long goes to another replica: a frozen one "
        "takes connections and never answers.",
    )
    patience_seconds: float = Field(
        default=180, gt=0, description="How long one request is repeated: longer than a recovery."
    )
    finish_seconds: float = Field(
        default=240, gt=0, description="A checkout that takes longer to its end counts as lost."
    )
    impatient_window_seconds: int = Field(
        default=3, ge=2, description="The payment window of those who let it close."
    )
    slow_ms: int = Field(
        default=400, ge=1, description="How long a slow provider waits between effect and answer."
    )

    pause_shortest_seconds: float = Field(default=1, ge=0)
    pause_longest_seconds: float = Field(
        default=4, ge=0, description="How long everything is left in peace before a strike."
    )
    freeze_beyond_shortest_seconds: float = Field(default=1, gt=0)
    freeze_beyond_longest_seconds: float = Field(
        default=4, gt=0, description="How much longer than its session a replica is frozen."
    )
    scaled_down_shortest_seconds: float = Field(default=3, ge=0)
    scaled_down_longest_seconds: float = Field(
        default=8, ge=0, description="How long a replica is gone before it is added again."
    )
    beside_longest_seconds: float = Field(
        default=2, ge=0, description="A second fault follows the first within so long."
    )
    recovery_seconds: float = Field(
        default=120,
        gt=0,
        description="Everything must be ready, and a fresh checkout paid, so long after a "
        "fault is over; otherwise the run ends, and has failed.",
    )
    recovery_poll_seconds: float = Field(
        default=0.05, gt=0, description="How often a recovery is looked at."
    )
    probe_seconds: float = Field(
        default=2, gt=0, description="A replica that takes longer to answer a probe is not ready."
    )
    leader_seconds: float = Field(
        default=15, gt=0, description="A lane that nobody leads for so long has no leader to kill."
    )
    drain_seconds: float = Field(
        default=20, gt=0, description="How long a replica may take to end after SIGTERM."
    )
    rest_seconds: float = Field(
        default=120,
        gt=0,
        description="How long what was begun may take to be settled when the last shopper is gone.",
    )
