"""Act 6: the first card is declined; half pay again in time, half let the window close."""

from dataclasses import dataclass

from trolley.client import ClientError, Refused
from trolley.demo.cards import EMPTY, STRIPE, VISA
from trolley.demo.checks import Check
from trolley.demo.crowd import crowd, settled
from trolley.demo.goods import Article, offer
from trolley.demo.screen import Bar
from trolley.demo.settings import DemoSettings
from trolley.demo.shop import Level
from trolley.demo.shopper import CANCELLED, PAID, Checkout, Shopper, payment_failed
from trolley.demo.stage import Findings, Stage

ARTICLE = Article("second thoughts", price_minor=2_450)
DECLINE_CODE = "insufficient_funds"
CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Story:
    """What one shopper saw after the decline.

    `refused_too_late` is a payment that was refused after the window, `piece_is_back` a cart
    that has the article again.
    """

    state: str
    order_id: str | None = None
    code: str | None = None
    refused_too_late: bool = False
    piece_is_back: bool = False


async def decline_cards(stage: Stage) -> Findings:
    """Buys with a card that is declined and follows what comes of it."""
    settings = stage.settings
    half = settings.decline_shoppers // 2
    patient, hasty = range(half), range(half, settings.decline_shoppers)
    await offer(stage, ARTICLE, settings.decline_shoppers)
    bar = stage.screen.bar("shoppers with a declined card", settings.decline_shoppers)

    async def walk(number: int) -> Story:
        return await _told(stage, number in patient, bar)

    stories: list[Story] = await crowd((*patient, *hasty), walk, at_once=settings.decline_shoppers)
    again, late = stories[:half], stories[half:]
    wanted = Level(on_hand=len(hasty), reserved=0)

    async def level() -> Level:
        return await stage.shop.level(ARTICLE.sku)

    found = await settled(level, wanted.__eq__, settings)
    return Findings(
        (
            Check(
                "shoppers told that their card was declined",
                settings.decline_shoppers,
                sum(story.code == DECLINE_CODE for story in stories),
            ),
            Check(
                "orders, each with an id of its own",
                settings.decline_shoppers,
                len({story.order_id for story in stories} - {None}),
            ),
            Check(
                "orders paid at the second try",
                len(patient),
                sum(story.state == PAID for story in again),
            ),
            Check(
                "orders cancelled when the window closed",
                len(hasty),
                sum(story.state == CANCELLED for story in late),
            ),
            Check(
                "payments refused after the window",
                len(hasty),
                sum(story.refused_too_late for story in late),
            ),
            Check(
                "carts that have their piece back",
                len(hasty),
                sum(story.piece_is_back for story in late),
            ),
            Check("pieces on hand: those of the cancelled orders", len(hasty), found.on_hand),
            Check("pieces reserved", 0, found.reserved),
        ),
        {"payment window in seconds": settings.decline_window_seconds},
    )


async def _told(stage: Stage, pays_again: bool, bar: Bar) -> Story:
    shopper = Shopper(stage.shop, stage.settings, name="Shopper with two cards", provider=STRIPE)
    try:
        return await (_pays_again if pays_again else _too_late)(shopper, stage.settings)
    except ClientError as error:
        return Story(f"error: {error}")
    finally:
        bar.advance()


async def _pays_again(shopper: Shopper, settings: DemoSettings) -> Story:
    checkout = await _check_out(shopper, settings.decline_patient_window_seconds)
    status = await shopper.follow(checkout, until=payment_failed)
    order_id, code = status["order_id"], status["attempts"][-1]["code"]
    await shopper.pay(order_id, VISA)
    status = await shopper.follow(checkout)
    return Story(status["state"], order_id, code)


async def _too_late(shopper: Shopper, settings: DemoSettings) -> Story:
    status = await shopper.follow(await _check_out(shopper, settings.decline_window_seconds))
    order_id, code = status["order_id"], status["attempts"][0]["code"]
    refused = False
    try:
        await shopper.pay(order_id, VISA)
    except Refused as refusal:
        refused = refusal.status == CONFLICT
    return Story(status["state"], order_id, code, refused, await _piece_is_back(shopper))


async def _check_out(shopper: Shopper, window_seconds: int) -> Checkout:
    await shopper.open_cart()
    await shopper.put({ARTICLE.sku: 1})
    return await shopper.check_out(EMPTY, window_seconds=window_seconds)


async def _piece_is_back(shopper: Shopper) -> bool:
    """Whether the shopper has an open cart, a new one, with the piece of the cancelled order."""
    opened = [cart for cart in await shopper.carts() if cart["status"] == "active"]
    if len(opened) != 1 or opened[0]["cart_id"] == shopper.cart_id:
        return False
    cart = await shopper.cart(opened[0]["cart_id"])
    return {line["sku"]: line["quantity"] for line in cart["lines"]} == {ARTICLE.sku: 1}
