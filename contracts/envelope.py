"""The envelope of a record: CloudEvents 1.0 attributes as Kafka headers (binary content mode).

Source: CloudEvents Kafka Protocol Binding 1.0, section 3.2 (attributes become `ce_` headers);
`traceparent` as in W3C Trace Context. Extension attributes are lower case without separators,
as CloudEvents asks.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from contracts.values import Struct

SPEC_VERSION = "1.0"
CONTENT_TYPE = "application/json"
LARGEST_HEADER_BYTES = 8 * 1024
"""No header of ours comes near; a longer one is a mistake or an attack."""

Headers = list[tuple[str, bytes]]


class MalformedEnvelope(ValueError):
    """The headers of a record are no envelope; the text says which one and why."""


class Envelope(Struct, frozen=True):
    """What every message carries beside its body.

    `correlation_id` joins all messages of one story, `causation_id` is the message that led to
    this one. `step` and `round` are set on saga messages, `event_seq` on events.
    """

    id: UUID
    type: str
    source: str
    time: datetime
    subject: str
    shop_id: str
    correlation_id: str
    causation_id: UUID | None = None
    traceparent: str | None = None
    step: str | None = None
    round: int | None = None
    event_seq: int | None = None

    def headers(self) -> Headers:
        """The Kafka headers of this envelope, values in UTF-8."""
        headers = [
            ("ce_specversion", SPEC_VERSION.encode()),
            ("ce_id", str(self.id).encode()),
            ("ce_type", self.type.encode()),
            ("ce_source", self.source.encode()),
            ("ce_time", self.time.isoformat().encode()),
            ("ce_subject", self.subject.encode()),
            ("content-type", CONTENT_TYPE.encode()),
            ("ce_shopid", self.shop_id.encode()),
            ("ce_correlationid", self.correlation_id.encode()),
        ]
        optional = (
            ("ce_causationid", self.causation_id),
            ("traceparent", self.traceparent),
            ("ce_step", self.step),
            ("ce_round", self.round),
            ("ce_eventseq", self.event_seq),
        )
        headers.extend((name, str(value).encode()) for name, value in optional if value is not None)
        return headers


NAMES = frozenset(
    {"ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "ce_subject", "ce_shopid"}
    | {"ce_correlationid", "ce_causationid", "traceparent", "ce_step", "ce_round", "ce_eventseq"}
)
"""The headers that an envelope is read from."""


def parse_envelope(headers: Iterable[tuple[str, bytes | None]]) -> Envelope:
    """The envelope in a record's headers.

    Headers of other names are not looked at, of a repeated one the last counts. Raises
    `MalformedEnvelope` for a missing or malformed one, including values that are null, not UTF-8,
    too long, or have NUL in them.
    """
    values = _decode(headers)
    if values.get("ce_specversion") != SPEC_VERSION:
        raise MalformedEnvelope("header ce_specversion is not 1.0")
    return Envelope(
        id=_uuid("ce_id", _required(values, "ce_id")),
        type=_required(values, "ce_type"),
        source=_required(values, "ce_source"),
        time=_time("ce_time", _required(values, "ce_time")),
        subject=_required(values, "ce_subject"),
        shop_id=_required(values, "ce_shopid"),
        correlation_id=_required(values, "ce_correlationid"),
        causation_id=_optional_uuid(values, "ce_causationid"),
        traceparent=values.get("traceparent"),
        step=values.get("ce_step"),
        round=_optional_int(values, "ce_round"),
        event_seq=_optional_int(values, "ce_eventseq"),
    )


def usable_id(headers: Iterable[tuple[str, bytes | None]]) -> UUID | None:
    """The message id of a record whose envelope may be broken otherwise; None without one."""
    for name, value in headers:
        if name == "ce_id" and value is not None:
            try:
                return UUID(value.decode())
            except ValueError:
                return None
    return None


def _decode(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in headers:
        if name not in NAMES:
            continue
        if value is None:
            raise MalformedEnvelope(f"header {name} is null")
        if len(value) > LARGEST_HEADER_BYTES:
            raise MalformedEnvelope(f"header {name} is longer than {LARGEST_HEADER_BYTES} bytes")
        if b"\x00" in value:
            raise MalformedEnvelope(f"header {name} has the NUL character in it")
        try:
            values[name] = value.decode()
        except UnicodeDecodeError:
            raise MalformedEnvelope(f"header {name} is not UTF-8") from None
    return values


def _required(values: dict[str, str], name: str) -> str:
    value = values.get(name)
    if not value:
        raise MalformedEnvelope(f"header {name} is missing")
    return value


def _uuid(name: str, value: str) -> UUID:
    try:
        return UUID(value)
    except ValueError:
        raise MalformedEnvelope(f"header {name} is no UUID") from None


def _optional_uuid(values: dict[str, str], name: str) -> UUID | None:
    value = values.get(name)
    return None if value is None else _uuid(name, value)


def _optional_int(values: dict[str, str], name: str) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise MalformedEnvelope(f"header {name} is no whole number")
    return int(value)


def _time(name: str, value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise MalformedEnvelope(f"header {name} is no RFC 3339 time") from None
    if moment.tzinfo is None:
        raise MalformedEnvelope(f"header {name} has no time zone")
    return moment
