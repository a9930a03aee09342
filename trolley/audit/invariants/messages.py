"""Messages: what is committed is on its way."""

from trolley.audit.invariant import Read, Source, Within
from trolley.audit.settings import AUDIT_OVERDUE_SECONDS
from trolley.audit.tables import outbox

SERVICES = (Source.CATALOG, Source.CART, Source.INVENTORY, Source.ORDER, Source.PAYMENT)


def _outbox(source: Source) -> Read:
    """What one service has committed and not yet published."""
    table = outbox(source)
    sql = f"SELECT '{source}' AS key, * FROM {table.name}"  # noqa: S608 - names of ours
    return Read("outbox", source, sql, (table,))


INVARIANTS = tuple(
    Within(
        f"messages.{source}-outbox-is-young",
        f"What {source} commits is published within {AUDIT_OVERDUE_SECONDS} seconds.",
        _outbox(source),
        f"oldest_seconds <= {AUDIT_OVERDUE_SECONDS}",
    )
    for source in SERVICES
)
