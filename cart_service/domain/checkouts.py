"""Checking a cart out: what it costs now, whether the shopper agreed, and who holds the cart."""

import hashlib
import json
from collections.abc import Iterable, Sequence, Set
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

from cart_service.domain import errors
from cart_service.domain.carts import (
    Active,
    Bought,
    Cart,
    CustomerOwner,
    FailedCheckout,
    GuestOwner,
    Limits,
    Line,
    Lines,
    Locked,
    Merged,
    PendingStart,
    merge,
    moved,
    require_changeable,
)
from cart_service.domain.pricing import (
    Offers,
    least_total_minor,
    priced_line,
    sellable_price_minor,
    total_minor,
)
from contracts.messages.cart import CartChanged
from contracts.messages.order import StartCheckout
from contracts.messages.parts import Address, OrderLine, PaymentMethod
from contracts.money import LARGEST_AMOUNT_MINOR
from contracts.values import Struct, replace


class Terms(Struct, frozen=True):
    """What the shop grants and asks of a checkout.

    `providers` are the payment providers it offers. The payment window of a checkout lies
    between the two bounds. An accept token is good for `quote_valid`. StartCheckout is sent
    again after `resend_first`, then after twice as long each time, up to `resend_longest`.
    """

    providers: tuple[str, ...]
    shortest_window_seconds: int
    longest_window_seconds: int
    quote_valid: timedelta
    resend_first: timedelta
    resend_longest: timedelta


class CheckoutRequest(Struct, frozen=True):
    """What the shopper says at checkout; without `payment` the order waits for an attempt."""

    email: str
    address: Address
    payment: PaymentMethod | None
    payment_window_seconds: int

    @property
    def fingerprint(self) -> str:
        """The same for identical requests, in hex (SHA-256)."""
        return _digest(
            [
                self.email,
                self.address.model_dump(mode="json"),
                self.payment and self.payment.model_dump(mode="json"),
                self.payment_window_seconds,
            ]
        )


class Quote(Struct, frozen=True):
    """Unit prices offered for exactly these lines; `unit_prices_minor` by line number."""

    cart_id: UUID
    cart_version: int
    lines_digest: str
    unit_prices_minor: tuple[int, ...]
    valid_until: datetime

    def covers(self, cart: Cart, lines: Lines, now: datetime) -> bool:
        """Whether this is a quote for the cart as it stands, and still good."""
        return (
            self.cart_id == cart.cart_id
            and self.cart_version == cart.version
            and self.lines_digest == lines_digest(lines.values())
            and now < self.valid_until
        )


class Difference(Struct, frozen=True):
    """A line that is worse for the shopper than what they saw: dearer, or more than is left."""

    line_no: int
    sku: str
    name: str
    quantity: int
    seen_price_minor: int
    unit_price_minor: int
    available: int | None

    @property
    def dearer(self) -> bool:
        """Whether the unit price is higher than the shopper saw."""
        return self.unit_price_minor > self.seen_price_minor

    @property
    def short(self) -> bool:
        """Whether fewer pieces are left than the line asks for."""
        return self.available is not None and self.available < self.quantity


class Started(Struct, frozen=True):
    """The checkout has begun: the cart is locked, and these are to be sent."""

    cart: Cart
    lines: Lines
    command: StartCheckout
    event: CartChanged


class Repeated(Struct, frozen=True):
    """The same request came before: its checkout answers for this one too."""

    checkout_id: UUID


class QuotedLine(Struct, frozen=True):
    """A line as it would be sold: None as price when it is not for sale now."""

    line: Line
    unit_price_minor: int | None
    available: int | None


def quoted(cart: Cart, lines: Lines, offers: Offers) -> tuple[QuotedLine, ...]:
    """The lines at today's prices while the cart is active, at the agreed ones from then on."""
    active = isinstance(cart.state, Active)
    return tuple(
        QuotedLine(
            line,
            sellable_price_minor(offers.get(sku), line.quantity)
            if active
            else line.seen_price_minor,
            offers[sku].available if sku in offers else None,
        )
        for sku, line in lines.items()
    )


def lines_digest(lines: Iterable[Line]) -> str:
    """The same for the same SKUs and quantities in the same order, in hex (SHA-256)."""
    return _digest([[line.sku, line.quantity] for line in lines])


def check_out(
    cart: Cart,
    lines: Lines,
    offers: Offers,
    request: CheckoutRequest,
    *,
    versions: Set[int] | None,
    accepted: Quote | None,
    checkout_id: UUID,
    terms: Terms,
    now: datetime,
) -> Started | Repeated:
    """Price the cart anew and lock it for a checkout, or say what stands in the way.

    A repetition of the request that the cart is locked or closed by is answered with its
    checkout. Raises `CheckoutInProgress`, `CartClosed`, `StaleCart`, `EmptyCart`,
    `ProviderNotOffered`, `PaymentWindowOutOfBounds`, `GuestsSaveNothing`, `NotForSale`,
    `AmountTooLarge`, `TotalBelowMinimum`, `QuoteChanged`.
    """
    match cart.state:
        case Locked(running, fingerprint) | Bought(running, fingerprint):
            if fingerprint == request.fingerprint:
                return Repeated(running)
        case Active() | Merged():
            pass
        case _:
            assert_never(cart.state)
    require_changeable(cart, versions)
    _require_terms(request, terms)
    if isinstance(cart.owner, GuestOwner) and _is_for_customers(request.payment):
        raise errors.GuestsSaveNothing
    if not lines:
        raise errors.EmptyCart
    prices = _current_prices(lines, offers)
    order_lines = tuple(
        priced_line(sku, line.name, line.quantity, prices[sku]) for sku, line in lines.items()
    )
    total = total_minor(order_lines)
    _require_chargeable(total, cart.currency, request, terms)
    if accepted is not None and accepted.covers(cart, lines, now):
        differences = _dearer_than_accepted(lines, offers, prices, accepted)
    else:
        differences = _worse_than_seen(lines, offers, prices)
    if differences:
        until = now + terms.quote_valid
        quote = Quote(
            cart.cart_id, cart.version, lines_digest(lines.values()), tuple(prices.values()), until
        )
        raise errors.QuoteChanged(differences, quote, total, until)
    return _started(cart, lines, order_lines, total, request, checkout_id, terms, now)


def _require_terms(request: CheckoutRequest, terms: Terms) -> None:
    if request.payment is not None and request.payment.provider not in terms.providers:
        raise errors.ProviderNotOffered(terms.providers)
    least, most = terms.shortest_window_seconds, terms.longest_window_seconds
    if not least <= request.payment_window_seconds <= most:
        raise errors.PaymentWindowOutOfBounds(least, most)


def _is_for_customers(method: PaymentMethod | None) -> bool:
    """Whether it is to be saved, or was: a guest could neither use it again nor delete it."""
    return method is not None and (method.save or method.saved_method_id is not None)


def _current_prices(lines: Lines, offers: Offers) -> dict[str, int]:
    prices: dict[str, int] = {}
    gone: list[str] = []
    for sku, line in lines.items():
        price = sellable_price_minor(offers.get(sku), line.quantity)
        if price is None:
            gone.append(sku)
        else:
            prices[sku] = price
    if gone:
        raise errors.NotForSale(tuple(gone))
    return prices


def _require_chargeable(total: int, currency: str, request: CheckoutRequest, terms: Terms) -> None:
    if total > LARGEST_AMOUNT_MINOR:
        raise errors.AmountTooLarge(LARGEST_AMOUNT_MINOR)
    providers = terms.providers if request.payment is None else (request.payment.provider,)
    minimum = least_total_minor(providers, currency)
    if 0 < total < minimum:
        raise errors.TotalBelowMinimum(total, minimum, currency)


def _worse_than_seen(
    lines: Lines, offers: Offers, prices: dict[str, int]
) -> tuple[Difference, ...]:
    differences = (
        _difference(line, line.seen_price_minor, prices[sku], offers) for sku, line in lines.items()
    )
    return tuple(each for each in differences if each.dearer or each.short)


def _dearer_than_accepted(
    lines: Lines, offers: Offers, prices: dict[str, int], accepted: Quote
) -> tuple[Difference, ...]:
    """Stock is no reason here: who accepts a quote leaves the stock to inventory's decision."""
    differences = (
        _difference(line, agreed, prices[sku], offers)
        for (sku, line), agreed in zip(lines.items(), accepted.unit_prices_minor, strict=True)
    )
    return tuple(each for each in differences if each.dearer)


def _difference(line: Line, seen: int, price: int, offers: Offers) -> Difference:
    return Difference(
        line_no=line.line_no,
        sku=line.sku,
        name=line.name,
        quantity=line.quantity,
        seen_price_minor=seen,
        unit_price_minor=price,
        available=offers[line.sku].available,
    )


def _started(
    cart: Cart,
    lines: Lines,
    order_lines: tuple[OrderLine, ...],
    total: int,
    request: CheckoutRequest,
    checkout_id: UUID,
    terms: Terms,
    now: datetime,
) -> Started:
    start = PendingStart(due_at=now + terms.resend_first, sends=1)
    locked, event = moved(cart, Locked(checkout_id, request.fingerprint, start), now)
    command = StartCheckout(
        shop_id=cart.shop_id,
        checkout_id=checkout_id,
        cart_id=cart.cart_id,
        cart_version=cart.version,
        customer_id=cart.owner.customer_id if isinstance(cart.owner, CustomerOwner) else None,
        guest_token_hash=cart.owner.token_hash if isinstance(cart.owner, GuestOwner) else None,
        email=request.email,
        shipping_address=request.address,
        currency=cart.currency,
        lines=order_lines,
        total_minor=total,
        payment=request.payment,
        payment_window_seconds=request.payment_window_seconds,
        requested_at=now,
    )
    agreed = {
        line.sku: line
        if line.seen_price_minor == sold.unit_price_minor
        else replace(line, seen_price_minor=sold.unit_price_minor)
        for line, sold in zip(lines.values(), order_lines, strict=True)
    }
    return Started(replace(locked, left_out=()), agreed, command, event)


def accepted(cart: Cart, checkout_id: UUID) -> Cart:
    """The cart once the saga has taken the checkout over: nothing is sent again.

    A cart that this checkout does not hold stays as it is.
    """
    if not isinstance(cart.state, Locked) or cart.state.checkout_id != checkout_id:
        return cart
    return replace(cart, state=replace(cart.state, start=None))


def unlocked(cart: Cart, failure: FailedCheckout, now: datetime) -> tuple[Cart, CartChanged] | None:
    """The cart given back to the shopper, with the reasons; None if it is not held."""
    if not cart.held_by(failure.checkout_id):
        return None
    return moved(cart, Active(failure), now)


class HandedOver(Struct, frozen=True):
    """A cart given back into the one that its customer opened meanwhile."""

    merged: Cart
    event: CartChanged
    active: Cart
    active_lines: Lines


def handed_over(
    held: tuple[Cart, Lines],
    active: tuple[Cart, Lines],
    failure: FailedCheckout,
    limits: Limits,
    now: datetime,
) -> HandedOver:
    """Give a held cart back where its customer has another active one by now.

    A customer has one active cart per currency, and nobody can be in the middle of changing the
    locked one: so its lines and the reasons go into the other, and it points there.
    """
    cart, lines = held
    into, into_lines = active
    merged, event = moved(cart, Merged(into.cart_id), now)
    into, into_lines = merge(into, into_lines, lines.values(), failure.checkout_id, limits, now)
    return HandedOver(merged, event, replace(into, state=Active(failure)), into_lines)


def closed(
    cart: Cart, checkout_id: UUID, order_id: UUID, now: datetime
) -> tuple[Cart, CartChanged] | None:
    """The cart once the order exists; None if this checkout does not hold it."""
    if not isinstance(cart.state, Locked) or cart.state.checkout_id != checkout_id:
        return None
    return moved(cart, Bought(checkout_id, cart.state.fingerprint, order_id), now)


def returning(order_lines: Sequence[OrderLine]) -> tuple[Line, ...]:
    """Lines of an order as lines of a cart again, at the price the shopper agreed to."""
    return tuple(
        Line(0, line.sku, line.name, line.quantity, line.unit_price_minor, line.unit_price_minor)
        for line in order_lines
    )


def resend_after(sends: int, terms: Terms) -> timedelta:
    """How long to wait for an answer after StartCheckout was sent `sends` times."""
    doublings = min(sends - 1, 32)
    return min(terms.resend_first * (1 << doublings), terms.resend_longest)


def _digest(value: object) -> str:
    return hashlib.sha256(_JSON.encode(value).encode()).hexdigest()


_JSON = json.JSONEncoder(sort_keys=True)
