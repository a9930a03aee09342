"""What a service does about its dead letters by itself: it counts the open, forgets the old."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from messaging import metrics
from messaging.clock import utc_now
from messaging.database import Database, sql
from messaging.dead_letters.letters import Status

FORGET_LETTERS = 500
"""Letters forgotten at a time, with their records of up to megabytes."""

OPEN = (Status.DEAD, Status.PARKED, Status.REPLAYING, Status.DISCARDING)

_COUNT = sql("""
    SELECT status, count(*) AS letters FROM dead_letters
    WHERE status NOT IN ('done', 'discarded') GROUP BY status
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
            values = {"before": before, "most": FORGET_LETTERS}
            return int(await connection.fetch_value(_FORGET, values))

    return forget
