"""What the shop sells, and where it keeps it."""

from cart_service.domain.pricing import Offer

SHOP, CURRENCY, PRICE_MINOR = "main", "GBP", 1_250
WAREHOUSES = ("north", "south")
HOT = tuple(f"HOT-{number}" for number in range(4))
"""SKUs that everybody wants and that run out."""

COLD = tuple(f"COLD-{number}" for number in range(60))
"""SKUs of which there are plenty."""

OFFERS = {sku: Offer(sku, sku.capitalize(), True, PRICE_MINOR, None) for sku in (*HOT, *COLD)}
"""The cart's read model; it says nothing of stock, so inventory alone decides."""
