"""Ways of a checkout that, together, come by every message that the saga sends in peace."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
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


@dataclass(frozen=True)
class Scene:
    """Where a story takes place. Inventory cannot reserve the SKU that stands in `bug`."""

    shop: Shop
    settings: DemoSettings
    bug: Path


Story = Callable[[Scene, str], Awaitable[Told]]


async def buys(scene: Scene, sku: str) -> Told:
    """A guest buys two pieces."""
    shopper = await _with_a_cart(scene, sku)
    checkout = await shopper.check_out()
    await shopper.follow(checkout)
    return Told(sku, shopper.cart_id, checkout.checkout_id)


async def gives_up(scene: Scene, sku: str) -> Told:
    """A guest whose card is declined cancels the order."""
    shopper = await _with_a_cart(scene, sku)
    checkout = await shopper.check_out(DECLINED)
    status: Mapping[str, Any] = await shopper.follow(checkout, payment_failed)
    order = f"/orders/{status['order_id']}"
    await scene.shop.client.command("POST", "order", f"{order}/cancel", headers=shopper._headers)
    await shopper.follow(checkout)
    return Told(sku, shopper.cart_id, checkout.checkout_id)


async def meets_a_bug(scene: Scene, sku: str) -> Told:
    """A guest buys what cannot be reserved; the bug is fixed, and what it left is replayed."""
    scene.bug.write_text(sku)
    shopper = await _with_a_cart(scene, sku)
    checkout = await shopper.check_out()
    await shopper.follow(checkout, _blocked)
    scene.bug.write_text("")
    await scene.shop.client.command(
        "POST",
        "inventory",
        "/dead-letters/runs",
        {"action": "replay", "reason": "fixed", "key": checkout.checkout_id},
        headers=scene.shop.token("olga", frozenset({"operations"})),
    )
    await shopper.follow(checkout)
    return Told(sku, shopper.cart_id, checkout.checkout_id)


def _blocked(status: Mapping[str, Any]) -> bool:
    return bool(status["blocked"])


async def _with_a_cart(scene: Scene, sku: str) -> Shopper:
    shopper = Shopper(scene.shop, scene.settings, name="Somebody")
    await shopper.open_cart()
    await shopper.put({sku: 2})
    return shopper


STORIES: Mapping[str, Story] = {
    "buys": buys,
    "gives up": gives_up,
    "meets a bug": meets_a_bug,
}
