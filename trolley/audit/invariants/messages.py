"""Messages: what is committed is on its way."""

from datetime import datetime
from typing import NamedTuple

from trolley.audit.invariant import Read, Source, within
from trolley.audit.settings import AUDIT_OVERDUE_SECONDS


class Outbox(NamedTuple):
    """What one service has committed and not yet published; flagged keys are open items."""

    key: str
    since: datetime | None
    rows: int
    oldest_seconds: float


def _outbox(source: Source) -> Read[Outbox]:
    return Read(
        source,
        Outbox,
        f"""
        SELECT '{source}' AS key, min(time) AS since, count(*) AS rows,
            coalesce(extract(epoch FROM now() - min(time)), 0)::float8 AS oldest_seconds
        FROM outbox o
        WHERE NOT EXISTS (
            SELECT FROM outbox flagged
            WHERE flagged.flagged_at IS NOT NULL AND flagged.topic = o.topic
                AND flagged.key IS NOT DISTINCT FROM o.key
        )
        """,  # noqa: S608 - the name of a source
    )


SERVICES = (Source.CATALOG, Source.CART, Source.INVENTORY, Source.ORDER, Source.PAYMENT)

INVARIANTS = tuple(
    within(
        f"messages.{source}-outbox-is-young",
        f"What {source} commits is published within {AUDIT_OVERDUE_SECONDS} seconds.",
        _outbox(source),
        f"oldest_seconds <= {AUDIT_OVERDUE_SECONDS}",
    )
    for source in SERVICES
)
