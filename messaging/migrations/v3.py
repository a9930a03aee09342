"""Messaging's tables as of version 3: keys are parked, dead letters replayed. Frozen: see v1."""

from alembic import op

STATEMENTS = (
    # In the order in which they came; those of before this version park nothing.
    "ALTER TABLE dead_letters ADD COLUMN seq bigint GENERATED ALWAYS AS IDENTITY (CACHE 1)",
    """
    ALTER TABLE dead_letters
        ADD COLUMN key_hash bytea,
        ADD COLUMN copy_key bytea,
        ADD COLUMN edited_value bytea,
        ADD COLUMN run_id uuid,
        ADD COLUMN outcome text,
        ADD COLUMN changed_at timestamptz,
        ALTER COLUMN error_type DROP NOT NULL,
        ALTER COLUMN error_text DROP NOT NULL,
        ALTER COLUMN fingerprint DROP NOT NULL,
        DROP CONSTRAINT dead_letters_status,
        ADD CONSTRAINT dead_letters_status CHECK (
            status IN ('dead', 'parked', 'replaying', 'discarding', 'done', 'discarded')),
        ADD CONSTRAINT dead_letters_fault CHECK (
            status NOT IN ('dead', 'replaying') OR fingerprint IS NOT NULL)
    """,
    # A record may come again after the inbox has forgotten it: that is another dead letter.
    "DROP INDEX dead_letters_source",
    "CREATE INDEX dead_letters_message ON dead_letters (message_id)",
    "CREATE UNIQUE INDEX dead_letters_seq ON dead_letters (seq)",
    """
    CREATE INDEX dead_letters_unsettled ON dead_letters (consumer, key_hash, seq)
    WHERE status NOT IN ('done', 'discarded')
    """,
    """
    CREATE UNIQUE INDEX dead_letters_copy ON dead_letters (consumer, copy_key)
    WHERE copy_key IS NOT NULL AND status NOT IN ('done', 'discarded')
    """,
    "CREATE INDEX dead_letters_run ON dead_letters (run_id) WHERE run_id IS NOT NULL",
    """
    COMMENT ON TABLE dead_letters IS
    'Messages that could not be handled, and those parked behind them; the truth behind '
    '<service>.dead-letters.'
    """,
    """
    CREATE TABLE parked_keys (
        consumer text NOT NULL,
        key_hash bytea NOT NULL,
        dead_letter_id uuid NOT NULL,
        since timestamptz NOT NULL,
        PRIMARY KEY (consumer, key_hash)
    )
    """,
    """
    COMMENT ON TABLE parked_keys IS
    'Keys whose later messages wait, and the dead letter that stands in their way.'
    """,
    """
    CREATE TABLE dead_letter_runs (
        id uuid PRIMARY KEY,
        action text NOT NULL,
        status text NOT NULL DEFAULT 'running',
        who text NOT NULL,
        reason text NOT NULL,
        selection jsonb NOT NULL,
        fingerprints text[] NOT NULL,
        rate_per_second double precision,
        chosen integer NOT NULL,
        done integer NOT NULL DEFAULT 0,
        failed integer NOT NULL DEFAULT 0,
        untried integer NOT NULL DEFAULT 0,
        drained integer NOT NULL DEFAULT 0,
        stopped_because text,
        created_at timestamptz NOT NULL,
        ended_at timestamptz,
        CONSTRAINT dead_letter_runs_action CHECK (action IN ('replay', 'discard')),
        CONSTRAINT dead_letter_runs_status CHECK (status IN ('running', 'stopped', 'finished')),
        CONSTRAINT dead_letter_runs_counts CHECK (
            done >= 0 AND failed >= 0 AND untried >= 0 AND done + failed + untried <= chosen),
        CONSTRAINT dead_letter_runs_end CHECK (
            (ended_at IS NOT NULL) = (done + failed + untried = chosen))
    )
    """,
    "CREATE INDEX dead_letter_runs_created_at ON dead_letter_runs (created_at)",
    """
    COMMENT ON TABLE dead_letter_runs IS
    'Replays and discards that operators asked for, and how far they are.'
    """,
    """
    CREATE TABLE dead_letter_history (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        dead_letter_id uuid NOT NULL,
        at timestamptz NOT NULL,
        who text NOT NULL,
        action text NOT NULL,
        reason text,
        before bytea,
        after bytea
    )
    """,
    "CREATE INDEX dead_letter_history_letter ON dead_letter_history (dead_letter_id, id)",
    """
    COMMENT ON TABLE dead_letter_history IS
    'What was done with each dead letter: by whom, when, why, and the value before and after.'
    """,
)


def upgrade_messaging_tables_v3() -> None:
    """Make dead letters replayable; called by a service's migration of its own."""
    for statement in STATEMENTS:
        op.execute(statement)
