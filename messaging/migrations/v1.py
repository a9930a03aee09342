"""Messaging's tables as of version 1. Frozen: later changes are later versions."""

from alembic import op

STATEMENTS = (
    """
    CREATE TABLE inbox (
        message_id uuid NOT NULL,
        consumer text NOT NULL,
        PRIMARY KEY (message_id, consumer)
    ) PARTITION BY RANGE (message_id)
    """,
    "CREATE TABLE inbox_default PARTITION OF inbox DEFAULT",
    """
    COMMENT ON TABLE inbox IS
    'Messages whose effect is committed, per consumer; partitions by time of id.'
    """,
    """
    CREATE TABLE outbox (
        id bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
        message_id uuid NOT NULL,
        topic text NOT NULL,
        partition integer NOT NULL,
        key bytea,
        payload bytea,
        type text,
        source text,
        time timestamptz NOT NULL,
        subject text,
        shop_id text,
        correlation_id text,
        causation_id uuid,
        traceparent text,
        step text,
        round integer,
        event_seq bigint,
        raw_headers bytea,
        flagged_at timestamptz,
        flag_reason text
    ) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000)
    """,
    "CREATE INDEX outbox_flagged ON outbox (topic, key) WHERE flagged_at IS NOT NULL",
    """
    COMMENT ON TABLE outbox IS
    'What is committed and not yet known to be on Kafka, in order of id per key.'
    """,
    """
    CREATE TABLE recorded_replies (
        checkout_id uuid NOT NULL,
        step text NOT NULL,
        round integer NOT NULL,
        reply_id uuid NOT NULL,
        type text NOT NULL,
        payload bytea NOT NULL,
        PRIMARY KEY (checkout_id, step, round)
    )
    """,
    """
    COMMENT ON TABLE recorded_replies IS
    'The latest answer to each question of the saga, given again when asked again.'
    """,
    """
    CREATE TABLE dead_letters (
        id uuid PRIMARY KEY,
        consumer text NOT NULL,
        topic text NOT NULL,
        partition integer NOT NULL,
        record_offset bigint NOT NULL,
        message_id uuid NOT NULL,
        key bytea,
        value bytea,
        headers bytea NOT NULL,
        type text,
        error_type text NOT NULL,
        error_text text NOT NULL,
        fingerprint text NOT NULL,
        attempts integer NOT NULL,
        status text NOT NULL DEFAULT 'dead',
        created_at timestamptz NOT NULL,
        CONSTRAINT dead_letters_status
            CHECK (status IN ('dead', 'replaying', 'done', 'discarded'))
    )
    """,
    "CREATE UNIQUE INDEX dead_letters_source ON dead_letters (consumer, message_id)",
    "CREATE INDEX dead_letters_fingerprint ON dead_letters (fingerprint, created_at)",
    """
    COMMENT ON TABLE dead_letters IS
    'Messages that could not be handled; the truth behind <service>.dead-letters.'
    """,
    """
    CREATE TABLE http_idempotency (
        scope bytea PRIMARY KEY,
        fingerprint bytea NOT NULL,
        status smallint NOT NULL,
        headers jsonb NOT NULL,
        body bytea NOT NULL,
        created_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX http_idempotency_created_at ON http_idempotency (created_at)",
    """
    COMMENT ON TABLE http_idempotency IS
    'Answers of unsafe requests, stored with their effect, replayed by key.'
    """,
)


def create_messaging_tables_v1() -> None:
    """Create messaging's tables in a service's database; called by its first migration."""
    for statement in STATEMENTS:
        op.execute(statement)
