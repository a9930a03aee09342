"""What is open without being wrong: somebody or something will still act on it."""

from trolley.audit.invariant import Source
from trolley.audit.report import OpenItem
from trolley.audit.settings import AUDIT_UNANSWERED_SENDS
from trolley.audit.snapshots import Snapshots
from trolley.together import together

_SERVICES = (Source.CATALOG, Source.CART, Source.INVENTORY, Source.ORDER, Source.PAYMENT)


def _counting(table: str, since: str, where: str) -> str:
    return f"count(*), extract(epoch FROM now() - min({since}))::float8 FROM {table} WHERE {where}"


# Conditions say what follows from others, where there is an index of it: `NOT final`.
_OPEN = (
    *(
        (what, source, _counting("dead_letters", "created_at", f"status IN {statuses}"))
        for source in _SERVICES
        for what, statuses in (
            ("dead letters", "('dead', 'replaying', 'discarding')"),
            ("messages parked behind dead letters", "('parked')"),
        )
    ),
    *(
        (
            "outbox rows that can never be sent",
            source,
            _counting("outbox", "time", "flagged_at IS NOT NULL"),
        )
        for source in _SERVICES
    ),
    (
        "checkouts that nobody takes over",
        Source.CART,
        _counting(
            "carts",
            "changed_at",
            f"start_due_at IS NOT NULL AND start_sends > {AUDIT_UNANSWERED_SENDS}",
        ),
    ),
    (
        "checkouts that need attention",
        Source.ORDER,
        _counting("checkouts", "changed_at", "NOT final AND state = 'needs_attention'"),
    ),
    (
        "checkouts that are blocked",
        Source.ORDER,
        _counting(
            "checkouts", "changed_at", "NOT final AND blocked AND state <> 'needs_attention'"
        ),
    ),
    (
        "checkouts under way",
        Source.ORDER,
        _counting(
            "checkouts",
            "created_at",
            "NOT final AND NOT blocked"
            " AND state NOT IN ('unseen', 'tombstone', 'needs_attention', 'authorized')",
        ),
    ),
    (
        "orders to be shipped before their money is taken",
        Source.ORDER,
        _counting("checkouts", "created_at", "NOT final AND NOT blocked AND state = 'authorized'"),
    ),
    (
        "reservations past their expiry",
        Source.INVENTORY,
        _counting(
            "reservations",
            "expires_at",
            "status = 'held' AND next_question_at IS NOT NULL AND expires_at < now()",
        ),
    ),
    (
        "provider operations",
        Source.PAYMENT,
        _counting("operations", "created_at", "status IN ('due', 'leased', 'reported')"),
    ),
    (
        "refunds not made yet",
        Source.PAYMENT,
        _counting("refunds", "created_at", "status IN ('requested', 'unknown', 'refund_pending')"),
    ),
    (
        "refunds that failed",
        Source.PAYMENT,
        _counting("refunds", "updated_at", "status = 'refund_failed'"),
    ),
    (
        "payments given back twice: by hand and at the provider",
        Source.PAYMENT,
        _counting("payments", "updated_at", "over_refunded_minor > 0"),
    ),
)


async def open_items(snapshots: Snapshots) -> tuple[OpenItem, ...]:
    """What is open now; kinds of which there is nothing are left out."""
    found: dict[tuple[str, Source], OpenItem] = {}

    async def count(source: Source) -> None:
        of_source = ((what, sql) for what, where, sql in _OPEN if where is source)
        sql = " UNION ALL ".join(f"SELECT '{what}', {counted}" for what, counted in of_source)
        for what, number, oldest_seconds in await snapshots.fetch(source, sql):
            found[what, source] = OpenItem(what, source, number, oldest_seconds)

    await together(count(source) for source in _SERVICES)
    items = (found[what, source] for what, source, _ in _OPEN)
    return tuple(item for item in items if item.count)
