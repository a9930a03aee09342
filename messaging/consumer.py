"""The batch consumer: FastStream fetches, we decide when an offset is done.

FastStream's subscriber only hands raw records to a bounded queue per partition. A dispatcher
settles them in batches (`messaging.dispatch`), and offsets are committed behind the last settled
record: lazily, on revoke and at stop. Partitions whose queue is full, because a dependency is
away or the work is slow, are paused while polling goes on.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import monotonic
from typing import Any, cast

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage

from messaging.dispatch import Dispatcher, PartitionQueue, Processor, report_failure
from messaging.points import Point, reach
from messaging.settings import ConsumerSettings, KafkaSettings
from messaging.waiting import answers

log = structlog.get_logger()

POLL_SECONDS = 1
"""How long a poll waits for records; after it FastStream looks whether it is to stop."""

RETRY_MS = 300
"""How long a client waits before it asks Kafka again. Each of a service's topics has a client with
several tasks: at the usual 100 ms ten processes took 0.8 cores from a broker that was starting."""

RESUMED_FULLNESS = 0.5
"""A paused partition is read again when its queue is no fuller."""

COMMIT_WAIT_SECONDS = 5
"""How long a rebalance waits for its offsets to be committed."""


def make_broker(settings: KafkaSettings, security: Any, client_id: str) -> KafkaBroker:
    """A FastStream broker that only consumes."""
    return _Broker(
        settings.bootstrap_servers,
        security=security,
        client_id=client_id,
        consumer_only=True,
        allow_auto_create_topics=False,
        apply_types=False,
        graceful_timeout=None,
        retry_backoff_ms=RETRY_MS,
        logger=None,
    )


class _PatientConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka has no types
    """Waits for records where FastStream would look for them every few milliseconds."""

    def __init__(self, *topics: str, **options: Any) -> None:
        super().__init__(*topics, **options)
        self.polled_at = monotonic()
        """When records were last asked for."""

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord[Any, Any]]]:
        """Records as soon as there are any; none after `POLL_SECONDS`."""
        self.polled_at = monotonic()
        found: dict[TopicPartition, list[ConsumerRecord[Any, Any]]] = await super().getmany(
            *partitions, timeout_ms=POLL_SECONDS * 1000, max_records=max_records
        )
        return found


class _Broker(KafkaBroker):
    """A FastStream broker whose consumers are patient."""

    async def _connect(self) -> Any:
        connected = await super()._connect()
        config = self.config.broker_config
        made = cast("partial[AIOKafkaConsumer]", config.builder)
        config.builder = partial(_PatientConsumer, **made.keywords)
        return connected


class ConsumerStuck(RuntimeError):
    """A consumer has stopped polling though Kafka answers: only a fresh start can mend that."""

    def __init__(self, consumer: str, seconds: float) -> None:
        super().__init__(f"{consumer} has not asked for records for {seconds:.0f} s")


class TopicConsumer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """One topic that a service reads: its FastStream subscriber, workers and offsets."""

    def __init__(
        self,
        broker: KafkaBroker,
        processor: Processor,
        *,
        service: str,
        slot: int,
        kafka: KafkaSettings,
        settings: ConsumerSettings,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self._service = service
        self._dispatcher = Dispatcher(processor, settings, fail)
        self.name = processor.consumer
        self._committed: dict[TopicPartition, int] = {}
        self._sought: set[TopicPartition] = set()
        self._rebalances = 0
        self._fail = fail
        self._draining = False
        self._polled_at: float | None = None
        self._looks_since_poll = 0
        self._housekeeping: asyncio.Task[None] | None = None
        self.group = kafka.topic_prefix + self.name
        self._subscriber = broker.subscriber(
            kafka.topic_prefix + processor.topic.name,
            group_id=self.group,
            group_instance_id=f"{self.group}-{slot}",
            batch=True,
            max_records=settings.batch_records,
            batch_timeout_ms=0,
            fetch_max_wait_ms=settings.fetch_wait_ms,
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=settings.heartbeat_ms,
            max_partition_fetch_bytes=processor.topic.broker_max_message_bytes,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            ack_policy=AckPolicy.MANUAL,
            listener=self,
            parser=_parse,
            decoder=_decode,
        )
        self._subscriber(self._take_over)

    @property
    def assigned(self) -> int:
        """How many partitions are this replica's at present."""
        consumer = self._consumer
        return 0 if consumer is None else len(consumer.assignment())

    @property
    def _consumer(self) -> _PatientConsumer | None:
        return self._subscriber.consumer

    @property
    def seconds_since_poll(self) -> float:
        """How long ago records were last asked for."""
        consumer = self._consumer
        return 0 if consumer is None else monotonic() - consumer.polled_at

    async def reaches_kafka(self) -> bool:
        """Whether the cluster answers this consumer now."""
        consumer = self._consumer
        if consumer is None:
            return False
        try:
            await answers(consumer.topics)
        except (KafkaError, TimeoutError):
            return False
        return True

    def start_housekeeping(self) -> None:
        """Begin to commit offsets and to pause and resume partitions."""
        self._housekeeping = asyncio.create_task(self._keep_house(), name=f"offsets-{self.name}")
        self._housekeeping.add_done_callback(partial(report_failure, self._fail))

    async def stop(self) -> None:
        """Drain: finish the batches in the database, commit their offsets, keep membership.

        The caller stops the broker afterwards.
        """
        self._draining = True
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.wait([self._housekeeping])
        await self._commit_dropped(await self._dispatcher.stop())

    async def _take_over(self, records: Sequence[ConsumerRecord[Any, Any]]) -> None:
        try:
            await reach(Point.RECORDS_POLLED, self._service, map(_type_of, records))
            await self._hand_over(records)
        except Exception as error:
            # FastStream would go on behind these records, and they would be lost.
            self._draining = True
            self._fail(error)
            raise

    async def _hand_over(self, records: Sequence[ConsumerRecord[Any, Any]]) -> None:
        if self._draining:
            return
        rebalances = self._rebalances
        by_partition: dict[TopicPartition, list[ConsumerRecord[Any, Any]]] = {}
        for record in records:
            partition = TopicPartition(record.topic, record.partition)
            by_partition.setdefault(partition, []).append(record)
        for partition, group in by_partition.items():
            begun = partition in self._dispatcher or await self._begins_with(partition, group[0])
            if rebalances != self._rebalances:
                return  # these are from before it; they are read again from what is committed
            if begun:
                self._dispatcher.put(partition, group)
                if self._dispatcher.fullness(partition) >= 1:
                    self._pause(partition)

    async def _begins_with(
        self, partition: TopicPartition, first: ConsumerRecord[Any, Any]
    ) -> bool:
        """Whether a partition may begin with this record; else reading goes back to earlier ones.

        Records fetched just before a rebalance may be handed over just after it, while what
        came before them was dropped with the queue. Beginning with them would commit past
        that. So a queue begins at the committed offset; a gap that is still there after
        seeking to it is a real one (compaction, retention).
        """
        consumer = self._consumer
        if consumer is None or partition not in consumer.assignment():
            return False
        if first.offset > 0 and partition not in self._sought:
            try:
                committed = await consumer.committed(partition)
                if first.offset != committed:
                    self._sought.add(partition)
                    if committed is None:
                        await consumer.seek_to_beginning(partition)
                    else:
                        consumer.seek(partition, committed)
                    return False
            except (KafkaError, IllegalStateError) as error:
                log.warning("assignment moved", consumer=self.name, error=type(error).__name__)
                if partition in consumer.assignment():
                    consumer.seek(partition, first.offset)
                return False
        return True

    def _pause(self, partition: TopicPartition) -> None:
        consumer = self._consumer
        if consumer is not None and partition in consumer.assignment():
            consumer.pause(partition)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(self._settings.commit_interval_ms / 1000)
            try:
                self._resume()
                await self._commit(self._dispatcher.queues)
            except KafkaError as error:
                log.warning("offsets not committed", consumer=self.name, error=type(error).__name__)
            await self._watch_polling()

    async def _watch_polling(self) -> None:
        """Raise `ConsumerStuck` when polling has stopped; without Kafka it may have to wait.

        Our own turns are counted and not the clock: where a machine is slow, or stood still,
        polling had no more of them than we had, and a fresh start would mend nothing.
        """
        consumer = self._consumer
        if consumer is None or consumer.polled_at != self._polled_at:
            self._polled_at = None if consumer is None else consumer.polled_at
            self._looks_since_poll = 0
            return
        self._looks_since_poll += 1
        waited_ms = self._looks_since_poll * self._settings.commit_interval_ms
        if waited_ms <= self._settings.stuck_seconds * 1000 or not await self.reaches_kafka():
            return
        if consumer.polled_at == self._polled_at:
            raise ConsumerStuck(self.name, self.seconds_since_poll)

    def _resume(self) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        for partition in consumer.paused() & consumer.assignment():
            if self._dispatcher.fullness(partition) <= RESUMED_FULLNESS:
                consumer.resume(partition)

    async def _commit(self, queues: Iterable[PartitionQueue]) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        assignment = consumer.assignment()
        offsets = {
            queue.partition: queue.settled_offset
            for queue in queues
            if queue.settled_offset is not None
            and queue.partition in assignment
            and self._committed.get(queue.partition) != queue.settled_offset
        }
        if offsets:
            await reach(Point.OFFSETS_DUE, self._service, [self.name])
            await consumer.commit(offsets)
            self._committed.update(offsets)
            await reach(Point.OFFSETS_COMMITTED, self._service, [self.name])

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Before partitions go: end their batches, commit, drop what is queued."""
        self._rebalances += 1
        await self._commit_dropped(await self._dispatcher.drop(revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Start afresh: the committed offsets are where reading begins."""
        for partition in assigned:
            self._committed.pop(partition, None)
            self._sought.discard(partition)

    async def _commit_dropped(self, queues: Sequence[PartitionQueue]) -> None:
        try:
            async with asyncio.timeout(COMMIT_WAIT_SECONDS):
                await self._commit(queues)
        except (KafkaError, TimeoutError) as error:
            # Sound: the records come again and the inbox drops them.
            log.warning("offsets not committed", consumer=self.name, error=type(error).__name__)


def _type_of(record: ConsumerRecord[Any, Any]) -> str:
    return str(dict(record.headers).get("ce_type") or b"", errors="replace")


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
