"""Shoppers: who buys what, pays how, cancels, pays again, or goes away."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from cart_service.domain import carts
from cart_service.domain.carts import Caller, CustomerOwner, GuestOwner, Owner, Wanted
from cart_service.domain.checkouts import CheckoutRequest
from cart_service.handlers.shoppers import AddLines, CheckOut
from cart_service.store.carts import ActiveCart, Contents
from contracts.messages.base import Event
from contracts.messages.order import (
    CancelCheckout,
    OrderAuthorized,
    OrderPaid,
    OrderPaymentFailed,
    OrderPlaced,
    OrderShipped,
    PayOrder,
    ShipOrder,
)
from contracts.messages.parts import Address, LinePieces, PaymentMethod
from inventory_service.domain import Level, ReceiveStock, Stock, StockChange
from tests.simulation.catalog import COLD, CURRENCY, HOT, OFFERS, SHOP, WAREHOUSES
from tests.simulation.ids import CART_IDS, numbered
from tests.simulation.service import SECOND_US

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")

HOME = Address(name="Ada", line1="1 Mill Lane", city="Leeds", country="GB")

TOKENS = (
    *["pm_ok"] * 48,
    *["pm_authorize"] * 8,
    "pm_authorize+capture_fails",
    *["pm_authorize_3600000"] * 8,
    "pm_authorize_600000",
    "pm_authorize_3600000+capture_fails",
    "pm_declined_insufficient_funds",
    "pm_declined_try_again_later",
    "pm_declined_expired_card",
    "pm_action_required_120000",
    "pm_action_required_30000",
    "pm_processing_20000",
    "pm_processing_300000",
    "pm_processing_60000_then_declined",
    "pm_processing_120000+uncloseable",
    "pm_ok+refund_pending_30000",
    "pm_ok+refund_pending_600000",
    "pm_ok+refund_pending_5000_then_fails",
    "pm_ok+refund_fails",
)
"""How the bank takes the methods that shoppers pay with; most of them well."""

METHODS = tuple(
    PaymentMethod(
        token=token,
        flow="authorize" if token.startswith("pm_authorize") else "automatic",
        capture="at_shipping" if token.startswith("pm_authorize_") else "at_once",
    )
    for token in TOKENS
)

WINDOWS_SECONDS = (30, 120, 600, 1_800)
"""Payment windows; the short ones close on whoever hesitates."""


class Shoppers:
    """Everybody who comes to the shop."""

    def __init__(self, world: "World", checkouts: int) -> None:
        self._world = world
        self._random = world.random
        self._checkouts = checkouts
        self.arrived = 0
        """How many checkouts there were: they are numbered from 1."""
        self._opened = 0

    def stock_up(self) -> None:
        """Receive the goods of the day: hot ones run out, of the cold ones there are plenty."""
        inventory = self._world.inventory
        for sku in OFFERS:
            pieces = self._checkouts * 3 if sku in COLD else 2 + self._checkouts // 80
            inventory.database.tables.put(
                Stock(SHOP, sku, tuple(Level(name, 0, 0) for name in WAREHOUSES))
            )
            lines = tuple(StockChange(sku, name, pieces) for name in WAREHOUSES)
            received = ReceiveStock(SHOP, next(self._world.message_ids), "delivery", lines)
            inventory.request_at_once(inventory.handler, received, 0)

    # Buying.

    def arrive(self) -> None:
        """One shopper checks out; the next comes a little later."""
        self.arrived += 1
        number, random = self.arrived, self._random
        if random.random() < 0.3:
            owner: Owner = GuestOwner(f"{number:064x}")
        else:
            owner = CustomerOwner(f"customer-{int(random.random() * (1 + self._checkouts // 2))}")
        self._check_out(numbered(number), self._filled_cart(owner), owner)
        if self.arrived < self._checkouts:
            pause_us = int(random.random() * self._world.pause_us)
            self._world.at(self._world.now_us + pause_us, self.arrive)
        else:
            self._world.last_arrived()

    def _filled_cart(self, owner: Owner) -> UUID:
        cart_id = self._cart_of(owner)
        random = self._random
        wanted = tuple(
            Wanted(self._one_of(HOT if random.random() < 0.1 else COLD), quantity)
            for quantity in range(1, 2 + int(random.random() * 2))
        )
        add = AddLines(_caller(owner), cart_id, None, wanted)
        carts_ = self._world.carts
        carts_.request_at_once(carts_.shopping, add, 0)
        return cart_id

    def _cart_of(self, owner: Owner) -> UUID:
        """The customer's active cart, or a new one."""
        service = self._world.carts
        if isinstance(owner, CustomerOwner):
            active = service.database.tables.find(ActiveCart, (SHOP, owner.customer_id, CURRENCY))
            if active is not None:
                return active.cart_id
        self._opened += 1
        cart_id = numbered(CART_IDS + self._opened)
        cart, event = carts.opened(cart_id, SHOP, owner, CURRENCY, self._world.now)
        service.open(cart, Contents(cart_id, carts.NO_LINES, OFFERS, carts.NO_LINES), event)
        return cart_id

    def _check_out(self, checkout_id: UUID, cart_id: UUID, owner: Owner) -> None:
        random, world = self._random, self._world
        request = CheckoutRequest(
            email="ada@example.org",
            address=HOME,
            payment=self._method() if random.random() < 0.9 else None,
            payment_window_seconds=self._one_of(WINDOWS_SECONDS),
        )
        check_out = CheckOut(_caller(owner), cart_id, None, request, None, checkout_id)
        world.carts.request_at_once(world.carts.shopping, check_out, checkout_id.int)
        if random.random() < 0.08:
            self._later(60, self.cancel, checkout_id)

    # What comes of it.

    def hear(self, event: Event) -> None:
        """Shoppers hear that they are to pay, or to pay again; some do. The shop ships, mostly."""
        match event:
            case OrderAuthorized():
                if self._random.random() < 0.7:
                    self._later(1_200, self._ship, event.checkout_id)
                if self._random.random() < 0.1:
                    self._later(1_200, self.cancel, event.checkout_id)
            case OrderPaid():
                if self._random.random() < 0.2:
                    self._later(60, self._ship, event.checkout_id)
            case OrderShipped(complete=False):
                if self._random.random() < 0.8:
                    self._later(1_200, self._ship, event.checkout_id)
            case OrderPaymentFailed():
                if self._random.random() < 0.6:
                    self._later(60, self._pay, event.checkout_id)
            case OrderPlaced():
                if self._random.random() < 0.1:
                    self._later(60, self._pay, event.checkout_id)
                if self._random.random() < 0.03:
                    self._later(3, self.cancel, event.checkout_id)
            case _:
                pass

    def challenged(self, payment_id: UUID, charge_key: str) -> None:
        """A shopper has to act: most do, some fail, some never come back."""
        if self._random.random() < 0.8:
            self._later(45, self._act, payment_id, charge_key)

    def _act(self, payment_id: UUID, charge_key: str) -> None:
        world = self._world
        world.bank.shopper_acted(charge_key, completed=self._random.random() < 0.8)
        if not world.strikes("hint_lost"):
            world.payments.hint(payment_id, charge_key)

    def _pay(self, checkout_id: UUID) -> None:
        pay = PayOrder(
            checkout_id=checkout_id,
            method=self._method(),
            replace=self._random.random() < 0.5,
        )
        self._world.orders.request(self._world.orders.handler, pay, checkout_id.int)

    def _ship(self, checkout_id: UUID) -> None:
        some = (LinePieces(line_no=1, quantity=1),) if self._random.random() < 0.3 else ()
        ship = ShipOrder(checkout_id=checkout_id, carrier="post", lines=some, requested_by="shop")
        self._world.orders.request(self._world.orders.handler, ship, checkout_id.int)

    def cancel(self, checkout_id: UUID, by: str = "shopper") -> None:
        """Somebody gives the checkout up."""
        cancel = CancelCheckout(
            checkout_id=checkout_id,
            reason="changed my mind",
            requested_by=by,
            by_operator=by == "operator",
        )
        self._world.orders.request(self._world.orders.handler, cancel, checkout_id.int)

    def _later(self, most_seconds: int, action: Callable[..., object], *arguments: object) -> None:
        wait_us = int(self._random.random() * most_seconds * SECOND_US)
        self._world.at(self._world.now_us + wait_us, action, *arguments)

    def _method(self) -> PaymentMethod:
        return self._one_of(METHODS)

    def _one_of(self, choices: "list[T] | tuple[T, ...]") -> T:
        return choices[int(self._random.random() * len(choices))]


def _caller(owner: Owner) -> Caller:
    match owner:
        case CustomerOwner(customer_id):
            return Caller(shop_id=SHOP, customer_id=customer_id)
        case GuestOwner(token_hash):
            return Caller(token_hash=token_hash)
