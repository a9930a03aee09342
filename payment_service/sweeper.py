"""The sweepers: reports that nobody has decided upon are sent again, webhooks that came too early
are looked at again, and those that cannot come again are forgotten. What a customer deleted is
forgotten by its provider, too.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from messaging.clock import utc_now
from messaging.database import Database
from messaging.outbox import emit
from payment_service.providers.port import Provider
from payment_service.settings import PaymentSettings
from payment_service.store import operations as store
from payment_service.store import saved_methods, webhooks

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


def heed_webhooks(settings: PaymentSettings) -> Callable[[Database], Awaitable[int]]:
    """An action for `messaging.periodic.every`; returns how many webhooks it looked at."""

    async def heed(database: Database) -> int:
        now = utc_now()
        async with database.transaction() as connection:
            taken = await webhooks.take_again(
                connection,
                most=settings.webhook_rows,
                first=settings.webhook_again_after,
                give_up=timedelta(seconds=settings.webhook_give_up_seconds),
                now=now,
            )
            reviews = [review for one in taken for review in one.reviews]
            await emit(connection, reviews, source=SOURCE, now=now)
            kept = timedelta(seconds=settings.webhook_kept_seconds)
            await webhooks.forget(connection, now - kept, settings.webhook_rows)
        return len(taken)

    return heed


def forget_methods(
    settings: PaymentSettings, providers: Mapping[str, Provider]
) -> Callable[[Database], Awaitable[int]]:
    """An action for `messaging.periodic.every`; returns how many methods were forgotten.

    A provider may be told twice, which is harmless; one that does not answer is told again.
    """

    async def forget(database: Database) -> int:
        async with database.transaction() as connection:
            rows = await saved_methods.to_forget(
                connection, list(providers), settings.forget_method_rows
            )
        done = [
            row.saved_method_id
            for row in rows
            if await providers[row.provider].forget_method(row.token)
        ]
        if done:
            async with database.transaction() as connection:
                await saved_methods.forgotten(connection, done, utc_now())
        return len(done)

    return forget
