"""The tables that messaging keeps in every service's database.

Each service has a registry and metadata of its own, so that tables of the same name (every
service has an outbox) live side by side in one process.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
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
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import SQLModel


def service_tables(service: str) -> type[SQLModel]:
    """The base class of one service's tables, with metadata that holds messaging's tables too."""
    own = registry(metadata=MetaData(info={"service": service}))
    add_messaging_tables(own.metadata)

    class ServiceTable(SQLModel, registry=own):
        """Base of this service's tables."""

    return ServiceTable


def add_messaging_tables(metadata: MetaData) -> None:
    """Declare inbox, outbox, recorded replies, dead letters and HTTP idempotency."""
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
        Column("error_type", Text, nullable=False),
        Column("error_text", Text, nullable=False),
        Column("fingerprint", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("status", Text, nullable=False, server_default="dead"),
        Column("created_at", DateTime(timezone=True), nullable=False),
        CheckConstraint(
            "status IN ('dead', 'replaying', 'done', 'discarded')", name="dead_letters_status"
        ),
        Index("dead_letters_source", "consumer", "message_id", unique=True),
        Index("dead_letters_fingerprint", "fingerprint", "created_at"),
        comment="Messages that could not be handled; the truth behind <service>.dead-letters.",
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
