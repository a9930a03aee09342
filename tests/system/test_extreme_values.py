"""Values that no column holds are found when a message is decoded, and cost nobody but itself."""

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from itertools import count
from typing import Any

import pytest

import cart_service.app
import inventory_service.app
import order_service.app
import payment_service.app
from cart_service.settings import CartSettings
from contracts.ids import new_id
from contracts.messages import MESSAGES_BY_TYPE
from contracts.messages.base import Message
from contracts.topics import Topic
from inventory_service.settings import InventorySettings
from messaging import metrics
from messaging.batch import BatchProcessor
from messaging.clock import utc_now
from messaging.delivery import Delivery, deliver
from messaging.migrations import upgrade
from messaging.outbox import address
from messaging.records import Record
from messaging.service import Service
from order_service.settings import OrderSettings
from payment_service.settings import PaymentSettings
from tests.contracts.record_corpus import example

pytestmark = pytest.mark.integration

Path = tuple[str | int, ...]

SETTINGS: dict[str, Any] = {"signing_key": "k" * 32}
SERVICES: dict[str, Callable[[str], Service]] = {
    "cart": lambda url: cart_service.app.build(CartSettings(database_url=url, **SETTINGS)),
    "inventory": lambda url: inventory_service.app.build(
        InventorySettings(database_url=url, **SETTINGS)
    ),
    "order": lambda url: order_service.app.build(OrderSettings(database_url=url, **SETTINGS)),
    "payment": lambda url: payment_service.app.build(
        PaymentSettings(database_url=url, simulated_database_url=url, **SETTINGS)
    ),
}
NUMBERS = (2**31, 2**40, 2**63, -(2**63) - 1)
TEXTS = ("a\x00b",)
MOMENTS = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z")


def extremes(value: object) -> tuple[object, ...]:
    """What may stand in the place of a value and is of its kind."""
    if isinstance(value, bool) or value is None:
        return ()
    if isinstance(value, int):
        return NUMBERS
    try:
        datetime.fromisoformat(str(value))
    except ValueError:
        return TEXTS
    return (*TEXTS, *MOMENTS)


def leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """Every plain value in a document, with the way to it."""
    match value:
        case dict():
            for name, item in value.items():
                yield from leaves(item, (*path, name))
        case list():
            for index, item in enumerate(value):
                yield from leaves(item, (*path, index))
        case _:
            yield path, value


def with_value(document: Any, path: Path, value: object) -> Any:
    """The document with another value there."""
    changed = copy.deepcopy(document)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return changed


def documents(message: Message) -> Iterator[tuple[str, Any]]:
    """The message as it is, and with each of its values taken to an extreme; named."""
    document = message.model_dump(mode="json")
    yield "as it is", document
    for path, value in leaves(document):
        for extreme in extremes(value):
            where = ".".join(map(str, path))
            yield f"{where} = {extreme!r}", with_value(document, path, extreme)


def delivered(message: Message, document: Any, topic: Topic, offset: int) -> Delivery:
    """A record with this document for its value, as its consumer decodes it."""
    sent = address(message, source="test", now=utc_now(), message_id=new_id())
    assert sent.envelope is not None
    key, value = new_id().bytes, json.dumps(document).encode()
    headers = tuple(sent.envelope.headers())
    return deliver(Record(topic.name, sent.partition, offset, key, value, headers), topic)


@pytest.mark.parametrize("name", SERVICES)
async def test_no_value_of_a_message_is_left_for_the_database_to_refuse(
    name: str, database: Callable[[str], Awaitable[str]]
) -> None:
    url = await database(f"extremes_{name}")
    await asyncio.to_thread(upgrade, f"{name}_service", url)
    service = SERVICES[name](url)
    offsets, decoded, refused = count(1), 0, []
    try:
        for subscription in service.subscriptions:
            topic = subscription.topic
            processor = BatchProcessor(
                name, subscription, service.database, service.settings.consumer
            )
            rejections = metrics.BATCH_RETRIES.labels(processor.consumer, "rejected")
            kinds = [kind for kind in MESSAGES_BY_TYPE.values() if kind.topic is topic]
            for message in map(example, kinds):
                for what, document in documents(message):
                    if "checkout_id" in document and not what.startswith("checkout_id"):
                        document["checkout_id"] = str(new_id())
                    delivery = delivered(message, document, topic, next(offsets))
                    decoded += delivery.incoming is not None
                    before = rejections._value.get()
                    assert await processor.settle([delivery], asyncio.Event())
                    if rejections._value.get() > before:
                        refused.append(f"{message.type}: {what}")
    finally:
        await service.database.close()
        await service.api_database.close()
    assert decoded > 0
    assert refused == []
