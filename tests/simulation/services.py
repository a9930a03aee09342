"""The four services: their own handlers over in-memory rows, and what their sweepers do.

A handler's `decide` and the fold around it are the product's. What stands here in place of SQL
is small: which row is written where, and which rows a sweeper finds due.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from cart_service.domain.carts import Active, Cart, CustomerOwner, Locked, PendingStart
from cart_service.domain.checkouts import resend_after
from cart_service.handlers.saga import SagaHandler
from cart_service.handlers.shoppers import ShopperHandler
from cart_service.settings import CartSettings
from cart_service.store.carts import ActiveCart, Contents, Restoration, StartToSend
from contracts.messages.base import Event, Message, SagaCommand
from contracts.messages.inventory import ReleaseStock
from contracts.messages.order import ResolveCheckout
from contracts.topics import CART_COMMANDS, INVENTORY_COMMANDS, ORDER_COMMANDS, ORDER_REPLIES
from contracts.values import replace
from inventory_service import domain as inventory
from inventory_service.domain import Movement, Reservation, ReservationKey, Stock
from inventory_service.handlers import StockCommand, StockHandler
from messaging.fold import Decision, Handler, Incoming, Row, Rows
from messaging.replies import Question
from order_service.checkout import Checkout, Moved, Policy, State, Tombstone
from order_service.handlers import CheckoutHandler
from order_service.sweeper import passed_deadlines
from tests.simulation.alarms import Alarms
from tests.simulation.broker import Letter, Queue
from tests.simulation.catalog import OFFERS
from tests.simulation.database import Database, ObjectFold, View
from tests.simulation.dead_letters import BEHIND, Parked, Shelf
from tests.simulation.invariants import Violation
from tests.simulation.mutants import Mutant
from tests.simulation.trace import How

if TYPE_CHECKING:
    from tests.simulation.world import World

RELAY_AWAY_US = 3_000_000
"""How long a relay is gone that died."""

SECOND_US = 1_000_000

SETTINGS = CartSettings.model_construct()

EARLY_US = 20 * SECOND_US
"""By how much a sweeper's clock may be ahead."""


class Service:
    """What all four have in common: transactions, the relay, and how both die."""

    name: str
    kept: frozenset[type]
    """Classes of rows that stay; the others tell a store what to insert."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.database = Database(self.kept)
        self.shelves: dict[str, Shelf] = {}
        self._relay_is_up = True

    # What a service overrides.

    def insert_missing(self, view: View, message: Message) -> None:
        """Rows that `lock` inserts for this message where they are missing."""

    def saved(self, row: Row, before: Row | None, decision: Decision) -> None:
        """A row was decided: check it, and note when a sweeper has to look at it."""

    # Transactions.

    def subscribe(self, topic: str, handler: Handler[Any]) -> None:
        """Handle what arrives on this topic."""

        def consume(letters: list[Letter]) -> bool:
            return self._consume(topic, handler, letters)

        self.world.queues[topic] = Queue(self.world, topic, consume)
        self.shelves[topic] = Shelf(self, topic, handler)

    def request(self, handler: Handler[Any], message: Any, whose: int) -> Decision | None:
        """A request of a shopper, decided at once; None when the process died under it."""
        world = self.world
        view = View(self.database.tables)
        fold = self._fold(view, ())
        decision = fold.step(handler, Incoming(message))
        if world.strikes("crash_before_commit", whose):
            view.undo()
            return None
        world.note(self.name, type(message).__name__, whose, _said(decision))
        self._commit(fold, view)
        return decision

    def emit(self, message: Message) -> None:
        """A sweeper sends this, in a transaction of its own."""
        self.database.outbox.append(Letter(next(self.world.message_ids), message))
        self.relay()

    def _fold(self, view: View, messages: Sequence[object]) -> ObjectFold:
        committed = self.database.replies
        questions = [Question.of(body) for body in messages if isinstance(body, SagaCommand)]
        return ObjectFold(
            rows=view,
            recorded={each: committed[each] for each in questions if each in committed},
            source=self.name,
            now=self.world.now,
            ids=self.world.message_ids,
        )

    def _consume(self, topic: str, handler: Handler[Any], letters: list[Letter]) -> bool:
        """One batch: claimed, folded and committed, or nothing of it."""
        world, inbox = self.world, self.database.inbox.setdefault(topic, set())
        if world.mutant is Mutant.NO_INBOX:
            fresh = letters
        else:
            claimed = {letter.message_id: letter for letter in letters}
            fresh = [letter for each, letter in claimed.items() if each not in inbox]
        view = View(self.database.tables)
        fold = self._fold(view, [letter.body for letter in fresh])
        shelf = self.shelves[topic]
        put: Parked = {}
        said: list[How] = []
        for letter in fresh:
            if shelf.takes(letter, put, fold):
                said.append(BEHIND)
                continue
            sent = len(fold.outgoing)
            decision = self._step(handler, letter, fold, view)
            if world.mutant is Mutant.REPLY_NOT_RESENT and decision == Decision():
                del fold.outgoing[sent:]
            said.append(_said(decision))
        if fresh and world.strikes("crash_before_commit", fresh[0].number):
            view.undo()
            return False
        inbox.update([letter.message_id for letter in fresh])
        for letter, how in zip(fresh, said, strict=True):
            world.note(topic, letter.body.type, letter.number, how)
        world.books.took_effect(topic, fresh)
        if put:
            shelf.keep(put)
        self._commit(fold, view)
        if fresh:
            shelf.may_break(fresh[-1])
        return not (fresh and world.strikes("crash_after_commit", fresh[0].number))

    def replay(self, topic: str, letter: Letter, handle: Callable[[ObjectFold], None]) -> bool:
        """The turn of a message that was put aside; False when the process died under it."""
        world, view = self.world, View(self.database.tables)
        fold = self._fold(view, [letter.body])
        self.insert_missing(view, letter.body)
        handle(fold)
        if world.strikes("crash_before_commit", letter.number):
            view.undo()
            return False
        world.note(topic, letter.body.type, letter.number, "replayed")
        self._commit(fold, view)
        return True

    def _step(
        self, handler: Handler[Any], letter: Letter, fold: ObjectFold, view: View
    ) -> Decision:
        self.insert_missing(view, letter.body)
        try:
            return fold.step(handler, Incoming(letter.body))
        except Exception as error:
            text = f"{letter.body.type}: {type(error).__name__}: {error}"
            raise Violation("no message is dead-lettered", letter.number, text) from error

    def _commit(self, fold: ObjectFold, view: View) -> None:
        before, kept = view.changes(), self.kept
        for decision in fold.decisions:
            for row in decision.changed:
                was = next(before)
                if type(row) in kept:
                    self.saved(row, was, decision)
        self.database.replies.update(fold.answered)
        if self.world.mutant is Mutant.OUTBOX_AFTER_COMMIT and self.world.random.random() < 0.01:
            self.world.injected["crash between commit and outbox"] += 1
            return
        self.database.outbox += cast("list[Letter]", fold.outgoing)
        self.relay()

    # The relay.

    def relay(self) -> None:
        """Carry the outbox to the broker: public events once, the rest at least once."""
        outbox, world = self.database.outbox, self.world
        if not (outbox and self._relay_is_up):
            return
        dies = world.strikes("crash_in_relay", outbox[0].number)
        kept: list[Letter] = []
        for letter in outbox:
            queue = world.queues.get(letter.topic)
            if queue is None:
                # The transaction that publishes it holds its position: never sent again.
                event = cast("Event", letter.body)
                world.books.published(event)
                world.shoppers.hear(event)
                continue
            queue.append(letter)
            kept.append(letter)
        outbox.clear()
        if dies:
            outbox.extend(kept)
            self._relay_is_up = False
            world.at(world.now_us + RELAY_AWAY_US, self._relay_returns)

    def _relay_returns(self) -> None:
        self._relay_is_up = True
        self.relay()


def _said(decision: Decision) -> How:
    """How it went, for the trace."""
    result = decision.result
    if isinstance(result, Moved) and isinstance(result.checkout, Checkout):
        return result.checkout.state
    return "" if result is None else type(result)


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
        """An operator has a blocked checkout ask again when no dead letter is in its way any more.

        It was told so by one message, which may have been lost with its topic.
        """
        self._blocked.discard(checkout_id)
        checkout = self.checkout(checkout_id)
        if checkout is None or not checkout.blocked:
            return
        self._blocked.add(checkout_id)
        self.world.at(self.world.now_us + self.OPERATOR_US, self._look_behind, checkout_id)
        services = (self, self.world.inventory, self.world.payments, self.world.carts)
        shelves = [shelf for service in services for shelf in service.shelves.values()]
        if not any(shelf.holds(checkout_id.int) for shelf in shelves):
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


class Carts(Service):
    """The carts."""

    name = "cart"
    kept = frozenset({Cart, Contents, Restoration, StartToSend, ActiveCart})

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self.terms = SETTINGS.terms
        self.limits = SETTINGS.limits
        self.shopping = ShopperHandler(self.limits, self.terms)
        self._due: Alarms[UUID] = Alarms(world, self._sweep)
        self.subscribe(CART_COMMANDS.name, SagaHandler(self.limits, SETTINGS.payment_providers))

    def saved(self, row: Row, before: Row | None, decision: Decision) -> None:
        """Keep which cart is a customer's active one, and watch for starts to send again."""
        if isinstance(row, Contents) and row.offers is not OFFERS:
            # Offers are read when a cart is loaded, and are no part of it.
            self.database.tables.put(replace(row, offers=OFFERS))
        if isinstance(row, ActiveCart):
            assert before is None or isinstance(before, ActiveCart)
            self.world.books.one_active_cart(before, row.cart_id)
        if not isinstance(row, Cart):
            return
        self._index_active(row)
        if isinstance(row.state, Locked) and row.state.start is not None:
            self._due.set(row.cart_id, self.world.us_of(row.state.start.due_at))

    def open(self, cart: Cart, contents: Contents, event: Message) -> None:
        """A shopper opens a cart."""
        self.database.tables.put(cart)
        self.database.tables.put(contents)
        self._index_active(cart)
        self.emit(event)

    def _index_active(self, cart: Cart) -> None:
        """What the partial unique index on active carts answers."""
        if not isinstance(cart.owner, CustomerOwner):
            return
        active = self.database.tables.of(ActiveCart)
        row = ActiveCart(cart.shop_id, cart.owner.customer_id, cart.currency, cart.cart_id)
        known = active.get(row.key)
        if isinstance(cart.state, Active):
            self.world.books.one_active_cart(known, cart.cart_id)
            active[row.key] = row
        elif known is not None and known.cart_id == cart.cart_id:
            del active[row.key]

    def _sweep(self, cart_id: UUID) -> None:
        tables = self.database.tables
        cart = tables.find(Cart, cart_id)
        if cart is None or not isinstance(cart.state, Locked) or cart.state.start is None:
            return
        start, now = cart.state.start, self.world.now
        if start.due_at > now:
            self._due.set(cart_id, self.world.us_of(start.due_at))
            return
        sends = start.sends + 1
        again = PendingStart(now + resend_after(sends, self.terms), sends)
        tables.put(replace(cart, state=replace(cart.state, start=again)))
        self._due.set(cart_id, self.world.us_of(again.due_at))
        kept = tables.find(StartToSend, cart_id)
        assert kept is not None
        self.emit(kept.command)
