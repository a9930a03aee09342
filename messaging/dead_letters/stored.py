"""Dead letters as they stand in the table, for whoever replays, shows or changes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from contracts.topics import Topic
from messaging.database import Connection, sql
from messaging.database import Record as Row
from messaging.dead_letters.letters import DeadLetter, Fault, Status
from messaging.delivery import Delivery, deliver
from messaging.records import Record, unpack_headers

MOST_LOOKED_AT = 1000
"""Parked messages of one key that a replay looks through for one that takes it back."""

LARGEST_LOOKED_AT = 16 * 1024
"""Bytes of such a message: a release or a close names things, and carries none."""


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A row of the table. What is replayed is its edited value, where there is one."""

    seq: int
    letter: DeadLetter
    status: Status
    edited_value: bytes | None
    run_id: UUID | None
    outcome: str | None
    changed_at: datetime | None

    @property
    def value(self) -> bytes | None:
        """The value that counts."""
        return self.letter.record.value if self.edited_value is None else self.edited_value

    def delivery(self, topic: Topic) -> Delivery:
        """The record as it is to be handled."""
        of = self.letter.record
        record = Record(of.topic, of.partition, of.offset, of.key, self.value, of.headers)
        return deliver(record, topic)


_PLACE = sql("SELECT consumer, key_hash, message_id, status FROM dead_letters WHERE id = :id")
_FIND = sql("SELECT * FROM dead_letters WHERE id = :id")
_LOCK = sql("SELECT * FROM dead_letters WHERE id = :id FOR UPDATE")
_NEXT = sql("""
    SELECT id, status FROM dead_letters
    WHERE consumer = :consumer AND key_hash = :key_hash AND status NOT IN ('done', 'discarded')
    ORDER BY seq LIMIT 1
""")
_BEHIND = sql("""
    SELECT * FROM dead_letters
    WHERE consumer = :consumer AND key_hash = :key_hash AND seq > :seq
      AND status = 'parked' AND octet_length(value) <= :largest
    ORDER BY seq LIMIT :most
""")
_SETTLE = sql("""
    UPDATE dead_letters SET status = :status, outcome = :outcome, changed_at = :now WHERE id = :id
""")
_DIE_AGAIN = sql("""
    UPDATE dead_letters
    SET status = 'dead', error_type = :error_type, error_text = :error_text,
        fingerprint = :fingerprint, attempts = :attempts, changed_at = :now
    WHERE id = :id
""")


def fault_of(row: Row) -> Fault | None:
    """The fault that a row of the table tells of; None where it only waits."""
    if row.fingerprint is None:
        return None
    return Fault(row.error_type, row.error_text, row.fingerprint, row.attempts)


def stored_letter(row: Row, service: str) -> StoredLetter:
    """What a row of the table says."""
    record = Record(
        topic=row.topic,
        partition=row.partition,
        offset=row.record_offset,
        key=row.key,
        value=row.value,
        headers=unpack_headers(row.headers),
    )
    letter = DeadLetter(
        id=row.id,
        service=service,
        consumer=row.consumer,
        message_id=row.message_id,
        record=record,
        type=row.type,
        fault=fault_of(row),
        key_hash=row.key_hash,
        copy_key=row.copy_key,
        created_at=row.created_at,
    )
    return StoredLetter(
        seq=row.seq,
        letter=letter,
        status=Status(row.status),
        edited_value=row.edited_value,
        run_id=row.run_id,
        outcome=row.outcome,
        changed_at=row.changed_at,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """What has to be locked before a letter; its status as it was before any lock."""

    consumer: str
    key_hash: bytes | None
    message_id: UUID
    status: Status


async def place(connection: Connection, letter_id: UUID) -> Place | None:
    """The place of the letter of this id."""
    row = await connection.fetch_one(_PLACE, {"id": letter_id})
    if row is None:
        return None
    return Place(row.consumer, row.key_hash, row.message_id, Status(row.status))


async def find(connection: Connection, service: str, letter_id: UUID) -> StoredLetter | None:
    """The letter of this id."""
    row = await connection.fetch_one(_FIND, {"id": letter_id})
    return None if row is None else stored_letter(row, service)


async def lock(connection: Connection, service: str, letter_id: UUID) -> StoredLetter | None:
    """The letter of this id, locked; behind its parked key."""
    row = await connection.fetch_one(_LOCK, {"id": letter_id})
    return None if row is None else stored_letter(row, service)


async def first_unsettled(
    connection: Connection, consumer: str, key_hash: bytes
) -> tuple[UUID, Status] | None:
    """The message of a key whose turn is next; None when nothing of it is left."""
    row = await connection.fetch_one(_NEXT, {"consumer": consumer, "key_hash": key_hash})
    return None if row is None else (row.id, Status(row.status))


async def behind(connection: Connection, stored: StoredLetter) -> Sequence[StoredLetter]:
    """What waits behind a letter and may take it back, in order."""
    letter = stored.letter
    if letter.key_hash is None:
        return ()
    values = {
        "consumer": letter.consumer,
        "key_hash": letter.key_hash,
        "seq": stored.seq,
        "most": MOST_LOOKED_AT,
        "largest": LARGEST_LOOKED_AT,
    }
    rows = await connection.fetch(_BEHIND, values)
    return [stored_letter(row, letter.service) for row in rows]


async def settle(
    connection: Connection, letter_id: UUID, status: Status, outcome: str | None, now: datetime
) -> None:
    """A letter's new status, and what became of it."""
    values = {"id": letter_id, "status": status.value, "outcome": outcome, "now": now}
    await connection.execute(_SETTLE, values)


async def die_again(connection: Connection, letter_id: UUID, fault: Fault, now: datetime) -> None:
    """A letter is dead once more, of this fault."""
    await connection.execute(
        _DIE_AGAIN,
        {
            "id": letter_id,
            "error_type": fault.error_type,
            "error_text": fault.error_text,
            "fingerprint": fault.fingerprint,
            "attempts": fault.attempts,
            "now": now,
        },
    )
