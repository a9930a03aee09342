"""Dead letters, and messages parked behind them: what could not be handled is kept whole.

The table is the truth, the topic `<service>.dead-letters` its published copy. Both are written
in the transaction that claims the message in the inbox, so a record is put aside once.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from contracts.ids import derived_id, new_id
from contracts.messages.base import SagaMessage, SagaReply
from contracts.messages.order import StepBlocked, StepUnblocked
from contracts.topics import dead_letter_topic
from messaging.database import Connection, sql
from messaging.delivery import Delivery
from messaging.faults import shape_of, text_of
from messaging.outbox import Outgoing, write_outgoing
from messaging.records import Record, pack_headers

LONGEST_ERROR_TEXT = 2000
"""Characters of an error's text that are kept: enough to recognise it, bounded."""


class Status(StrEnum):
    """Where a message that was put aside stands; the last two are the end."""

    DEAD = "dead"
    PARKED = "parked"
    REPLAYING = "replaying"
    DISCARDING = "discarding"
    DONE = "done"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a message could not be handled; the same fault has the same fingerprint."""

    error_type: str
    error_text: str
    fingerprint: str
    attempts: int

    @classmethod
    def of(
        cls, error: BaseException, *, consumer: str, message_type: str | None, attempts: int
    ) -> "Fault":
        """What is kept of an error."""
        error_type = type(error).__name__
        text = text_of(error)[:LONGEST_ERROR_TEXT].replace("\x00", "")
        mark = fingerprint(consumer, message_type, error_type, text)
        return cls(error_type, text, mark, attempts)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was put aside: with its fault, or parked behind another of its key.

    `key_hash` stands for (record) key where messages of one key wait for each other. Of two with
    the same `copy_key` one is a copy of the other, as a re-sent command is.
    """

    id: UUID
    service: str
    consumer: str
    message_id: UUID
    record: Record
    type: str | None
    fault: Fault | None
    key_hash: bytes | None
    copy_key: bytes | None
    created_at: datetime

    @classmethod
    def of(
        cls,
        delivery: Delivery,
        fault: Fault | None,
        *,
        service: str,
        consumer: str,
        parks: bool,
        now: datetime,
    ) -> "DeadLetter":
        """What is kept of a delivery; without a fault it is parked."""
        held = key_hash(delivery) if parks else None
        return cls(
            id=new_id(),
            service=service,
            consumer=consumer,
            message_id=delivery.message_id,
            record=delivery.record,
            type=delivery.type and delivery.type.replace("\x00", ""),
            fault=fault,
            key_hash=held,
            copy_key=_copy_key(delivery, held) if held else None,
            created_at=now,
        )

    def as_facts(self) -> dict[str, object]:
        """What a log line says of it."""
        return {
            "consumer": self.consumer,
            "dead_letter": str(self.id),
            "message": str(self.message_id),
            "type": self.type,
            "error": self.fault and self.fault.error_type,
            "fingerprint": self.fault and self.fault.fingerprint,
        }

    @property
    def status(self) -> Status:
        """How it begins."""
        return Status.PARKED if self.fault is None else Status.DEAD


def fingerprint(consumer: str, message_type: str | None, error_type: str, error_text: str) -> str:
    """The same fault gives the same 16 hex digits: ids, numbers and quoted values do not count."""
    parts = "\n".join((consumer, message_type or "", error_type, shape_of(error_text)))
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def key_hash(delivery: Delivery) -> bytes | None:
    """Stands for a record's key, which may be longer than an index takes; None without one."""
    key = delivery.record.key
    return None if key is None else hashlib.sha256(key).digest()[:16]


def _copy_key(delivery: Delivery, key: bytes) -> bytes | None:
    """What another message has in common with this one if it asks or tells the same again.

    A command is known by its question. Answers and notes follow each other, so none is a copy:
    the same answer given again has the same message id.
    """
    body = None if delivery.incoming is None else delivery.incoming.body
    if isinstance(body, SagaReply | StepBlocked | StepUnblocked):
        return None
    if isinstance(body, SagaMessage):
        said = f"{body.checkout_id} {body.step} {body.round}".encode()
    else:
        said = delivery.record.value or b""
    return hashlib.sha256(key + f"{delivery.type}\n".encode() + said).digest()[:16]


_INSERT = sql("""
    INSERT INTO dead_letters (id, consumer, topic, partition, record_offset, message_id, key, value,
                              headers, type, error_type, error_text, fingerprint, attempts,
                              status, key_hash, copy_key, created_at)
    SELECT id, consumer, topic, partition, record_offset, message_id, key, value, headers, type,
           error_type, error_text, fingerprint, attempts, status, key_hash, copy_key, created_at
    FROM unnest(
        CAST(:id AS uuid[]), CAST(:consumer AS text[]), CAST(:topic AS text[]),
        CAST(:partition AS int[]), CAST(:record_offset AS bigint[]), CAST(:message_id AS uuid[]),
        CAST(:key AS bytea[]), CAST(:value AS bytea[]), CAST(:headers AS bytea[]),
        CAST(:type AS text[]), CAST(:error_type AS text[]), CAST(:error_text AS text[]),
        CAST(:fingerprint AS text[]), CAST(:attempts AS int[]), CAST(:status AS text[]),
        CAST(:key_hash AS bytea[]), CAST(:copy_key AS bytea[]), CAST(:created_at AS timestamptz[]))
        WITH ORDINALITY AS d (id, consumer, topic, partition, record_offset, message_id, key, value,
                              headers, type, error_type, error_text, fingerprint, attempts,
                              status, key_hash, copy_key, created_at, position)
    ORDER BY position
    ON CONFLICT (consumer, copy_key)
        WHERE copy_key IS NOT NULL AND status NOT IN ('done', 'discarded')
    DO NOTHING
""")


async def keep(connection: Connection, letters: Sequence[DeadLetter]) -> None:
    """Write what is put aside, in this order; of copies only the first.

    The caller has claimed their message ids in the inbox in this same transaction. The dead among
    them are also published, through the outbox.
    """
    if not letters:
        return
    faults = [letter.fault for letter in letters]
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
            "error_type": [fault and fault.error_type for fault in faults],
            "error_text": [fault and fault.error_text for fault in faults],
            "fingerprint": [fault and fault.fingerprint for fault in faults],
            "attempts": [fault.attempts if fault else 0 for fault in faults],
            "status": [letter.status.value for letter in letters],
            "key_hash": [letter.key_hash for letter in letters],
            "copy_key": [letter.copy_key for letter in letters],
            "created_at": [letter.created_at for letter in letters],
        },
    )
    dead = [letter for letter in letters if letter.fault is not None]
    await write_outgoing(connection, [published(letter, letter.created_at) for letter in dead])


def published(letter: DeadLetter, now: datetime) -> Outgoing:
    """The copy for the topic: bytes, key and headers untouched, what we know added as headers."""
    fault = letter.fault
    assert fault is not None  # noqa: S101 - what is only parked is not published
    about = {
        "dead-letter-id": letter.id,
        "dead-letter-error-type": fault.error_type,
        "dead-letter-error-text": fault.error_text,
        "dead-letter-fingerprint": fault.fingerprint,
        "dead-letter-consumer": letter.consumer,
        "dead-letter-topic": letter.record.topic,
        "dead-letter-partition": letter.record.partition,
        "dead-letter-offset": letter.record.offset,
        "dead-letter-attempts": fault.attempts,
    }
    added = tuple((name, str(value).encode(errors="replace")) for name, value in about.items())
    return Outgoing(
        message_id=derived_id(letter.id, f"published {fault.attempts}"),
        topic=dead_letter_topic(letter.service).name,
        partition=0,
        key=letter.record.key,
        payload=letter.record.value,
        time=now,
        raw_headers=pack_headers(letter.record.headers + added),
    )
