"""Act 4: shoppers pay in yen, euro and dinar, and some give pieces back, all to the unit.

Of every other order the money is set aside at first, and taken when its goods are shipped.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from contracts.money import exponent, format_minor
from trolley.client import ClientError
from trolley.demo.cards import STRIPE, VISA
from trolley.demo.checks import Check
from trolley.demo.crowd import crowd, settled
from trolley.demo.goods import Article, offer
from trolley.demo.ledgers import Comparison, captured_minor, payment_of, refunded_minor
from trolley.demo.shelves import shelves
from trolley.demo.shopper import PAID, Shopper, is_set_aside
from trolley.demo.stage import Findings, Stage

ARTICLES = (
    Article("tea bowl", price_minor=1_980, currency="JPY"),
    Article("wine glass", price_minor=1_249, currency="EUR"),
    Article("coffee pot", price_minor=3_250, currency="KWD"),
)
"""Decimals: none, two, three. Stripe takes dinars in tens of the smallest unit."""

GIVES_BACK_ONE_IN = 3
"""One in so many of these shoppers gives pieces back."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """So many pieces of an article, when they are paid for, and how many of them come back."""

    article: Article
    pieces: int
    given_back: int
    at_shipping: bool

    @property
    def total_minor(self) -> int:
        """What is paid."""
        return self.pieces * self.article.price_minor

    @property
    def refund_minor(self) -> int:
        """What goes back."""
        return self.given_back * self.article.price_minor


@dataclass(frozen=True, slots=True)
class Bill:
    """What the order of a purchase says in the end."""

    state: str
    checkout_id: str | None = None
    currency: str = ""
    total_minor: int = 0
    refunded_minor: int = 0
    paid_at_shipping: bool = False


def purchases(count: int, *, most_pieces: int, seed: int) -> tuple[Purchase, ...]:
    """So many purchases, the articles taking turns."""
    random = Random(seed)  # noqa: S311 - must be repeatable, not secret
    made = []
    for place in range(count):
        pieces = random.randint(1, most_pieces)
        gives_back = place % GIVES_BACK_ONE_IN == place // len(ARTICLES) % GIVES_BACK_ONE_IN
        given_back = random.randint(1, pieces) if gives_back else 0
        article, at_shipping = ARTICLES[place % len(ARTICLES)], place % 2 == 1
        made.append(Purchase(article, pieces, given_back, at_shipping))
    return tuple(made)


async def sell_in_other_currencies(stage: Stage) -> Findings:
    """Sells goods that have no price in pounds, takes some back, and compares every unit."""
    settings = stage.settings
    wanted = purchases(
        settings.currency_shoppers,
        most_pieces=settings.currency_most_pieces,
        seed=settings.seed,
    )
    sold: Counter[Article] = Counter()
    for purchase in wanted:
        sold[purchase.article] += purchase.pieces

    async def put_on_sale(goods: tuple[Article, int]) -> None:
        await offer(stage, *goods)

    await crowd(sold.items(), put_on_sale, at_once=len(ARTICLES))
    bar = stage.screen.bar("shoppers with other money", len(wanted))

    async def walk(purchase: Purchase) -> Bill:
        try:
            return await _buy(stage, purchase)
        except ClientError as error:
            return Bill(f"error: {error}")
        finally:
            bar.advance()

    bills = await crowd(wanted, walk, at_once=settings.shoppers_at_once)
    payments = [payment_of(bill.checkout_id) for bill in bills if bill.checkout_id]
    async with stage.books() as books:
        comparison = (await books.compare()).of(payments)
    back: Counter[str] = Counter()
    for purchase in wanted:
        back[purchase.article.sku] += purchase.given_back
    levels = await shelves(stage, back)
    return Findings(
        (
            Check("orders paid", len(wanted), sum(bill.state == PAID for bill in bills)),
            Check(
                "orders whose money was set aside, and taken when they were shipped",
                sum(purchase.at_shipping for purchase in wanted),
                sum(bill.paid_at_shipping for bill in bills),
            ),
            *(
                check
                for article in ARTICLES
                for check in _money_checks(article, wanted, bills, comparison)
            ),
            Check(
                "pieces on hand: those that came back",
                sum(back.values()),
                sum(level.on_hand for level in levels.values()),
            ),
            Check("pieces reserved", 0, sum(level.reserved for level in levels.values())),
        ),
        {
            article.currency: format_minor(article.price_minor, article.currency) + " a piece"
            for article in ARTICLES
        },
    )


async def _buy(stage: Stage, purchase: Purchase) -> Bill:
    article = purchase.article
    shopper = Shopper(
        stage.shop,
        stage.settings,
        name="Shopper from afar",
        currency=article.currency,
        provider=STRIPE,
    )
    await shopper.open_cart()
    await shopper.put({article.sku: purchase.pieces})
    checkout = await shopper.check_out(VISA, at_shipping=purchase.at_shipping)
    was_set_aside = False
    if purchase.at_shipping:
        status = await shopper.follow(checkout, is_set_aside)
        amounts = await stage.shop.amounts(status["order_id"])
        taken = amounts["authorized_minor"], amounts["captured_minor"]
        was_set_aside = taken == (purchase.total_minor, 0)
        await stage.shop.ship(status["order_id"])
    status = await shopper.follow(checkout)
    order_id = status["order_id"]
    if order_id is None or status["state"] != PAID:
        return Bill(status["state"], checkout.checkout_id)
    if purchase.given_back:
        await stage.shop.take_back(order_id, {1: purchase.given_back}, reason="too many")

    async def now() -> Mapping[str, Any]:
        return await stage.shop.order(order_id)

    def refunded(order: Mapping[str, Any]) -> bool:
        return bool(order["after_sale"]["refunded_minor"] == purchase.refund_minor)

    order = await settled(now, refunded, stage.settings)
    return Bill(
        order["state"],
        checkout.checkout_id,
        order["currency"],
        order["total_minor"],
        order["after_sale"]["refunded_minor"],
        was_set_aside and order["fulfilment_status"] == "shipped",
    )


def _money_checks(
    article: Article,
    wanted: Sequence[Purchase],
    bills: Sequence[Bill],
    comparison: Comparison,
) -> Iterable[Check]:
    currency, those = article.currency, [one for one in wanted if one.article == article]
    total_minor = sum(purchase.total_minor for purchase in those)
    refund_minor = sum(purchase.refund_minor for purchase in those)
    ordered = [bill for bill in bills if bill.currency == currency]
    theirs = comparison.in_currency(currency).theirs
    unit = f"{currency}, {exponent(currency)} decimals"
    yield Check(
        f"sum of the orders ({unit})", total_minor, sum(bill.total_minor for bill in ordered)
    )
    yield Check(f"units taken at the provider ({currency})", total_minor, captured_minor(theirs))
    yield Check(
        f"refunded of them ({currency})",
        refund_minor,
        sum(bill.refunded_minor for bill in ordered),
    )
    yield Check(
        f"units given back at the provider ({currency})", refund_minor, refunded_minor(theirs)
    )
