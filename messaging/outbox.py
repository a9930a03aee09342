"""The outbox: what is to be sent is committed with the state that it tells of.

Rows are written after the aggregate's root row is locked, so the order of ids is the order per
key. Partition, key, headers and payload are fixed here; the relay only carries them.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from contracts.envelope import Envelope
from contracts.ids import new_id
from contracts.messages.base import Event, Message, SagaMessage
from contracts.partitioning import partition_of
from contracts.topics import TOPICS_BY_NAME, Topic
from contracts.values import Struct
from messaging.database import Connection
from messaging.tracing import current_traceparent

HEADER_ALLOWANCE_BYTES = 4096
"""Reserved for key and headers when a payload is checked against its topic's largest record."""


class MessageTooLarge(ValueError):
    """A message of ours is larger than its topic allows; nothing of its transaction is kept."""

    def __init__(self, topic: str, size_bytes: int, largest_bytes: int) -> None:
        super().__init__(f"a message of {size_bytes} bytes exceeds {largest_bytes} on {topic}")
        self.topic = topic
        self.size_bytes = size_bytes
        self.largest_bytes = largest_bytes


class Outgoing(Struct, frozen=True):
    """A row of the outbox: a record as it will stand on Kafka.

    `raw_headers` (see `messaging.dead_letters`) replaces the envelope where a record is passed
    on with headers that are not ours.
    """

    message_id: UUID
    topic: str
    partition: int
    key: bytes | None
    payload: bytes | None
    time: datetime
    envelope: Envelope | None = None
    raw_headers: bytes | None = None


def address(
    message: Message,
    *,
    source: str,
    now: datetime,
    cause: Envelope | None = None,
    message_id: UUID | None = None,
) -> Outgoing:
    """Put a message into its envelope. Raises `MessageTooLarge`."""
    topic = message.topic
    key = message.key.encode()
    payload = message.model_dump_json().encode()
    check_size(topic, payload)
    saga = message if isinstance(message, SagaMessage) else None
    envelope = Envelope(
        id=message_id or new_id(),
        type=message.type,
        source=f"/trolley/{source}",
        time=now,
        subject=message.subject,
        shop_id=message.shop_id,
        correlation_id=message.correlation_id,
        causation_id=cause.id if cause else None,
        traceparent=cause.traceparent if cause else current_traceparent(),
        step=saga.step.value if saga else None,
        round=saga.round if saga else None,
        event_seq=message.event_seq if isinstance(message, Event) else None,
    )
    return Outgoing(
        message_id=envelope.id,
        topic=topic.name,
        partition=partition_of(key, topic.partitions),
        key=key,
        payload=payload,
        time=now,
        envelope=envelope,
    )


def check_size(topic: Topic, payload: bytes) -> None:
    """Refuse a payload that its topic could not carry. Raises `MessageTooLarge`."""
    size = len(payload) + HEADER_ALLOWANCE_BYTES
    if size > topic.largest_record_bytes:
        raise MessageTooLarge(topic.name, size, topic.largest_record_bytes)


_RECORD = ("message_id", "lane", "topic", "partition", "key", "payload", "time", "raw_headers")
_ENVELOPE = (
    *("type", "source", "subject", "shop_id", "correlation_id", "causation_id", "traceparent"),
    *("step", "round", "event_seq"),
)
_NO_ENVELOPE = (None,) * len(_ENVELOPE)


async def write_outgoing(connection: Connection, outgoing: Sequence[Outgoing]) -> None:
    """Insert rows, in this order; the commit of this transaction wakes the relay."""
    if not outgoing:
        return
    rows = [(*_record_of(row), *_envelope_of(row.envelope)) for row in outgoing]
    await connection.append("outbox", _RECORD + _ENVELOPE, rows)
    connection.note_emitted({TOPICS_BY_NAME[row.topic].lane for row in outgoing})


def _record_of(row: Outgoing) -> tuple[object, ...]:
    return (
        row.message_id,
        TOPICS_BY_NAME[row.topic].lane,
        row.topic,
        row.partition,
        row.key,
        row.payload,
        row.time,
        row.raw_headers,
    )


def _envelope_of(envelope: Envelope | None) -> tuple[object, ...]:
    if envelope is None:
        return _NO_ENVELOPE
    return (
        envelope.type,
        envelope.source,
        envelope.subject,
        envelope.shop_id,
        envelope.correlation_id,
        envelope.causation_id,
        envelope.traceparent,
        envelope.step,
        envelope.round,
        envelope.event_seq,
    )


async def emit(
    connection: Connection,
    messages: Iterable[Message],
    *,
    source: str,
    now: datetime,
    cause: Envelope | None = None,
) -> None:
    """Send messages with this transaction; the root rows they tell of are locked already.

    For sweepers, workers and routes that do not go through a fold. `source` is the service.
    Raises `MessageTooLarge`.
    """
    await write_outgoing(
        connection,
        [address(message, source=source, now=now, cause=cause) for message in messages],
    )
