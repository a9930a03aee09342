"""Sends StartCheckout again, ever more slowly, until the saga has taken the checkout over.

What nobody takes over, as when it lies among the dead letters, shows in a gauge.
"""

from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Gauge

from cart_service.domain.checkouts import Terms, resend_after
from cart_service.store.starts import (
    count_unanswered_starts,
    postpone_starts,
    take_due_starts,
)
from messaging.clock import utc_now
from messaging.database import Database
from messaging.outbox import emit

UNANSWERED = Gauge(
    "trolley_carts_start_unanswered",
    "Carts whose StartCheckout was sent again and again and never answered.",
)

log = structlog.get_logger()


def resend_starts(
    service: str, terms: Terms, batch_rows: int
) -> Callable[[Database], Awaitable[int]]:
    """An action that sends at most `batch_rows` commands again and says how many."""

    async def sweep(database: Database) -> int:
        now = utc_now()
        async with database.transaction() as connection:
            due = await take_due_starts(connection, now, batch_rows)
            if due:
                next_times = [now + resend_after(start.sends + 1, terms) for start in due]
                await postpone_starts(connection, list(zip(due, next_times, strict=True)))
                await emit(connection, [s.command for s in due], source=service, now=now)
        if due:
            most = max(start.sends for start in due)
            log.warning("checkouts that nobody has taken over", sent_again=len(due), sends=most)
        return len(due)

    return sweep


def count_unanswered(sends: int) -> Callable[[Database], Awaitable[int]]:
    """An action that sets the gauge of carts that sent StartCheckout more than `sends` times."""

    async def count(database: Database) -> int:
        async with database.reading() as connection:
            UNANSWERED.set(await count_unanswered_starts(connection, sends))
        return 0

    return count
