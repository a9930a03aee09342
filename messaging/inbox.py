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

_HOLD = sql("""
    SELECT 1 FROM inbox WHERE message_id = :message_id AND consumer = :consumer FOR UPDATE
""")
_FORGET = sql("""
    DELETE FROM inbox WHERE message_id = ANY(CAST(:ids AS uuid[])) AND consumer = :consumer
""")

_PARTITIONS = sql("""
    SELECT child.relname
    FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
    WHERE inhparent = 'inbox'::regclass
""")

# No claim may come into the default partition between the move and the attachment.
_LOCK_DEFAULT = sql("LOCK TABLE inbox_default IN ACCESS EXCLUSIVE MODE")


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


async def hold(connection: Connection, consumer: str, message_id: UUID) -> None:
    """Lock a claimed id, so that whoever forgets it later has the inbox's lock before others."""
    await connection.execute(_HOLD, {"consumer": consumer, "message_id": message_id})


async def forget(connection: Connection, consumer: str, message_ids: Collection[UUID]) -> None:
    """Give claims up: should these messages come again, they are new to `consumer`."""
    if message_ids:
        await connection.execute(_FORGET, {"consumer": consumer, "ids": list(message_ids)})


def _partition_name(day: datetime) -> str:
    return f"inbox_{day:%Y%m%d}"


async def keep_partitions(connection: Connection, now: datetime, keep_days: int) -> None:
    """Make the partitions of today and the next days; drop those older than `keep_days`.

    Holds a transaction advisory lock, so replicas take turns.
    """
    await connection.execute(sql("SELECT pg_advisory_xact_lock(hashtext('inbox partitions'))"))
    existing = set(await connection.fetch_column(_PARTITIONS))
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    # Drops first: they lock the whole inbox, which behind the default partition's lock would be a
    # deadlock with a claim between the two.
    oldest_kept = _partition_name(today - timedelta(days=keep_days))
    for name in sorted(existing):
        if name.removeprefix("inbox_").isdigit() and name < oldest_kept:
            await connection.execute(sql(f"DROP TABLE {name}"))
    days = [today + timedelta(days=offset) for offset in range(PARTITION_DAYS_AHEAD + 1)]
    missing = [day for day in days if _partition_name(day) not in existing]
    if missing:
        await connection.execute(_LOCK_DEFAULT)
    for day in missing:
        await _add_partition(connection, day)


async def _add_partition(connection: Connection, day: datetime) -> None:
    """Make a day's partition with the claims of that day that the default one holds.

    An id from a clock ahead of ours, or from before a long pause of housekeeping, stands in the
    default partition; PostgreSQL refuses a new partition whose rows are still there.
    """
    name = _partition_name(day)
    first, end = first_id_at(day), first_id_at(day + timedelta(days=1))
    await connection.execute(sql(f"CREATE TABLE {name} (LIKE inbox INCLUDING ALL)"))
    await connection.execute(
        sql(f"""
            WITH moved AS (
                DELETE FROM inbox_default WHERE message_id >= :first AND message_id < :end
                RETURNING message_id, consumer
            )
            INSERT INTO {name} (message_id, consumer) SELECT message_id, consumer FROM moved
        """),  # noqa: S608 - the name is made of a date
        {"first": first, "end": end},
    )
    await connection.execute(
        sql(f"ALTER TABLE inbox ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{end}')")
    )
