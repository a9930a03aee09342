"""Messaging's tables as of version 2: the outbox has lanes. Frozen: see version 1."""

from alembic import op

STATEMENTS = (
    "ALTER TABLE outbox ADD COLUMN lane text NOT NULL DEFAULT 'plain'",
    # Events that are not sent yet take their lane from here on.
    "UPDATE outbox SET lane = 'transactional' WHERE topic LIKE '%.events'",
    "ALTER TABLE outbox ADD CONSTRAINT outbox_lane CHECK (lane IN ('plain', 'transactional'))",
    # Each relay reads its own lane, however long the other one is.
    "ALTER TABLE outbox DROP CONSTRAINT outbox_pkey, ADD PRIMARY KEY (lane, id)",
    """
    COMMENT ON TABLE outbox IS
    'What is committed and not yet known to be on Kafka, by lane, in order of id per key.'
    """,
)


def upgrade_messaging_tables_v2() -> None:
    """Give the outbox its lanes; called by a service's migration of its own."""
    for statement in STATEMENTS:
        op.execute(statement)
