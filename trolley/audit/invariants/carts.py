"""Carts against checkouts: who is locked, who has bought, and who got the lines back."""

from trolley.audit.invariant import Between, Read, Source
from trolley.audit.invariants.checkouts import CHECKOUTS
from trolley.audit.subjects import CHECKOUT
from trolley.audit.tables import CARTS, RESTORATIONS

# `cart_id` is NULL where the checkout holds no cart. `starting` says that StartCheckout is not
# acknowledged, `restored` that the lines of this checkout came back.
CARTS_OF_CHECKOUTS = Read(
    "cart",
    Source.CART,
    """
    SELECT checkout_id AS key, greatest(changed_at, restored_at) AS since, cart_id, status,
        order_id, starting, restored_at IS NOT NULL AS restored
    FROM (FROM carts WHERE checkout_id IS NOT NULL) FULL JOIN restorations USING (checkout_id)
    """,
    (CARTS, RESTORATIONS),
    CHECKOUT,
)

INVARIANTS = (
    Between(
        "carts.locked-only-while-open",
        "A cart is locked only by a checkout that is not final, or that it is still starting.",
        CHECKOUTS,
        CARTS_OF_CHECKOUTS,
        """
        CASE WHEN cart.status = 'locked' THEN
            CASE WHEN checkout.key IS NULL THEN cart.starting ELSE NOT checkout.final END
        END
        """,
    ),
    Between(
        "carts.bought-with-their-order",
        "A cart is closed exactly by the checkout that became an order, and names that order.",
        CHECKOUTS,
        CARTS_OF_CHECKOUTS,
        """
        CASE WHEN cart.status = 'bought' THEN
            cart.cart_id IS NOT DISTINCT FROM checkout.cart_id
            AND cart.order_id IS NOT DISTINCT FROM checkout.order_id
        WHEN checkout.order_id IS NOT NULL AND checkout.final THEN false END
        """,
    ),
    # An order that was given up and paid late after all keeps its sale, and the lines too.
    Between(
        "carts.lines-come-back-once-cancelled",
        "The lines of a cancelled order are back in a cart; without an order none come back.",
        CHECKOUTS,
        CARTS_OF_CHECKOUTS,
        """
        CASE WHEN cart.restored THEN checkout.order_id IS NOT NULL
        WHEN checkout.order_id IS NOT NULL AND checkout.final AND checkout.state = 'cancelled'
            THEN false END
        """,
    ),
)
