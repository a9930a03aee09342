"""Carts, offers and requests that the tests of this service start from."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from cart_service.domain.carts import (
    NO_LINES,
    Cart,
    GuestOwner,
    Limits,
    Lines,
    Owner,
    Wanted,
    add_lines,
    opened,
)
from cart_service.domain.checkouts import (
    CheckoutRequest,
    Quote,
    Repeated,
    Started,
    Terms,
    check_out,
)
from cart_service.domain.pricing import Offer, Offers
from contracts.messages.parts import Address, PaymentMethod
from contracts.values import replace

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CART = UUID("01900000-0000-7000-8000-000000000001")
OTHER_CART = UUID("01900000-0000-7000-8000-000000000002")
CHECKOUT = UUID("01900000-0000-7000-8000-00000000000a")
OTHER_CHECKOUT = UUID("01900000-0000-7000-8000-00000000000b")
ORDER = UUID("01900000-0000-7000-8000-0000000000ff")
TOKEN_HASH = "5e" * 32

LIMITS = Limits(lines=5, pieces_per_line=100)
TERMS = Terms(
    providers=("simulated",),
    shortest_window_seconds=2,
    longest_window_seconds=86_400,
    quote_valid=timedelta(minutes=10),
    resend_first=timedelta(seconds=5),
    resend_longest=timedelta(minutes=5),
)

ADDRESS = Address(name="Ada Byron", line1="12 St James's Square", city="London", country="GB")
REQUEST = CheckoutRequest(
    email="ada@example.org",
    address=ADDRESS,
    payment=PaymentMethod(token="pm_ok"),
    payment_window_seconds=1800,
)


def offer(sku: str, price: int | None = 100, available: int | None = 1000) -> Offer:
    """An active offer."""
    return Offer(sku, f"Name of {sku}", True, price, available)


def offers(**prices: int | None) -> Offers:
    """Active offers at these prices, with plenty in stock."""
    return {sku: offer(sku, price) for sku, price in prices.items()}


def new_cart(owner: Owner | None = None, currency: str = "GBP") -> Cart:
    """An empty active cart."""
    return opened(CART, "main", owner or GuestOwner(TOKEN_HASH), currency, NOW)[0]


def filled(cart: Cart | None = None, /, *, at: Offers, **quantities: int) -> tuple[Cart, Lines]:
    """A cart with these quantities, added at these offers."""
    wanted = [Wanted(sku, quantity) for sku, quantity in quantities.items()]
    return add_lines(cart or new_cart(), NO_LINES, wanted, at, LIMITS, NOW)


def checked_out(
    cart: Cart,
    lines: Lines,
    at: Offers,
    request: CheckoutRequest = REQUEST,
    *,
    version: int | None = None,
    accepted: Quote | None = None,
    checkout_id: UUID = CHECKOUT,
    terms: Terms = TERMS,
    now: datetime = NOW,
) -> Started | Repeated:
    """`check_out` with everything usual filled in."""
    return check_out(
        cart,
        lines,
        at,
        request,
        versions=None if version is None else {version},
        accepted=accepted,
        checkout_id=checkout_id,
        terms=terms,
        now=now,
    )


def started(cart: Cart, lines: Lines, at: Offers, **others: object) -> Started:
    """A checkout that begins."""
    outcome = checked_out(cart, lines, at, **others)  # type: ignore[arg-type]  # passed through
    assert isinstance(outcome, Started)
    return outcome


def elsewhere(request: CheckoutRequest = REQUEST) -> CheckoutRequest:
    """The same request to another address."""
    return replace(request, address=ADDRESS.model_copy(update={"line1": "1 Other Street"}))
