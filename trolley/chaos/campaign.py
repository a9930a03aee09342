"""Strikes, one after the other, each when everything has recovered from the one before."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from messaging.waiting import happens
from trolley.chaos.faults import Strike
from trolley.chaos.injection import Injected, Injector, NotInjected
from trolley.chaos.measures import fresh_after
from trolley.chaos.settings import ChaosSettings
from trolley.chaos.shoppers import Shoppers


@dataclass(frozen=True, slots=True)
class Blow:
    """A strike that was carried out, and how everything came back.

    Times are readings of the monotonic clock: when it struck, when no fault of it lasted any
    more, when all was ready, and when a checkout that was begun after that was paid.
    """

    strike: Strike
    injected: tuple[Injected, ...]
    struck_at: float
    over_at: float
    ready_at: float
    recovered_at: float

    @property
    def recovery_seconds(self) -> float:
        """From the end of the faults until all was ready and a fresh checkout was paid."""
        return self.recovered_at - self.over_at

    def __str__(self) -> str:
        return " and ".join(f"{one.fault.kind} {one.victim}" for one in self.injected)


class Campaign:
    """Carries out a plan until its time is over; `blows` and `troubles` are what came of it."""

    def __init__(
        self,
        plan: Iterator[Strike],
        injector: Injector,
        shoppers: Shoppers,
        settings: ChaosSettings,
        say: Callable[[Blow | str], None],
    ) -> None:
        self.blows: list[Blow] = []
        self.troubles: list[str] = []
        """Faults that could not be brought about, and what did not recover."""
        self.doing = "in peace"
        """What is happening now, in words."""
        self._plan = plan
        self._injector = injector
        self._shoppers = shoppers
        self._settings = settings
        self._say = say

    async def run(self, seconds: float, ended: asyncio.Event) -> None:
        """Strikes for so long, or until `ended`; returns when the last strike is recovered from.

        What does not recover ends the campaign: more faults would only hide why.
        """
        deadline = time.monotonic() + seconds
        for strike in self._plan:
            left = deadline - time.monotonic()
            self.doing = "in peace"
            if await happens(ended, min(strike.pause_seconds, left)) or left < strike.pause_seconds:
                return
            self.doing = str(strike)
            try:
                await self._carry_out(strike)
            except (NotInjected, NotRecovered) as error:
                trouble = f"{strike}: {error}"
                self.troubles.append(trouble)
                self._say(trouble)
                if isinstance(error, NotRecovered):
                    return

    async def _carry_out(self, strike: Strike) -> None:
        struck_at = time.monotonic()
        # Both are waited for, so that nothing stays frozen or scaled away when one fails.
        done = await asyncio.gather(
            self._injector.inject(strike.fault), self._follow_up(strike), return_exceptions=True
        )
        for one in done:
            if isinstance(one, BaseException):
                raise one
        injected = tuple(one for one in done if isinstance(one, Injected))
        over_at = max(one.over_at for one in injected)
        self.doing = f"recovery from {strike}"
        ready_at = await self._ready(over_at)
        recovered_at = await self._fresh_checkout(ready_at, over_at)
        blow = Blow(strike, injected, struck_at, over_at, ready_at, recovered_at)
        self.blows.append(blow)
        self._say(blow)

    async def _follow_up(self, strike: Strike) -> Injected | None:
        if strike.beside is None:
            return None
        await asyncio.sleep(strike.beside_after_seconds)
        return await self._injector.inject(strike.beside)

    async def _ready(self, over_at: float) -> float:
        while not await self._injector.all_ready():
            if time.monotonic() - over_at > self._settings.recovery_seconds:
                raise NotRecovered("ready", self._settings.recovery_seconds)
            await asyncio.sleep(self._settings.recovery_poll_seconds)
        return time.monotonic()

    async def _fresh_checkout(self, ready_at: float, over_at: float) -> float:
        while (fresh := fresh_after(self._shoppers.journeys, ready_at)) is None:
            if time.monotonic() - over_at > self._settings.recovery_seconds:
                raise NotRecovered("selling", self._settings.recovery_seconds)
            await asyncio.sleep(self._settings.recovery_poll_seconds)
        return fresh


class NotRecovered(Exception):
    """Everything should be ready, and selling, and is not."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"not {what} {seconds:g} s after its end")
