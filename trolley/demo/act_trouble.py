"""Act 8: a bank asks first, an answer gets lost, webhooks never come; all of it ends right."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from trolley.client import ClientError
from trolley.demo.cards import ASKS_FIRST, STRIPE, VISA
from trolley.demo.checks import Check
from trolley.demo.crowd import crowd
from trolley.demo.goods import Article, offer
from trolley.demo.ledgers import Ledger, captured_minor, captures, payment_of
from trolley.demo.shelves import shelves
from trolley.demo.shopper import PAID, Shopper, Status, payment_failed
from trolley.demo.stage import Findings, Stage
from trolley.demo.stand_in import StandIn

ARTICLE = Article("umbrella", price_minor=3_750)
CONFIRMATION = "POST /v1/payment_intents/{intent}/confirm"
"""The call that takes the money."""

WEBHOOKS_OF_ONE = 100
"""More webhooks than one payment ever has."""

AWAITING, ASKED, UNKNOWN = "awaiting_payment", "action_required", "payment_unknown"
DECLINED = "declined"


class Trouble(StrEnum):
    """What happens to a shopper on the way."""

    SAYS_YES = "the bank asks, the shopper says yes"
    SAYS_NO = "the bank asks, the shopper says no and takes another card"
    ANSWER_LOST = "money is taken, and the answer never comes"
    WEBHOOKS_LOST = "the bank asks, and no webhook tells what came of it"


ASKED_BY_BANK = frozenset({Trouble.SAYS_YES, Trouble.SAYS_NO, Trouble.WEBHOOKS_LOST})


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ended. `states` are all that the checkout went through."""

    trouble: Trouble
    state: str
    checkout_id: str | None = None
    states: frozenset[str] = frozenset()
    first_attempt: str = ""


async def pay_through_trouble(stage: Stage) -> Findings:
    """Lets some shoppers run into each trouble, all at once, and looks what became of them."""
    troubled = [trouble for trouble in Trouble for _ in range(stage.settings.trouble_shoppers)]
    await offer(stage, ARTICLE, len(troubled))
    bar = stage.screen.bar("shoppers in trouble", len(troubled))
    async with StandIn.at(stage.stripe_url) as stand_in:

        async def walk(trouble: Trouble) -> Ending:
            try:
                return await _pay(stage, stand_in, trouble)
            except ClientError as error:
                return Ending(trouble, f"error: {error}")
            finally:
                bar.advance()

        endings = await crowd(troubled, walk, at_once=len(troubled))
        left = await stand_in.trouble_left()
    payments = [payment_of(one.checkout_id) for one in endings if one.checkout_id]
    async with stage.books() as books:
        theirs = (await books.compare()).of(payments).theirs
    levels = await shelves(stage, {ARTICLE.sku: 0})
    level = levels[ARTICLE.sku]
    rules = {str(one["contains"]): int(one["times"]) for one in left}
    return Findings(
        (
            *_checks(endings, theirs),
            Check(
                "payments of which no webhook was sent",
                stage.settings.trouble_shoppers,
                sum(0 < times < WEBHOOKS_OF_ONE for times in rules.values()),
            ),
            Check("pieces on hand", 0, level.on_hand),
            Check("pieces reserved", 0, level.reserved),
        ),
        {trouble.value: stage.settings.trouble_shoppers for trouble in Trouble},
    )


async def _pay(stage: Stage, stand_in: StandIn, trouble: Trouble) -> Ending:
    shopper = Shopper(stage.shop, stage.settings, name="Shopper with an umbrella", provider=STRIPE)
    await shopper.open_cart()
    await shopper.put({ARTICLE.sku: 1})
    # The order comes first, so that the trouble can be aimed at its payment alone.
    checkout = await shopper.check_out(None)
    order_id = (await shopper.follow(checkout, until=_is(AWAITING)))["order_id"]
    payment = str(payment_of(checkout.checkout_id))

    async def bank_asks() -> str:
        await shopper.pay(order_id, ASKS_FIRST)
        status = await shopper.follow(checkout, until=_is(ASKED))
        url: str = status["attempts"][-1]["next_action"]["url"]
        return url

    match trouble:
        case Trouble.SAYS_YES:
            await stand_in.answer_bank(await bank_asks(), "complete")
        case Trouble.SAYS_NO:
            await stand_in.answer_bank(await bank_asks(), "fail")
            await shopper.follow(checkout, until=payment_failed)
            await shopper.pay(order_id, VISA)
        case Trouble.ANSWER_LOST:
            await stand_in.make_trouble(
                fault="timeout_after_effect", operation=CONFIRMATION, contains=payment
            )
            await shopper.pay(order_id, VISA)
        case Trouble.WEBHOOKS_LOST:
            await stand_in.make_trouble(fault="never_sent", contains=payment, times=WEBHOOKS_OF_ONE)
            await stand_in.answer_bank(await bank_asks(), "complete")
        case _:
            assert_never(trouble)
    status = await shopper.follow(checkout)
    return Ending(
        trouble,
        status["state"],
        checkout.checkout_id,
        frozenset(entry["state"] for entry in status["history"]),
        status["attempts"][0]["status"],
    )


def _is(state: str) -> Callable[[Status], bool]:
    def there(status: Status) -> bool:
        return bool(status["state"] == state)

    return there


def _checks(endings: Sequence[Ending], theirs: Ledger) -> tuple[Check, ...]:
    def of(*troubles: Trouble) -> list[Ending]:
        return [ending for ending in endings if ending.trouble in troubles]

    asked, refused, lost = (
        of(*ASKED_BY_BANK),
        of(Trouble.SAYS_NO),
        of(Trouble.ANSWER_LOST),
    )
    return (
        Check(
            "shoppers whose bank asked them",
            len(asked),
            sum(ASKED in ending.states for ending in asked),
        ),
        Check(
            "first attempts declined, because they said no",
            len(refused),
            sum(ending.first_attempt == DECLINED for ending in refused),
        ),
        Check(
            "payments in doubt for a while, because no answer came",
            len(lost),
            sum(UNKNOWN in ending.states for ending in lost),
        ),
        *(
            Check(f"paid in the end: {trouble.value}", len(of(trouble)), _paid(of(trouble)))
            for trouble in Trouble
        ),
        Check("charges that took money at Stripe: one for each", len(endings), captures(theirs)),
        Check(
            "units of money at Stripe",
            len(endings) * ARTICLE.price_minor,
            captured_minor(theirs),
        ),
    )


def _paid(endings: Sequence[Ending]) -> int:
    return sum(ending.state == PAID for ending in endings)
