"""The cart service: the carts, and the sweeper that sends starts again."""

from typing import TYPE_CHECKING
from uuid import UUID

from cart_service.domain.carts import Active, Cart, CustomerOwner, Locked, PendingStart
from cart_service.domain.checkouts import resend_after
from cart_service.handlers.saga import SagaHandler
from cart_service.handlers.shoppers import ShopperHandler
from cart_service.settings import CartSettings
from cart_service.store.carts import ActiveCart, Contents, Restoration, StartToSend
from contracts.messages.base import Message
from contracts.topics import CART_COMMANDS
from contracts.values import replace
from messaging.fold import Decision, Row
from tests.simulation.alarms import Alarms
from tests.simulation.catalog import OFFERS
from tests.simulation.service import Service

if TYPE_CHECKING:
    from tests.simulation.world import World

SETTINGS = CartSettings.model_construct()


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
