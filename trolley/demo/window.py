"""What shoppers see of goods: the cart's own read model, looked at through carts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trolley.client import Refused
from trolley.demo.orders import CURRENCY
from trolley.demo.settings import DemoSettings
from trolley.demo.shop import Shop
from trolley.demo.shopper import Shopper

NOT_SOLD_YET = frozenset({"unknown-sku", "not-for-sale", "other-currency"})
"""Refusals of a cart that has not heard of some of the goods."""


@dataclass(frozen=True, slots=True)
class Item:
    """A SKU as the cart knows it; `available` is None while it has not heard of any stock."""

    price_minor: int | None
    available: int | None


@dataclass(slots=True)
class _Pane:
    """One cart that holds a piece of each of some SKUs, once the cart service knows them all."""

    shopper: Shopper
    skus: Sequence[str]
    filled: bool = False


@dataclass(slots=True)
class Window:
    """A look at many SKUs at once, over and over."""

    shop: Shop
    settings: DemoSettings
    skus: Sequence[str]
    currency: str = CURRENCY
    _panes: list[_Pane] = field(default_factory=list)

    async def look(self) -> Mapping[str, Item]:
        """What the cart knows now, by SKU; one that is missing here it does not know."""
        if not self._panes:
            await self._open()
        seen: dict[str, Item] = {}
        for pane in self._panes:
            if pane.filled or await self._fill(pane):
                for line in (await pane.shopper.cart())["lines"]:
                    seen[line["sku"]] = Item(line["unit_price_minor"], line["available"])
        return seen

    async def close(self) -> None:
        """Takes the pieces out of the carts again."""
        for pane in self._panes:
            if pane.filled:
                await pane.shopper.empty_cart()

    async def _open(self) -> None:
        most = self.settings.window_lines
        for start in range(0, len(self.skus), most):
            shopper = Shopper(self.shop, self.settings, name="Window", currency=self.currency)
            await shopper.open_cart()
            self._panes.append(_Pane(shopper, self.skus[start : start + most]))

    async def _fill(self, pane: _Pane) -> bool:
        try:
            await pane.shopper.put(dict.fromkeys(pane.skus, 1))
        except Refused as refusal:
            if refusal.slug not in NOT_SOLD_YET:
                raise
            return False
        pane.filled = True
        return True
