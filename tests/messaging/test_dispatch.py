"""What waits together goes together, in order, and nothing is settled that was given up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from contracts.ids import new_id
from contracts.messages.parts import StockLine
from contracts.topics import INVENTORY_COMMANDS, Topic
from messaging.delivery import Delivery
from messaging.dispatch import Dispatcher
from messaging.settings import ConsumerSettings
from tests.messaging.example import addressed, reserve

WaitUntil = Callable[..., Awaitable[None]]

TOPIC = INVENTORY_COMMANDS.name


@dataclass
class Ledger:
    """Takes the place of the database: notes each batch, and holds it until it is let go."""

    topic: Topic = INVENTORY_COMMANDS
    consumer: str = "inventory.inventory.commands"
    batches: list[list[tuple[int, int]]] = field(default_factory=list)
    settled: list[tuple[int, int]] = field(default_factory=list)
    free: asyncio.Event = field(default_factory=asyncio.Event)
    stubborn: bool = False
    """Does not let go of a batch that is given up, as a commit under way does not."""
    sick: set[int] = field(default_factory=set)
    """Partitions whose batches wait for something to heal, and with them what shares them."""
    healed: asyncio.Event = field(default_factory=asyncio.Event)

    async def settle(
        self, batch: Sequence[Delivery], abandon: asyncio.Event, patience: int | None = None
    ) -> bool:
        places = [(one.record.partition, one.record.offset) for one in batch]
        self.batches.append(places)
        if self.sick & {partition for partition, _ in places}:
            if patience is not None:
                return False
            await self.healed.wait()
        awaited = (self.free,) if self.stubborn else (self.free, abandon)
        waits = [asyncio.ensure_future(event.wait()) for event in awaited]
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()
        if not self.free.is_set():
            return False
        self.settled += places
        return True


async def turns(count: int = 10) -> None:
    """Let every other task have so many turns."""
    for _ in range(count):
        await asyncio.sleep(0)


def record(partition: int, offset: int, size: int = 0) -> ConsumerRecord:
    return ConsumerRecord(
        topic=TOPIC,
        partition=partition,
        offset=offset,
        timestamp=0,
        timestamp_type=0,
        key=None,
        value=b"x" * size,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=size,
        headers=(),
    )


def reservation(partition: int, offset: int, *, lines: int) -> ConsumerRecord:
    stock = tuple(StockLine(sku=f"SKU-{number}", quantity=1) for number in range(lines))
    sent = addressed(reserve(new_id()).model_copy(update={"lines": stock}))
    assert sent.envelope is not None
    headers = tuple(sent.envelope.headers())
    return replace(record(partition, offset), value=sent.payload, headers=headers)


def place(partition: int) -> TopicPartition:
    return TopicPartition(TOPIC, partition)


@asynccontextmanager
async def dispatching(ledger: Ledger, **settings: Any) -> AsyncIterator[Dispatcher]:
    faults: list[BaseException] = []
    bounds: dict[str, Any] = {"linger_ms": 0, "beside_after_ms": 60_000, **settings}
    dispatcher = Dispatcher(
        ledger,
        ConsumerSettings(**bounds),
        faults.append,
    )
    try:
        yield dispatcher
    finally:
        await dispatcher.stop()
    assert faults == []


async def test_what_waits_behind_a_batch_goes_together_in_the_next(wait_until: WaitUntil) -> None:
    ledger = Ledger()

    async def all_settled() -> bool:
        return len(ledger.settled) == 5

    async def begun() -> bool:
        return len(ledger.batches) == 1

    async with dispatching(ledger) as dispatcher:
        dispatcher.put(place(0), [record(0, 0)])
        await wait_until(begun, what="the first batch")
        dispatcher.put(place(1), [record(1, 7), record(1, 8)])
        dispatcher.put(place(0), [record(0, 1)])
        dispatcher.put(place(2), [record(2, 3)])
        ledger.free.set()
        await wait_until(all_settled, what="the second batch")
    assert ledger.batches[0] == [(0, 0)]
    assert sorted(ledger.batches[1]) == [(0, 1), (1, 7), (1, 8), (2, 3)]


async def test_enough_records_start_a_batch_beside_one_that_is_under_way(
    wait_until: WaitUntil,
) -> None:
    ledger = Ledger()

    async def both() -> bool:
        return len(ledger.batches) == 2

    async with dispatching(ledger, beside_records=3) as dispatcher:
        dispatcher.put(place(0), [record(0, 0)])
        await asyncio.sleep(0)
        dispatcher.put(place(0), [record(0, offset) for offset in range(1, 9)])
        dispatcher.put(place(1), [record(1, offset) for offset in range(3)])
        await wait_until(both, what="a batch beside the first")
        # The partition that is in a batch waits for its end, however much it has.
        assert ledger.batches == [[(0, 0)], [(1, 0), (1, 1), (1, 2)]]


async def test_a_batch_that_takes_long_holds_up_no_other_partition(wait_until: WaitUntil) -> None:
    ledger = Ledger()

    async def both() -> bool:
        return len(ledger.batches) == 2

    async with dispatching(ledger, beside_after_ms=1) as dispatcher:
        dispatcher.put(place(0), [record(0, 0)])
        await asyncio.sleep(0)
        dispatcher.put(place(1), [record(1, 0)])
        await wait_until(both, what="a batch beside the slow one")


async def test_no_more_batches_at_once_than_allowed() -> None:
    ledger = Ledger()
    async with dispatching(ledger, beside_records=1, batches_at_once=2) as dispatcher:
        for partition in range(5):
            dispatcher.put(place(partition), [record(partition, 0)])
            await turns(5)
        assert len(ledger.batches) == 2


async def test_batches_are_bounded_in_records_and_bytes_and_every_partition_has_its_turn(
    wait_until: WaitUntil,
) -> None:
    ledger = Ledger()
    ledger.free.set()

    async def all_settled() -> bool:
        return len(ledger.settled) == 12

    async with dispatching(ledger, batch_records=4, batch_bytes=250) as dispatcher:
        for partition in range(3):
            dispatcher.put(
                place(partition), [record(partition, offset, 100) for offset in range(4)]
            )
        await wait_until(all_settled, what="all batches")
    assert all(len(batch) <= 2 for batch in ledger.batches)
    assert {partition for batch in ledger.batches[:3] for partition, _ in batch} == {0, 1, 2}
    for partition in range(3):
        assert [o for p, o in ledger.settled if p == partition] == [0, 1, 2, 3]


async def test_batches_are_bounded_in_order_lines(wait_until: WaitUntil) -> None:
    ledger = Ledger()
    ledger.free.set()

    async def all_settled() -> bool:
        return len(ledger.settled) == 9

    async with dispatching(ledger, batch_lines=5) as dispatcher:
        for partition in range(2):
            dispatcher.put(
                place(partition), [reservation(partition, offset, lines=2) for offset in range(4)]
            )
        dispatcher.put(place(2), [reservation(2, 0, lines=7)])  # more than a batch may have
        await wait_until(all_settled, what="all batches")
    assert sorted(map(len, ledger.batches)) == [1, 2, 2, 2, 2]
    for partition in range(2):
        assert [o for p, o in ledger.settled if p == partition] == [0, 1, 2, 3]


async def test_a_record_beyond_all_bounds_goes_alone(wait_until: WaitUntil) -> None:
    ledger = Ledger()
    ledger.free.set()

    async def all_settled() -> bool:
        return len(ledger.settled) == 3

    async with dispatching(ledger, batch_bytes=250) as dispatcher:
        dispatcher.put(place(0), [record(0, 0, 10), record(0, 1, 1000), record(0, 2, 10)])
        await wait_until(all_settled, what="all batches")
    assert ledger.batches == [[(0, 0)], [(0, 1)], [(0, 2)]]


async def test_a_dropped_partition_tells_how_far_it_is_settled_and_forgets_the_rest(
    wait_until: WaitUntil,
) -> None:
    ledger = Ledger()
    ledger.free.set()

    async def first_settled() -> bool:
        return len(ledger.settled) == 2

    async with dispatching(ledger) as dispatcher:
        dispatcher.put(place(0), [record(0, 4), record(0, 5)])
        await wait_until(first_settled, what="the first batch")
        ledger.free.clear()
        dispatcher.put(place(0), [record(0, 6)])
        await asyncio.sleep(0)
        (queue,) = await dispatcher.drop([place(0)])
        assert queue.settled_offset == 6
        assert place(0) not in dispatcher
    assert ledger.settled == [(0, 4), (0, 5)]


async def test_a_partition_that_waits_for_something_to_heal_holds_up_no_other(
    wait_until: WaitUntil,
) -> None:
    ledger = Ledger(sick={0})
    ledger.free.set()

    async def others() -> bool:
        return sorted(ledger.settled) == [(1, 0), (2, 0), (2, 1)]

    async def all_of_them() -> bool:
        return len(ledger.settled) == 6

    async with dispatching(ledger, batches_at_once=1) as dispatcher:
        for partition in range(3):
            dispatcher.put(place(partition), [record(partition, 0)])
        dispatcher.put(place(2), [record(2, 1)])
        await wait_until(others, what="the other partitions")
        dispatcher.put(place(0), [record(0, 1)])
        ledger.sick = set()
        ledger.healed.set()
        dispatcher.put(place(1), [record(1, 1)])
        await wait_until(all_of_them, what="the partition that healed")
    for partition in range(3):
        assert [o for p, o in ledger.settled if p == partition] == [0, 1]


async def test_partitions_that_wait_each_by_itself_starve_nobody(wait_until: WaitUntil) -> None:
    ledger = Ledger(sick={0, 1})
    ledger.free.set()

    async def waiting() -> bool:
        return len(ledger.batches) == 4  # shared first, then alone

    async def other() -> bool:
        return ledger.settled == [(2, 0)]

    async with dispatching(ledger, batches_at_once=1, beside_after_ms=0) as dispatcher:
        for partition in (0, 1):
            dispatcher.put(place(partition), [record(partition, 0)])
            await turns(20)
        await wait_until(waiting, what="two partitions that wait for something to heal")
        dispatcher.put(place(2), [record(2, 0)])
        await wait_until(other, what="the healthy partition")
        ledger.healed.set()


@pytest.mark.parametrize("later", range(6))
async def test_stopping_ends_though_something_changes_at_that_moment(later: int) -> None:
    ledger = Ledger()
    async with dispatching(ledger) as dispatcher:
        dispatcher.put(place(0), [record(0, 0)])
        await turns(5)
        dispatcher.put(place(1), [record(1, 0)])
        await turns(5)
        ledger.free.set()
        await turns(later)
        async with asyncio.timeout(60):
            await dispatcher.stop()


async def test_nothing_begins_after_a_stop() -> None:
    ledger = Ledger()
    async with dispatching(ledger) as dispatcher:
        await dispatcher.stop()
        dispatcher.put(place(0), [record(0, 0)])
        await turns(5)
    assert ledger.batches == []


async def test_a_queue_is_full_by_its_records_or_by_their_bytes() -> None:
    async with dispatching(Ledger(), queue_records=10, queue_bytes=1000) as dispatcher:
        dispatcher.put(place(0), [record(0, 0)])
        await turns(5)
        assert dispatcher.fullness(place(0)) == 0  # in its batch
        dispatcher.put(place(0), [record(0, offset) for offset in range(1, 6)])
        assert dispatcher.fullness(place(0)) == 0.5
        dispatcher.put(place(0), [record(0, 6, 1000)])
        assert dispatcher.fullness(place(0)) == 1
        assert dispatcher.fullness(place(1)) == 0


async def test_a_queue_is_full_by_the_headers_of_its_records(wait_until: WaitUntil) -> None:
    ledger = Ledger()

    def with_headers(offset: int, *headers: tuple[str, bytes | None]) -> ConsumerRecord:
        return replace(record(0, offset), headers=headers)

    async def all_settled() -> bool:
        return len(ledger.settled) == 4

    async with dispatching(ledger, queue_records=10, queue_bytes=10_000) as dispatcher:
        dispatcher.put(place(0), [with_headers(0, ("a", b"x" * 50_000))])
        assert dispatcher.fullness(place(0)) > 1
        await turns(5)
        assert dispatcher.fullness(place(0)) == 0  # in its batch
        dispatcher.put(place(0), [with_headers(1, ("n" * 50_000, None))])
        assert dispatcher.fullness(place(0)) > 1
        # Empty ones are no bytes of a record, but objects in memory.
        dispatcher.put(place(0), [with_headers(2, *[("", b"")] * 1000), with_headers(3)])
        (queue,) = dispatcher.queues
        assert queue.waiting_bytes > 150_000
        ledger.free.set()
        await wait_until(all_settled, what="all batches")
        assert queue.waiting_bytes == 0


async def test_what_is_put_back_counts_again(wait_until: WaitUntil) -> None:
    ledger = Ledger()

    async def begun() -> bool:
        return len(ledger.batches) == 1

    async def put_back() -> bool:
        return len(ledger.batches) == 2

    async with dispatching(ledger, batch_bytes=1500) as dispatcher:
        sent = [replace(record(0, n), headers=(("a", b"x" * 1000),)) for n in range(2)]
        dispatcher.put(place(0), sent)
        (queue,) = dispatcher.queues
        both = queue.waiting_bytes
        await wait_until(begun, what="a batch of the first")
        assert queue.waiting_bytes == both / 2  # the second was taken, and put back
        ledger.free.set()
        await wait_until(put_back, what="a batch of the second")
        assert queue.waiting_bytes == 0


async def test_what_was_given_up_of_partitions_that_stay_is_settled_again(
    wait_until: WaitUntil,
) -> None:
    ledger = Ledger()

    async def begun() -> bool:
        return len(ledger.batches) == 1

    async def again() -> bool:
        return ledger.settled == [(1, 0), (1, 1), (1, 2)]

    async with dispatching(ledger) as dispatcher:
        dispatcher.put(place(0), [record(0, 0)])
        dispatcher.put(place(1), [record(1, 0), record(1, 1)])
        await wait_until(begun, what="a batch of both")
        dispatcher.put(place(1), [record(1, 2)])
        (queue,) = await dispatcher.drop([place(0)])
        assert queue.settled_offset is None
        ledger.free.set()
        await wait_until(again, what="the other partition, in order")
