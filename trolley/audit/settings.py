"""Bounds of the auditor, each with one home here."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

AUDIT_OVERDUE_SECONDS = 60
"""A deadline or an outbox row that waits longer than this waits for nobody: sweepers and relays
look several times a second, and a restart takes seconds."""

AUDIT_UNANSWERED_SENDS = 4
"""A StartCheckout that was sent more often than this, for over a minute, waits for somebody: it
lies among the dead letters, or the order service is away."""


class AuditSettings(BaseSettings):
    """How the auditor reads and what it keeps; environment prefix `TROLLEY_`."""

    model_config = SettingsConfigDict(env_prefix="TROLLEY_", extra="ignore")

    audit_settle_seconds: float = Field(default=5, ge=0)
    """How long after the first look the second one comes, if there is anything to look at again:
    longer than a message usually takes from one database to the next."""

    audit_memory_mib: int = Field(default=1_024, ge=64)
    """Memory for what is joined; beyond it, rows go to a temporary directory."""

    audit_threads: int = Field(default=2, ge=1)
    """How many threads join."""

    audit_chunk_rows: int = Field(default=5_000, ge=1)
    """How many records of the event topics are read at a time, before others have their turn."""

    audit_events_held: int = Field(default=100_000, ge=1)
    """How many events wait in the memory of the program before the engine takes them in."""

    audit_candidates_kept: int = Field(default=10_000, ge=1)
    """Candidates of one invariant that are looked at again; beyond these they are only counted,
    and the audit says that it could not judge them."""

    audit_findings_shown: int = Field(default=5, ge=1)
    """Findings of one invariant that the table tells; the JSON form has all that are kept."""

    audit_connect_seconds: float = Field(default=10, gt=0)
    """How long connecting to one database or to Kafka may take."""

    audit_pause_seconds: float = Field(default=5, gt=0)
    """How long the auditor that goes on rests between two looks, and at least as long as the last
    one took: it never takes more than half of a connection's time."""

    audit_look_keys: int = Field(default=2_000, ge=1)
    """How many checkouts, payments, SKUs and carts each one look at changes is at; the rest is
    due at the next."""

    audit_statement_seconds: float = Field(default=20, gt=0)
    """How long one statement of a look at changes may take before it is cancelled."""

    audit_overlap_seconds: float = Field(default=300, ge=0)
    """How far the clocks of services and databases may differ, and how long before its
    transaction begins a service may read the time that its rows carry."""

    audit_whole_hours: float = Field(default=24, gt=0)
    """How often everything is looked at again: rows that were deleted, or changed without the
    time that they carry, show only then."""

    audit_resolved_days: float = Field(default=7, gt=0)
    """How long a finding that is mended is still told."""

    audit_topic_silence_seconds: float = Field(default=30, gt=0)
    """A topic that yields nothing for so long before its end cannot be read."""

    audit_stripe_days: float = Field(default=30, gt=0)
    """How far back Stripe's books are compared with ours: it keeps its events for as long."""

    audit_stripe_call_seconds: float = Field(default=20, gt=0)
    """How long one answer of Stripe may take."""

    audit_stripe_events: int = Field(default=5_000, ge=100)
    """How many events of Stripe's a look takes in; the rest is due at the next."""

    audit_stripe_intents: int = Field(default=200, ge=1)
    """How many payments that are suspected a look asks Stripe about one by one: three calls each,
    of some hundred that Stripe answers a second."""
