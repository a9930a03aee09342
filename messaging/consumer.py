"""The batch consumer: FastStream fetches, we decide when an offset is done.

FastStream's subscriber only hands raw records to a bounded queue per partition. A worker per
partition takes batches from it, settles each in the database, and notes the offset behind the
last settled record; offsets are committed lazily, on revoke and at stop. Partitions whose queue
is full, because a dependency is away or the work is slow, are paused while polling goes on.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage

from messaging.batch import BatchProcessor, Delivery, Subscription, deliver
from messaging.database import Database
from messaging.dead_letters import Record
from messaging.settings import ConsumerSettings, KafkaSettings

log = structlog.get_logger()

POLL_MS = 10
"""FastStream sleeps as long again after an empty poll, so this bounds the latency of a hop."""

READY_WAIT_SECONDS = 1

REVOKE_WAIT_SECONDS = 5
"""How long a rebalance waits for the batch that is in the database."""


def make_broker(settings: KafkaSettings, security: Any, client_id: str) -> KafkaBroker:
    """A FastStream broker that only consumes."""
    return KafkaBroker(
        settings.bootstrap_servers,
        security=security,
        client_id=client_id,
        consumer_only=True,
        allow_auto_create_topics=False,
        apply_types=False,
        graceful_timeout=None,
        logger=None,
    )


class PartitionWorker:
    """Settles the records of one partition, batch after batch, in order."""

    def __init__(
        self,
        partition: TopicPartition,
        processor: BatchProcessor,
        settings: ConsumerSettings,
        fail: Callable[[BaseException], None],
    ) -> None:
        self.partition = partition
        self.settled_offset: int | None = None
        self._processor = processor
        self._settings = settings
        self._queue: deque[ConsumerRecord[Any, Any]] = deque()
        self._arrived = asyncio.Event()
        self._abandon = asyncio.Event()
        self._carried: Delivery | None = None
        self._task = asyncio.create_task(self._run(), name=f"worker-{partition}")
        self._task.add_done_callback(partial(_report_failure, fail))

    @property
    def waiting(self) -> int:
        """Records that wait for their batch."""
        return len(self._queue)

    def put(self, records: Iterable[ConsumerRecord[Any, Any]]) -> None:
        """Take records over, in offset order."""
        self._queue.extend(records)
        self._arrived.set()

    async def stop(self) -> None:
        """Finish the batch that is in the database; drop what is queued."""
        self._queue.clear()
        self._carried = None
        self._abandon.set()
        self._arrived.set()
        done, _ = await asyncio.wait([self._task], timeout=REVOKE_WAIT_SECONDS)
        if not done:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        last_end = 0.0
        while not self._abandon.is_set():
            if not self._queue and self._carried is None:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            pause = last_end + self._settings.linger_ms / 1000 - monotonic()
            if pause > 0 and len(self._queue) < self._settings.batch_records:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._abandon.wait(), pause)
                continue
            batch = self._take()
            if await self._processor.settle(batch, self._abandon):
                self.settled_offset = batch[-1].record.offset + 1
            last_end = monotonic()

    def _take(self) -> list[Delivery]:
        """The next batch, bounded in records, bytes and order lines; at least one record."""
        batch: list[Delivery] = []
        size = lines = 0
        while len(batch) < self._settings.batch_records:
            delivery = self._carried or self._next()
            self._carried = None
            if delivery is None:
                break
            size += delivery.record.size_bytes
            lines += delivery.lines
            over = size > self._settings.batch_bytes or lines > self._settings.batch_lines
            if over and batch:
                self._carried = delivery
                break
            batch.append(delivery)
        return batch

    def _next(self) -> Delivery | None:
        if not self._queue:
            return None
        raw = self._queue.popleft()
        record = Record(
            topic=self._processor.subscription.topic.name,
            partition=raw.partition,
            offset=raw.offset,
            key=raw.key,
            value=raw.value,
            headers=tuple(raw.headers),
        )
        return deliver(record, self._processor.subscription.topic)


def _report_failure(fail: Callable[[BaseException], None], task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        fail(error)


class TopicConsumer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """One subscription of a service: its FastStream subscriber, workers and offsets."""

    def __init__(
        self,
        broker: KafkaBroker,
        subscription: Subscription,
        *,
        service: str,
        slot: int,
        database: Database,
        kafka: KafkaSettings,
        settings: ConsumerSettings,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self._fail = fail
        self._processor = BatchProcessor(service, subscription, database, settings)
        self._workers: dict[TopicPartition, PartitionWorker] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._sought: set[TopicPartition] = set()
        self._draining = False
        self._housekeeping: asyncio.Task[None] | None = None
        self.group = kafka.topic_prefix + self._processor.consumer
        self._subscriber = broker.subscriber(
            kafka.topic_prefix + subscription.topic.name,
            group_id=self.group,
            group_instance_id=f"{self.group}-{slot}",
            batch=True,
            max_records=settings.batch_records,
            batch_timeout_ms=POLL_MS,
            fetch_max_wait_ms=settings.fetch_wait_ms,
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=settings.session_timeout_ms // 4,
            max_partition_fetch_bytes=subscription.topic.broker_max_message_bytes,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            ack_policy=AckPolicy.MANUAL,
            listener=self,
            parser=_parse,
            decoder=_decode,
        )
        self._subscriber(self._hand_over)

    @property
    def name(self) -> str:
        """The consumer's name in the inbox, in metrics and in logs."""
        return self._processor.consumer

    @property
    def _consumer(self) -> AIOKafkaConsumer | None:
        return self._subscriber.consumer

    async def reaches_kafka(self) -> bool:
        """Whether the cluster answers this consumer now."""
        consumer = self._consumer
        if consumer is None:
            return False
        try:
            await asyncio.wait_for(consumer.topics(), READY_WAIT_SECONDS)
        except (KafkaError, TimeoutError):
            return False
        return True

    def start_housekeeping(self) -> None:
        """Begin to commit offsets and to pause and resume partitions."""
        self._housekeeping = asyncio.create_task(self._keep_house(), name=f"offsets-{self.name}")

    async def stop(self) -> None:
        """Drain: finish the batches in the database, commit their offsets, keep membership.

        The caller stops the broker afterwards.
        """
        self._draining = True
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.wait([self._housekeeping])
        await self._drop(list(self._workers))

    async def _hand_over(self, records: Sequence[ConsumerRecord[Any, Any]]) -> None:
        if self._draining:
            return
        by_partition: dict[TopicPartition, list[ConsumerRecord[Any, Any]]] = {}
        for record in records:
            partition = TopicPartition(record.topic, record.partition)
            by_partition.setdefault(partition, []).append(record)
        for partition, group in by_partition.items():
            worker = self._workers.get(partition) or await self._worker_from(partition, group[0])
            if worker is None:
                continue
            worker.put(group)
            if worker.waiting >= self._settings.queue_records:
                self._pause(partition)

    async def _worker_from(
        self, partition: TopicPartition, first: ConsumerRecord[Any, Any]
    ) -> PartitionWorker | None:
        """A worker that begins with `first`; None when reading must begin earlier.

        Records fetched just before a rebalance may be handed over just after it, while what
        came before them was dropped with the old worker. Beginning with them would commit past
        that. So a new worker begins at the committed offset; a gap that is still there after
        seeking to it is a real one (compaction, retention).
        """
        consumer = self._consumer
        if consumer is None or partition not in consumer.assignment():
            return None
        if first.offset > 0 and partition not in self._sought:
            try:
                committed = await consumer.committed(partition)
                if first.offset != committed:
                    self._sought.add(partition)
                    if committed is None:
                        await consumer.seek_to_beginning(partition)
                    else:
                        consumer.seek(partition, committed)
                    return None
            except (KafkaError, IllegalStateError) as error:
                log.warning("assignment moved", consumer=self.name, error=type(error).__name__)
                if partition in consumer.assignment():
                    consumer.seek(partition, first.offset)
                return None
        worker = PartitionWorker(partition, self._processor, self._settings, self._fail)
        self._workers[partition] = worker
        return worker

    def _pause(self, partition: TopicPartition) -> None:
        consumer = self._consumer
        if consumer is not None and partition in consumer.assignment():
            consumer.pause(partition)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(self._settings.commit_interval_ms / 1000)
            try:
                self._resume()
                await self._commit(self._workers.values())
            except KafkaError as error:
                log.warning("offsets not committed", consumer=self.name, error=type(error).__name__)

    def _resume(self) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        for partition in consumer.paused() & consumer.assignment():
            worker = self._workers.get(partition)
            if worker is None or worker.waiting <= self._settings.queue_records // 2:
                consumer.resume(partition)

    async def _commit(self, workers: Iterable[PartitionWorker]) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        assignment = consumer.assignment()
        offsets = {
            worker.partition: worker.settled_offset
            for worker in workers
            if worker.settled_offset is not None
            and worker.partition in assignment
            and self._committed.get(worker.partition) != worker.settled_offset
        }
        if offsets:
            await consumer.commit(offsets)
            self._committed.update(offsets)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Before partitions go: end their batches, commit, drop what is queued."""
        await self._drop(list(revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Start afresh: the committed offsets are where reading begins."""
        for partition in assigned:
            self._committed.pop(partition, None)
            self._sought.discard(partition)

    async def _drop(self, partitions: Sequence[TopicPartition]) -> None:
        workers = [self._workers.pop(p) for p in partitions if p in self._workers]
        if not workers:
            return
        await asyncio.gather(*(worker.stop() for worker in workers))
        try:
            await asyncio.wait_for(self._commit(workers), REVOKE_WAIT_SECONDS)
        except (KafkaError, TimeoutError) as error:
            # Sound: the records come again and the inbox drops them.
            log.warning("offsets not committed", consumer=self.name, error=type(error).__name__)


async def _parse(records: Sequence[ConsumerRecord[Any, Any]]) -> KafkaMessage:
    # FastStream's own parser decodes every header as UTF-8 and drops the batch when one is not.
    return KafkaMessage(body=records, raw_message=records, headers={}, consumer=_NoCommits())


async def _decode(message: KafkaMessage) -> Any:
    return message.raw_message


class _NoCommits:
    """Offsets are committed here and nowhere else."""

    async def commit(self) -> None:
        raise AssertionError("offsets are committed by TopicConsumer")

    def seek(self, partition: TopicPartition, offset: int) -> None:
        raise AssertionError("positions are kept by TopicConsumer")
