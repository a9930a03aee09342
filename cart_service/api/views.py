"""How carts are shown."""

from datetime import datetime
from typing import Literal, assert_never
from uuid import UUID

from typing_extensions import TypedDict

from cart_service.api.tokens import status_url
from cart_service.domain.carts import (
    Active,
    Bought,
    Cart,
    FailedCheckout,
    Locked,
    Merged,
    Status,
    status_of,
)
from cart_service.domain.checkouts import QuotedLine, quoted
from cart_service.settings import CartSettings
from cart_service.store.carts import Contents

CheckoutStatus = Literal["in_progress", "failed", "completed"]


class LineView(TypedDict):
    """A line: `unit_price_minor` is the price now, null when it is not for sale.

    `added_price_minor` is the price when it was added; `price_moved` says that they differ.
    `available` is what is left in all, null when that is not known; `in_stock` says whether the
    quantity fits. Stock is advisory: it is decided at checkout.
    """

    line_no: int
    sku: str
    name: str
    quantity: int
    added_price_minor: int
    unit_price_minor: int | None
    price_moved: bool
    total_minor: int | None
    for_sale: bool
    available: int | None
    in_stock: bool


class TotalsView(TypedDict):
    """What the lines that are for sale cost together."""

    lines: int
    pieces: int
    total_minor: int


class ShortageView(TypedDict):
    """What was left when a checkout failed."""

    sku: str
    requested: int
    available: int


class CheckoutView(TypedDict):
    """The checkout that runs, failed or became an order; the reasons when it failed."""

    checkout_id: UUID
    status: CheckoutStatus
    status_url: str
    reason: str | None
    shortages: list[ShortageView]


class LeftOutView(TypedDict):
    """Pieces that did not fit when the lines of a checkout came back."""

    checkout_id: UUID
    sku: str
    name: str
    quantity: int
    reason: str


class CartView(TypedDict):
    """A cart with its lines. `version` is its ETag; prices and stock are those of now."""

    cart_id: UUID
    status: Status
    currency: str
    version: int
    lines: list[LineView]
    totals: TotalsView
    checkout: CheckoutView | None
    merged_into: UUID | None
    left_out: list[LeftOutView]
    created_at: datetime
    changed_at: datetime


class OpenedCartView(CartView):
    """A cart as its opening is answered: a guest's with the token that opens it, only here."""

    cart_token: str | None


class CartSummaryView(TypedDict):
    """A cart in a list."""

    cart_id: UUID
    status: Status
    currency: str
    version: int
    created_at: datetime
    changed_at: datetime


class CartPage(TypedDict):
    """Some of a shopper's carts, the newest first."""

    items: list[CartSummaryView]
    next_cursor: str | None


class CheckedOutView(TypedDict):
    """A checkout that has begun."""

    checkout_id: UUID
    status_url: str
    currency: str
    total_minor: int


class DifferenceView(TypedDict):
    """A line that is worse than the shopper saw: dearer, or more than is left."""

    line_no: int
    sku: str
    name: str
    quantity: int
    seen_price_minor: int
    unit_price_minor: int
    available: int | None
    reasons: list[Literal["price", "stock"]]


def cart_view(cart: Cart, contents: Contents, settings: CartSettings) -> CartView:
    """The cart as it is shown."""
    lines = [_line_view(line) for line in quoted(cart, contents.lines, contents.offers)]
    return CartView(
        cart_id=cart.cart_id,
        status=status_of(cart.state),
        currency=cart.currency,
        version=cart.version,
        lines=lines,
        totals=TotalsView(
            lines=len(lines),
            pieces=sum(line["quantity"] for line in lines),
            total_minor=sum(line["total_minor"] or 0 for line in lines),
        ),
        checkout=_checkout_view(cart, settings),
        merged_into=cart.state.into_cart_id if isinstance(cart.state, Merged) else None,
        left_out=[
            LeftOutView(
                checkout_id=note.checkout_id,
                sku=note.sku,
                name=note.name,
                quantity=note.quantity,
                reason=note.reason,
            )
            for note in cart.left_out
        ],
        created_at=cart.created_at,
        changed_at=cart.changed_at,
    )


def _line_view(quoted_line: QuotedLine) -> LineView:
    line, price = quoted_line.line, quoted_line.unit_price_minor
    available = quoted_line.available
    return LineView(
        line_no=line.line_no,
        sku=line.sku,
        name=line.name,
        quantity=line.quantity,
        added_price_minor=line.added_price_minor,
        unit_price_minor=price,
        price_moved=price is not None and price != line.added_price_minor,
        total_minor=None if price is None else price * line.quantity,
        for_sale=price is not None,
        available=available,
        in_stock=available is None or available >= line.quantity,
    )


def _checkout_view(cart: Cart, settings: CartSettings) -> CheckoutView | None:
    match cart.state:
        case Active(FailedCheckout(checkout_id, reason, shortages)):
            view = _plain_checkout_view(cart, checkout_id, "failed", settings)
            view["reason"] = reason
            view["shortages"] = [
                ShortageView(sku=each.sku, requested=each.requested, available=each.available)
                for each in shortages
            ]
            return view
        case Locked(checkout_id):
            return _plain_checkout_view(cart, checkout_id, "in_progress", settings)
        case Bought(checkout_id):
            return _plain_checkout_view(cart, checkout_id, "completed", settings)
        case Active() | Merged():
            return None
        case _:
            assert_never(cart.state)


def _plain_checkout_view(
    cart: Cart, checkout_id: UUID, status: CheckoutStatus, settings: CartSettings
) -> CheckoutView:
    return CheckoutView(
        checkout_id=checkout_id,
        status=status,
        status_url=checkout_url(settings, cart.shop_id, checkout_id),
        reason=None,
        shortages=[],
    )


def checkout_url(settings: CartSettings, shop_id: str, checkout_id: UUID) -> str:
    """Where the order service tells of a checkout."""
    return status_url(settings.signing_key, settings.order_base_url, shop_id, checkout_id)


def summary_view(cart: Cart) -> CartSummaryView:
    """The cart as lists show it."""
    return CartSummaryView(
        cart_id=cart.cart_id,
        status=status_of(cart.state),
        currency=cart.currency,
        version=cart.version,
        created_at=cart.created_at,
        changed_at=cart.changed_at,
    )
