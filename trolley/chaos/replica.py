"""What a replica says of itself, asked over its own address: ready, leader, reader."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

Sample = tuple[str, dict[str, str], float]
"""Name, labels and value of one line of /metrics."""


def samples(text: str) -> Iterator[Sample]:
    """The samples in the text form of Prometheus."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


class Probe:
    """Asks replicas; whoever does not answer in time is neither ready, nor leads, nor reads."""

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(self._seconds))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def is_ready(self, url: str) -> bool:
        """Whether the replica can do its work now."""
        return await self._text(f"{url}/health/ready") is not None

    async def leads(self, url: str, lane: str) -> bool:
        """Whether it relays this lane of its service's outbox."""
        return any(
            name == "trolley_relay_leads" and labels.get("lane") == lane and value == 1
            for name, labels, value in await self._samples(url)
        )

    async def partitions(self, url: str) -> int | None:
        """How many partitions it reads, all topics together; None if it does not say."""
        told = await self._samples(url)
        if not told:
            return None
        return sum(int(value) for name, _, value in told if name == "trolley_assigned_partitions")

    async def _samples(self, url: str) -> list[Sample]:
        return list(samples(await self._text(f"{url}/metrics") or ""))

    async def _text(self, url: str) -> str | None:
        if self._http is None:
            raise RuntimeError("replicas are asked inside of `async with`")
        try:
            async with self._http.get(url) as answer:
                return await answer.text() if answer.ok else None
        except (aiohttp.ClientError, TimeoutError):
            return None
