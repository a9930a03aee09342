"""What a service does about its dead letters by itself: it counts the open, forgets the old."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from messaging import metrics
from messaging.clock import utc_now
from messaging.database import Database, sql
from messaging.dead_letters.desk import LARGEST_RUN, emit_turns
from messaging.dead_letters.letters import Status

FORGET_LETTERS = 500
"""Letters forgotten at a time, with their records of up to megabytes."""

STALLED_SECONDS = 900
"""A run of which no letter had its turn for so long stands still."""

OPEN = (Status.DEAD, Status.PARKED, Status.REPLAYING, Status.DISCARDING)

_COUNT = sql("""
    SELECT status, count(*) AS letters FROM dead_letters
    WHERE status NOT IN ('done', 'discarded') GROUP BY status
""")
_FORGET_RUNS = sql("DELETE FROM dead_letter_runs WHERE ended_at < :before")
_STALLED = sql("""
    WITH stalled AS (
        SELECT id FROM dead_letters d
        WHERE coalesce(changed_at, created_at) < :before
          AND (status IN ('replaying', 'discarding')
               AND NOT EXISTS (SELECT 1 FROM dead_letters other
                               WHERE other.run_id = d.run_id AND other.changed_at >= :before)
               OR status = 'parked'
               AND NOT EXISTS (SELECT 1 FROM dead_letters first
                               WHERE first.consumer = d.consumer AND first.key_hash = d.key_hash
                                 AND first.seq < d.seq
                                 AND first.status NOT IN ('done', 'discarded')))
        ORDER BY seq LIMIT :most FOR UPDATE SKIP LOCKED)
    UPDATE dead_letters SET changed_at = :now FROM stalled WHERE dead_letters.id = stalled.id
    RETURNING dead_letters.id
""")
_FORGET = sql("""
    WITH gone AS (
        DELETE FROM dead_letters WHERE id IN (
            SELECT id FROM dead_letters
            WHERE status IN ('done', 'discarded') AND changed_at < :before
            ORDER BY seq LIMIT :most FOR UPDATE SKIP LOCKED)
        RETURNING id
    ), trail AS (
        DELETE FROM dead_letter_history h USING gone WHERE h.dead_letter_id = gone.id
    )
    SELECT count(*) FROM gone
""")


def count_open(service: str) -> Callable[[Database], Awaitable[int]]:
    """An action for `messaging.periodic.every`: sets the gauge of open dead letters."""

    async def count(database: Database) -> int:
        async with database.reading() as connection:
            found = {row.status: row.letters for row in await connection.fetch(_COUNT)}
        for status in OPEN:
            metrics.DEAD_LETTERS.labels(service, status.value).set(found.get(status.value, 0))
        return 0

    return count


def forget_settled(keep_days: int) -> Callable[[Database], Awaitable[int]]:
    """An action for `messaging.periodic.every`: deletes letters settled long ago, with their trail.

    Returns how many it deleted.
    """

    async def forget(database: Database) -> int:
        before = utc_now() - timedelta(days=keep_days)
        async with database.transaction() as connection:
            await connection.execute(_FORGET_RUNS, {"before": before})
            values = {"before": before, "most": FORGET_LETTERS}
            return int(await connection.fetch_value(_FORGET, values))

    return forget


def call_stalled(service: str) -> Callable[[Database], Awaitable[int]]:
    """An action for `messaging.periodic.every`: gives turns again that never came.

    A run may outlive the retention of its topic, or lose it. Letters of a run that stands still,
    and parked messages with nothing before them, are called again; a turn too many does nothing.
    """

    async def call(database: Database) -> int:
        now = utc_now()
        async with database.transaction() as connection:
            before = now - timedelta(seconds=STALLED_SECONDS)
            values = {"before": before, "now": now, "most": LARGEST_RUN}
            ids = await connection.fetch_column(_STALLED, values)
            await emit_turns(connection, service, ids, now)
        return 0

    return call
