"""Kafka records exactly as they came, and headers in one piece of bytes."""

import base64
from dataclasses import dataclass
from typing import Any

import orjson
from aiokafka.structs import ConsumerRecord

RawHeaders = tuple[tuple[str, bytes | None], ...]


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
        return bytes_of(self)


def bytes_of(record: Record | ConsumerRecord[Any, Any]) -> int:
    """Bytes of key, value and headers of a record, decoded or not."""
    size_bytes = len(record.key or b"") + len(record.value or b"")
    for name, value in record.headers:
        size_bytes += len(name) + len(value or b"")
    return size_bytes


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
