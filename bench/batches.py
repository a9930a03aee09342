"""How many records a batch has, as the consumers tell it."""

import re
from collections.abc import Mapping

import aiohttp

_TOLD = re.compile(r'^trolley_batch_records_(sum|count)\{consumer="([^"]+)"\} (\S+)$', re.MULTILINE)

Told = Mapping[str, tuple[float, float]]
"""Records and batches so far, by consumer."""


async def told(urls: Mapping[str, list[str]]) -> Told:
    """What all replicas of these services have told so far."""
    found: dict[str, dict[str, float]] = {}
    async with aiohttp.ClientSession() as session:
        for url in (one for some in urls.values() for one in some):
            async with session.get(f"{url}/metrics") as answer:
                for what, consumer, value in _TOLD.findall(await answer.text()):
                    one = found.setdefault(consumer, {"sum": 0.0, "count": 0.0})
                    one[what] += float(value)
    return {consumer: (one["sum"], one["count"]) for consumer, one in found.items()}


def records_in_a_batch(before: Told, after: Told) -> dict[str, float]:
    """The mean by consumer, of batches that came between."""
    means = {}
    for consumer, (records, batches) in sorted(after.items()):
        earlier_records, earlier_batches = before.get(consumer, (0, 0))
        if batches > earlier_batches:
            means[consumer] = (records - earlier_records) / (batches - earlier_batches)
    return means
