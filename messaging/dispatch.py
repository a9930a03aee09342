"""What was fetched waits here per partition, and leaves in batches over all of them.

A batch costs about ten statements whatever is in it, so few large ones beat many small ones.
While one is in the database, what arrives waits and goes together in the next: Nagle's rule
(RFC 896). A second one starts beside it only when enough waits to be worth that, or when the
first takes long. No partition is in two batches at a time, so its order holds. Partitions whose
shared batch waits for something to heal go on one by one: it may be the fault of one of them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, Protocol, TypeAlias

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from contracts.topics import Topic
from messaging.delivery import Delivery, deliver
from messaging.records import Record, bytes_of
from messaging.settings import ConsumerSettings
from messaging.waiting import happens


class Processor(Protocol):
    """What becomes of the batches of one topic."""

    topic: Topic
    consumer: str

    async def settle(
        self, batch: Sequence[Delivery], abandon: asyncio.Event, patience: int | None = None
    ) -> bool:
        """Take a batch to its end; False when it has to be delivered again."""


DROP_WAIT_SECONDS = 5
"""How long a rebalance waits for the batch that is in the database, and then for its end."""

SHARED_PATIENCE = 3
"""Attempts of a batch; then each of its partitions waits by itself for what is to heal."""

HEADER_OVERHEAD_BYTES = 160
"""What a header takes in memory besides its name and value: two objects, their pair and a place.
A record of a megabyte may have half a million empty ones."""

Waiting: TypeAlias = ConsumerRecord[Any, Any] | Delivery


@dataclass(slots=True, eq=False)
class PartitionQueue:
    """The records of one partition that wait, and how far it is settled."""

    partition: TopicPartition
    waiting: deque[tuple[Waiting, int]] = field(default_factory=deque)
    """Each with its bytes, which are counted once."""
    waiting_bytes: int = 0
    settled_offset: int | None = None
    in_batch: bool = False
    alone: bool = False
    """Waits for something to heal that may be its own: it goes in batches without others."""

    def add(self, records: Iterable[ConsumerRecord[Any, Any]]) -> None:
        """Put records behind those that wait."""
        for record in records:
            size = _bytes_of(record)
            self.waiting.append((record, size))
            self.waiting_bytes += size

    def take(self) -> tuple[Waiting, int]:
        """Take the first away, with its bytes."""
        first, size = self.waiting.popleft()
        self.waiting_bytes -= size
        return first, size

    def put_back(self, deliveries: Sequence[Delivery]) -> None:
        """Put what was taken before all others again."""
        for delivery in reversed(deliveries):
            size = _bytes_of(delivery.record)
            self.waiting.appendleft((delivery, size))
            self.waiting_bytes += size


@dataclass(slots=True, eq=False)
class _Batch:
    """Records of several partitions on their way through the database."""

    parts: list[tuple[PartitionQueue, list[Delivery]]]
    started: float
    alone: bool = False
    abandon: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def deliveries(self) -> list[Delivery]:
        return [delivery for _, part in self.parts for delivery in part]


class Dispatcher:
    """Settles what is put into the queues of one subscription, batch after batch."""

    def __init__(
        self,
        processor: Processor,
        settings: ConsumerSettings,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._processor = processor
        self._settings = settings
        self._fail = fail
        self._queues: dict[TopicPartition, PartitionQueue] = {}
        self._batches: dict[_Batch, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._last_end = 0.0
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def queues(self) -> Iterable[PartitionQueue]:
        """The queues of the partitions that are read at present."""
        return self._queues.values()

    def __contains__(self, partition: TopicPartition) -> bool:
        return partition in self._queues

    def fullness(self, partition: TopicPartition) -> float:
        """How full the queue of a partition is, 1 being its bound in records or bytes."""
        queue = self._queues.get(partition)
        if queue is None:
            return 0
        return max(
            len(queue.waiting) / self._settings.queue_records,
            queue.waiting_bytes / self._settings.queue_bytes,
        )

    def put(self, partition: TopicPartition, records: Iterable[ConsumerRecord[Any, Any]]) -> None:
        """Take records over, in offset order; a partition that is new begins with them."""
        if self._stopped:
            return
        queue = self._queues.setdefault(partition, PartitionQueue(partition))
        queue.add(records)
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"batches-{partition.topic}")
            self._task.add_done_callback(partial(report_failure, self._fail))

    async def drop(self, partitions: Iterable[TopicPartition]) -> Sequence[PartitionQueue]:
        """Give partitions up: end their batches in the database, forget what waits.

        Answers their queues, which tell how far they are settled.
        """
        dropped = [self._queues.pop(p) for p in list(partitions) if p in self._queues]
        for queue in dropped:
            queue.waiting.clear()
        ending = [
            batch for batch in self._batches if any(queue in dropped for queue, _ in batch.parts)
        ]
        for batch in ending:
            batch.abandon.set()
        tasks = [self._batches[batch] for batch in ending]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=DROP_WAIT_SECONDS)
            for task in late:
                task.cancel()
            if late:  # not without bound: a commit that comes later is dropped by the inbox
                await asyncio.wait(late, timeout=DROP_WAIT_SECONDS)
        return dropped

    async def stop(self) -> Sequence[PartitionQueue]:
        """Give every partition up, and start no batch any more."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        return await self.drop(self._queues)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            wait = self._wait_seconds()
            if wait == 0:
                self._start(self._take())
                continue
            await happens(self._changed, wait)

    def _ready(self) -> list[PartitionQueue]:
        """The queues that a batch could take from."""
        return [queue for queue in self._queues.values() if queue.waiting and not queue.in_batch]

    def _wait_seconds(self) -> float | None:
        """Seconds until the next batch may start; 0 is now, None is when something changes."""
        ready = self._ready()
        if not ready:
            return None
        if any(queue.alone for queue in ready):
            return 0
        records, now = sum(len(queue.waiting) for queue in ready), monotonic()
        shared = [batch for batch in self._batches if not batch.alone]
        if not shared:
            linger = self._last_end + self._settings.linger_ms / 1000 - now
            return max(0.0, linger) if records < self._settings.batch_records else 0
        if len(shared) >= self._settings.batches_at_once:
            return None
        if records >= self._settings.beside_records:
            return 0
        newest = max(batch.started for batch in shared)
        return max(0.0, newest + self._settings.beside_after_ms / 1000 - now)

    def _take(self) -> _Batch:
        """The next batch, bounded in records, bytes and order lines; at least one record."""
        ready = self._ready()
        alone = [queue for queue in ready if queue.alone]
        batch = _Batch([], monotonic(), alone=bool(alone))
        records = size = lines = 0
        for queue in alone[:1] or ready:
            part: list[Delivery] = []
            while queue.waiting and records < self._settings.batch_records:
                waiting, its_bytes = queue.take()
                delivery = self._decoded(waiting)
                size += its_bytes
                lines += delivery.lines
                over = size > self._settings.batch_bytes or lines > self._settings.batch_lines
                if over and records:
                    queue.put_back([delivery])
                    records = self._settings.batch_records
                    break
                part.append(delivery)
                records += 1
            if part:
                batch.parts.append((queue, part))
                # To the end of the line, so that all partitions have their turn.
                self._queues[queue.partition] = self._queues.pop(queue.partition)
        return batch

    def _decoded(self, waiting: Waiting) -> Delivery:
        if isinstance(waiting, Delivery):
            return waiting
        topic = self._processor.topic
        record = Record(
            topic=topic.name,
            partition=waiting.partition,
            offset=waiting.offset,
            key=waiting.key,
            value=waiting.value,
            headers=tuple(waiting.headers),
        )
        return deliver(record, topic)

    def _start(self, batch: _Batch) -> None:
        for queue, _ in batch.parts:
            queue.in_batch = True
        task = asyncio.create_task(self._settle(batch))
        task.add_done_callback(partial(report_failure, self._fail))
        self._batches[batch] = task

    async def _settle(self, batch: _Batch) -> None:
        settled = False
        patience = None if batch.alone else SHARED_PATIENCE
        try:
            settled = await self._processor.settle(batch.deliveries, batch.abandon, patience)
        finally:
            del self._batches[batch]
            for queue, part in batch.parts:
                queue.in_batch = False
                queue.alone = not settled and not batch.abandon.is_set()
                if settled:
                    queue.settled_offset = part[-1].record.offset + 1
                else:
                    queue.put_back(part)
            self._last_end = monotonic()
            self._changed.set()


def _bytes_of(record: ConsumerRecord[Any, Any] | Record) -> int:
    """What a record that waits takes in memory, nearly: the broker bounds it with its headers."""
    return bytes_of(record) + HEADER_OVERHEAD_BYTES * len(record.headers)


def report_failure(fail: Callable[[BaseException], None], task: asyncio.Task[None]) -> None:
    """As a task's callback: tell `fail` of what ended it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        fail(error)
