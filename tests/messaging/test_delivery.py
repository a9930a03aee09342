"""Whatever stands on a topic becomes a delivery: a message, or the error that it is none."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.ids import new_id
from contracts.messages.inventory import ReleaseStock, ReserveStock
from contracts.topics import INVENTORY_COMMANDS
from messaging.clock import utc_now
from messaging.delivery import NewerVersion, UndecodableRecord, deliver
from messaging.outbox import address
from messaging.records import Record
from tests.messaging.example import addressed, reserve

WORDS = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=12,
)


def record(value: bytes | None, headers: tuple[tuple[str, bytes | None], ...]) -> Record:
    return Record(INVENTORY_COMMANDS.name, 0, 17, b"key", value, headers)


def good_headers() -> tuple[tuple[str, bytes | None], ...]:
    envelope = addressed(reserve(new_id())).envelope
    assert envelope is not None
    return tuple(envelope.headers())


@given(
    value=st.none() | st.binary(max_size=200),
    headers=st.lists(st.tuples(WORDS, st.none() | st.binary(max_size=40)), max_size=6).map(tuple),
)
def test_nothing_on_a_topic_can_raise(
    value: bytes | None, headers: tuple[tuple[str, bytes | None], ...]
) -> None:
    delivery = deliver(record(value, headers), INVENTORY_COMMANDS)
    assert delivery.incoming is None
    assert delivery.error is not None


@given(field=st.sampled_from(sorted(ReserveStock.model_fields)), content=JSON)
def test_a_message_with_anything_in_a_field_is_a_message_or_an_error(
    field: str, content: object
) -> None:
    body = orjson.loads(reserve(new_id()).model_dump_json())
    body[field] = content
    try:
        value = orjson.dumps(body)
    except TypeError:  # an integer that JSON of 64 bits cannot hold
        value = repr(body).encode()
    delivery = deliver(record(value, good_headers()), INVENTORY_COMMANDS)
    assert (delivery.incoming is None) != (delivery.error is None)


def test_a_message_weighs_as_many_lines_as_it_is_about() -> None:
    release = ReleaseStock(
        shop_id="main", checkout_id=new_id(), reason="cancelled by the shopper", line_count=593
    )
    for message, lines in ((release, 593), (reserve(new_id()), 1)):
        sent = address(message, source="test", now=utc_now())
        assert sent.envelope is not None
        headers = tuple(sent.envelope.headers())
        assert deliver(record(sent.payload, headers), INVENTORY_COMMANDS).lines == lines


@pytest.mark.parametrize("depth", [10, 1_000, 100_000])
def test_depth_is_only_an_error(depth: int) -> None:
    delivery = deliver(record(b"[" * depth, good_headers()), INVENTORY_COMMANDS)
    assert delivery.error is not None


@pytest.mark.parametrize(
    ("field", "content", "error"),
    [
        ("shop_id", '"a\\u0000b"', "a text has the NUL character in it"),
        ("unknown", '{"a\\u0000": 1}', "a text has the NUL character in it"),
        ("line_count", "9223372036854775808", "a number is beyond 64 bits"),
        ("line_count", "-9223372036854775809", "a number is beyond 64 bits"),
        ("line_count", '"99999999999999999999"', "a number is beyond 64 bits"),
        ("line_count", "9223372036854775807", None),
        ("unknown", "99999999999999999999", None),
        ("unknown", '"a\\\\u0000b"', None),
        ("unknown", '"12345678901234567890"', None),
    ],
)
def test_what_no_column_holds_is_an_error(field: str, content: str, error: str | None) -> None:
    release = ReleaseStock(checkout_id=new_id(), reason="cancelled")
    sent = address(release, source="test", now=utc_now())
    assert sent.envelope is not None
    # Of a name that comes twice the last one counts.
    value = f'{release.model_dump_json()[:-1]},"{field}":{content}}}'.encode()

    delivery = deliver(record(value, tuple(sent.envelope.headers())), INVENTORY_COMMANDS)

    assert (delivery.error and str(delivery.error)) == error


@pytest.mark.parametrize(("count", "fits"), [(2**31 - 1, True), (2**31, False)])
@pytest.mark.parametrize("field", ["round", "quantity"])
def test_rounds_and_pieces_fit_their_columns(field: str, count: int, fits: bool) -> None:
    body = orjson.loads(reserve(new_id()).model_dump_json())
    (body if field == "round" else body["lines"][0])[field] = count

    delivery = deliver(record(orjson.dumps(body), good_headers()), INVENTORY_COMMANDS)

    assert (delivery.error is None) == fits


@pytest.mark.parametrize(
    ("message_type", "error"),
    [
        ("inventory.reserve_stock.v2", NewerVersion),
        ("inventory.reserve_stock.v0", UndecodableRecord),
        ("inventory.reserve_stock.v\u0662", UndecodableRecord),
        ("inventory.reserve_everything.v1", UndecodableRecord),
        ("inventory.reserve_stock", UndecodableRecord),
    ],
)
def test_a_newer_version_is_told_from_what_is_unknown(
    message_type: str, error: type[Exception]
) -> None:
    headers = tuple({**dict(good_headers()), "ce_type": message_type.encode()}.items())

    delivery = deliver(record(b"{}", headers), INVENTORY_COMMANDS)

    assert type(delivery.error) is error
