"""Act 7: services die by SIGKILL while the provider works, and every checkout ends once."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from trolley.client import ClientError
from trolley.demo.books import Books
from trolley.demo.checks import Check
from trolley.demo.crowd import crowd, settled
from trolley.demo.goods import Article, offer
from trolley.demo.ledgers import captured_minor, captures, payment_of
from trolley.demo.shop import Level
from trolley.demo.shopper import PAID, Checkout, Shopper
from trolley.demo.stage import Findings, Stage

ARTICLE = Article("crash helmet", price_minor=1_299)

VICTIMS = ("order", "inventory", "payment")
"""Each is killed once a round, in this order."""

CALLER = "payment"
"""It makes the provider calls: those that die with it, nobody is left to record."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL, and what the books of both sides said before the service ran again.

    `in_doubt` counts the provider calls whose effect was committed and our record of it not.
    """

    service: str
    in_flight: int
    in_doubt: int


@dataclass(frozen=True, slots=True)
class Journey:
    """A checkout's end; None where the shopper did not even come to that."""

    checkout: Checkout | None
    state: str
    order_id: str | None = None


async def crash_services(stage: Stage) -> Findings:
    """Buys with a slow provider and kills; again, up to a bound, until enough was cut off."""
    settings, runtime = stage.settings, stage.runtime
    journeys: list[Journey] = []
    kills: list[Kill] = []
    rounds = 0
    restarts = {service: runtime.restarts(service) for service in VICTIMS}
    async with stage.books() as books:
        while rounds < settings.crash_rounds and _cut_off(kills) < settings.crash_in_doubt:
            rounds += 1
            more, killed = await _round(stage, books, rounds)
            journeys += more
            kills += killed
        await runtime.wait_ready()
        await settled(books.open_operations, (0).__eq__, settings)
        comparison = await books.compare()
    sold = Level(on_hand=0, reserved=0)

    async def level() -> Level:
        return await stage.shop.level(ARTICLE.sku)

    found = await settled(level, sold.__eq__, settings)
    checkouts = [one.checkout for one in journeys if one.checkout is not None]
    payments = comparison.of([payment_of(one.checkout_id) for one in checkouts])
    count = settings.crash_checkouts * rounds
    return Findings(
        (
            Check(
                "services killed and started again",
                len(VICTIMS) * rounds,
                sum(runtime.restarts(service) - restarts[service] for service in VICTIMS),
            ),
            Check(
                "provider calls cut off between effect and record",
                settings.crash_in_doubt,
                _cut_off(kills),
                at_least=True,
            ),
            Check("checkouts paid", count, sum(one.state == PAID for one in journeys)),
            Check(
                "orders, each with an id of its own",
                count,
                len({one.order_id for one in journeys} - {None}),
            ),
            Check(
                "charges that took money at the provider: one for each",
                count,
                captures(payments.theirs),
            ),
            Check(
                "units of money at the provider",
                count * ARTICLE.price_minor,
                captured_minor(payments.theirs),
            ),
            Check("pieces on hand", 0, found.on_hand),
            Check("pieces reserved", 0, found.reserved),
        ),
        {
            "kills": [
                f"{kill.service} ({kill.in_flight} calls in flight, {kill.in_doubt} in doubt)"
                for kill in kills
            ],
            "rounds": rounds,
        },
    )


def _cut_off(kills: Sequence[Kill]) -> int:
    return sum(kill.in_doubt for kill in kills if kill.service == CALLER)


async def _round(
    stage: Stage, books: Books, number: int
) -> tuple[Sequence[Journey], Sequence[Kill]]:
    settings = stage.settings
    count = settings.crash_checkouts
    await offer(stage, ARTICLE, count)
    bar = stage.screen.bar(f"checkouts while services die, round {number}", count)
    shoppers = [Shopper(stage.shop, settings, name="Shopper in a crash") for _ in range(count)]

    async def fill(shopper: Shopper) -> None:
        await shopper.open_cart()
        await shopper.put({ARTICLE.sku: 1})

    async def buy(shopper: Shopper) -> Journey:
        try:
            return await _buy(stage, shopper)
        finally:
            bar.advance()

    # All carts are full before the first checkout, so that the provider is busy all at once.
    await crowd(shoppers, fill, at_once=settings.shoppers_at_once)
    over = asyncio.Event()
    killing = asyncio.create_task(_kill_each(stage, books, over))
    try:
        journeys = await crowd(shoppers, buy, at_once=count)
        over.set()
        return journeys, await killing
    finally:
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)


async def _buy(stage: Stage, shopper: Shopper) -> Journey:
    checkout: Checkout | None = None
    try:
        checkout = await shopper.check_out(f"pm_slow_after_effect_{stage.settings.crash_slow_ms}")
        status = await shopper.follow(checkout)
    except ClientError as error:
        return Journey(checkout, f"error: {error}")
    return Journey(checkout, status["state"], status["order_id"])


async def _kill_each(stage: Stage, books: Books, over: asyncio.Event) -> list[Kill]:
    """Kills every victim, each at a moment when many calls stand between effect and record."""
    kills = []
    for service in VICTIMS:
        await _aim(stage, books, over)
        await stage.runtime.kill(service)
        in_flight, in_doubt = await books.calls_in_flight(), await books.in_doubt()
        kills.append(Kill(service, in_flight, len(in_doubt)))
    return kills


async def _aim(stage: Stage, books: Books, over: asyncio.Event) -> None:
    """Waits until enough calls are in doubt, while there are checkouts that may bring them."""
    settings = stage.settings
    deadline = time.monotonic() + settings.crash_aim_seconds
    while len(await books.in_doubt()) < settings.crash_aim_in_doubt:
        if over.is_set() or time.monotonic() > deadline:
            return
        await asyncio.sleep(settings.crash_aim_poll_seconds)
