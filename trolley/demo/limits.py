"""How far the services' limits must go for a file of orders to fit, and when it cannot."""

from collections.abc import Mapping

from cart_service.settings import CartSettings
from catalog_service.settings import CatalogSettings
from trolley.demo.orders import Orders, OrdersError


class TooLarge(OrdersError):
    """The file has something that is larger than any setting allows."""

    def __init__(self, what: str, count: int, most: int) -> None:
        super().__init__(f"{what} has {count:,} of them; at most {most:,} can be sold at once")
        self.count, self.most = count, most


MOST_LINES = 1_000
MOST_PIECES = 1_000_000
"""What the cart's settings can be raised to."""


def environment_for(orders: Orders) -> Mapping[str, str]:
    """Settings for the services under which every invoice of the file fits into a cart.

    Limits that are wide enough as they are stay so. Raises `TooLarge`.
    """
    lines, longest = max((len(one.lines), one.number) for one in orders.invoices)
    if lines > MOST_LINES:
        raise TooLarge(f"invoice {longest} with lines", lines, MOST_LINES)
    pieces, sku = max((line.quantity, line.sku) for one in orders.invoices for line in one.lines)
    if pieces > MOST_PIECES:
        raise TooLarge(f"a line of {sku} with pieces", pieces, MOST_PIECES)
    variants = max(len(product.variants) for product in orders.products)
    cart, catalog = CartSettings.model_fields, CatalogSettings.model_fields
    needed = {
        "CART_MAX_LINES": (cart["max_lines"], lines),
        "CART_MAX_PIECES_PER_LINE": (cart["max_pieces_per_line"], pieces),
        "CATALOG_VARIANTS_PER_PRODUCT": (catalog["variants_per_product"], variants),
    }
    return {
        name: str(wanted) for name, (setting, wanted) in needed.items() if wanted > setting.default
    }
