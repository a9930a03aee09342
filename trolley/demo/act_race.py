"""Act 5: many shoppers, each with the same piece in the cart, and far fewer pieces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from trolley.client import ClientError, Refused
from trolley.demo.cards import STRIPE, VISA
from trolley.demo.checks import Check
from trolley.demo.crowd import crowd
from trolley.demo.goods import Article, offer
from trolley.demo.screen import Bar
from trolley.demo.shopper import PAID, REJECTED, Shopper
from trolley.demo.stage import Findings, Stage

ARTICLE = Article("last ones", price_minor=4_995)
QUOTE_CHANGED = "quote-changed"


class Ending(StrEnum):
    """How the race ended for one shopper."""

    ORDER = "order"
    TOLD_BY_CART = "told by the cart"
    REFUSED_BY_INVENTORY = "refused by inventory"
    ELSE = "something else"


@dataclass(frozen=True, slots=True)
class Finish:
    """One shopper's race; `left` is what they were told is left of the article."""

    ending: Ending
    order_id: str | None = None
    left: int | None = None
    insisted: bool = False


async def race_for_the_last(stage: Stage) -> Findings:
    """Fills every cart first, then lets all of them check out at once."""
    settings = stage.settings
    await offer(stage, ARTICLE, settings.race_pieces)
    shoppers = [
        Shopper(stage.shop, settings, name=f"Racer {number}", provider=STRIPE)
        for number in range(settings.race_shoppers)
    ]
    filled = stage.screen.bar("carts with a piece in them", len(shoppers))

    async def fill(shopper: Shopper) -> None:
        await shopper.open_cart()
        await shopper.put({ARTICLE.sku: 1})
        filled.advance()

    await crowd(shoppers, fill, at_once=settings.shoppers_at_once)
    ended = stage.screen.bar("shoppers at the end of their race", len(shoppers))
    # Spread evenly over the field, so that both kinds of shoppers are early and late.
    insisting = [
        (number * settings.race_insisting) % len(shoppers) < settings.race_insisting
        for number in range(len(shoppers))
    ]

    async def run(runner: tuple[Shopper, bool]) -> Finish:
        return await _race(*runner, ended)

    finishes = await crowd(
        zip(shoppers, insisting, strict=True), run, at_once=settings.race_shoppers_at_once
    )
    return await _findings(stage, shoppers, finishes)


async def _race(shopper: Shopper, insists: bool, bar: Bar) -> Finish:
    try:
        return await _run(shopper, insists)
    except ClientError:
        return Finish(Ending.ELSE)
    finally:
        bar.advance()


async def _run(shopper: Shopper, insists: bool) -> Finish:
    insisted = False
    try:
        checkout = await shopper.check_out(VISA)
    except Refused as refusal:
        if refusal.slug != QUOTE_CHANGED:
            raise
        if not insists:
            return Finish(Ending.TOLD_BY_CART, left=_left(refusal.problem["differences"]))
        insisted = True
        checkout = await shopper.check_out(VISA, accept_token=refusal.problem["accept_token"])
    status = await shopper.follow(checkout)
    match status["state"]:
        case state if state == PAID:
            return Finish(Ending.ORDER, status["order_id"], insisted=insisted)
        case state if state == REJECTED:
            left = _left(status["shortages"])
            return Finish(Ending.REFUSED_BY_INVENTORY, left=left, insisted=insisted)
        case _:
            return Finish(Ending.ELSE)


def _left(shortages: Sequence[Mapping[str, Any]]) -> int | None:
    """What is left, when the refusal is about the article and about nothing else."""
    told = {one["sku"]: one["available"] for one in shortages}
    return told.get(ARTICLE.sku) if len(told) == 1 else None


async def _findings(
    stage: Stage, shoppers: Sequence[Shopper], finishes: Sequence[Finish]
) -> Findings:
    settings = stage.settings
    losers = [
        shopper
        for shopper, finish in zip(shoppers, finishes, strict=True)
        if finish.ending is not Ending.ORDER
    ]
    still_there = await crowd(losers, _piece_still_there, at_once=settings.shoppers_at_once)
    counts = {ending: sum(finish.ending is ending for finish in finishes) for ending in Ending}
    told = counts[Ending.TOLD_BY_CART] + counts[Ending.REFUSED_BY_INVENTORY]
    level = await stage.shop.level(ARTICLE.sku)
    losing = settings.race_shoppers - settings.race_pieces
    return Findings(
        (
            Check("orders", settings.race_pieces, counts[Ending.ORDER]),
            Check(
                "orders, each with an id of its own",
                settings.race_pieces,
                len({finish.order_id for finish in finishes} - {None}),
            ),
            Check("shoppers who were told politely", losing, told),
            Check(
                "of them told what is left: none",
                losing,
                sum(finish.left == 0 for finish in finishes),
            ),
            Check(
                "of them refused by inventory itself",
                settings.race_refused_by_inventory,
                counts[Ending.REFUSED_BY_INVENTORY],
                at_least=True,
            ),
            Check("carts that are open again with their piece", losing, sum(still_there)),
            Check("pieces on hand", 0, level.on_hand),
            Check("pieces reserved", 0, level.reserved),
        ),
        {
            "told by the cart's 409": counts[Ending.TOLD_BY_CART],
            "refused by StockRejected": counts[Ending.REFUSED_BY_INVENTORY],
            "of those had insisted with the accept token": sum(
                finish.insisted and finish.ending is Ending.REFUSED_BY_INVENTORY
                for finish in finishes
            ),
        },
    )


async def _piece_still_there(shopper: Shopper) -> bool:
    cart = await shopper.cart()
    pieces = {line["sku"]: line["quantity"] for line in cart["lines"]}
    return cart["status"] == "active" and pieces == {ARTICLE.sku: 1}
