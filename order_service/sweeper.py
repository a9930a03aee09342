"""Deadlines: what is due on a checkout's row becomes messages to the saga itself."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import datetime, timedelta
from uuid import UUID

from prometheus_client import Gauge

from contracts.messages.base import Message
from contracts.messages.order import DeadlinePassed, PaymentWindowClosed
from messaging.clock import utc_now
from messaging.database import Database, sql
from messaging.outbox import emit
from order_service.checkout import Checkout, State
from order_service.checkout.facts import Wait
from order_service.handlers import SERVICE
from order_service.settings import OrderSettings
from order_service.store import after_sales
from order_service.store.checkouts import take_due
from order_service.store.placeholders import UNSEEN

CHECKOUTS = Gauge("trolley_checkouts", "Checkouts that are not final yet, by state.", ["state"])

LATE = Gauge("trolley_checkouts_late", "Checkouts of which some answer is overdue.")
BLOCKED = Gauge("trolley_checkouts_blocked", "Checkouts that a dead letter stands in the way of.")

_COUNT = sql("""
    SELECT state, count(*) AS checkouts, count(*) FILTER (WHERE late) AS late,
        count(*) FILTER (WHERE blocked) AS blocked
    FROM checkouts WHERE NOT final GROUP BY state
""")


def note_deadlines(settings: OrderSettings) -> Callable[[Database], Awaitable[int]]:
    """A sweep that notes passed deadlines; it returns on how many checkouts."""
    repeat_after = timedelta(seconds=settings.deadline_repeat_seconds)

    async def sweep(database: Database) -> int:
        now = utc_now()
        async with database.transaction() as connection:
            due = await take_due(connection, now, settings.sweep_rows, repeat_after)
            notes = [note for checkout in due for note in passed_deadlines(checkout, now)]
            sold = await after_sales.take_due(connection, now, settings.sweep_rows, repeat_after)
            notes += [
                note for shop, after in sold for note in _passed(shop, after.id, after.waits, now)
            ]
            await emit(connection, notes, source=SERVICE, now=now)
        return len(due) + len(sold)

    return sweep


def passed_deadlines(checkout: Checkout, now: datetime) -> Iterator[Message]:
    """The messages that tell a checkout which of its deadlines have passed."""
    yield from _passed(checkout.request.shop_id, checkout.id, checkout.waits, now)
    window = checkout.window_closes_at
    if window is not None and window <= now:
        yield PaymentWindowClosed(
            shop_id=checkout.request.shop_id, checkout_id=checkout.id, closed_at=window
        )


def _passed(
    shop_id: str, checkout_id: UUID, waits: Iterable[Wait], now: datetime
) -> Iterator[DeadlinePassed]:
    for wait in waits:
        if wait.hold is None and wait.due_at <= now:
            yield DeadlinePassed(
                shop_id=shop_id,
                checkout_id=checkout_id,
                step=wait.step,
                round=wait.round,
                due_at=wait.due_at,
            )


async def count_states(database: Database) -> int:
    """Set the gauges of unfinished checkouts: by state, late, and blocked."""
    async with database.reading() as connection:
        rows = {row.state: row for row in await connection.fetch(_COUNT)}
    for state in (UNSEEN, *State):
        CHECKOUTS.labels(str(state)).set(rows[state].checkouts if state in rows else 0)
    LATE.set(sum(row.late for row in rows.values()))
    BLOCKED.set(sum(row.blocked for row in rows.values()))
    return 0
