"""A whole run: a stack of its own, goods, shoppers and strikes, rest, and the accounts."""

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from messaging.clock import utc_now
from messaging.settings import ConsumerSettings
from trolley.audit.auditor import Sources, audit
from trolley.audit.report import AuditReport
from trolley.chaos.accounts import settle, written
from trolley.chaos.campaign import Blow, Campaign
from trolley.chaos.errands import SCARCE, articles
from trolley.chaos.injection import Injector
from trolley.chaos.plan import strikes
from trolley.chaos.replica import Probe
from trolley.chaos.report import Run
from trolley.chaos.settings import ChaosSettings
from trolley.chaos.shoppers import Shoppers
from trolley.client import Client
from trolley.demo.goods import offer
from trolley.demo.orders import Orders
from trolley.demo.pace import Pace
from trolley.demo.screen import Screen
from trolley.demo.shop import Shop
from trolley.demo.stage import Stage
from trolley.runtime.stack import Runtime

MINUTE_SECONDS = 60


async def play(
    home: Path,
    *,
    seed: int,
    minutes: float,
    command: str,
    settings: ChaosSettings,
    screen: Screen,
    ended: asyncio.Event,
) -> Run:
    """Plays the run; `ended` brings it to its end early, with everything that belongs there.

    Raises a RuntimeStartError when the stack cannot be started.
    """
    began, load_before = utc_now(), os.getloadavg()[0]
    runtime = Runtime(home, replicas=settings.replicas)
    with screen.working(lambda: runtime.step):
        await runtime.start()
    try:
        screen.say(
            f"{settings.replicas} replicas of every service run. Now {minutes:g} minutes of chaos, "
            f"seed {seed}."
        )
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(_addresses(runtime), settings))
            probe = await stack.enter_async_context(Probe(seconds=settings.probe_seconds))
            shop = Shop(client, runtime.signing_key, _pace(settings))
            received = await _stock(runtime, shop, settings, screen, minutes)
            shoppers = Shoppers(shop, settings, seed)
            injector = Injector(runtime, probe, settings)
            session_seconds = ConsumerSettings().session_timeout_ms / 1000
            opened_at = time.monotonic()
            campaign = Campaign(
                strikes(seed, settings, session_seconds=session_seconds),
                injector,
                shoppers,
                settings,
                lambda told: screen.say(f"{_clock(time.monotonic() - opened_at)}  {_line(told)}"),
            )
            entrance = asyncio.create_task(shoppers.come_in())
            try:
                with screen.working(lambda: _progress(campaign, shoppers)):
                    await campaign.run(minutes * MINUTE_SECONDS, ended)
                closed_at, load_after = time.monotonic(), os.getloadavg()[0]
                screen.say("The faults are over, and nobody comes in any more.")
                with screen.working(lambda: f"{shoppers.under_way} shoppers are on their way"):
                    await shoppers.close()
                await entrance
            finally:
                entrance.cancel()
                await shoppers.send_home()
                with suppress(asyncio.CancelledError):
                    await entrance
            with screen.working(lambda: "waiting for rest, and reading every book"):
                audited = await _audited_at_rest(runtime, settings)
                found = await written(runtime, shop)
    finally:
        with screen.working(lambda: runtime.step):
            await runtime.stop()
    return Run(
        command=command,
        seed=seed,
        minutes=minutes,
        replicas=settings.replicas,
        shoppers_per_second=settings.shoppers_per_second,
        began=began,
        opened_at=opened_at,
        closed_at=closed_at,
        cores=os.cpu_count() or 1,
        load_before=load_before,
        load_after=load_after,
        interrupted=ended.is_set(),
        blows=campaign.blows,
        troubles=campaign.troubles,
        journeys=shoppers.journeys,
        accounts=settle(shoppers.journeys, found, received),
        audit=audited,
    )


def _addresses(runtime: Runtime) -> Mapping[str, tuple[str, ...]]:
    return {one.name: tuple(runtime.urls(one.name)) for one in runtime.services}


def _pace(settings: ChaosSettings) -> Pace:
    return Pace(
        settings.follow_expected_seconds,
        shortest=settings.follow_shortest_seconds,
        longest=settings.follow_longest_seconds,
    )


async def _stock(
    runtime: Runtime, shop: Shop, settings: ChaosSettings, screen: Screen, minutes: float
) -> Mapping[str, int]:
    """Puts enough on the shelves that only the scarce article is ever sold out; answers pieces."""
    nothing = Orders(invoices=(), products=(), skipped={}, file_lines=0)
    stage = Stage(runtime, shop, nothing, settings, screen)
    plenty = int(minutes * MINUTE_SECONDS * settings.shoppers_per_second)
    plenty += settings.shoppers_under_way
    received = {}
    with screen.working(lambda: "putting goods on the shelves"):
        for article in articles(settings.articles):
            await offer(stage, article, plenty)
            received[article.sku] = plenty
        await offer(stage, SCARCE, settings.scarce_pieces)
        received[SCARCE.sku] = settings.scarce_pieces
    return received


async def _audited_at_rest(runtime: Runtime, settings: ChaosSettings) -> AuditReport:
    """The audit once nothing is wrong or open any more; the last one when that takes too long.

    A row is old, and a finding, in a partition that its lane left out for a minute.
    """
    sources = Sources.named_by(runtime.environment)
    deadline = time.monotonic() + settings.rest_seconds
    while True:
        report = await audit(sources)
        if (report.clean and not report.open_items) or time.monotonic() > deadline:
            return report
        await asyncio.sleep(settings.settle_poll_seconds)


def _progress(campaign: Campaign, shoppers: Shoppers) -> str:
    outcomes = ", ".join(f"{count} {state}" for state, count in sorted(shoppers.outcomes.items()))
    return f"{campaign.doing} | {shoppers.under_way} in the shop; {outcomes or 'nobody left yet'}"


def _line(told: Blow | str) -> str:
    if isinstance(told, str):
        return f"TROUBLE  {told}"
    back = [one.server_back_seconds for one in told.injected if one.server_back_seconds is not None]
    answered = f"answers after {back[0]:.1f} s, " if back else ""
    return f"{told}: {answered}recovered {told.recovery_seconds:.1f} s after its end"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
