"""Counts what a checkout consists of, before anything is measured."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping

from bench.anatomy import seen
from bench.batches import records_in_a_batch
from bench.case import Checkout
from bench.pipeline import SKUS, Pipeline, pipeline
from bench.progress import watched
from bench.requests import connections
from bench.settings import BenchSettings
from bench.statement_log import counted

A_BATCH = "statements for each batch"
MOST = {"messages": 22.0, "statements of POST checkout: cart": 20.0, A_BATCH: 45.0}
"""Bounds by how a number's name begins: 20 messages, 13 statements of a POST, and 22 to 28 for a
batch of one consumer were counted, with those of its relay, however many records it had. The rest
is for looks of services that wait: on a slow machine there are more of them."""

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
        numbers = {
            "messages": backlog.messages,
            **{f"messages: {name}": count for name, count in backlog.message_types().items()},
            "rows": backlog.rows,
            "rows deleted again": backlog.deletes,
            **await _statements(services, "a checkout alone", run, 1),
            **await _statements(services, f"a checkout of {together}", run, together),
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
                **await _statements(services, "POST checkout", post, POSTS),
            }
        for name in ("order", "inventory", "payment"):
            services.runtime.start_service(name)
        await services.runtime.wait_ready()
        await services.settle({"paid": len(placed) + 1 + POSTS})
    return Checkout(alone, backlog, posted, numbers)


def broken_bounds(numbers: Mapping[str, float]) -> Iterator[str]:
    """Which numbers are larger than they may be."""
    for beginning, most in MOST.items():
        for name, value in numbers.items():
            if name.startswith(beginning) and value > most:
                yield f"{name}: {value:.1f}, at most {most:g}"


async def _statements(
    services: Pipeline, what: str, run: Callable[[int], Awaitable[None]], count: int
) -> Mapping[str, float]:
    """SQL statements of each, in all and by database, and records in a batch by consumer.

    Looks for work that is not there are among them; alone they are many.
    """
    postgres = services.runtime.postgres
    if postgres is None:
        await run(count)  # another server's log is not ours to read
        return {}
    before = await services.told()
    async with counted(postgres.url, postgres.log) as asked:
        await run(count)
    del asked["postgres"]
    after = await services.told()
    batches = sum(count for _, count in after.values()) - sum(count for _, count in before.values())
    return {
        **({f"{A_BATCH} of {what}": asked.total() / batches} if batches else {}),
        f"statements of {what}": asked.total() / count,
        **{f"statements of {what}: {name}": asked[name] / count for name in sorted(asked)},
        **{
            f"records in a batch, {what}: {consumer}": mean
            for consumer, mean in records_in_a_batch(before, after).items()
        },
    }
