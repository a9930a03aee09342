"""Counts what a checkout consists of, before anything is measured."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Self

from bench.anatomy import seen
from bench.batches import records_in_a_batch
from bench.case import Checkout
from bench.pipeline import SKUS, Pipeline, pipeline
from bench.progress import watched
from bench.requests import connections
from bench.settings import BenchSettings

A_BATCH, A_BATCH_ALONE = "statements for each batch", "statements for each batch, alone"
MOST = {"messages": 22.0, "statements of POST checkout: cart": 20.0}
"""20 messages and 13 statements were counted; the rest is for what is sent again if it is late."""
MOST_GROWN = 1.5
"""A batch of many takes as many statements as a batch of one, but for the chance of each count."""

IDLE_SECONDS = 5.0
QUIET_SECONDS = 2.0
"""Behind a checkout come its public events, and the rows of outboxes are deleted."""
POSTS = 20
CHECKOUT_BODY = {
    "email": "ada@shop.example",
    "address": {"name": "Ada", "line1": "1 Mill Lane", "city": "Leeds", "country": "GB"},
    "payment": {"token": "pm_ok"},
}


async def dissect(settings: BenchSettings) -> Checkout:
    """Runs some checkouts under triggers, and some more with every statement logged."""
    together = settings.seen_checkouts
    async with pipeline() as services:
        await services.offer(SKUS)
        placed = await services.fill_carts(settings.warm_checkouts + 2 + 2 * together, SKUS)
        asked = await services.fill_carts(1 + POSTS, SKUS, checking_out=False)
        some = iter(placed)

        async def run(count: int) -> None:
            before = await services.ended()
            await services.place([next(some) for _ in range(count)])
            await watched(services.ended, before + count, "counted")
            await asyncio.sleep(QUIET_SECONDS)

        await run(settings.warm_checkouts)
        async with seen(services.databases, 1) as alone:
            await run(1)
        async with seen(services.databases, together) as backlog:
            await run(together)
        counting = await _Counting.made(services)
        numbers = {
            "messages": backlog.messages,
            **{f"messages: {name}": count for name, count in backlog.message_types().items()},
            "rows": backlog.rows,
            "rows deleted again": backlog.deletes,
            **counting.idle(),
            **await counting.of("a checkout alone", run, 1, A_BATCH_ALONE),
            **await counting.of(f"a checkout of {together}", run, together, A_BATCH),
        }
        for name in ("order", "inventory", "payment"):
            await services.runtime.stop_service(name)
        async with connections(services.runtime.url("cart"), 1) as (connection,):

            async def post(count: int) -> None:
                for _ in range(count):
                    one = asked.pop()
                    answer = await connection.ask(
                        *("POST", f"/carts/{one.cart_id}/checkout"),
                        token=one.token,
                        body=CHECKOUT_BODY,
                    )
                    answer.expect(202)

            async with seen({"cart": services.databases["cart"]}, 1) as posted:
                await post(1)
                await asyncio.sleep(QUIET_SECONDS)
            numbers |= {
                "rows of POST checkout": posted.rows,
                **await counting.of("POST checkout", post, POSTS),
            }
        for name in ("order", "inventory", "payment"):
            services.runtime.start_service(name)
        await services.runtime.wait_ready()
        await services.settle({"paid": len(placed) + 1 + POSTS})
    return Checkout(alone, backlog, posted, numbers)


def broken_bounds(numbers: Mapping[str, float]) -> Iterator[str]:
    """Which numbers are larger than they may be."""
    for name, most in MOST.items():
        if numbers.get(name, 0) > most:
            yield f"{name}: {numbers[name]:.1f}, at most {most:g}"
    alone, together = numbers.get(A_BATCH_ALONE), numbers.get(A_BATCH)
    if alone and together and together > MOST_GROWN * alone:
        yield f"{A_BATCH}: {together:.1f}, at most {MOST_GROWN:g} times the {alone:.1f} alone"


class _Counting:
    """Counts statements without those that the services ask for as long as nothing is to do."""

    def __init__(self, services: Pipeline, idle_per_second: Mapping[str, float]) -> None:
        self._services, self._idle_per_second = services, idle_per_second

    @classmethod
    async def made(cls, services: Pipeline) -> Self:
        """Looks on for a while."""
        async with services.statements() as asked:
            await asyncio.sleep(IDLE_SECONDS)
        return cls(services, {name: n / IDLE_SECONDS for name, n in (asked or {}).items()})

    def idle(self) -> Mapping[str, float]:
        """Of the report: statements a second where nothing is to do."""
        return {"statements a second, idle": sum(self._idle_per_second.values())}

    async def of(
        self, what: str, run: Callable[[int], Awaitable[None]], count: int, batch: str | None = None
    ) -> Mapping[str, float]:
        """Of the report: statements of each, by database too, and records in a batch by consumer.

        `batch` is the name of statements for each batch.
        """
        before, began = await self._services.told(), time.perf_counter()
        async with self._services.statements() as asked:
            await run(count)
            seconds = time.perf_counter() - began
        if asked is None:
            return {}
        after = await self._services.told()
        needed = {
            name: max(0.0, asked[name] - seconds * self._idle_per_second.get(name, 0))
            for name in sorted(asked)
        }
        numbers = {f"statements of {what}": sum(needed.values()) / count}
        numbers |= {f"statements of {what}: {name}": n / count for name, n in needed.items()}
        if batch is not None:
            batches = sum(n for _, n in after.values()) - sum(n for _, n in before.values())
            numbers[batch] = sum(needed.values()) / batches
        for consumer, mean in records_in_a_batch(before, after).items():
            numbers[f"records in a batch, {what}: {consumer}"] = mean
        return numbers
