"""A cart and its lines: who may change it, and what each change makes of it."""

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime
from types import MappingProxyType
from typing import Literal, assert_never
from uuid import UUID

from cart_service.domain import errors
from cart_service.domain.pricing import Offers, sellable_price_minor
from contracts.messages.cart import CartChanged
from contracts.messages.parts import Shortage
from contracts.money import LARGEST_AMOUNT_MINOR
from contracts.values import Struct, replace


class CustomerOwner(Struct, frozen=True):
    """A signed-in customer, known by the `sub` of a signed token."""

    customer_id: str


class GuestOwner(Struct, frozen=True):
    """Whoever holds the token with this hash."""

    token_hash: str


Owner = CustomerOwner | GuestOwner


class Caller(Struct, frozen=True):
    """Who asks: a customer of a shop, the holder of a guest token, both or neither."""

    shop_id: str | None = None
    customer_id: str | None = None
    token_hash: str | None = None


class FailedCheckout(Struct, frozen=True):
    """The checkout that gave this cart back, and why."""

    checkout_id: UUID
    reason: str
    shortages: tuple[Shortage, ...] = ()


class PendingStart(Struct, frozen=True):
    """StartCheckout is not acknowledged: when it is sent again, and how often it was sent."""

    due_at: datetime
    sends: int


class Active(Struct, frozen=True):
    """The shopper may change the cart; `failure` is what became of the last checkout, if any."""

    failure: FailedCheckout | None = None


class Locked(Struct, frozen=True):
    """A checkout runs. `fingerprint` tells its repetition from another request."""

    checkout_id: UUID
    fingerprint: str
    start: PendingStart | None


class Bought(Struct, frozen=True):
    """The checkout became an order: the cart is done."""

    checkout_id: UUID
    fingerprint: str
    order_id: UUID


class Merged(Struct, frozen=True):
    """The lines went into the cart that the customer opened while this one was locked."""

    into_cart_id: UUID


State = Active | Locked | Bought | Merged
Status = Literal["active", "locked", "closed"]


def status_of(state: State) -> Status:
    """The state as the outside knows it."""
    match state:
        case Active():
            return "active"
        case Locked():
            return "locked"
        case Bought() | Merged():
            return "closed"
        case _:
            assert_never(state)


class LeftOut(Struct, frozen=True):
    """Pieces that did not fit when the lines of a checkout came back into a cart."""

    checkout_id: UUID
    sku: str
    name: str
    quantity: int
    reason: Literal["too_many_lines", "too_many_pieces"]


class Cart(Struct, frozen=True):
    """A cart without its lines.

    `version` grows with every change (it is the ETag), `event_seq` with every event, and
    `last_line_no` with every line, so that the number of a removed line is never given again.
    """

    cart_id: UUID
    shop_id: str
    owner: Owner
    currency: str
    state: State
    version: int
    event_seq: int
    last_line_no: int
    left_out: tuple[LeftOut, ...]
    created_at: datetime
    changed_at: datetime

    @property
    def key(self) -> UUID:
        """What identifies the cart."""
        return self.cart_id

    def belongs_to(self, caller: Caller) -> bool:
        """Whether this caller may see and change the cart."""
        match self.owner:
            case CustomerOwner(customer_id):
                return caller.customer_id == customer_id and caller.shop_id == self.shop_id
            case GuestOwner(token_hash):
                return caller.token_hash == token_hash
            case _:
                assert_never(self.owner)

    def held_by(self, checkout_id: UUID) -> bool:
        """Whether this very checkout holds the cart."""
        return isinstance(self.state, Locked) and self.state.checkout_id == checkout_id


class Line(Struct, frozen=True):
    """So many pieces of one SKU.

    `added_price_minor` is the unit price when the line was added and is kept for the shopper to
    compare with. `seen_price_minor` is the best the shopper has been shown since, or has
    accepted: a checkout that costs more asks first.
    """

    line_no: int
    sku: str
    name: str
    quantity: int
    added_price_minor: int
    seen_price_minor: int


Lines = Mapping[str, Line]
"""The lines of one cart by SKU, in order of line number."""

NO_LINES: Lines = MappingProxyType({})


class Limits(Struct, frozen=True):
    """How much fits into one cart."""

    lines: int
    pieces_per_line: int


class Wanted(Struct, frozen=True):
    """So many pieces of a SKU that the shopper wants to have in the cart as well."""

    sku: str
    quantity: int


def opened(
    cart_id: UUID, shop_id: str, owner: Owner, currency: str, now: datetime
) -> tuple[Cart, CartChanged]:
    """A new, empty cart, and the event that tells of it."""
    cart = Cart(
        cart_id=cart_id,
        shop_id=shop_id,
        owner=owner,
        currency=currency,
        state=Active(),
        version=0,
        event_seq=0,
        last_line_no=0,
        left_out=(),
        created_at=now,
        changed_at=now,
    )
    return moved(cart, cart.state, now)


def moved(cart: Cart, state: State, now: datetime) -> tuple[Cart, CartChanged]:
    """The cart in a new state, and the event that tells of it."""
    cart = replace(
        cart, state=state, version=cart.version + 1, event_seq=cart.event_seq + 1, changed_at=now
    )
    return cart, CartChanged(
        shop_id=cart.shop_id,
        cart_id=cart.cart_id,
        customer_id=cart.owner.customer_id if isinstance(cart.owner, CustomerOwner) else None,
        status=status_of(state),
        checkout_id=state.checkout_id if isinstance(state, Locked | Bought) else None,
        changed_at=now,
        event_seq=cart.event_seq,
    )


def require_changeable(cart: Cart, versions: Set[int] | None) -> None:
    """Refuse a change of a cart that is not active, or in none of the versions that were seen.

    Raises `CheckoutInProgress`, `CartClosed`, `StaleCart`.
    """
    match cart.state:
        case Active():
            pass
        case Locked(checkout_id):
            raise errors.CheckoutInProgress(cart.shop_id, checkout_id)
        case Bought(checkout_id):
            raise errors.CartClosed(cart.shop_id, checkout_id=checkout_id, merged_into=None)
        case Merged(into_cart_id):
            raise errors.CartClosed(cart.shop_id, checkout_id=None, merged_into=into_cart_id)
        case _:
            assert_never(cart.state)
    if versions is not None and cart.version not in versions:
        raise errors.StaleCart(cart.version)


def add_lines(
    cart: Cart,
    lines: Lines,
    wanted: Sequence[Wanted],
    offers: Offers,
    limits: Limits,
    now: datetime,
) -> tuple[Cart, Lines]:
    """Put all of `wanted` into the cart, or none; pieces of a SKU that is there are added to it.

    Raises `UnknownSkus`, `NotForSale`, `NotPricedIn`, `TooManyPieces`, `TooManyLines`,
    `AmountTooLarge`.
    """
    pieces: dict[str, int] = {}
    for each in wanted:
        pieces[each.sku] = pieces.get(each.sku, 0) + each.quantity
    prices = _prices_to_add(cart.currency, tuple(pieces), offers)
    changed = dict(lines)
    last_line_no = cart.last_line_no
    for sku, quantity in pieces.items():
        price = prices[sku]
        line = changed.get(sku)
        if line is None:
            last_line_no += 1
            line = Line(last_line_no, sku, offers[sku].name, 0, price, price)
        line = replace(
            line,
            quantity=line.quantity + quantity,
            seen_price_minor=min(line.seen_price_minor, price),
        )
        if line.quantity > limits.pieces_per_line:
            raise errors.TooManyPieces(sku, line.quantity, limits.pieces_per_line)
        changed[sku] = line
    if len(changed) > limits.lines:
        raise errors.TooManyLines(len(changed), limits.lines)
    _require_payable(changed.values())
    return replace(_changed(cart, now), last_line_no=last_line_no), changed


def _prices_to_add(currency: str, skus: Sequence[str], offers: Offers) -> dict[str, int]:
    if unknown := tuple(sku for sku in skus if sku not in offers):
        raise errors.UnknownSkus(unknown)
    if inactive := tuple(sku for sku in skus if not offers[sku].active):
        raise errors.NotForSale(inactive)
    prices: dict[str, int] = {}
    unpriced: list[str] = []
    for sku in skus:
        price = offers[sku].unit_price_minor
        if price is None:
            unpriced.append(sku)
        else:
            prices[sku] = price
    if unpriced:
        raise errors.NotPricedIn(currency, tuple(unpriced))
    return prices


def _require_payable(lines: Iterable[Line]) -> None:
    if sum(line.seen_price_minor * line.quantity for line in lines) > LARGEST_AMOUNT_MINOR:
        raise errors.AmountTooLarge(LARGEST_AMOUNT_MINOR)


def line_numbered(lines: Lines, line_no: int) -> Line:
    """The line of this number. Raises `LineNotFound`."""
    for line in lines.values():
        if line.line_no == line_no:
            return line
    raise errors.LineNotFound(line_no)


def change_quantity(
    cart: Cart,
    lines: Lines,
    line_no: int,
    quantity: int,
    offers: Offers,
    limits: Limits,
    now: datetime,
) -> tuple[Cart, Lines]:
    """Have `quantity` pieces (at least one) on a line.

    Raises `LineNotFound`, `TooManyPieces`, `AmountTooLarge`.
    """
    line = line_numbered(lines, line_no)
    if quantity > limits.pieces_per_line:
        raise errors.TooManyPieces(line.sku, quantity, limits.pieces_per_line)
    price = sellable_price_minor(offers.get(line.sku), quantity)
    seen = line.seen_price_minor if price is None else min(line.seen_price_minor, price)
    changed = {**lines, line.sku: replace(line, quantity=quantity, seen_price_minor=seen)}
    _require_payable(changed.values())
    return _changed(cart, now), changed


def remove_line(cart: Cart, lines: Lines, line_no: int, now: datetime) -> tuple[Cart, Lines]:
    """Take a line out. Raises `LineNotFound`."""
    gone = line_numbered(lines, line_no)
    return _changed(cart, now), {sku: line for sku, line in lines.items() if sku != gone.sku}


def clear(cart: Cart, now: datetime) -> tuple[Cart, Lines]:
    """Take all lines out, and forget what was left out of the cart before."""
    return replace(_changed(cart, now), left_out=()), NO_LINES


def merge(
    cart: Cart,
    lines: Lines,
    returning: Iterable[Line],
    checkout_id: UUID,
    limits: Limits,
    now: datetime,
) -> tuple[Cart, Lines]:
    """Bring the lines of a checkout back into an active cart, as far as its limits allow.

    What does not fit is noted on the cart, so that nothing is lost in silence; of the notes
    the newest `limits.lines` are kept.
    """
    merged = dict(lines)
    last_line_no = cart.last_line_no
    left_out: list[LeftOut] = []
    for back in returning:
        line = merged.get(back.sku)
        if line is None and len(merged) >= limits.lines:
            left_out.append(
                LeftOut(checkout_id, back.sku, back.name, back.quantity, "too_many_lines")
            )
            continue
        if line is None:
            last_line_no += 1
            line = replace(back, line_no=last_line_no, quantity=0)
        quantity = min(line.quantity + back.quantity, limits.pieces_per_line)
        surplus = line.quantity + back.quantity - quantity
        if surplus > 0:
            left_out.append(LeftOut(checkout_id, back.sku, back.name, surplus, "too_many_pieces"))
        merged[back.sku] = replace(
            line,
            quantity=quantity,
            seen_price_minor=min(line.seen_price_minor, back.seen_price_minor),
        )
    notes = (*cart.left_out, *left_out)[-limits.lines :]
    return replace(_changed(cart, now), last_line_no=last_line_no, left_out=notes), merged


def _changed(cart: Cart, now: datetime) -> Cart:
    return replace(cart, version=cart.version + 1, changed_at=now)
