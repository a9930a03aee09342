"""The backstop: due reservations become questions to the saga, and stay held."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from inventory_service import domain
from inventory_service.handlers import SERVICE
from inventory_service.settings import InventorySettings
from inventory_service.store import stock as store
from messaging.clock import utc_now
from messaging.database import Database
from messaging.outbox import emit


def ask_about_due(settings: InventorySettings) -> Callable[[Database], Awaitable[int]]:
    """A sweep that asks the saga about due reservations; it returns how many it asked about."""
    first_backoff = timedelta(seconds=settings.question_first_backoff_seconds)
    longest_backoff = timedelta(seconds=settings.question_longest_backoff_seconds)

    async def sweep(database: Database) -> int:
        now = utc_now()
        async with database.transaction() as connection:
            due = await store.lock_due(connection, now, settings.sweep_rows)
            asked = [
                domain.ask(one, now, first_backoff=first_backoff, longest_backoff=longest_backoff)
                for one in due
            ]
            await store.write_reservations(connection, [after for after, _ in asked])
            await emit(connection, [question for _, question in asked], source=SERVICE, now=now)
        return len(asked)

    return sweep
