"""Two ways of a checkout that, together, come by every message that the saga sends in peace."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trolley.demo.settings import DemoSettings
from trolley.demo.shop import Shop
from trolley.demo.shopper import Shopper, payment_failed

DECLINED = "pm_declined_card_declined"


@dataclass(frozen=True)
class Told:
    """What a story was about."""

    sku: str
    cart_id: str
    checkout_id: str


Story = Callable[[Shop, DemoSettings, str], Awaitable[Told]]


async def buys(shop: Shop, settings: DemoSettings, sku: str) -> Told:
    """A guest buys two pieces."""
    shopper = await _with_a_cart(shop, settings, sku)
    checkout = await shopper.check_out()
    await shopper.follow(checkout)
    return Told(sku, shopper.cart_id, checkout.checkout_id)


async def gives_up(shop: Shop, settings: DemoSettings, sku: str) -> Told:
    """A guest whose card is declined cancels the order."""
    shopper = await _with_a_cart(shop, settings, sku)
    checkout = await shopper.check_out(DECLINED)
    status: Mapping[str, Any] = await shopper.follow(checkout, payment_failed)
    order = f"/orders/{status['order_id']}"
    await shop.client.command("POST", "order", f"{order}/cancel", headers=shopper._headers)
    await shopper.follow(checkout)
    return Told(sku, shopper.cart_id, checkout.checkout_id)


async def _with_a_cart(shop: Shop, settings: DemoSettings, sku: str) -> Shopper:
    shopper = Shopper(shop, settings, name="Somebody")
    await shopper.open_cart()
    await shopper.put({sku: 2})
    return shopper


STORIES: Mapping[str, Story] = {"buys": buys, "gives up": gives_up}
