"""What shoppers want, and how each goes about it. Every errand that is begun ends, once."""

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from trolley.chaos.settings import ChaosSettings
from trolley.client import Refused
from trolley.demo.goods import Article
from trolley.demo.shop import Shop
from trolley.demo.shopper import PAID, Checkout, Shopper, Status, is_over, payment_failed

DECLINED = "pm_declined_card_declined"
QUOTE_CHANGED = "quote-changed"
ACTION_REQUIRED = "action_required"
CONFLICT = 409

SCARCE = Article("last of its kind", price_minor=4_900)


def articles(count: int) -> tuple[Article, ...]:
    """The articles that are always there, each at a price of its own."""
    return tuple(
        Article(f"chaos {number}", price_minor=800 + 99 * number) for number in range(1, count + 1)
    )


@dataclass(slots=True)
class Visit:
    """One shopper in the shop. `checkout` is what the cart has accepted, once it has."""

    shop: Shop
    shopper: Shopper
    settings: ChaosSettings
    chance: random.Random
    articles: tuple[Article, ...]
    checkout: Checkout | None = None

    async def fill(self, article: Article | None = None) -> None:
        """Takes a cart and puts a piece or two of one article, or of several, into it."""
        chosen = [article] if article else self.chance.sample(self.articles, k=2)
        await self.shopper.open_cart()
        await self.shopper.put({one.sku: 1 for one in chosen})

    async def check_out(self, method: str, **wishes: Any) -> Checkout:
        """Buys. The status is asked of any replica, not only of the one that the link names."""
        accepted = await self.shopper.check_out(method, **wishes)
        self.checkout = replace(accepted, status_url=_path(accepted.status_url))
        return self.checkout

    async def buy(self, method: str, **wishes: Any) -> Status:
        """Fills a cart, buys, and waits for the end."""
        await self.fill()
        return await self.shopper.follow(await self.check_out(method, **wishes))


def _path(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(("", "", parts.path, parts.query, ""))


async def pay(visit: Visit) -> Status:
    """Pays at once."""
    return await visit.buy("pm_ok")


async def pay_slowly(visit: Visit) -> Status:
    """The provider takes its time between effect and answer."""
    return await visit.buy(f"pm_slow_after_effect_{visit.settings.slow_ms}")


async def pay_unheard(visit: Visit) -> Status:
    """The provider's answer is lost after the effect: it has to be asked."""
    return await visit.buy("pm_timeout_after_effect")


async def pay_later(visit: Visit) -> Status:
    """The payment is processed for a while."""
    return await visit.buy("pm_processing_500")


async def pay_again(visit: Visit) -> Status:
    """The first card is declined, the second pays."""
    await visit.fill()
    checkout = await visit.check_out(DECLINED)
    status = await visit.shopper.follow(checkout, until=payment_failed)
    await visit.shopper.pay(status["order_id"], "pm_ok")
    return await visit.shopper.follow(checkout)


async def pay_by_action(visit: Visit) -> Status:
    """The bank wants to see the shopper, who comes."""
    await visit.fill()
    checkout = await visit.check_out("pm_action_required")
    status = await visit.shopper.follow(checkout, until=_wants_action)
    action = status["attempts"][-1]["next_action"]
    await visit.shop.client.command("POST", "payment", f"{_path(action['url'])}/complete")
    return await visit.shopper.follow(checkout)


def _wants_action(status: Status) -> bool:
    return bool(status["state"] == ACTION_REQUIRED and status["attempts"][-1]["next_action"])


async def let_the_window_close(visit: Visit) -> Status:
    """The card is declined, and the shopper does not come back."""
    window = visit.settings.impatient_window_seconds
    return await visit.buy(DECLINED, window_seconds=window)


async def cancel_at_once(visit: Visit) -> Status:
    """Thinks better of it while the saga is under way."""
    await visit.fill()
    checkout = await visit.check_out(f"pm_slow_{visit.settings.slow_ms}")
    await _cancel(visit, checkout)
    return await visit.shopper.follow(checkout)


async def cancel_once_paid(visit: Visit) -> Status:
    """Pays, then wants the money back."""
    status = await visit.buy("pm_ok")
    checkout = visit.checkout
    if checkout is None or status["state"] != PAID:
        return status
    await _cancel(visit, checkout)
    return await visit.shopper.follow(checkout, until=_is_over_and_not_paid)


def _is_over_and_not_paid(status: Status) -> bool:
    return is_over(status) and status["state"] != PAID


async def _cancel(visit: Visit, checkout: Checkout) -> None:
    try:
        await visit.shopper.cancel(checkout)
    except Refused as refusal:
        if refusal.status != CONFLICT:
            raise  # too late is an answer; anything else is none


async def take_the_last(visit: Visit) -> Status:
    """Wants what many want, and insists when the cart says that it is gone."""
    await visit.fill(SCARCE)
    try:
        checkout = await visit.check_out("pm_ok")
    except Refused as refusal:
        if refusal.slug != QUOTE_CHANGED:
            raise
        token = refusal.problem["accept_token"]
        checkout = await visit.check_out("pm_ok", accept_token=token)
    return await visit.shopper.follow(checkout)


Errand = Callable[[Visit], Awaitable[Status]]

PLAIN = "pays at once"
"""The errand that measures: nothing but a fault holds it up."""

ERRANDS: Mapping[str, tuple[Errand, int]] = {
    PLAIN: (pay, 50),
    "pays through a slow provider": (pay_slowly, 10),
    "pays, and the provider's answer is lost": (pay_unheard, 3),
    "pays by a method that takes a while": (pay_later, 6),
    "is declined, then pays": (pay_again, 10),
    "has to act, then pays": (pay_by_action, 6),
    "is declined and lets the window close": (let_the_window_close, 4),
    "cancels at once": (cancel_at_once, 5),
    "cancels once paid": (cancel_once_paid, 3),
    "insists on the last pieces": (take_the_last, 3),
}
"""The errands, and how many of a hundred shoppers are on each."""


def drawn(chance: random.Random) -> str:
    """The name of the next shopper's errand."""
    names = list(ERRANDS)
    return chance.choices(names, weights=[weight for _, weight in ERRANDS.values()])[0]
