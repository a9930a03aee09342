"""Goods on the shelves of a city."""

from collections.abc import Sequence

from trolley.demo.crowd import settled
from trolley.demo.orders import Product, Variant
from trolley.demo.settings import DemoSettings
from trolley.demo.shop import Shop
from trolley.demo.window import Item, Window

PRICE_MINOR = 700


async def offer(shop: Shop, settings: DemoSettings, skus: Sequence[str], pieces: int) -> None:
    """Sell something new, so many pieces of each; shoppers see all of it afterwards."""
    await shop.import_products([Product(sku, sku, PRICE_MINOR, (Variant(sku, 0),)) for sku in skus])
    await shop.receive(dict.fromkeys(skus, pieces))
    wanted = {sku: Item(PRICE_MINOR, pieces) for sku in skus}
    window = Window(shop, settings, skus)
    assert await settled(window.look, wanted.__eq__, settings) == wanted
    await window.close()
