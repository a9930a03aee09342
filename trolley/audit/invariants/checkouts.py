"""Checkouts, within the order service's database: each reaches its end, or is seen not to."""

from trolley.audit.invariant import Read, Source, Within
from trolley.audit.settings import AUDIT_OVERDUE_SECONDS
from trolley.audit.subjects import CHECKOUT
from trolley.audit.tables import CHECKOUTS as TABLE

# `final`: ended, and every message of it acknowledged. `overdue_seconds`: how long ago its
# deadline passed (negative while it has not); NULL without one.
CHECKOUTS = Read(
    "checkout",
    Source.ORDER,
    "SELECT * RENAME (checkout_id AS key, changed_at AS since) FROM checkouts",
    (TABLE,),
    CHECKOUT,
)

INVARIANTS = (
    Within(
        "checkouts.final-or-visible",
        "Every checkout is final, or has a deadline that is kept, or shows as blocked or as "
        "needing attention.",
        CHECKOUTS,
        "final OR blocked OR state = 'needs_attention'"
        f" OR coalesce(overdue_seconds <= {AUDIT_OVERDUE_SECONDS}, false)",
    ),
)
