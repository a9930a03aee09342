"""One topic of a service is not held up by another that its handler is slow at."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import pytest

from contracts.ids import new_id
from contracts.messages.base import SagaMessage
from contracts.messages.inventory import ReserveStock, StockReserved
from contracts.topics import INVENTORY_COMMANDS, ORDER_REPLIES
from contracts.values import replace
from messaging.clock import utc_now
from messaging.database import Connection
from messaging.delivery import Subscription
from messaging.fold import Decision, Rows
from messaging.outbox import address
from messaging.settings import ConsumerSettings
from tests.messaging.example import (
    LATER,
    Count,
    CountingHandler,
    Example,
    addressed,
    checkouts_by_partition,
    reserve,
)

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]


class SlowHandler(CountingHandler):
    """Takes for every batch as long as it is told to, inside of its transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way = 0
        self.may_go_on = asyncio.Event()

    async def load(self, connection: Connection, messages: Sequence[ReserveStock]) -> Rows:
        self.under_way += 1
        await self.may_go_on.wait()
        return await super().load(connection, messages)


class HearingHandler(CountingHandler):
    """Notes the rounds of what it hears, whatever that says."""

    def decide(self, rows: Rows, message: SagaMessage, now: datetime) -> Decision:
        count = rows.get(Count, message.checkout_id)
        return Decision((replace(count, rounds=(*count.rounds, message.round)),))


async def test_a_topic_goes_on_while_another_has_as_many_slow_batches_as_it_may(
    example: Example, wait_until: WaitUntil
) -> None:
    slow, bound = SlowHandler(), ConsumerSettings().batches_at_once
    heard = Subscription(ORDER_REPLIES, HearingHandler())
    commands = checkouts_by_partition(20 * INVENTORY_COMMANDS.partitions)
    replies = [new_id() for _ in range(100)]

    async def slow_as_can_be() -> bool:
        return slow.under_way == bound

    async def all_heard() -> bool:
        counts = await example.counts()
        return all(counts.get(one) == (0, [1]) for one in replies)

    async def all_there() -> bool:
        counts = await example.counts()
        return all(counts.get(one, (0, []))[0] == 1 for one in commands)

    bounds = {"batch_records": 10, "queue_records": 10, "beside_records": 1}
    async with example.running(0, slow, [heard], **bounds):
        await example.send(*(addressed(reserve(one)) for one in commands))
        await wait_until(slow_as_can_be, what="slow batches")
        told = [StockReserved(checkout_id=one, expires_at=LATER) for one in replies]
        await example.send(*(address(one, source="x", now=utc_now()) for one in told))
        await wait_until(all_heard, what="the other topic")
        assert slow.under_way == bound
        assert not set(commands) & set(await example.counts())
        slow.may_go_on.set()
        await wait_until(all_there, what="the slow topic")
