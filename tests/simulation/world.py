"""One world: a clock, what happens next, and everything that lives in it."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from random import Random
from typing import Any, TypeAlias
from uuid import UUID

from order_service.checkout import Lapse, LateSuccess, Policy
from order_service.settings import OrderSettings
from tests.simulation import faults
from tests.simulation.bank import Bank
from tests.simulation.broker import Queue
from tests.simulation.carts import Carts
from tests.simulation.ids import MESSAGE_IDS, counted
from tests.simulation.invariants import ENDS, Books, Violation
from tests.simulation.inventory import Inventory
from tests.simulation.mutants import Mutant
from tests.simulation.orders import EARLY_US, Orders
from tests.simulation.payments import Payments
from tests.simulation.service import SECOND_US
from tests.simulation.shoppers import Shoppers
from tests.simulation.trace import NOBODY, How, Trace

SETTINGS = OrderSettings.model_construct()
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)

DAY_US = 24 * 3600 * SECOND_US

HEALS_AFTER_US = 600 * SECOND_US
"""How long after the last arrival nothing goes wrong any more."""

ENDS_AFTER_US = DAY_US
"""By then everything must have ended: far more than all budgets and patience together."""

LONGEST_PAUSE_US = 40_000
"""Most time between two shoppers, in the quietest of worlds."""

SWEEP_US = 250_000
"""How often a sweeper looks."""

LATE_US = 60 * SECOND_US
"""How long a sweeper may be away."""

Action: TypeAlias = Callable[..., object]
"""What it returns is nobody's."""


class World:
    """Everything that happens, in the order of one clock and by the choices of one seed."""

    def __init__(self, seed: int, checkouts: int, mutant: Mutant | None = None) -> None:
        self.random = Random(seed)  # noqa: S311 - a simulation has to be repeatable, not secret
        self.mutant = mutant
        self.now_us = 0
        self.now = BEGINNING
        self.order = 0
        """Counts what is planned and what arrives: a second sorting key behind each time."""
        self.unread = 0
        """Records that no consumer has read yet."""
        self.unheard: set[int] = set()
        """Checkouts that were told, on a topic that was lost, that a step is blocked no more."""
        self.healed = False
        self.faults = faults.drawn(self.random)
        self.injected: Counter[str] = Counter()
        self.trace = Trace()
        self.message_ids: Iterator[UUID] = counted(MESSAGE_IDS)
        self.pause_us = int(self.random.random() * LONGEST_PAUSE_US)
        self._timers: list[tuple[int, int, Action, tuple[Any, ...]]] = []
        self.queues: dict[str, Queue] = {}
        self.books = Books(self)
        self.bank = Bank(self)
        self.orders = Orders(self, _policy(self.random))
        self.inventory = Inventory(self)
        self.payments = Payments(self, self.bank)
        self.carts = Carts(self)
        self.shoppers = Shoppers(self, checkouts)

    def note(self, where: str, what: str, whose: int, how: How) -> None:
        """Add a line to the trace."""
        self.trace.lines.append((self.now_us, where, what, whose, how))

    def end(self) -> None:
        """Let go of everything: parts that know each other would wait to be found as garbage."""
        for service in (self.orders, self.inventory, self.payments, self.carts):
            vars(service).clear()
        vars(self).clear()

    # Time.

    def at(self, when_us: int, action: Action, *arguments: Any) -> None:
        """Plan an action."""
        self.order += 1
        heappush(self._timers, (when_us, self.order, action, arguments))

    def us_of(self, moment: datetime) -> int:
        """The moment on the clock of this world."""
        since = moment - BEGINNING
        return since.days * DAY_US + since.seconds * SECOND_US + since.microseconds

    def run(self) -> None:
        """From the first delivery to the end. Raises `Violation`."""
        self.shoppers.stock_up()
        self.at(0, self.shoppers.arrive)
        timers = self._timers
        while timers:
            self.now_us, _, action, arguments = heappop(timers)
            self.now = BEGINNING + timedelta(0, 0, self.now_us)
            action(*arguments)
            if self.healed and not self.unread and self._is_drained():
                break
        self.books.close()

    def last_arrived(self) -> None:
        """Nobody comes any more: after a while nothing goes wrong any more either."""
        self.at(self.now_us + HEALS_AFTER_US, self._heal)

    def _heal(self) -> None:
        self.healed = True
        self.faults = faults.NONE
        self.note("world", "healed", NOBODY, "")
        self.at(self.now_us + ENDS_AFTER_US, self._run_out)

    def _run_out(self) -> None:
        self.books.close()
        raise Violation(ENDS, NOBODY, "something goes on for ever")

    def _is_drained(self) -> bool:
        """Has everything come to its end, except what nobody can help any more?"""
        hopeless = self.orders.is_hopeless
        services = (self.orders, self.inventory, self.payments, self.carts)
        return (
            len(self.orders.unfinished) == len(self.orders.stuck)
            and all(map(hopeless, self.orders.stuck))
            and all(map(hopeless, self.payments.open_operations.values()))
            and not any(service.database.outbox for service in services)
            and all(shelf.is_empty for service in services for shelf in service.shelves.values())
        )

    # Chance.

    def strikes(self, fault: str, whose: int = NOBODY) -> bool:
        """Does this fault happen now? What is injected is counted, and stands in the trace."""
        chance: float = getattr(self.faults, fault)
        if chance == 0.0 or self.random.random() >= chance:
            return False
        self.injected[fault] += 1
        self.note("fault", fault, whose, "")
        return True

    def sweep_skew_us(self) -> int:
        """How much later than due a sweeper finds a row, or earlier with a clock that is ahead."""
        if self.strikes("early_sweep"):
            return -int(self.random.random() * EARLY_US)
        if self.strikes("late_sweep"):
            return int(self.random.random() * LATE_US)
        return int(self.random.random() * SWEEP_US)


def _policy(random: Random) -> Policy:
    """The product's own budgets, with patience cut to minutes; what late money buys is drawn."""
    late = (LateSuccess.KEEP, LateSuccess.REFUND)
    return replace(
        SETTINGS.policy(),
        reservation_backstop_seconds=2_400,
        unknown_patience_seconds=1_200,
        refund_patience_seconds=3_600,
        attempts_limit=4,
        refunds_limit=3,
        success_at_window_close=random.choice(late),
        success_at_cancel=random.choice(late),
        success_after_release=random.choice(late),
        authorization_lapse=random.choice((Lapse.CAPTURE, Lapse.CANCEL)),
    )
