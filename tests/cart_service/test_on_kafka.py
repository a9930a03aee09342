"""The whole service on real Kafka: what comes in, what goes out, and what it lives through."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from aiokafka import ConsumerRecord

from contracts.envelope import parse_envelope
from contracts.ids import new_id
from contracts.messages import MESSAGES_BY_TYPE
from contracts.messages.base import Message
from contracts.messages.cart import (
    CartChanged,
    CartClosed,
    CartUnlocked,
    CheckoutAccepted,
    CloseCart,
    UnlockCart,
)
from contracts.messages.catalog import CatalogItem, Price
from contracts.messages.inventory import StockAvailability
from contracts.messages.order import StartCheckout
from contracts.topics import (
    CART_COMMANDS,
    CART_EVENTS,
    CATALOG_ITEMS,
    INVENTORY_AVAILABILITY,
    ORDER_COMMANDS,
    ORDER_REPLIES,
    Topic,
    dead_letter_topic,
    replay_topic,
)
from messaging.clock import utc_now
from messaging.outbox import address
from messaging.settings import ConsumerSettings, KafkaSettings, RelaySettings
from tests.cart_service.shop import Shop
from tests.conftest import Infrastructure
from tests.messaging.example import Example, create_topics

pytestmark = pytest.mark.integration

TOPICS = (
    CART_COMMANDS,
    CART_EVENTS,
    CATALOG_ITEMS,
    INVENTORY_AVAILABILITY,
    ORDER_COMMANDS,
    ORDER_REPLIES,
    dead_letter_topic("cart"),
    replay_topic("cart"),
)
WaitUntil = Callable[..., Awaitable[None]]
_numbers = count(1)


class Town:
    """Replicas of the service on Kafka, and the neighbours that talk with them."""

    def __init__(self, kafka: KafkaSettings, database_url: str) -> None:
        self.kafka = Example(kafka, database_url)
        self._settings: dict[str, Any] = {
            "kafka": kafka,
            "consumer": ConsumerSettings(session_timeout_ms=6000, batch_records=20),
            "relay": RelaySettings(poll_seconds=0.2, send_timeout_seconds=5),
        }
        self.shop = self.replica(0)

    def replica(self, slot: int) -> Shop:
        return Shop(self.kafka.database_url, instance_slot=slot, **self._settings)

    async def tell(self, *messages: Message, ids: list[UUID] | None = None) -> None:
        """Send messages to their topics, in order."""
        await self.kafka.send(
            *(
                address(message, source="test", now=utc_now(), message_id=message_id)
                for message, message_id in zip(
                    messages, ids or [new_id() for _ in messages], strict=True
                )
            )
        )

    async def heard(self, topic: Topic, kind: type[Message]) -> list[Any]:
        """All messages of one type on a topic."""
        found = []
        for record in await self.kafka.read_all(topic):
            assert isinstance(record, ConsumerRecord)
            envelope = parse_envelope(record.headers)
            if envelope.type == kind.type:
                found.append(MESSAGES_BY_TYPE[kind.type].model_validate_json(record.value))
        return found


@pytest.fixture
async def town(infrastructure: Infrastructure, cart_database: str) -> AsyncIterator[Town]:
    """The service runs as its first replica, with nothing in its tables."""
    kafka = KafkaSettings(
        bootstrap_servers=infrastructure.kafka,
        topic_prefix=f"{infrastructure.prefix}cart{next(_numbers)}.",
    )
    await create_topics(kafka, TOPICS)
    town = Town(kafka, cart_database)
    await town.shop.empty()
    app = town.shop.service.app
    async with app.router.lifespan_context(app):
        yield town
    await town.shop.close()


def item(sku: str, price: int = 100) -> CatalogItem:
    return CatalogItem(
        sku=sku,
        name=sku,
        product_code=sku,
        status="active",
        prices=(Price(currency="GBP", amount_minor=price),),
        version=1,
    )


async def test_a_checkout_goes_through_with_every_message_doubled(
    town: Town, wait_until: WaitUntil
) -> None:
    shop = town.shop
    await town.tell(item("a"), item("a"))
    await town.tell(StockAvailability(sku="a", available=3, version=1))

    async def is_offered() -> bool:
        return await shop.rows(
            "SELECT count(*) FROM catalog_items JOIN stock_availability USING (shop_id, sku)"
        ) == [(1,)]

    await wait_until(is_offered, what="the offer")
    path, owner = await shop.filled({"a": 3})
    checkout_id = await shop.checked_out(path, owner)

    async def is_sent() -> bool:
        return bool(await town.heard(ORDER_COMMANDS, StartCheckout))

    await wait_until(is_sent, what="StartCheckout")
    (command,) = await town.heard(ORDER_COMMANDS, StartCheckout)
    assert (command.checkout_id, command.total_minor) == (checkout_id, 300)

    accepted = CheckoutAccepted(checkout_id=checkout_id, cart_id=command.cart_id)
    closing = CloseCart(checkout_id=checkout_id, cart_id=command.cart_id, order_id=new_id())
    same = [new_id(), new_id()]
    await town.tell(accepted, closing, ids=same)
    await town.tell(accepted, closing, ids=same)
    await town.tell(accepted, closing)

    async def is_answered() -> bool:
        return len(await town.heard(ORDER_REPLIES, CartClosed)) == 2

    await wait_until(is_answered, what="both answers")
    assert (await shop.show(path, owner))["checkout"]["status"] == "completed"

    async def is_published() -> bool:
        return await shop.rows("SELECT count(*) FROM outbox") == [(0,)]

    await wait_until(is_published, what="an empty outbox")
    events = await town.heard(CART_EVENTS, CartChanged)
    assert [(each.status, each.event_seq) for each in events] == [
        ("active", 1),
        ("locked", 2),
        ("closed", 3),
    ]


async def test_what_is_no_message_is_kept_aside_and_the_rest_goes_on(
    town: Town, wait_until: WaitUntil
) -> None:
    poison = [
        (b"\xff\xfe", [("ce_type", b"\xff")]),
        (b"{}", []),
        (None, [("ce_type", b"cart.close_cart.v1")]),
        (b"x" * 2_500_000, [("ce_type", b"cart.close_cart.v1")]),
    ]
    for topic in (CART_COMMANDS, CATALOG_ITEMS, INVENTORY_AVAILABILITY):
        async with town.kafka.producer() as producer:
            for value, headers in poison:
                await producer.send(
                    town.kafka.name_of(topic), value, key=b"k", partition=0, headers=headers
                )
    await town.tell(item("a"), StockAvailability(sku="a", available=1, version=1))
    await town.tell(CloseCart(checkout_id=new_id(), cart_id=new_id(), order_id=new_id()))

    async def is_done() -> bool:
        counts = await town.shop.rows(
            "SELECT (SELECT count(*) FROM dead_letters), (SELECT count(*) FROM catalog_items),"
            " (SELECT count(*) FROM stock_availability), (SELECT count(*) FROM recorded_replies)"
        )
        return counts == [(12, 1, 1, 1)]

    await wait_until(is_done, what="12 dead letters, an item, a level and a reply")
    kept = await town.shop.rows("SELECT DISTINCT value FROM dead_letters")
    assert {None if value is None else bytes(value) for (value,) in kept} == {
        value for value, _ in poison
    }


async def test_a_second_replica_in_the_middle_changes_nothing_about_the_outcome(
    town: Town, wait_until: WaitUntil
) -> None:
    shop = town.shop
    await town.tell(item("a"))

    async def is_offered() -> bool:
        return await shop.rows("SELECT count(*) FROM catalog_items") == [(1,)]

    await wait_until(is_offered, what="the offer")
    held: list[tuple[UUID, UUID]] = []

    async def lock_one() -> None:
        path, owner = await shop.filled({"a": 1})
        held.append((UUID(path.split("/")[-1]), await shop.checked_out(path, owner)))

    for _ in range(10):
        await asyncio.gather(*(lock_one() for _ in range(6)))
    messages: list[Message] = []
    for n, (cart_id, checkout_id) in enumerate(held):
        messages.append(CheckoutAccepted(checkout_id=checkout_id, cart_id=cart_id))
        messages.append(
            UnlockCart(checkout_id=checkout_id, cart_id=cart_id, reason="out_of_stock")
            if n % 2
            else CloseCart(checkout_id=checkout_id, cart_id=cart_id, order_id=new_id())
        )

    async with AsyncExitStack() as stack:
        await town.tell(*messages[: len(messages) // 2])
        second = town.replica(1)
        app = second.service.app
        await stack.enter_async_context(app.router.lifespan_context(app))
        stack.push_async_callback(second.close)
        await town.tell(*messages)
        await town.tell(*messages[len(messages) // 2 :])

        async def is_done() -> bool:
            return await shop.rows(
                "SELECT count(*) FILTER (WHERE status = 'active'),"
                " count(*) FILTER (WHERE status = 'bought'),"
                " (SELECT count(*) FROM outbox) FROM carts"
            ) == [(30, 30, 0)]

        await wait_until(is_done, what="30 carts given back and 30 closed")

        async def all_is_answered() -> bool:
            unlocked = await town.heard(ORDER_REPLIES, CartUnlocked)
            closed = await town.heard(ORDER_REPLIES, CartClosed)
            return (len(unlocked), len(closed)) == (60, 60)

        await wait_until(all_is_answered, what="an answer to each of 120 commands")
    events: dict[UUID, list[int]] = {}
    for each in await town.heard(CART_EVENTS, CartChanged):
        events.setdefault(each.cart_id, []).append(each.event_seq)
    assert events == {cart_id: [1, 2, 3] for cart_id, _ in held}
    assert await shop.rows("SELECT count(*) FROM dead_letters") == [(0,)]
