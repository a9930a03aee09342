"""The inventory service: the stock, and the backstop that asks about reservations."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from contracts.messages.inventory import ReleaseStock
from contracts.topics import INVENTORY_COMMANDS
from contracts.values import replace
from inventory_service import domain as inventory
from inventory_service.domain import Movement, Reservation, ReservationKey, Stock
from inventory_service.handlers import StockCommand, StockHandler
from messaging.fold import Decision, Row, Rows
from tests.simulation.alarms import Alarms
from tests.simulation.mutants import Mutant
from tests.simulation.service import Service

if TYPE_CHECKING:
    from tests.simulation.world import World


class Inventory(Service):
    """The stock."""

    name = "inventory"
    kept = frozenset({Reservation, Stock, Movement})

    FIRST_BACKOFF = timedelta(seconds=60)
    LONGEST_BACKOFF = timedelta(seconds=900)

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        twice = world.mutant is Mutant.RELEASED_TWICE
        self.handler = ReleasesTwice() if twice else StockHandler()
        self._due: Alarms[ReservationKey] = Alarms(world, self._sweep)
        self.subscribe(INVENTORY_COMMANDS.name, self.handler)

    def saved(self, row: Row, before: Row | None, decision: Decision) -> None:
        """Check the books, and watch when the backstop asks."""
        match row:
            case Reservation():
                known = before if isinstance(before, Reservation) else None
                self.world.books.reservation_moved(known, row)
                if row.next_question_at is not None:
                    self._due.set(row.key, self.world.us_of(row.next_question_at))
            case Movement():
                self.world.books.stock_moved(row)
            case _:
                pass
        if row is decision.changed[-1]:
            self.world.books.levels_agree(decision.changed)

    def _sweep(self, key: ReservationKey) -> None:
        tables = self.database.tables
        due = tables.find(Reservation, key)
        if due is None or due.next_question_at is None:
            return
        if due.next_question_at > self.world.now:
            self._due.set(key, self.world.us_of(due.next_question_at))
            return
        asked, question = inventory.ask(
            due,
            self.world.now,
            first_backoff=self.FIRST_BACKOFF,
            longest_backoff=self.LONGEST_BACKOFF,
        )
        tables.put(asked)
        if asked.next_question_at is not None:
            self._due.set(key, self.world.us_of(asked.next_question_at))
        self.emit(question)


class ReleasesTwice(StockHandler):
    """The mutant: what a release gives back is given back again, as far as anything is reserved."""

    def decide(self, rows: Rows, message: StockCommand, now: datetime) -> Decision:
        """The decision, and each level that a release lowered lowered once more."""
        decision = super().decide(rows, message, now)
        if not isinstance(message, ReleaseStock):
            return decision
        return replace(decision, changed=tuple(_lowered(rows, row) for row in decision.changed))


def _lowered(rows: Rows, row: Row) -> Row:
    before = rows.find(Stock, row.key) if isinstance(row, Stock) else None
    if before is None or not isinstance(row, Stock):
        return row
    levels = tuple(
        replace(level, reserved=max(0, level.reserved - (was.reserved - level.reserved)))
        for was, level in zip(before.levels, row.levels, strict=True)
    )
    return replace(row, levels=levels)
