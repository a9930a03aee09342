"""The sweeper: sends reports again that nobody has decided upon, whatever became of the first."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from messaging.clock import utc_now
from messaging.database import Database
from messaging.outbox import emit
from payment_service.settings import PaymentSettings
from payment_service.store import operations as store

SOURCE = "payment"


def resend_reports(settings: PaymentSettings) -> Callable[[Database], Awaitable[int]]:
    """An action for `messaging.periodic.every`; returns how many reports it sent again."""

    async def resend(database: Database) -> int:
        now = utc_now()
        async with database.transaction() as connection:
            reports = await store.overdue_reports(
                connection,
                most=settings.report_resend_rows,
                first=timedelta(seconds=settings.report_resend_seconds),
                longest=timedelta(seconds=settings.report_resend_longest_seconds),
                now=now,
            )
            await emit(connection, reports, source=SOURCE, now=now)
        return len(reports)

    return resend
