"""Dead letters: what could not be handled is kept whole, in a table and on a topic.

The table is the truth, the topic its published copy. Both are written in the transaction that
claims the message in the inbox, so a record is dead-lettered once.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson

from contracts.ids import derived_id, new_id
from contracts.topics import dead_letter_topic
from messaging.database import Connection, sql
from messaging.outbox import Outgoing, write_outgoing

LONGEST_ERROR_TEXT = 2000
"""Characters of an error's text that are kept: enough to recognise it, bounded."""

RawHeaders = tuple[tuple[str, bytes | None], ...]

_VARIABLE_PARTS = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|0x[0-9a-fA-F]+|\d+|'[^']*'|\"[^\"]*\""
)


@dataclass(frozen=True, slots=True)
class Record:
    """A Kafka record exactly as it came."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: RawHeaders

    @property
    def size_bytes(self) -> int:
        """Bytes of key, value and headers."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be handled, and why."""

    id: UUID
    service: str
    consumer: str
    message_id: UUID
    record: Record
    type: str | None
    error_type: str
    error_text: str
    fingerprint: str
    attempts: int
    created_at: datetime

    @classmethod
    def of(
        cls,
        record: Record,
        error: BaseException,
        *,
        service: str,
        consumer: str,
        message_id: UUID,
        message_type: str | None,
        attempts: int,
        now: datetime,
    ) -> "DeadLetter":
        """The dead letter of a record that failed with `error`."""
        error_type = type(error).__name__
        error_text = str(error)[:LONGEST_ERROR_TEXT].replace("\x00", "")
        return cls(
            id=new_id(),
            service=service,
            consumer=consumer,
            message_id=message_id,
            record=record,
            type=message_type and message_type.replace("\x00", ""),
            error_type=error_type,
            error_text=error_text,
            fingerprint=fingerprint(consumer, message_type, error_type, error_text),
            attempts=attempts,
            created_at=now,
        )


def fingerprint(consumer: str, message_type: str | None, error_type: str, error_text: str) -> str:
    """The same fault gives the same 16 hex digits: ids, numbers and quoted values do not count."""
    shape = _VARIABLE_PARTS.sub("?", error_text)
    parts = "\n".join((consumer, message_type or "", error_type, shape))
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def pack_headers(headers: RawHeaders) -> bytes:
    """Headers as JSON: `[[name, base64 or null], ...]`, exact for any bytes."""
    return orjson.dumps(
        [
            [name, None if value is None else base64.b64encode(value).decode()]
            for name, value in headers
        ]
    )


def unpack_headers(packed: bytes) -> RawHeaders:
    """The headers that `pack_headers` packed."""
    return tuple(
        (name, None if value is None else base64.b64decode(value))
        for name, value in orjson.loads(packed)
    )


def _published(letter: DeadLetter) -> Outgoing:
    """The copy for the topic: bytes, key and headers untouched, what we know added as headers."""
    about = {
        "dead-letter-id": letter.id,
        "dead-letter-error-type": letter.error_type,
        "dead-letter-error-text": letter.error_text,
        "dead-letter-fingerprint": letter.fingerprint,
        "dead-letter-consumer": letter.consumer,
        "dead-letter-topic": letter.record.topic,
        "dead-letter-partition": letter.record.partition,
        "dead-letter-offset": letter.record.offset,
        "dead-letter-attempts": letter.attempts,
    }
    added = tuple((name, str(value).encode(errors="replace")) for name, value in about.items())
    return Outgoing(
        message_id=derived_id(letter.id, "published"),
        topic=dead_letter_topic(letter.service).name,
        partition=0,
        key=letter.record.key,
        payload=letter.record.value,
        time=letter.created_at,
        raw_headers=pack_headers(letter.record.headers + added),
    )


_INSERT = sql("""
    INSERT INTO dead_letters (id, consumer, topic, partition, record_offset, message_id, key, value,
                              headers, type, error_type, error_text, fingerprint, attempts,
                              created_at)
    SELECT * FROM unnest(
        CAST(:id AS uuid[]), CAST(:consumer AS text[]), CAST(:topic AS text[]),
        CAST(:partition AS int[]), CAST(:record_offset AS bigint[]), CAST(:message_id AS uuid[]),
        CAST(:key AS bytea[]), CAST(:value AS bytea[]), CAST(:headers AS bytea[]),
        CAST(:type AS text[]), CAST(:error_type AS text[]), CAST(:error_text AS text[]),
        CAST(:fingerprint AS text[]), CAST(:attempts AS int[]), CAST(:created_at AS timestamptz[]))
    ON CONFLICT (consumer, message_id) DO NOTHING
""")


async def bury(connection: Connection, letters: Sequence[DeadLetter]) -> None:
    """Write dead letters to the table and, through the outbox, to their topic.

    The caller has claimed their message ids in the inbox in this same transaction.
    """
    if not letters:
        return
    await connection.execute(
        _INSERT,
        {
            "id": [letter.id for letter in letters],
            "consumer": [letter.consumer for letter in letters],
            "topic": [letter.record.topic for letter in letters],
            "partition": [letter.record.partition for letter in letters],
            "record_offset": [letter.record.offset for letter in letters],
            "message_id": [letter.message_id for letter in letters],
            "key": [letter.record.key for letter in letters],
            "value": [letter.record.value for letter in letters],
            "headers": [pack_headers(letter.record.headers) for letter in letters],
            "type": [letter.type for letter in letters],
            "error_type": [letter.error_type for letter in letters],
            "error_text": [letter.error_text for letter in letters],
            "fingerprint": [letter.fingerprint for letter in letters],
            "attempts": [letter.attempts for letter in letters],
            "created_at": [letter.created_at for letter in letters],
        },
    )
    await write_outgoing(connection, [_published(letter) for letter in letters])
