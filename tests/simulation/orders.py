"""The order service: the saga, its sweeper, and the operators who look after it."""

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from contracts.messages.order import ResolveCheckout
from contracts.topics import ORDER_COMMANDS, ORDER_REPLIES
from messaging.fold import Decision, Row
from order_service.checkout import Checkout, Policy, State, Tombstone
from order_service.handlers import CheckoutHandler
from order_service.sweeper import passed_deadlines
from tests.simulation.alarms import Alarms
from tests.simulation.service import SECOND_US, Service

if TYPE_CHECKING:
    from tests.simulation.world import World

EARLY_US = 20 * SECOND_US
"""By how much a sweeper's clock may be ahead."""


class Orders(Service):
    """The saga."""

    name = "order"
    kept = frozenset({Checkout, Tombstone})

    REPEAT = timedelta(seconds=10)
    """A deadline that nobody acted on is noted again after so long."""

    EARLY = timedelta(microseconds=EARLY_US)

    OPERATOR_US = 600 * SECOND_US
    """How long a checkout that needs attention waits for an operator."""

    def __init__(self, world: "World", policy: Policy) -> None:
        super().__init__(world)
        self.policy = policy
        self.handler = CheckoutHandler(policy)
        self.unfinished: dict[UUID, None] = {}
        """Checkouts that have begun and are not final."""
        self.stuck: dict[UUID, int] = {}
        """Checkouts that need attention, with how often an operator has looked at them."""
        self._blocked: set[UUID] = set()
        """Checkouts that a dead letter is in the way of, as far as the saga was told."""
        self._due: Alarms[UUID] = Alarms(world, self._sweep, world.sweep_skew_us)
        self.subscribe(ORDER_COMMANDS.name, self.handler)
        self.subscribe(ORDER_REPLIES.name, self.handler)

    def saved(self, row: Row, before: Row | None, decision: Decision) -> None:
        """Check the move, and watch the checkout's deadline."""
        if not isinstance(row, Checkout):
            return
        begun = before if isinstance(before, Checkout) else None
        self.world.books.checkout_moved(begun, row, decision.messages)
        if row.final:
            self.unfinished.pop(row.id, None)
        else:
            self.unfinished[row.id] = None
        if row.state is not State.NEEDS_ATTENTION:
            self.stuck.pop(row.id, None)
        elif row.id not in self.stuck:
            self.stuck[row.id] = 0
            self.world.at(self.world.now_us + self.OPERATOR_US, self._look_at, row.id)
        if begun is not None and begun.blocked:
            self.world.books.left_alone(begun, row, decision)
        elif row.blocked and row.id not in self._blocked:
            self._blocked.add(row.id)
            self.world.at(self.world.now_us + self.OPERATOR_US, self._look_behind, row.id)
        deadline = row.deadline_at
        if deadline is not None:
            self._due.set(row.id, self.world.us_of(deadline))

    def checkouts(self) -> Iterable[Checkout]:
        """All that the saga knows."""
        return self.database.tables.of(Checkout).values()

    def checkout(self, checkout_id: UUID) -> Checkout | None:
        """What the saga knows of it."""
        return self.database.tables.find(Checkout, checkout_id)

    def _sweep(self, checkout_id: UUID) -> None:
        checkout = self.checkout(checkout_id)
        if checkout is None:
            return
        deadline = checkout.deadline_at
        if deadline is None:
            return
        now = self.world.now
        if deadline > now and (self.world.healed or deadline > now + self.EARLY):
            self._due.set(checkout_id, self.world.us_of(deadline))
            return
        # A sweeper whose clock is ahead finds due what is not due yet.
        for note in passed_deadlines(checkout, max(now, deadline)):
            self.emit(note)
        self._due.set(checkout_id, self.world.us_of(self.world.now + self.REPEAT))

    def _look_at(self, checkout_id: UUID) -> None:
        """An operator cancels what is stuck, which tries again what ran out."""
        if checkout_id not in self.stuck:
            return
        self.stuck[checkout_id] += 1
        self.world.shoppers.cancel(checkout_id, by="operator")
        if self.stuck.get(checkout_id, 0) in range(1, self.policy.refunds_limit + 2):
            self.world.at(self.world.now_us + self.OPERATOR_US, self._look_at, checkout_id)

    def _look_behind(self, checkout_id: UUID) -> None:
        """An operator has a blocked checkout ask again that never heard that its way is free.

        It is told so by one message, which may be lost with its topic.
        """
        self._blocked.discard(checkout_id)
        checkout = self.checkout(checkout_id)
        if checkout is None or not checkout.blocked:
            return
        self._blocked.add(checkout_id)
        self.world.at(self.world.now_us + self.OPERATOR_US, self._look_behind, checkout_id)
        services = (self, self.world.inventory, self.world.payments, self.world.carts)
        shelves = [shelf for service in services for shelf in service.shelves.values()]
        in_the_way = any(shelf.holds(checkout_id.int) for shelf in shelves)
        if checkout_id.int in self.world.unheard and not in_the_way:
            retry = ResolveCheckout(
                checkout_id=checkout_id,
                decision="retry",
                reason="replayed",
                requested_by="operator",
            )
            self.request(self.handler, retry, checkout_id.int)

    def is_hopeless(self, checkout_id: UUID) -> bool:
        """Does it need more than operators here try, having tried all they can?"""
        return self.stuck.get(checkout_id, 0) > self.policy.refunds_limit + 1
