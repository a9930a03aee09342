"""Shoppers who come in at a bounded rate and go on until the shop closes."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass
from itertools import count

from messaging.waiting import happens
from trolley.chaos.errands import ERRANDS, Visit, articles, drawn
from trolley.chaos.settings import ChaosSettings
from trolley.client import ClientError
from trolley.demo.shop import Shop
from trolley.demo.shopper import Checkout, Shopper

NO_END = "no end"
"""What became of a shopper who was told something that should not be, or nothing for too long."""


@dataclass(frozen=True, slots=True)
class Journey:
    """One shopper's way, from an empty cart to its end.

    `state` is the checkout's final state, or `NO_END` with the reason in `trouble`. The times are
    readings of the monotonic clock.
    """

    errand: str
    checkout: Checkout | None
    state: str
    order_id: str | None
    began_at: float
    ended_at: float
    trouble: str | None = None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended_at - self.began_at


class Shoppers:
    """All shoppers of a run."""

    def __init__(self, shop: Shop, settings: ChaosSettings, seed: int) -> None:
        self.journeys: list[Journey] = []
        self._shop = shop
        self._settings = settings
        self._chance = random.Random(f"shoppers {seed}")  # noqa: S311 - to be repeatable
        self._articles = articles(settings.articles)
        self._closing = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """How many are in the shop."""
        return len(self._under_way)

    @property
    def outcomes(self) -> Counter[str]:
        """How many journeys ended in which state."""
        return Counter(journey.state for journey in self.journeys)

    async def come_in(self) -> None:
        """Lets shoppers in, one after the other, until `close`."""
        every = 1 / self._settings.shoppers_per_second
        for number in count(1):
            if await happens(self._closing, every):
                return
            if len(self._under_way) < self._settings.shoppers_under_way:
                shopping = asyncio.create_task(self._shop_around(number, drawn(self._chance)))
                self._under_way.add(shopping)
                shopping.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Lets nobody in any more; returns when everybody has come to an end."""
        self._closing.set()
        await asyncio.gather(*self._under_way)

    async def send_home(self) -> None:
        """Ends all journeys where they are."""
        self._closing.set()
        under_way = list(self._under_way)
        for shopping in under_way:
            shopping.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _shop_around(self, number: int, errand: str) -> None:
        began_at = time.monotonic()
        visit = Visit(
            self._shop,
            Shopper(self._shop, self._settings, name=f"Shopper {number}"),
            self._settings,
            random.Random(self._chance.random()),  # noqa: S311 - to be repeatable
            self._articles,
        )
        state, order_id, trouble = NO_END, None, None
        try:
            status = await ERRANDS[errand][0](visit)
            state, order_id = status["state"], status["order_id"]
        except ClientError as error:
            trouble = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, this journey has no end
            trouble = f"{type(error).__name__}: {error}"
        ended_at = time.monotonic()
        self.journeys.append(
            Journey(errand, visit.checkout, state, order_id, began_at, ended_at, trouble)
        )
