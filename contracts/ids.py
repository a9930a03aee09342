"""Where ids come from: fresh ones ordered by time, derived ones that every replica agrees on."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid5, uuid7

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMESTAMP_SHIFT = 80

UNIDENTIFIED_RECORDS = UUID("6f1d5c1e-8a55-5f0b-9a35-3b1f0c2f7d10")
"""Namespace of the ids given to records that came without a usable one."""


def new_id() -> UUID:
    """A fresh UUIDv7 (RFC 9562, section 5.7): unique, and ordered by the time it was made."""
    return uuid7()


def derived_id(parent: UUID, name: str) -> UUID:
    """The UUIDv5 (RFC 9562, section 5.5) of `name` under `parent`: the same wherever computed."""
    return uuid5(parent, name)


def unidentified_record_id(topic: str, partition: int, offset: int) -> UUID:
    """The id of a record that carries none: the same at every delivery of that record."""
    return uuid5(UNIDENTIFIED_RECORDS, f"{topic}:{partition}:{offset}")


def first_id_at(moment: datetime) -> UUID:
    """The least UUIDv7 of the millisecond of `moment`: a bound for ranges of ids by time."""
    milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    return UUID(int=(milliseconds << _TIMESTAMP_SHIFT) | (7 << 76) | (0b10 << 62))
