"""Where a transactional lane has come to: the last of its committed positions on Kafka."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from contracts.envelope import usable_id
from contracts.messages.relay import RelayPosition
from contracts.topics import RELAY_POSITIONS
from messaging.kafka import client_options
from messaging.relay.producers import left
from messaging.settings import KafkaSettings

FIRST_LOOK_RECORDS = 500
"""How far back the first look goes; each that finds nothing is followed by one ten times as far."""

FETCH_WAIT_MS = 50


async def last_position(kafka: KafkaSettings, transactional_id: str) -> RelayPosition | None:
    """The last committed position of a lane, or None. Raises `KafkaError`.

    The caller has fenced everyone else of this id, so no transaction of it is open. Others' may
    be, and are waited for, so the caller sets a bound.
    """
    place = TopicPartition(kafka.topic_prefix + RELAY_POSITIONS.name, 0)
    end = await _end(kafka, place)
    consumer = _consumer(kafka, "read_committed")
    try:
        await consumer.start()
        consumer.assign([place])
        first = (await consumer.beginning_offsets([place]))[place]
        look, behind = FIRST_LOOK_RECORDS, end
        while behind > first:
            begin = max(first, end - look)
            consumer.seek(place, begin)
            found = await _last_of(consumer, place, behind, transactional_id.encode())
            if found is not None:
                return RelayPosition.model_validate_json(found)
            look, behind = 10 * look, begin
        return None
    finally:
        await left(consumer.stop())


async def message_ids(
    kafka: KafkaSettings, transactional_id: str, begun_at: Mapping[TopicPartition, int]
) -> list[UUID]:
    """The messages that an open transaction of a lane holds, by where it begins in each partition.

    Raises `KafkaError`.
    """
    consumer = _consumer(kafka, "read_uncommitted")
    found: list[UUID] = []
    try:
        await consumer.start()
        consumer.assign(list(begun_at))
        ends = await consumer.end_offsets(list(begun_at))
        for place, begin in begun_at.items():
            consumer.seek(place, begin)
        async for record in _read(consumer, ends):
            found += _message_ids(record, kafka.topic_prefix, transactional_id)
        return found
    finally:
        await left(consumer.stop())


def _message_ids(record: Any, prefix: str, transactional_id: str) -> Iterable[UUID]:
    """Of an event its own id; of the lane's position those that it names, of another's none."""
    if record.topic != prefix + RELAY_POSITIONS.name:
        message_id = usable_id(record.headers)
        return () if message_id is None else (message_id,)
    if record.key != transactional_id.encode():
        return ()
    return RelayPosition.model_validate_json(record.value).message_ids


async def _last_of(
    consumer: Any, place: TopicPartition, end: int, transactional_id: bytes
) -> bytes | None:
    """The value of the last record with this key before `end`, from where the consumer is."""
    found: bytes | None = None
    async for record in _read(consumer, {place: end}):
        if record.key == transactional_id and record.offset < end:
            found = record.value
    return found


async def _read(consumer: Any, ends: Mapping[TopicPartition, int]) -> AsyncIterator[Any]:
    """The records from where the consumer is, until it is past each of these ends."""
    while any([await consumer.position(place) < end for place, end in ends.items()]):
        for records in (await consumer.getmany(timeout_ms=FETCH_WAIT_MS)).values():
            for record in records:
                yield record


async def _end(kafka: KafkaSettings, place: TopicPartition) -> int:
    """Where the topic ends, open transactions included: our position may stand behind one."""
    consumer = _consumer(kafka, "read_uncommitted")
    try:
        await consumer.start()
        if place.topic not in await consumer.topics():
            raise UnknownTopicOrPartitionError(place.topic)
        end: int = (await consumer.end_offsets([place]))[place]
        return end
    finally:
        await left(consumer.stop())


def _consumer(kafka: KafkaSettings, isolation: str) -> Any:
    return AIOKafkaConsumer(
        **client_options(kafka),
        client_id="trolley-positions",
        isolation_level=isolation,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
