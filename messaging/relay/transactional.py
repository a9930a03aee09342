"""The transactional lane: public events, once on the topic, in order per key.

One Kafka transaction holds the events of a batch and a record on `relay.positions` that names
exactly their outbox ids. Whoever takes over fences its predecessor, which settles that one's last
transaction, reads the last position, and deletes exactly those rows before it sends any. So a row
is on the topic, for readers of committed records, if and only if its id stands in a position;
and it is deleted only then.

A batch is deleted when readers of committed records have got past it, which is a little later than
its commit: Kafka can forget to write the markers that end a transaction. Who takes over ends it.

There is one way out of every failure: the producer is dropped, and the next one starts over.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from contracts.messages.relay import RelayPosition
from contracts.topics import RELAY_POSITIONS, TOPICS
from messaging.clock import utc_now
from messaging.kafka import client_options
from messaging.outbox import address
from messaging.points import Point, reach
from messaging.relay import rows as outbox
from messaging.relay.lead import START_SECONDS, Relay
from messaging.relay.markers import Last, Markers
from messaging.relay.positions import last_position, message_ids
from messaging.relay.producers import close
from messaging.relay.rows import Place
from messaging.settings import KafkaSettings, RelaySettings
from messaging.waiting import happens

log = structlog.get_logger()

TRANSACTION_SECONDS = 10
"""A transaction that nobody ends is aborted by the broker: as long may a frozen or dead relay keep
readers of committed records waiting."""

FORGOTTEN_SECONDS = 30
"""Others' transactions, each ended within TRANSACTION_SECONDS, keep readers from our position for
less than this; if nobody has got past it by then its own end is missing."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why a transaction did not commit, as far as it is known, and at which partition."""

    error: BaseException
    place: Place | None = None


class TransactionalRelay(Relay):
    """Carries public events."""

    lane = "transactional"
    # Longer than a take-over, or a transaction, is silent; a producer that wakes up is fenced.
    frozen_seconds = 20
    # A partition that fails takes a whole transaction's time with it: it rests longer than that.
    longest_rest_ms = 60_000

    def __init__(
        self, service: str, database_url: str, kafka: KafkaSettings, settings: RelaySettings
    ) -> None:
        super().__init__(service, database_url, kafka, settings)
        self._position: dict[TopicPartition, int] = {}
        """Where our last one stands, while nobody has seen readers get past it."""
        self._position_at = 0.0

    @property
    def _transactional_id(self) -> str:
        """Names this lane to Kafka: the same for every replica, ever."""
        return f"{self._kafka.topic_prefix}{self._service}.events"

    async def _lead(self, connection: Any, stop: asyncio.Event) -> None:
        """Take over and carry; after a failure, take over from ourselves."""
        most = self._settings.batch_rows
        unsettled = await self._has_begun()
        while unsettled or self._position or await self._has_rows(connection, stop):
            unsettled = False
            producer = AIOKafkaProducer(
                **client_options(self._kafka),
                client_id=f"{self._service}-events-relay",
                transactional_id=self._transactional_id,
                transaction_timeout_ms=TRANSACTION_SECONDS * 1000,
                max_batch_size=outbox.LARGEST_BATCH_BYTES,
                max_request_size=outbox.LARGEST_REQUEST_BYTES,
                linger_ms=0,
            )
            try:
                async with self._markers() as markers:
                    await self._take_over(connection, producer, markers)
                    failed, carried = await self._carry(connection, producer, markers, stop, most)
            finally:
                await close(producer)
            if failed is None:
                return
            if isinstance(failed.error, MessageSizeTooLargeError | RecordListTooLargeError):
                # One of these rows is too large: halve, down to the one, and flag that.
                if len(carried) == 1:
                    await outbox.flag(
                        connection, self.lane, carried[0]["id"], failed.error, self._service
                    )
                    most = self._settings.batch_rows
                else:
                    most = len(carried) // 2
                continue
            if isinstance(failed.error, TimeoutError):
                most = max(1, len(carried) // 2)  # perhaps it was too much for the time
            if failed.place is not None:
                self._rests.begin(failed.place, failed.error)
                continue
            log.warning(
                "events wait", error=type(failed.error).__name__, wait_ms=self._backoff.wait_ms
            )
            await self._backoff.rest(stop)

    async def _has_begun(self) -> bool:
        """Whether this lane has ever sent: then its predecessor's end may keep others waiting."""
        async with asyncio.timeout(START_SECONDS), self._markers() as markers:
            return await markers.last(self._transactional_id) is not None

    def _markers(self) -> AbstractAsyncContextManager[Markers]:
        return Markers.opened(self._kafka, f"{self._service}-markers")

    async def _has_rows(self, connection: Any, stop: asyncio.Event) -> bool:
        """Wait until there is something to send; False when stopped."""
        while not stop.is_set():
            self._woken.clear()
            left_out = self._rests.now()
            if await outbox.read(connection, self.lane, self._settings, left_out=left_out, most=1):
                return True
            await self._idle(stop)
        return False

    async def _take_over(
        self, connection: Any, producer: AIOKafkaProducer, markers: Markers
    ) -> None:
        """Settle what the one before us began, and delete what it has published.

        Another service's open transaction may stand before our position. It ends, at the latest,
        when the broker aborts it; until then we try again.
        """
        async with asyncio.timeout(START_SECONDS):
            last = await markers.last(self._transactional_id)
            # The broker gives us an id: by that the predecessor is fenced, and its transaction is
            # committed or aborted.
            await producer.start()
            await reach(Point.LANE_FENCED, self._service, [self.lane])
            self._position = {}
            if last is not None:
                await self._end_forgotten(connection, markers, last)
            position = await last_position(self._kafka, self._transactional_id)
        if position is not None:
            await outbox.delete_published(connection, self.lane, position)
        await reach(Point.LANE_CAUGHT_UP, self._service, [self.lane])
        log.info("relay leads", lane=self.lane)

    async def _end_forgotten(self, connection: Any, markers: Markers, last: Last) -> None:
        """End what Kafka forgot to end of our predecessor's transactions, as it was meant to end.

        Where the coordinator has forgotten that too, because somebody has taken over since and
        not come so far, our own rows tell it: they are deleted only when readers have got past.
        """
        unended = await markers.unended(self._places(), last.producer_id)
        if not unended:
            return
        commit = last.committed
        if commit is None:
            begun_at = {one.place: one.begun_at for one in unended}
            ids = await message_ids(self._kafka, self._transactional_id, begun_at)
            commit = not await outbox.are_there(connection, self.lane, ids)
        log.error(
            "transaction without its end",
            transactional_id=self._transactional_id,
            partitions=[f"{one.place.topic} {one.place.partition}" for one in unended],
            commit=commit,
        )
        await markers.end(unended, commit=commit)

    def _places(self) -> list[TopicPartition]:
        """Every partition that this lane writes to."""
        written = [
            topic for topic in TOPICS if topic.lane == self.lane and self._service in topic.writers
        ]
        return [
            TopicPartition(self._kafka.topic_prefix + topic.name, partition)
            for topic in (*written, RELAY_POSITIONS)
            for partition in range(topic.partitions)
        ]

    async def _carry(
        self,
        connection: Any,
        producer: AIOKafkaProducer,
        markers: Markers,
        stop: asyncio.Event,
        most: int,
    ) -> tuple[_Failed | None, Sequence[Any]]:
        """Carry batches until stopped (None) or until one fails; the rows of the last one."""
        while not stop.is_set():
            self._woken.clear()
            rows = await outbox.read(
                connection, self.lane, self._settings, left_out=self._rests.now(), most=most
            )
            await reach(Point.ROWS_READ, self._service, outbox.types_of(rows))
            if not rows:
                self._position = self._position and await markers.missing(self._position)
                if self._position and monotonic() - self._position_at > FORGOTTEN_SECONDS:
                    return _Failed(TimeoutError("readers do not get past our position")), ()
                self._backoff.reset()
                await self._idle(stop)
                continue
            failed = await self._publish(producer, markers, rows)
            if failed is not None:
                return failed, rows
            await reach(Point.LANE_COMMITTED, self._service, outbox.types_of(rows))
            await outbox.delete(connection, self.lane, [row["id"] for row in rows], self._service)
            await reach(Point.LANE_DELETED, self._service, outbox.types_of(rows))
            most = self._settings.batch_rows
            self._backoff.reset()
            for place in outbox.by_place(rows):
                self._rests.works(place)
            if len(rows) < self._settings.batch_rows // 2:
                await happens(stop, self._settings.linger_ms / 1000)
        return None, ()

    async def _publish(
        self, producer: AIOKafkaProducer, markers: Markers, rows: Sequence[Any]
    ) -> _Failed | None:
        """Rows and their position in one transaction, there for readers; else what went wrong.

        After a failure nobody here knows whether it committed: the position will tell.
        """
        at: Place | None = None
        sent: list[tuple[Place | None, asyncio.Future[Any]]] = []
        try:
            async with asyncio.timeout(TRANSACTION_SECONDS):
                await producer.begin_transaction()
                for at, group in outbox.by_place(rows).items():
                    index, topic = 0, self._kafka.topic_prefix + at[0]
                    while index < len(group):
                        batch, index = outbox.batch_of(producer, group, index, len(group))
                        sent.append((at, await producer.send_batch(batch, topic, partition=at[1])))
                at = None
                sent.append((at, await self._send_position(producer, rows)))
                await reach(Point.LANE_SENT, self._service, outbox.types_of(rows))
                offsets: dict[TopicPartition, int] = {}
                for place, confirmation in sent:
                    at = place
                    record = await confirmation
                    offsets[record.topic_partition] = record.offset
                at = None
                await producer.commit_transaction()
                # Others' transactions may keep readers from the position, which is the last sent.
                position = record.topic_partition
                self._position = {position: offsets.pop(position)}
                self._position_at = monotonic()
                await markers.came(offsets)
        except (KafkaError, TimeoutError, AssertionError) as error:
            return _Failed(error, at)
        finally:
            for _, confirmation in sent:
                confirmation.cancel()
        return None

    async def _send_position(
        self, producer: AIOKafkaProducer, rows: Sequence[Any]
    ) -> asyncio.Future[Any]:
        position = RelayPosition(
            transactional_id=self._transactional_id,
            outbox_ids=tuple(row["id"] for row in rows),
            message_ids=tuple(row["message_id"] for row in rows),
        )
        record = address(position, source=self._service, now=utc_now())
        assert record.envelope is not None  # noqa: S101 - `address` has put it there
        confirmation: asyncio.Future[Any] = await producer.send(
            self._kafka.topic_prefix + record.topic,
            record.payload,
            key=record.key,
            partition=record.partition,
            headers=record.envelope.headers(),
        )
        return confirmation
