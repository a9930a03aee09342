"""Checkouts, within the order service's database: each reaches its end, or is seen not to."""

from datetime import datetime
from typing import NamedTuple

from trolley.audit.invariant import Read, Source, within
from trolley.audit.settings import AUDIT_OVERDUE_SECONDS
from trolley.audit.subjects import CHECKOUT


class Checkout(NamedTuple):
    """A checkout as its saga has it.

    `final`: ended, and every message of it acknowledged. `overdue_seconds`: how long ago its
    deadline passed (negative while it has not); None without one.
    """

    key: str
    since: datetime | None
    state: str
    final: bool
    blocked: bool
    overdue_seconds: float | None
    cart_id: str
    order_id: str | None
    currency: str
    total_minor: int
    captured_minor: int
    refund_pending_minor: int
    refunded_minor: int


# A row that is only there to be locked, or to refuse a late start, is no checkout.
CHECKOUTS = Read(
    Source.ORDER,
    Checkout,
    """
    SELECT checkout_id::text AS key, changed_at AS since, state, final, blocked,
        extract(epoch FROM now() - deadline_at)::float8 AS overdue_seconds,
        cart_id::text AS cart_id, order_id::text AS order_id, currency, total_minor,
        captured_minor, refund_pending_minor, refunded_minor
    FROM checkouts WHERE state NOT IN ('unseen', 'tombstone') AND only(checkout_id)
    """,
    CHECKOUT,
    order="checkout_id",
)


INVARIANTS = (
    within(
        "checkouts.final-or-visible",
        "Every checkout is final, or has a deadline that is kept, or shows as blocked or as "
        "needing attention.",
        CHECKOUTS,
        "final OR blocked OR state = 'needs_attention'"
        f" OR coalesce(overdue_seconds <= {AUDIT_OVERDUE_SECONDS}, false)",
    ),
)
