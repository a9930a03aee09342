"""Carts against checkouts: who is locked, who has bought, and who got the lines back."""

from datetime import datetime
from typing import NamedTuple

from trolley.audit.invariant import Read, Source, between
from trolley.audit.invariants.checkouts import CHECKOUTS, Checkout
from trolley.audit.subjects import CHECKOUT


class Cart(NamedTuple):
    """What the cart service knows of a checkout.

    `cart_id` is None where the checkout holds no cart. `starting` says that StartCheckout is not
    acknowledged, `restored` that the lines of this checkout came back.
    """

    key: str
    since: datetime | None
    cart_id: str | None
    status: str | None
    order_id: str | None
    starting: bool
    restored: bool


CARTS = Read(
    Source.CART,
    Cart,
    """
    SELECT checkout_id::text AS key, greatest(changed_at, restored_at) AS since,
        c.cart_id::text AS cart_id, status, order_id::text AS order_id,
        start_due_at IS NOT NULL AS starting, restored_at IS NOT NULL AS restored
    FROM (SELECT * FROM carts WHERE checkout_id IS NOT NULL AND only(checkout_id)) AS c
    FULL JOIN (SELECT * FROM restorations WHERE only(checkout_id)) AS r USING (checkout_id)
    """,
    CHECKOUT,
    order="checkout_id",
)


def _locked_only_while_open(checkout: Checkout | None, cart: Cart | None) -> bool | None:
    if cart is None or cart.status != "locked":
        return None
    return cart.starting if checkout is None else not checkout.final


def _bought_exactly_with_its_order(checkout: Checkout | None, cart: Cart | None) -> bool | None:
    if cart is not None and cart.status == "bought":
        bought = (cart.cart_id, cart.order_id)
        return checkout is not None and bought == (checkout.cart_id, checkout.order_id)
    if checkout is None or checkout.order_id is None or not checkout.final:
        return None
    return False


def _restored_exactly_when_cancelled(checkout: Checkout | None, cart: Cart | None) -> bool | None:
    if cart is not None and cart.restored:
        # An order that was given up and paid late after all keeps its sale, and the lines too.
        return checkout is not None and checkout.order_id is not None
    if checkout is None or checkout.order_id is None or not checkout.final:
        return None
    return False if checkout.state == "cancelled" else None


INVARIANTS = (
    between(
        "carts.locked-only-while-open",
        "A cart is locked only by a checkout that is not final, or that it is still starting.",
        CHECKOUTS,
        CARTS,
        _locked_only_while_open,
        about=CHECKOUT,
    ),
    between(
        "carts.bought-with-their-order",
        "A cart is closed exactly by the checkout that became an order, and names that order.",
        CHECKOUTS,
        CARTS,
        _bought_exactly_with_its_order,
        about=CHECKOUT,
    ),
    between(
        "carts.lines-come-back-once-cancelled",
        "The lines of a cancelled order are back in a cart; without an order none come back.",
        CHECKOUTS,
        CARTS,
        _restored_exactly_when_cancelled,
        about=CHECKOUT,
    ),
)
