"""What FastStream hands over: nothing from before a rebalance counts after it."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import ConsumerRecord

from messaging.consumer import ConsumerStuck, TopicConsumer, make_broker
from messaging.settings import ConsumerSettings, KafkaSettings
from tests.messaging.test_dispatch import Ledger, place, record, turns

WaitUntil = Callable[..., Awaitable[None]]


class Membership:
    """Takes the place of the Kafka client: an assignment and committed offsets, set by the test."""

    def __init__(self, committed: dict[TopicPartition, int]) -> None:
        self.offsets = committed
        self.mine = set(committed)
        self.commits: list[dict[int, int]] = []
        self.seeks: list[tuple[int, int]] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.fault: Exception | None = None
        self.asked: Callable[[], object] = lambda: None
        self.pauses: set[TopicPartition] = set()
        self.looks = 0
        self.polled_at = monotonic()

    async def topics(self) -> set[str]:
        self.asked()
        if self.fault is not None:
            raise self.fault
        return set()

    def assignment(self) -> set[TopicPartition]:
        return set(self.mine)

    async def committed(self, partition: TopicPartition) -> int | None:
        await self.answers.wait()
        if self.fault is not None:
            raise self.fault
        return self.offsets.get(partition)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.seeks.append((partition.partition, offset))

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        if self.fault is not None:
            raise self.fault
        self.commits.append({one.partition: offset for one, offset in offsets.items()})

    def pause(self, partition: TopicPartition) -> None:
        self.pauses.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        self.pauses.discard(partition)

    def paused(self) -> set[TopicPartition]:
        self.looks += 1
        return set(self.pauses)


class Scene:
    """A consumer that is handed records by hand."""

    def __init__(self, ledger: Ledger, membership: Membership, **settings: Any) -> None:
        bounds = ConsumerSettings(**{"linger_ms": 0, **settings})
        self.faults: list[BaseException] = []
        self.membership = membership
        self.consumer = TopicConsumer(
            make_broker(KafkaSettings(), None, "test"),
            ledger,
            service="inventory",
            slot=0,
            kafka=KafkaSettings(),
            settings=bounds,
            fail=self.faults.append,
        )
        self.consumer._subscriber.consumer = membership

    async def take_over(self, *records: ConsumerRecord) -> None:
        await self.consumer._take_over(records)

    async def commit(self) -> None:
        await self.consumer._commit(self.consumer._dispatcher.queues)


async def test_a_partition_begins_at_its_committed_offset_and_nowhere_else() -> None:
    ledger = Ledger()
    ledger.free.set()
    scene = Scene(ledger, Membership({place(0): 10}))
    await scene.take_over(record(0, 12), record(0, 13))
    assert scene.membership.seeks == [(0, 10)]
    await scene.take_over(record(0, 10), record(0, 11), record(0, 12))
    await turns()
    await scene.commit()
    await scene.consumer.stop()
    assert ledger.settled == [(0, 10), (0, 11), (0, 12)]
    assert scene.membership.commits == [{0: 13}]


async def test_records_from_before_a_rebalance_begin_no_partition_in_the_middle() -> None:
    ledger = Ledger()
    scene = Scene(ledger, Membership({place(0): 10, place(1): 400}))
    await scene.consumer.on_partitions_assigned(scene.membership.mine)
    # Markers of transactions stand at 400 and 401: reading from 400 begins with 402.
    await scene.take_over(record(1, 402))
    await scene.take_over(record(1, 402), record(1, 403))
    await turns()
    scene.membership.answers.clear()
    handing = asyncio.create_task(
        scene.take_over(record(0, 10), record(1, 404), record(1, 405))  # fetched before ...
    )
    await turns()
    await scene.consumer.on_partitions_revoked(scene.membership.mine)  # 402 and 403 are given up
    scene.membership.answers.set()
    await handing
    ledger.free.set()
    await scene.consumer.on_partitions_assigned(scene.membership.mine)
    await turns()
    await scene.commit()
    await scene.consumer.stop()
    assert (ledger.settled, scene.membership.commits, scene.faults) == ([], [], [])


async def test_a_partition_that_left_while_it_was_asked_about_does_not_begin() -> None:
    ledger = Ledger()
    ledger.free.set()
    scene = Scene(ledger, Membership({place(0): 10}))
    await scene.consumer.on_partitions_assigned(scene.membership.mine)
    scene.membership.answers.clear()
    handing = asyncio.create_task(scene.take_over(record(0, 10)))
    await turns()
    await scene.consumer.on_partitions_revoked(scene.membership.mine)
    scene.membership.answers.set()
    await handing
    await turns()
    await scene.commit()
    await scene.consumer.stop()
    assert (ledger.settled, scene.membership.commits) == ([], [])


async def test_a_revoke_waits_for_the_batch_in_the_database_and_commits_it() -> None:
    ledger = Ledger(stubborn=True)
    scene = Scene(ledger, Membership({place(0): 10}))
    await scene.take_over(record(0, 10), record(0, 11))
    await turns()

    async def settle_later() -> None:
        await turns()
        ledger.free.set()

    settling = asyncio.create_task(settle_later())
    await scene.consumer.on_partitions_revoked(scene.membership.mine)
    await settling
    assert ledger.settled == [(0, 10), (0, 11)]
    assert scene.membership.commits == [{0: 12}]
    await scene.consumer.stop()


async def test_a_fault_while_taking_over_ends_the_process_before_anything_is_lost() -> None:
    ledger = Ledger()
    ledger.free.set()
    scene = Scene(ledger, Membership({place(0): 10, place(1): 20}))
    await scene.consumer.on_partitions_assigned(scene.membership.mine)
    await scene.take_over(record(1, 20))
    await turns()
    scene.membership.fault = TypeError("nobody thought of this")
    with pytest.raises(TypeError):
        await scene.take_over(record(0, 10), record(1, 21), record(1, 22))
    scene.membership.fault = None
    await scene.take_over(record(1, 23))
    await turns()
    await scene.commit()
    await scene.consumer.stop()
    assert ledger.settled == [(1, 20)]
    assert scene.membership.commits == [{1: 21}]
    assert scene.faults


async def test_a_fault_of_the_housekeeping_ends_the_process(wait_until: WaitUntil) -> None:
    ledger = Ledger()
    ledger.free.set()
    scene = Scene(ledger, Membership({place(0): 0}), commit_interval_ms=1)
    scene.consumer.start_housekeeping()
    await scene.take_over(record(0, 0))
    scene.membership.fault = TypeError("nobody thought of this")

    async def told() -> bool:
        return bool(scene.faults)

    await wait_until(told, what="the fault")
    scene.membership.fault = None
    await scene.consumer.stop()


async def test_a_consumer_that_stopped_polling_ends_the_process(wait_until: WaitUntil) -> None:
    scene = Scene(Ledger(), Membership({}), commit_interval_ms=1, stuck_seconds=0.05)
    scene.consumer.start_housekeeping()

    async def told() -> bool:
        return [type(fault) for fault in scene.faults] == [ConsumerStuck]

    await wait_until(told, what="the fault")
    await scene.consumer.stop()


async def test_a_process_that_stood_still_has_no_stuck_consumer(
    wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(Ledger(), Membership({}), commit_interval_ms=1)
    scene.consumer.start_housekeeping()
    monkeypatch.setattr("messaging.consumer.monotonic", lambda: monotonic() + 3600)

    async def looked() -> bool:
        return scene.membership.looks > 10

    await wait_until(looked, what="looks after it")
    assert scene.consumer.seconds_since_poll > 3000
    assert scene.faults == []
    await scene.consumer.stop()


async def test_a_consumer_without_kafka_may_wait(wait_until: WaitUntil) -> None:
    scene = Scene(Ledger(), Membership({}), commit_interval_ms=1, stuck_seconds=0.05)
    scene.membership.fault = KafkaConnectionError()
    scene.consumer.start_housekeeping()

    async def long_enough() -> bool:
        return scene.consumer.seconds_since_poll > 0.3

    await wait_until(long_enough, what="a long wait")
    assert scene.faults == []
    await scene.consumer.stop()


async def test_a_consumer_stops_also_in_the_moment_in_which_kafka_answers() -> None:
    scene = Scene(Ledger(), Membership({}), commit_interval_ms=1, stuck_seconds=0.001)
    scene.membership.fault = KafkaConnectionError()
    scene.consumer.start_housekeeping()
    housekeeping = scene.consumer._housekeeping
    assert housekeeping is not None
    scene.membership.asked = housekeeping.cancel
    done, _ = await asyncio.wait([housekeeping], timeout=20)
    scene.membership.asked = lambda: None
    await scene.consumer.stop()
    assert done
    assert housekeeping.cancelled()


@pytest.mark.parametrize(
    ("bound", "records"),
    [
        ({"queue_records": 4}, [record(0, offset) for offset in range(1, 5)]),
        ({"queue_bytes": 1000}, [record(0, 1, 1000)]),
    ],
    ids=["records", "bytes"],
)
async def test_a_partition_whose_queue_is_full_is_paused_until_it_is_half_empty(
    bound: dict[str, int], records: list[ConsumerRecord]
) -> None:
    ledger = Ledger()
    scene = Scene(ledger, Membership({place(0): 0}), **bound)
    await scene.take_over(record(0, 0))
    await turns()
    assert scene.membership.pauses == set()
    await scene.take_over(*records)
    scene.consumer._resume()
    assert scene.membership.pauses == {place(0)}
    ledger.free.set()
    await turns()
    scene.consumer._resume()
    assert scene.membership.pauses == set()
    await scene.consumer.stop()
