"""The catalog's read-model topic."""

from typing import ClassVar, Literal

from contracts.messages.base import Message, Value
from contracts.topics import CATALOG_ITEMS, Topic


class Price(Value):
    """What one piece costs in one currency, in minor units."""

    currency: str
    amount_minor: int


class CatalogItem(Message):
    """The latest state of one sellable SKU; applied only when `version` is newer.

    Compacted by SKU: the topic alone is enough to build a read model from nothing.
    """

    type: ClassVar[str] = "catalog.item.v1"
    topic: ClassVar[Topic] = CATALOG_ITEMS

    sku: str
    name: str
    product_code: str
    status: Literal["active", "inactive"]
    prices: tuple[Price, ...]
    version: int

    @property
    def key(self) -> str:
        return f"{self.shop_id}/{self.sku}"
