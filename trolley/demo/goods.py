"""Goods of an act's own, apart from those of the file."""

from collections.abc import Mapping
from dataclasses import dataclass

from trolley.demo.crowd import settled
from trolley.demo.orders import CURRENCY, Product, Variant
from trolley.demo.stage import Stage
from trolley.demo.window import Item, Window


@dataclass(frozen=True, slots=True)
class Article:
    """One SKU at one price. Its SKU is none that a stock code of a file can have."""

    name: str
    price_minor: int
    currency: str = CURRENCY

    @property
    def sku(self) -> str:
        """The code that no file can have: a tilde only ever stands there before a digest."""
        return f"demo~{self.name}"

    @property
    def product(self) -> Product:
        """As the catalog takes it."""
        return Product(
            self.sku, self.name, self.price_minor, (Variant(self.sku, 0),), self.currency
        )


class NotOffered(RuntimeError):
    """The cart has not heard of goods that the shop has received."""


async def offer(stage: Stage, article: Article, pieces: int) -> None:
    """Puts an article into the catalog and on the shelf; returns when shoppers see all of it.

    May be called again with more pieces. Raises `NotOffered`.
    """
    await stage.shop.import_products([article.product])
    before = (await stage.shop.level(article.sku)).available
    await stage.shop.receive({article.sku: pieces})
    window = Window(stage.shop, stage.settings, [article.sku], article.currency)
    wanted = {article.sku: Item(article.price_minor, before + pieces)}

    def complete(seen: Mapping[str, Item]) -> bool:
        return seen == wanted

    seen = await settled(window.look, complete, stage.settings)
    await window.close()
    if not complete(seen):
        raise NotOffered(f"the cart sees {dict(seen)} instead of {wanted}")
