"""Why a shopper's request is refused. Each error carries the facts; `api.py` finds the words."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from cart_service.domain.checkouts import Difference, Quote


class CartError(Exception):
    """The root of all refusals. A refused request changes nothing."""


class CartNotFound(CartError):
    """There is no such cart, or it is not the caller's: a stranger learns nothing."""


@dataclass(eq=False)
class StaleCart(CartError):
    """The cart is in another version than the caller saw."""

    version: int


@dataclass(eq=False)
class CheckoutInProgress(CartError):
    """The cart is locked by this checkout."""

    shop_id: str
    checkout_id: UUID


@dataclass(eq=False)
class CartClosed(CartError):
    """The cart is done: bought by `checkout_id`, or its lines went into cart `merged_into`."""

    shop_id: str
    checkout_id: UUID | None
    merged_into: UUID | None


@dataclass(eq=False)
class LineNotFound(CartError):
    """The cart has no line of this number."""

    line_no: int


@dataclass(eq=False)
class UnknownSkus(CartError):
    """The catalog has never told of these SKUs."""

    skus: tuple[str, ...]


@dataclass(eq=False)
class NotForSale(CartError):
    """These SKUs are not sold at present: inactive, withdrawn, or without a usable price."""

    skus: tuple[str, ...]


@dataclass(eq=False)
class NotPricedIn(CartError):
    """These SKUs have no price in the cart's currency."""

    currency: str
    skus: tuple[str, ...]


@dataclass(eq=False)
class TooManyLines(CartError):
    """The cart would have more lines than one may have."""

    lines: int
    most: int


@dataclass(eq=False)
class TooManyPieces(CartError):
    """A line would hold more pieces than one may hold."""

    sku: str
    quantity: int
    most: int


@dataclass(eq=False)
class AmountTooLarge(CartError):
    """The cart would cost more than one order can."""

    largest_minor: int


class EmptyCart(CartError):
    """There is nothing to check out."""


@dataclass(eq=False)
class ProviderNotOffered(CartError):
    """The shop does not take payments through this provider."""

    offered: tuple[str, ...]


@dataclass(eq=False)
class GuestsSaveNothing(CartError):
    """A payment method is saved for a customer, and this cart is a guest's."""


@dataclass(eq=False)
class PaymentWindowOutOfBounds(CartError):
    """The time asked for to pay is shorter or longer than the shop grants."""

    least_seconds: int
    most_seconds: int


@dataclass(eq=False)
class TotalBelowMinimum(CartError):
    """The total is more than nothing and less than the provider can charge."""

    total_minor: int
    minimum_minor: int
    currency: str


@dataclass(eq=False)
class QuoteChanged(CartError):
    """Prices or stock moved against the shopper: the differences, and the quote to accept."""

    differences: tuple["Difference", ...]
    quote: "Quote"
    total_minor: int
    accept_until: datetime
