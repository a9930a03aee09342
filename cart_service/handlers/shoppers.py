"""Shoppers' requests: change a cart, or check it out."""

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never
from uuid import UUID

from cart_service.domain import carts, checkouts, errors
from cart_service.domain.carts import Caller, Cart, Limits, Wanted
from cart_service.domain.checkouts import CheckoutRequest, Quote, Repeated, Started, Terms
from cart_service.store.carts import (
    Contents,
    StartToSend,
    load_filled,
    lock_carts,
    save_changes,
)
from contracts.values import Struct, replace
from messaging.database import Connection
from messaging.fold import Decision, Handler, Row, Rows


class AboutCart(Struct, frozen=True):
    """A shopper's wish about one cart. `versions` are those seen, where the shopper says."""

    caller: Caller
    cart_id: UUID
    versions: frozenset[int] | None


class AddLines(AboutCart, frozen=True):
    """Put these into the cart, all of them or none."""

    wanted: tuple[Wanted, ...]


class ChangeQuantity(AboutCart, frozen=True):
    """Have so many pieces on a line."""

    line_no: int
    quantity: int


class RemoveLine(AboutCart, frozen=True):
    """Take a line out."""

    line_no: int


class ClearLines(AboutCart, frozen=True):
    """Take all lines out."""


class CheckOut(AboutCart, frozen=True):
    """Buy what is in the cart. `checkout_id` is the id of the checkout, if one begins."""

    request: CheckoutRequest
    accepted: Quote | None
    checkout_id: UUID


ShopperRequest = AddLines | ChangeQuantity | RemoveLine | ClearLines | CheckOut


class CheckedOut(Struct, frozen=True):
    """The checkout that answers the request, be it new or the one that runs already."""

    checkout_id: UUID
    cart: Cart
    contents: Contents


class ShopperHandler(Handler[ShopperRequest]):
    """Decides shoppers' requests; a refusal is raised as a `CartError`."""

    def __init__(self, limits: Limits, terms: Terms) -> None:
        self._limits = limits
        self._terms = terms

    async def lock(self, connection: Connection, messages: Sequence[ShopperRequest]) -> None:
        """Lock the carts."""
        await lock_carts(connection, {message.cart_id for message in messages})

    async def load(self, connection: Connection, messages: Sequence[ShopperRequest]) -> Rows:
        """The carts with their lines, and offers for these and for what is to be added."""
        wanted = {
            (message.cart_id, each.sku)
            for message in messages
            if isinstance(message, AddLines)
            for each in message.wanted
        }
        filled = await load_filled(
            connection,
            {message.cart_id for message in messages},
            self._terms.providers,
            wanted,
        )
        return Rows(row for pair in filled for row in pair)

    def decide(self, rows: Rows, message: ShopperRequest, now: datetime) -> Decision:
        """The changed cart. Raises `CartError`; nothing is changed then."""
        cart = rows.find(Cart, message.cart_id)
        if cart is None or not cart.belongs_to(message.caller):
            raise errors.CartNotFound
        held = rows.get(Contents, message.cart_id)
        if isinstance(message, CheckOut):
            return self._check_out(cart, held, message, now)
        carts.require_changeable(cart, message.versions)
        match message:
            case AddLines():
                cart, lines = carts.add_lines(
                    cart, held.lines, message.wanted, held.offers, self._limits, now
                )
            case ChangeQuantity():
                cart, lines = carts.change_quantity(
                    cart,
                    held.lines,
                    message.line_no,
                    message.quantity,
                    held.offers,
                    self._limits,
                    now,
                )
            case RemoveLine():
                cart, lines = carts.remove_line(cart, held.lines, message.line_no, now)
            case ClearLines():
                cart, lines = carts.clear(cart, now)
            case _:
                assert_never(message)
        held = replace(held, lines=lines)
        return Decision(changed=(cart, held), result=(cart, held))

    def _check_out(self, cart: Cart, held: Contents, message: CheckOut, now: datetime) -> Decision:
        outcome = checkouts.check_out(
            cart,
            held.lines,
            held.offers,
            message.request,
            versions=message.versions,
            accepted=message.accepted,
            checkout_id=message.checkout_id,
            terms=self._terms,
            now=now,
        )
        match outcome:
            case Repeated(checkout_id):
                return Decision(result=CheckedOut(checkout_id, cart, held))
            case Started():
                held = replace(held, lines=outcome.lines)
                return Decision(
                    changed=(outcome.cart, held, StartToSend(cart.cart_id, outcome.command)),
                    messages=(outcome.command, outcome.event),
                    result=CheckedOut(message.checkout_id, outcome.cart, held),
                )
            case _:
                assert_never(outcome)

    async def save(self, connection: Connection, changed: Sequence[Row]) -> None:
        """Write carts, then their lines."""
        await save_changes(connection, changed)
