"""The tables that messaging keeps in every service's database.

Each service has a registry and metadata of its own, so that tables of the same name (every
service has an outbox) live side by side in one process.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import registry
from sqlmodel import SQLModel

UNSETTLED = "status NOT IN ('done', 'discarded')"
"""A message that was put aside and whose fate is open."""


def service_tables(service: str) -> type[SQLModel]:
    """The base class of one service's tables, with metadata that holds messaging's tables too."""
    own = registry(metadata=MetaData(info={"service": service}))
    add_messaging_tables(own.metadata)

    class ServiceTable(SQLModel, registry=own):
        """Base of this service's tables."""

    return ServiceTable


def changed_index(name: str, column: str) -> Index:
    """Finds the rows of late by the moment that they carry: small, and cheap to keep up."""
    return Index(name, column, postgresql_using="brin", postgresql_with={"autosummarize": "on"})


def add_messaging_tables(metadata: MetaData) -> None:
    """Declare inbox, outbox, recorded replies, all of dead letters, and HTTP idempotency."""
    Table(
        "inbox",
        metadata,
        Column("message_id", Uuid, primary_key=True),
        Column("consumer", Text, primary_key=True),
        postgresql_partition_by="RANGE (message_id)",
        comment="Messages whose effect is committed, per consumer; partitions by time of id.",
    )
    Table(
        "outbox",
        metadata,
        Column("lane", Text, primary_key=True, server_default="plain"),
        Column("id", BigInteger, Identity(always=True, cache=1), primary_key=True),
        Column("message_id", Uuid, nullable=False),
        Column("topic", Text, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("key", LargeBinary),
        Column("payload", LargeBinary),
        Column("type", Text),
        Column("source", Text),
        Column("time", DateTime(timezone=True), nullable=False),
        Column("subject", Text),
        Column("shop_id", Text),
        Column("correlation_id", Text),
        Column("causation_id", Uuid),
        Column("traceparent", Text),
        Column("step", Text),
        Column("round", Integer),
        Column("event_seq", BigInteger),
        Column("raw_headers", LargeBinary),
        Column("flagged_at", DateTime(timezone=True)),
        Column("flag_reason", Text),
        Index(
            "outbox_flagged",
            "topic",
            "key",
            postgresql_where=text("flagged_at IS NOT NULL"),
        ),
        CheckConstraint("lane IN ('plain', 'transactional')", name="outbox_lane"),
        comment="What is committed and not yet known to be on Kafka, by lane, "
        "in order of id per key.",
    )
    Table(
        "recorded_replies",
        metadata,
        Column("checkout_id", Uuid, primary_key=True),
        Column("step", Text, primary_key=True),
        Column("round", Integer, primary_key=True),
        Column("reply_id", Uuid, nullable=False),
        Column("type", Text, nullable=False),
        Column("payload", LargeBinary, nullable=False),
        comment="The latest answer to each question of the saga, given again when asked again.",
    )
    Table(
        "dead_letters",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("consumer", Text, nullable=False),
        Column("topic", Text, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("record_offset", BigInteger, nullable=False),
        Column("message_id", Uuid, nullable=False),
        Column("key", LargeBinary),
        Column("value", LargeBinary),
        Column("headers", LargeBinary, nullable=False),
        Column("type", Text),
        Column("error_type", Text),
        Column("error_text", Text),
        Column("fingerprint", Text),
        Column("attempts", Integer, nullable=False),
        Column("status", Text, nullable=False, server_default="dead"),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("seq", BigInteger, Identity(always=True, cache=1), nullable=False),
        Column("key_hash", LargeBinary),
        Column("copy_key", LargeBinary),
        Column("edited_value", LargeBinary),
        Column("run_id", Uuid),
        Column("outcome", Text),
        Column("changed_at", DateTime(timezone=True)),
        CheckConstraint(
            "status IN ('dead', 'parked', 'replaying', 'discarding', 'done', 'discarded')",
            name="dead_letters_status",
        ),
        CheckConstraint(
            "status NOT IN ('dead', 'replaying') OR fingerprint IS NOT NULL",
            name="dead_letters_fault",
        ),
        Index("dead_letters_message", "message_id"),
        Index("dead_letters_fingerprint", "fingerprint", "created_at"),
        Index("dead_letters_seq", "seq", unique=True),
        Index(
            "dead_letters_unsettled",
            "consumer",
            "key_hash",
            "seq",
            postgresql_where=text(UNSETTLED),
        ),
        Index(
            "dead_letters_copy",
            "consumer",
            "copy_key",
            unique=True,
            postgresql_where=text(f"copy_key IS NOT NULL AND {UNSETTLED}"),
        ),
        Index("dead_letters_run", "run_id", postgresql_where=text("run_id IS NOT NULL")),
        comment="Messages that could not be handled, and those parked behind them; the truth "
        "behind <service>.dead-letters.",
    )
    Table(
        "parked_keys",
        metadata,
        Column("consumer", Text, primary_key=True),
        Column("key_hash", LargeBinary, primary_key=True),
        Column("dead_letter_id", Uuid, nullable=False),
        Column("since", DateTime(timezone=True), nullable=False),
        comment="Keys whose later messages wait, and the dead letter that stands in their way.",
    )
    Table(
        "dead_letter_runs",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("action", Text, nullable=False),
        Column("status", Text, nullable=False, server_default="running"),
        Column("who", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("selection", JSONB, nullable=False),
        Column("fingerprints", ARRAY(Text), nullable=False),
        Column("rate_per_second", Double),
        Column("chosen", Integer, nullable=False),
        Column("done", Integer, nullable=False, server_default="0"),
        Column("failed", Integer, nullable=False, server_default="0"),
        Column("untried", Integer, nullable=False, server_default="0"),
        Column("drained", Integer, nullable=False, server_default="0"),
        Column("stopped_because", Text),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("ended_at", DateTime(timezone=True)),
        CheckConstraint("action IN ('replay', 'discard')", name="dead_letter_runs_action"),
        CheckConstraint(
            "status IN ('running', 'stopped', 'finished')", name="dead_letter_runs_status"
        ),
        CheckConstraint(
            "done >= 0 AND failed >= 0 AND untried >= 0 AND done + failed + untried <= chosen",
            name="dead_letter_runs_counts",
        ),
        CheckConstraint(
            "(ended_at IS NOT NULL) = (done + failed + untried = chosen)",
            name="dead_letter_runs_end",
        ),
        Index("dead_letter_runs_created_at", "created_at"),
        comment="Replays and discards that operators asked for, and how far they are.",
    )
    Table(
        "dead_letter_history",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("dead_letter_id", Uuid, nullable=False),
        Column("at", DateTime(timezone=True), nullable=False),
        Column("who", Text, nullable=False),
        Column("action", Text, nullable=False),
        Column("reason", Text),
        Column("before", LargeBinary),
        Column("after", LargeBinary),
        Index("dead_letter_history_letter", "dead_letter_id", "id"),
        comment="What was done with each dead letter: by whom, when, why, and the value before "
        "and after.",
    )
    Table(
        "http_idempotency",
        metadata,
        Column("scope", LargeBinary, primary_key=True),
        Column("fingerprint", LargeBinary, nullable=False),
        Column("status", SmallInteger, nullable=False),
        Column("headers", JSONB, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Index("http_idempotency_created_at", "created_at"),
        comment="Answers of unsafe requests, stored with their effect, replayed by key.",
    )
