"""The envelope: CloudEvents attributes as headers, there and back."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.envelope import (
    LARGEST_HEADER_BYTES,
    Envelope,
    MalformedEnvelope,
    parse_envelope,
    usable_id,
)

WRITABLE = st.characters(exclude_characters="\x00", codec="utf-8")
words = st.text(WRITABLE, min_size=1, max_size=60)
whole = st.integers(0, 10**12)
moments = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-3.5))]))
envelopes = st.builds(
    Envelope,
    id=st.uuids(),
    type=words,
    source=words,
    time=moments,
    subject=words,
    shop_id=words,
    correlation_id=words,
    causation_id=st.none() | st.uuids(),
    traceparent=st.none() | words,
    step=st.none() | words,
    round=st.none() | whole,
    event_seq=st.none() | whole,
)

ENVELOPE = Envelope(
    id=UUID("01940000-0000-7000-8000-000000000000"),
    type="order.paid.v1",
    source="order",
    time=datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC),
    subject="185bf5fb",
    shop_id="main",
    correlation_id="9bbdc699",
)
REQUIRED = [name for name, _ in ENVELOPE.headers() if name != "content-type"]


def headers(**changed: bytes | None) -> list[tuple[str, bytes | None]]:
    return list({**dict(ENVELOPE.headers()), **changed}.items())


@given(envelope=envelopes)
def test_what_is_written_is_read_back(envelope: Envelope) -> None:
    assert parse_envelope(envelope.headers()) == envelope


def test_headers_are_those_of_cloudevents_in_binary_mode() -> None:
    assert dict(ENVELOPE.headers()) == {
        "ce_specversion": b"1.0",
        "ce_id": b"01940000-0000-7000-8000-000000000000",
        "ce_type": b"order.paid.v1",
        "ce_source": b"order",
        "ce_time": b"2025-01-02T03:04:05+00:00",
        "ce_subject": b"185bf5fb",
        "content-type": b"application/json",
        "ce_shopid": b"main",
        "ce_correlationid": b"9bbdc699",
    }


def test_unknown_headers_are_ignored_and_of_a_repeated_one_the_last_counts() -> None:
    given_headers = [("ce_type", b"older"), *headers(), ("x-mine", b"1"), ("ce_source", b"cart")]
    read = parse_envelope(given_headers)
    assert (read.type, read.source) == ("order.paid.v1", "cart")


@pytest.mark.parametrize("value", [b"\xff", b"\x00\x00\x00\x01", None, b"a" * 100_000])
def test_a_header_of_another_name_may_be_anything(value: bytes | None) -> None:
    assert parse_envelope(headers(**{"x-mine": value})) == ENVELOPE


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_header_is_named(name: str) -> None:
    present = [(key, value) for key, value in headers() if key != name]
    with pytest.raises(MalformedEnvelope, match=name):
        parse_envelope(present)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_specversion", b"0.3"),
        ("ce_id", b"not-a-uuid"),
        ("ce_id", None),
        ("ce_type", b"\xff\xfe"),
        ("ce_type", b""),
        ("ce_time", b"yesterday"),
        ("ce_time", b"2025-01-02T03:04:05"),
        ("ce_causationid", b"1"),
        ("ce_round", b"1.5"),
        ("ce_round", b"-1"),
        ("ce_round", b""),
        ("ce_round", "²".encode()),
        ("ce_eventseq", b"9" * 19),
        ("ce_shopid", b"a\x00b"),
        ("ce_subject", b"a" * (LARGEST_HEADER_BYTES + 1)),
    ],
)
def test_a_malformed_header_is_named(name: str, value: bytes | None) -> None:
    with pytest.raises(MalformedEnvelope, match=name):
        parse_envelope(headers(**{name: value}))


def test_the_id_of_a_broken_envelope_is_still_usable() -> None:
    assert usable_id(headers(ce_type=b"\xff")) == ENVELOPE.id
    assert usable_id(headers(ce_id=b"nonsense")) is None
    assert usable_id(headers(ce_id=b"\xff")) is None
    assert usable_id(headers(ce_id=None)) is None
    assert usable_id([]) is None


@given(junk=st.lists(st.tuples(st.text(max_size=12), st.none() | st.binary(max_size=20))))
def test_no_headers_break_the_parser(junk: list[tuple[str, bytes | None]]) -> None:
    with pytest.raises(MalformedEnvelope):
        parse_envelope(junk)
    usable_id(junk)
