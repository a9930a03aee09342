"""A whole stack with two replicas of everything, and shoppers who buy while faults happen."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from trolley.audit.auditor import Sources, audit
from trolley.client import Client
from trolley.demo.crowd import crowd, settled
from trolley.demo.goods import Article, offer
from trolley.demo.orders import Orders
from trolley.demo.pace import Pace
from trolley.demo.screen import Screen
from trolley.demo.settings import DemoSettings
from trolley.demo.shop import Level, Shop
from trolley.demo.shopper import PAID, PAYS, Checkout, Shopper
from trolley.demo.stage import Stage
from trolley.figures import Figures
from trolley.runtime.stack import Runtime

AT_ONCE = 30
PACE_SECONDS = 1.0
_articles = count(1)


@dataclass(frozen=True)
class Bought:
    """One shopper's way to an order."""

    checkout: Checkout
    state: str
    order_id: str | None


class Town:
    """The stack of a test module."""

    def __init__(
        self,
        runtime: Runtime,
        clients: tuple[Client, ...],
        screen: Screen,
        bug_files: Mapping[str, Path],
    ) -> None:
        self.runtime = runtime
        self.bug_files = bug_files
        """By service: where a bug of its next release is written (see `tests.system.buggy`)."""
        self._settings = DemoSettings()
        pace = Pace(PACE_SECONDS, shortest=PACE_SECONDS / 10, longest=PACE_SECONDS)
        self._shops = tuple(Shop(client, runtime.signing_key, pace) for client in clients)
        nothing = Orders(invoices=(), products=(), skipped={}, file_lines=0)
        self._stage = Stage(runtime, self._shops[0], nothing, self._settings, screen)

    async def sell_while(
        self,
        shoppers: int,
        fault: Callable[[], Awaitable[None]],
        *,
        method: str = "pm_ok",
        replicas: int | None = None,
    ) -> list[Bought]:
        """Sell one piece to each shopper; `fault` happens when a third of them are done.

        They use the first `replicas` of each service, all of them unless said.
        """
        article = await self.offer(shoppers)
        done = 0
        third = asyncio.Event()
        shops = self._shops[:replicas]

        async def buy(number: int) -> Bought:
            nonlocal done
            shop = shops[number % len(shops)]
            shopper = Shopper(shop, self._settings, name=f"Shopper {number}")
            await shopper.open_cart()
            await shopper.put({article.sku: 1})
            checkout = await shopper.check_out(method)
            status = await shopper.follow(checkout)
            done += 1
            if done >= shoppers // 3:
                third.set()
            return Bought(checkout, status["state"], status["order_id"])

        async def strike() -> None:
            await third.wait()
            await fault()

        striking = asyncio.create_task(strike())
        try:
            bought = await crowd(range(shoppers), buy, at_once=AT_ONCE)
            await striking
        finally:
            striking.cancel()
            await asyncio.gather(striking, return_exceptions=True)
        await self.runtime.wait_ready()
        await self._check(article, bought)
        return bought

    async def _check(self, article: Article, bought: list[Bought]) -> None:
        assert [one.state for one in bought] == [PAID] * len(bought)
        assert len({one.order_id for one in bought} - {None}) == len(bought)
        sold_out = Level(on_hand=0, reserved=0)

        assert (
            await settled(lambda: self.level(article), sold_out.__eq__, self._settings) == sold_out
        )
        await self.audit()

    async def offer(self, pieces: int, price_minor: int = 799) -> Article:
        """A new article on the shelf."""
        article = Article(f"weather {next(_articles)}", price_minor=price_minor)
        await offer(self._stage, article, pieces)
        return article

    async def check_out(
        self,
        article: Article,
        method: str | None = PAYS,
        *,
        at_shipping: bool = False,
        pieces: int = 1,
    ) -> tuple[Shopper, Checkout]:
        """A shopper who has just bought a piece, or several; nothing is waited for."""
        shopper = Shopper(self._shops[0], self._settings, name="Shopper")
        await shopper.open_cart()
        await shopper.put({article.sku: pieces})
        return shopper, await shopper.check_out(method, at_shipping=at_shipping)

    @property
    def shop(self) -> Shop:
        """As its operator sees it, by the first replica of each service."""
        return self._shops[0]

    async def level(self, article: Article) -> Level:
        """What inventory has of an article."""
        return await self._shops[0].level(article.sku)

    async def rows(self, database: str, statement: str, *arguments: object) -> list[Any]:
        """Rows of a service's database."""
        connection = await asyncpg.connect(self.runtime.database_url(database))
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def all_is_read(self) -> bool:
        """Whether every service has settled every record of its topics."""
        figures = Figures(timeout_seconds=10)
        try:
            lag = (await figures.read(self.runtime.environment)).lag
        finally:
            await figures.close()
        return bool(lag) and not any(lag.values())

    async def audit(self) -> None:
        """Everything is right that must always be right, and it was looked at."""
        report = await audit(Sources.named_by(self.runtime.environment))
        if not report.clean:
            pytest.fail(str(list(report.findings)))
        assert report.facts_checked > 0
