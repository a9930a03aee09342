"""Messages: every type is versioned, documented, keyed, and found by its name."""

import re

import pytest
from pydantic import ValidationError

from contracts.glossary import MEANINGS, meaning
from contracts.messages import MESSAGES, MESSAGES_BY_TYPE, base
from contracts.messages.base import Event, Message, SagaCommand, SagaReply, Value
from contracts.messages.parts import Discount, OrderLine, Tax
from contracts.topics import ORDER_REPLIES, TOPICS
from tests.contracts.record_corpus import example

every_message = pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.type)


def values() -> list[type[Value]]:
    """Every message and part that can travel."""
    found, waiting = [], [Value]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting.extend(kind.__subclasses__())
    ours = {kind for kind in found if kind.__module__.startswith("contracts.")}
    return sorted(ours, key=lambda kind: kind.__name__)


def test_every_type_is_declared_once() -> None:
    assert len(MESSAGES_BY_TYPE) == len(MESSAGES)
    assert len({kind.__name__ for kind in MESSAGES}) == len(MESSAGES)


def test_every_class_with_a_type_is_among_the_messages() -> None:
    typed = {kind for kind in values() if issubclass(kind, Message) and "type" in vars(kind)}
    assert typed == set(MESSAGES)


@every_message
def test_a_type_names_its_service_and_carries_its_version(kind: type[Message]) -> None:
    assert re.fullmatch(r"[a-z]+(\.[a-z_]+)+\.v[1-9][0-9]*", kind.type)


@every_message
def test_a_message_says_what_it_is(kind: type[Message]) -> None:
    assert kind.__doc__
    assert kind.__doc__ != Message.__doc__
    assert "__doc__" in vars(kind)


@pytest.mark.parametrize("kind", values(), ids=lambda kind: kind.__name__)
def test_every_field_has_a_meaning(kind: type[Value]) -> None:
    for field in kind.model_fields:
        assert meaning(kind.__name__, field).endswith(".")


def test_the_glossary_explains_no_field_that_there_is_not() -> None:
    fields = {name for kind in values() for name in kind.model_fields}
    owned = {f"{kind.__name__}.{name}" for kind in values() for name in kind.model_fields}
    assert set(MEANINGS) <= fields | owned


@every_message
def test_a_message_travels_on_a_declared_topic(kind: type[Message]) -> None:
    assert kind.topic in TOPICS
    if issubclass(kind, Event):
        assert kind.topic.name.endswith(".events")
        assert kind.topic.public
    if issubclass(kind, SagaCommand):
        assert kind.topic.name.endswith(".commands")
    if issubclass(kind, SagaReply) and kind.type != "cart.checkout_accepted.v1":
        assert kind.topic == ORDER_REPLIES


@every_message
def test_a_message_is_keyed_and_belongs_to_a_story(kind: type[Message]) -> None:
    message = example(kind)
    for text in (message.key, message.subject, message.correlation_id):
        assert text
        assert len(text.encode()) < 512


@every_message
def test_a_message_comes_back_from_its_own_json(kind: type[Message]) -> None:
    message = example(kind)
    assert kind.model_validate_json(message.model_dump_json()) == message


@every_message
def test_a_field_that_a_newer_writer_added_is_ignored(kind: type[Message]) -> None:
    message = example(kind)
    newer = {**message.model_dump(mode="json"), "added_later": {"deep": [1, 2]}}
    assert kind.model_validate(newer) == message


@every_message
def test_a_message_cannot_be_changed(kind: type[Message]) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        example(kind).shop_id = "other"  # type: ignore[misc]  # what must fail at run time too


@every_message
def test_a_message_of_no_shop_or_of_no_round_is_none(kind: type[Message]) -> None:
    right = example(kind).model_dump(mode="json")
    wrong: list[dict[str, object]] = [{"shop_id": ""}]
    if issubclass(kind, base.SagaMessage):
        wrong += [{"round": 0}, {"round": -1}]
    for each in wrong:
        with pytest.raises(ValidationError):
            kind.model_validate({**right, **each})


def test_saga_messages_of_one_checkout_share_one_key() -> None:
    kinds = [kind for kind in MESSAGES if issubclass(kind, base.SagaMessage)]
    keys = {(m.key, m.correlation_id) for m in (example(kind) for kind in kinds)}
    assert len(kinds) > 30
    assert len(keys) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"net_minor": 1251},
        {"gross_minor": 1499},
        {"quantity": 5},
        {"discounts": ()},
        {"taxes": ()},
        {"quantity": 0},
        {"unit_price_minor": -1},
    ],
    ids=str,
)
def test_a_line_whose_parts_do_not_add_up_does_not_construct(wrong: dict[str, object]) -> None:
    right = example(OrderLine).model_dump()
    assert OrderLine(**right)
    with pytest.raises(ValidationError):
        OrderLine(**{**right, **wrong})


def test_taxes_on_top_are_paid_beside_the_net_and_inclusive_ones_are_inside_the_price() -> None:
    line = OrderLine(
        sku="a",
        name="a",
        unit_price_minor=1000,
        quantity=3,
        discounts=(Discount(source="sale", amount_minor=600),),
        taxes=(
            Tax(rate="0.2", inclusive=True, amount_minor=400),
            Tax(rate="0.1", inclusive=False, amount_minor=200),
        ),
        net_minor=2000,
        gross_minor=2600,
    )
    assert line.gross_minor == 3 * 1000 - 600 + 200
