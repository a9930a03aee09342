"""What must hold: after each step for what it touched, and at the end for everything.

The books are kept beside the services, from what they commit and publish and from what the bank
does, so that no service is its own witness.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NoReturn
from uuid import UUID

from cart_service.domain.carts import Bought, Cart, Locked
from cart_service.store.carts import ActiveCart, Restoration
from contracts.messages.base import Event, Message, SagaCommand
from contracts.messages.cart import CartChanged
from contracts.messages.inventory import ReservationDue
from contracts.messages.order import DeadlinePassed, OrderEvent, OrderPaid, ResolveCheckout
from inventory_service.domain import Movement, Reservation, Status, Stock
from messaging.fold import Decision, Row
from order_service.checkout import Checkout, State
from order_service.checkout.facts import Hold, RefundStatus, payment_id_of
from order_service.store.checkouts import NewHistory
from payment_service.domain.payment import Payment
from tests.order_service.invariants import holds_after
from tests.simulation.broker import Letter
from tests.simulation.ids import numbered

if TYPE_CHECKING:
    from tests.simulation.world import World


class Violation(AssertionError):
    """An invariant does not hold: its name, whose checkout, and what was found."""

    def __init__(self, invariant: str, whose: int, found: str) -> None:
        super().__init__(f"{invariant}: {found}")
        self.invariant = invariant
        self.whose = whose
        self.found = found


ONCE = "a message takes effect once per consumer"
ASKED = "a request takes effect once per key"
EVENTS = "events are numbered 1 to n, without gap or double"
SAGA = "every move of the saga keeps its rules"
BLOCKED = "a step that a dead letter is in the way of is neither asked again nor given up"
ENDS = "every checkout ends, or needs attention for a reason"
LEVELS = "reserved is the sum of what is held, on hand the sum of movements"
STOCK = "a paid order has one committed reservation, any other holds no stock"
MONEY = "the bank took the money of an order once, and gave back no more"
LEDGERS = "the bank, the payment and the order agree on the money"
CARTS = "one active cart per customer; lines of a cancelled order come back once"

Place = tuple[str, str]
"""SKU and warehouse."""


class Books:
    """What was seen, kept so that each step is checked in constant time."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._effects: dict[str, set[UUID]] = {}
        self._requests: set[tuple[str, int]] = set()
        self._last_event: dict[tuple[type, str], int] = {}
        self._paid: set[UUID] = set()
        self._held: dict[Place, int] = {}
        self._on_hand: dict[Place, int] = {}
        self._moves: set[tuple[UUID, str, int, int]] = set()

    # Messages.

    def took_effect(self, consumer: str, letters: Iterable[Letter]) -> None:
        """A transaction committed in which these messages were handled."""
        effects = self._effects.setdefault(consumer, set())
        for letter in letters:
            if letter.message_id in effects:
                raise Violation(ONCE, letter.number, f"{letter.body} again on {consumer}")
            effects.add(letter.message_id)

    def answered(self, service: str, key: int, whose: int) -> None:
        """A transaction committed in which this request was decided."""
        request = service, key
        if request in self._requests:
            raise Violation(ASKED, whose, f"request {key} of {service} a second time")
        self._requests.add(request)

    def published(self, event: Event) -> None:
        """A reader of committed records has this event."""
        kind = OrderEvent if isinstance(event, OrderEvent) else type(event)
        aggregate = kind, event.key
        last = self._last_event.get(aggregate, 0)
        if event.event_seq != last + 1:
            whose = getattr(event, "checkout_id", None)
            found = f"{event.type} {event.event_seq} of {event.key} follows {last}"
            raise Violation(EVENTS, 0 if whose is None else whose.int, found)
        self._last_event[aggregate] = event.event_seq
        if isinstance(event, OrderPaid):
            self._paid.add(event.checkout_id)

    # The saga.

    def checkout_moved(
        self, before: Checkout | None, after: Checkout, messages: Sequence[Message]
    ) -> None:
        """A checkout took a message in."""
        try:
            holds_after(before, after, tuple(messages))
        except AssertionError as broken:
            raise Violation(SAGA, after.id.int, str(broken)) from broken

    def left_alone(self, before: Checkout, after: Checkout, decision: Decision) -> None:
        """A checkout was blocked: its blocked steps were neither asked again nor given up.

        Whoever asks about the step itself is answered: the backstop, and an operator.
        """
        told = next(row for row in decision.changed if isinstance(row, NewHistory)).entries[-1]
        if told.message_type in (ReservationDue.type, ResolveCheckout.type):
            return
        blocked = {(w.step, w.round) for w in before.waits if w.hold is Hold.BLOCKED}
        if told.message_type == DeadlinePassed.type and (told.step, told.round) in blocked:
            raise Violation(BLOCKED, after.id.int, f"{told.step} {told.round} timed out")
        blocked &= {(w.step, w.round) for w in after.waits if w.hold is Hold.BLOCKED}
        for message in decision.messages:
            if isinstance(message, SagaCommand) and (message.step, message.round) in blocked:
                raise Violation(BLOCKED, after.id.int, f"{message.type} was sent again")

    # Stock.

    def reservation_moved(self, before: Reservation | None, after: Reservation) -> None:
        """A reservation is in another state."""
        was_held = before is not None and before.status is Status.HELD
        is_held = after.status is Status.HELD
        if was_held != is_held:
            for line in after.lines:
                place = line.sku, line.warehouse
                pieces = line.quantity if is_held else -line.quantity
                self._held[place] = self._held.get(place, 0) + pieces

    def stock_moved(self, movement: Movement) -> None:
        """An entry of the ledger of movements was written."""
        line = movement.operation_id, movement.kind, movement.round, movement.line
        if line in self._moves:
            raise Violation(LEVELS, movement.operation_id.int, f"{movement} a second time")
        self._moves.add(line)
        place = movement.sku, movement.warehouse
        self._on_hand[place] = self._on_hand.get(place, 0) + movement.quantity

    def levels_agree(self, changed: Iterable[Row]) -> None:
        """The levels of these SKUs are what reservations and movements amount to."""
        for stock in changed:
            if not isinstance(stock, Stock):
                continue
            for level in stock.levels:
                place = stock.sku, level.warehouse
                held, on_hand = self._held.get(place, 0), self._on_hand.get(place, 0)
                if (level.reserved, level.on_hand) != (held, on_hand) or held > on_hand:
                    found = f"{stock.sku} has {level}, held are {held}, moved are {on_hand}"
                    raise Violation(LEVELS, 0, found)

    # Money.

    def money_moved(self, payment_id: UUID) -> None:
        """The bank took money, or gave it back."""
        world = self._world
        payment = world.payments.database.tables.find(Payment, payment_id)
        assert payment is not None
        checkout = world.orders.checkout(payment.checkout_id)
        assert checkout is not None
        captured = world.bank.captured_minor.get(payment_id, 0)
        refunded = world.bank.refunded_minor.get(payment_id, 0)
        if not 0 <= captured - refunded <= checkout.request.total_minor:
            found = f"took {captured}, gave back {refunded} of {checkout.request.total_minor}"
            raise Violation(MONEY, checkout.id.int, found)

    def payment_moved(self, after: Payment) -> None:
        """A payment decided something; its amounts are checked by computing them."""
        amounts = after.amounts
        captured = self._world.bank.captured_minor.get(after.payment_id, 0)
        if amounts.captured_minor > captured:
            found = f"booked {amounts.captured_minor}, the bank took {captured}"
            raise Violation(LEDGERS, after.checkout_id.int, found)

    # Carts.

    def one_active_cart(self, known: ActiveCart | None, cart_id: UUID) -> None:
        """A cart is active: no other of its customer may be."""
        if known is not None and known.cart_id != cart_id:
            raise Violation(CARTS, 0, f"{known.cart_id} and {cart_id} are active")

    # The end.

    def close(self) -> None:
        """Everything, once the network has healed and all is drained."""
        world = self._world
        reservations = world.inventory.database.tables.of(Reservation)
        held: dict[int, list[Status]] = {}
        for reservation in reservations.values():
            held.setdefault(reservation.owner_id.int, []).append(reservation.status)
        payments = world.payments.database.tables.of(Payment)
        restored = world.carts.database.tables.of(Restoration)
        for number in range(1, world.shoppers.arrived + 1):
            checkout = world.orders.checkout(numbered(number))
            if checkout is None:
                raise Violation(ENDS, number, "the saga has never heard of it")
            self._ended(checkout)
            if checkout.state is not State.NEEDS_ATTENTION:
                self._stock_is_settled(checkout, held.get(number, []))
                self._money_is_settled(checkout, payments.get(payment_id_of(checkout.id)))
                self._lines_are_back(checkout, checkout.id in restored)
        for known in payments.values():
            if world.orders.checkout(known.checkout_id) is None:
                raise Violation(LEDGERS, known.checkout_id.int, "a payment of no order")
        for cart in world.carts.database.tables.of(Cart).values():
            self._cart_is_free(cart)
        self.levels_agree(world.inventory.database.tables.of(Stock).values())

    def _ended(self, checkout: Checkout) -> None:
        def no(found: str) -> NoReturn:
            raise Violation(ENDS, checkout.id.int, found)

        if checkout.state is State.NEEDS_ATTENTION:
            exhausted = any(wait.hold is Hold.EXHAUSTED for wait in checkout.waits)
            failed = any(r.status is RefundStatus.FAILED for r in checkout.open_refunds)
            if not (exhausted or failed):
                no("it needs attention for no reason")
        elif not checkout.final:
            no(f"it is {checkout.state} and waits for {checkout.waits}")
        order = checkout.order
        if order is None:
            return
        last = self._last_event.get((OrderEvent, str(order.id)), 0)
        if last != order.event_seq:
            found = f"{last} of the {order.event_seq} events of its order were published"
            raise Violation(EVENTS, checkout.id.int, found)
        if checkout.state is State.PAID and checkout.id not in self._paid:
            no("nobody was told that it is paid")

    def _stock_is_settled(self, checkout: Checkout, statuses: list[Status]) -> None:
        committed = statuses.count(Status.COMMITTED)
        wanted = 1 if checkout.state is State.PAID else 0
        if committed != wanted or Status.HELD in statuses:
            raise Violation(STOCK, checkout.id.int, f"{checkout.state} with {statuses}")

    def _money_is_settled(self, checkout: Checkout, payment: Payment | None) -> None:
        bank, payment_id = self._world.bank, payment_id_of(checkout.id)
        at_bank = bank.captured_minor.get(payment_id, 0), bank.refunded_minor.get(payment_id, 0)
        booked = (0, 0)
        if payment is not None:
            booked = payment.amounts.captured_minor, payment.amounts.refunded_minor
        known = checkout.captured_minor, checkout.refunded_minor
        if not at_bank == booked == known:
            found = f"captured and refunded: bank {at_bank}, payment {booked}, order {known}"
            raise Violation(LEDGERS, checkout.id.int, found)
        kept = checkout.request.total_minor if checkout.state is State.PAID else 0
        if at_bank[0] - at_bank[1] != kept:
            raise Violation(LEDGERS, checkout.id.int, f"{checkout.state} and keeps {at_bank}")

    def _lines_are_back(self, checkout: Checkout, restored: bool) -> None:
        if restored != (checkout.state is State.CANCELLED and checkout.order is not None):
            raise Violation(CARTS, checkout.id.int, f"{checkout.state}, restored: {restored}")

    def _cart_is_free(self, cart: Cart) -> None:
        match cart.state:
            case Locked(checkout_id):
                checkout = self._world.orders.checkout(checkout_id)
                if checkout is None or checkout.state is not State.NEEDS_ATTENTION:
                    raise Violation(CARTS, checkout_id.int, "its cart is locked")
            case Bought(checkout_id):
                checkout = self._world.orders.checkout(checkout_id)
                if checkout is None or checkout.order is None:
                    raise Violation(CARTS, checkout_id.int, "its cart is sold without an order")
            case _:
                pass
        last = self._last_event.get((CartChanged, str(cart.cart_id)), 0)
        if last != cart.event_seq:
            raise Violation(EVENTS, 0, f"{last} of the {cart.event_seq} events of {cart.cart_id}")
