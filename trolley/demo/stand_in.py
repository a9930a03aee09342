"""The stand-in for Stripe from behind: its banks' pages, and trouble on request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal, Self

import aiohttp

from trolley.client import ClientError

PAGE_SECONDS = 30.0
"""How long a page may take on a busy machine."""


class PageBroken(ClientError):
    """A page or a control of the stand-in did not do what it was asked for."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(f"{what}: {status}")


class StandIn:
    """One browser and one operator of the stand-in at `base_url`."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str) -> None:
        self._http = http
        self._base_url = base_url

    @classmethod
    @asynccontextmanager
    async def at(cls, base_url: str) -> AsyncIterator[Self]:
        """The stand-in that answers there."""
        timeout = aiohttp.ClientTimeout(total=PAGE_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            yield cls(http, base_url)

    async def answer_bank(self, url: str, outcome: Literal["complete", "fail"]) -> None:
        """Answers the question of a bank on its page, as its customer. Raises `PageBroken`."""
        async with self._http.post(url, data={"outcome": outcome}) as page:
            if not page.ok:
                raise PageBroken("the bank's page", page.status)

    async def make_trouble(self, **rule: str | int) -> None:
        """Has the next requests, or webhooks, that fit the rule go wrong. Raises `PageBroken`."""
        async with self._http.post(f"{self._base_url}/sandbox/faults", json=rule) as answer:
            if not answer.ok:
                raise PageBroken("the stand-in's faults", answer.status)

    async def trouble_left(self) -> list[dict[str, Any]]:
        """The rules that still hold, with the number of `times` that each may strike."""
        async with self._http.get(f"{self._base_url}/sandbox/faults") as answer:
            rules: list[dict[str, Any]] = (await answer.json())["faults"]
            return rules
