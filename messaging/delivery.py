"""Records as they are handed to a consumer: decoded, or with the error that they are no message."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from contracts.envelope import Envelope, parse_envelope, usable_id
from contracts.ids import unidentified_record_id
from contracts.messages import MESSAGES_BY_TYPE
from contracts.messages.base import Message
from contracts.topics import Topic
from messaging.fold import Handler, Incoming
from messaging.records import Record
from messaging.storable import unstorable


class UndecodableRecord(ValueError):
    """A record is no message that this topic carries; the text says why."""


class NewerVersion(UndecodableRecord):
    """A message of a known name in a version that this release does not know yet."""

    def __init__(self, message_type: str, known: int) -> None:
        super().__init__(f"{message_type} is newer than version {known}, the last one known here")


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which topic goes to which handler."""

    topic: Topic
    handler: Handler[Any]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record with its id and what it decodes to: a message, or the error that it is none.

    `envelope` is there whenever the headers are one, whatever the value is.
    """

    record: Record
    message_id: UUID
    envelope: Envelope | None
    incoming: Incoming | None
    error: Exception | None

    @property
    def type(self) -> str | None:
        """What kind of message it says it is."""
        return None if self.envelope is None else self.envelope.type

    @property
    def lines(self) -> int:
        """Order lines that the message carries or is about: its work beyond its count."""
        if self.incoming is None:
            return 0
        body = self.incoming.body
        field = FIELD_OF_LINES.get(type(body))
        if field is None:
            return 0
        told = getattr(body, field)
        return told if isinstance(told, int) else len(told)


NEWEST_VERSIONS = {
    name: int(version)
    for name, _, version in sorted(one.rpartition(".v") for one in MESSAGES_BY_TYPE)
}
"""The newest major version of each message that is known here, by the name without it."""

FIELD_OF_LINES: Mapping[type, str] = {
    kind: name
    for kind in MESSAGES_BY_TYPE.values()
    for name in ("lines", "line_count")
    if name in kind.model_fields
}
"""The field of a message that tells of how many order lines it is; others are of none."""


def types_of(deliveries: Iterable[Delivery]) -> Iterable[str]:
    """What kinds of messages these are; one that says nothing of it is left out."""
    return (delivery.type for delivery in deliveries if delivery.type is not None)


def deliver(record: Record, topic: Topic) -> Delivery:
    """Decode a record; what cannot be decoded is a delivery too, with the error."""
    envelope: Envelope | None = None
    try:
        envelope = parse_envelope(record.headers)
        if record.size_bytes > topic.largest_record_bytes:
            raise UndecodableRecord(
                f"the record has {record.size_bytes} bytes, "
                f"more than the {topic.largest_record_bytes} of its topic"
            )
        body = decode(record.value, envelope.type, topic)
    except Exception as error:  # noqa: BLE001 - whatever a record does to its reader is its own
        known = envelope.id if envelope else usable_id(record.headers)
        place = topic.name, record.partition, record.offset
        return Delivery(record, known or unidentified_record_id(*place), envelope, None, error)
    return Delivery(record, envelope.id, envelope, Incoming(body, envelope), None)


def decode(value: bytes | None, message_type: str, topic: Topic) -> Message:
    """The message that a value of this type is. Raises `UndecodableRecord`."""
    kind = MESSAGES_BY_TYPE.get(message_type)
    if kind is None:
        name, _, version = message_type.rpartition(".v")
        known = NEWEST_VERSIONS.get(name)
        if (
            known is not None
            and version.isascii()
            and version.isdecimal()
            and int(version[:9]) > known
        ):
            raise NewerVersion(message_type[:120], known)
        raise UndecodableRecord(f"unknown message type {message_type[:120]!r}")
    if kind.topic.name != topic.name:
        raise UndecodableRecord(f"{message_type} does not belong on {topic.name}")
    if value is None:
        raise UndecodableRecord("the record has no value")
    try:
        body = kind.model_validate_json(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in found["loc"]) or "the value"
        raise UndecodableRecord(f"{where}: {found['msg']}") from None
    if (why := unstorable(value, body)) is not None:
        raise UndecodableRecord(why)
    return body
