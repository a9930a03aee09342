"""Sends StartCheckout again, ever more slowly, until the saga has taken the checkout over."""

from collections.abc import Awaitable, Callable

import structlog

from cart_service.domain.checkouts import Terms, resend_after
from cart_service.store.starts import postpone_starts, take_due_starts
from messaging.clock import utc_now
from messaging.database import Database
from messaging.outbox import emit

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
