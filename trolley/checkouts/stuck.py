"""Checkouts that do not go on as they should, each with the reason."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from order_service.store.listings import OVERDUE_SECONDS, STUCK
from trolley.audit.invariant import Source
from trolley.audit.settings import AUDIT_UNANSWERED_SENDS
from trolley.audit.snapshots import Snapshots
from trolley.checkouts.story import waits_in


@dataclass(frozen=True, slots=True)
class Stuck:
    """A checkout, its state, since when, and why."""

    checkout_id: UUID
    state: str
    since: datetime
    why: str


_UNANSWERED = """
    SELECT checkout_id, start_sends, changed_at FROM carts
    WHERE start_due_at IS NOT NULL AND start_sends > $1 ORDER BY changed_at LIMIT $2
"""


async def stuck_checkouts(snapshots: Snapshots, most: int) -> list[Stuck]:
    """The oldest checkouts that are late, blocked, overdue, or wait for somebody's decision."""
    of_any_shop = {"shop_id": None, "overdue_seconds": OVERDUE_SECONDS, "most": most}
    rows = await snapshots.fetch(Source.ORDER, STUCK.text, *STUCK.arguments(of_any_shop))
    found = [Stuck(row["checkout_id"], row["state"], row["changed_at"], _why(row)) for row in rows]
    rows = await snapshots.fetch(Source.CART, _UNANSWERED, AUDIT_UNANSWERED_SENDS, most)
    found += [
        Stuck(
            row["checkout_id"],
            "received",
            row["changed_at"],
            f"the order service has not answered; the cart has sent it {row['start_sends']} times",
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: one.since)[:most]


def _why(row: Any) -> str:
    waits = waits_in(row["waits"])
    reasons = [
        f"{wait.step} {wait.round}: {wait.next}" for wait in waits if wait.hold is not None
    ] or [
        f"{wait.step} {wait.round} was asked {wait.sends} times" for wait in waits if wait.sends > 1
    ]
    if not reasons and row["state"] == "needs_attention":
        reasons = ["somebody has to decide: the saga cannot go on without losing money"]
    if not reasons:
        reasons = [
            f"its deadline has passed at {row['deadline_at']:%Y-%m-%d %H:%M:%S}, nobody took it up"
        ]
    return "; ".join(reasons)
