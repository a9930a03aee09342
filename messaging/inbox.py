"""The inbox: each message takes effect once per consumer.

The id goes in with the effect, in one transaction; a conflict drops the message. Ids are
UUIDv7, so the table is partitioned by time of id: old partitions go whole, and only once they
are older than anything Kafka still keeps. Foreign ids land in the default partition.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from contracts.ids import first_id_at
from messaging.database import Connection, sql

PARTITION_DAYS_AHEAD = 3
"""Partitions exist before their time, so that the default one stays small."""

_CLAIM = sql("""
    INSERT INTO inbox (message_id, consumer)
    SELECT message_id, :consumer FROM unnest(CAST(:ids AS uuid[])) AS m (message_id)
    ON CONFLICT DO NOTHING
    RETURNING message_id
""")

_PARTITIONS = sql("""
    SELECT child.relname
    FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
    WHERE inhparent = 'inbox'::regclass
""")


async def claim(connection: Connection, consumer: str, message_ids: Collection[UUID]) -> set[UUID]:
    """Claim ids for this transaction; returns those that are new to `consumer`.

    Ids are inserted sorted, so that two overlapping batches wait for each other instead of
    deadlocking; a claim that meets another's open one waits for its end.
    """
    if not message_ids:
        return set()
    new = await connection.fetch_column(
        _CLAIM, {"consumer": consumer, "ids": sorted(set(message_ids))}
    )
    return set(new)


def _partition_name(day: datetime) -> str:
    return f"inbox_{day:%Y%m%d}"


async def keep_partitions(connection: Connection, now: datetime, keep_days: int) -> None:
    """Make the partitions of today and the next days; drop those older than `keep_days`.

    Holds a transaction advisory lock, so replicas take turns.
    """
    await connection.execute(sql("SELECT pg_advisory_xact_lock(hashtext('inbox partitions'))"))
    existing = set(await connection.fetch_column(_PARTITIONS))
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for offset in range(PARTITION_DAYS_AHEAD + 1):
        day = today + timedelta(days=offset)
        name = _partition_name(day)
        if name not in existing:
            first, end = first_id_at(day), first_id_at(day + timedelta(days=1))
            await connection.execute(
                sql(
                    f"CREATE TABLE {name} PARTITION OF inbox "
                    f"FOR VALUES FROM ('{first}') TO ('{end}')"
                )
            )
    oldest_kept = _partition_name(today - timedelta(days=keep_days))
    for name in sorted(existing):
        if name.removeprefix("inbox_").isdigit() and name < oldest_kept:
            await connection.execute(sql(f"DROP TABLE {name}"))
