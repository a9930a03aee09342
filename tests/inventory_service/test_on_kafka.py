"""The whole service on real Kafka: what comes in, what goes out, and what it lives through."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import pytest
from aiokafka import ConsumerRecord

from contracts.envelope import parse_envelope
from contracts.ids import new_id
from contracts.messages import MESSAGES_BY_TYPE
from contracts.messages.base import Message
from contracts.messages.inventory import (
    ReservationCommitted,
    ReservationDue,
    StockAvailability,
    StockMoved,
    StockRejected,
    StockReleased,
    StockReserved,
)
from contracts.partitioning import partition_of
from contracts.topics import (
    INVENTORY_AVAILABILITY,
    INVENTORY_COMMANDS,
    INVENTORY_EVENTS,
    ORDER_COMMANDS,
    ORDER_REPLIES,
    dead_letter_topic,
    replay_topic,
)
from messaging.clock import utc_now
from messaging.outbox import address
from messaging.settings import ConsumerSettings, KafkaSettings, RelaySettings
from tests.conftest import Infrastructure
from tests.inventory_service.stockroom import Stockroom, commit, release, reserve
from tests.messaging.example import Example, create_topics

pytestmark = pytest.mark.integration

TOPICS = (
    INVENTORY_COMMANDS,
    INVENTORY_EVENTS,
    INVENTORY_AVAILABILITY,
    ORDER_COMMANDS,
    ORDER_REPLIES,
    dead_letter_topic("inventory"),
    replay_topic("inventory"),
)
WaitUntil = Callable[..., Awaitable[None]]
M = TypeVar("M", bound=Message)
_numbers = count(1)


class Depot:
    """Replicas of the service on Kafka, and the saga's side of the conversation."""

    def __init__(self, kafka: KafkaSettings, database_url: str) -> None:
        self.kafka = Example(kafka, database_url)
        self._settings: dict[str, Any] = {
            "kafka": kafka,
            "consumer": ConsumerSettings(session_timeout_ms=6000, batch_records=20),
            "relay": RelaySettings(poll_seconds=0.2, send_timeout_seconds=5),
            "sweep_interval_seconds": 0.1,
        }
        self.stockroom = self.replica(0)

    def replica(self, slot: int) -> Stockroom:
        """One more process of the service, not yet running."""
        return Stockroom(self.kafka.database_url, instance_slot=slot, **self._settings)

    async def tell(self, *messages: Message, ids: Sequence[UUID] = ()) -> None:
        """Send messages to their topics, in order, under fresh ids unless given."""
        await self.kafka.send(
            *(
                address(message, source="order", now=utc_now(), message_id=message_id)
                for message, message_id in zip(
                    messages, ids or [new_id() for _ in messages], strict=True
                )
            )
        )

    async def heard(self, kind: type[M]) -> dict[UUID, M]:
        """All messages of one type on their topic, by id: the relay may send one twice."""
        found: dict[UUID, M] = {}
        for record in await self.kafka.read_all(kind.topic):
            assert isinstance(record, ConsumerRecord)
            envelope = parse_envelope(record.headers)
            if envelope.type == kind.type:
                message = MESSAGES_BY_TYPE[kind.type].model_validate_json(record.value)
                assert isinstance(message, kind)
                found[envelope.id] = message
        return found

    async def settled(self, answers: int) -> bool:
        """Whether so many questions of the saga are answered and everything is sent."""
        ((answered,),) = await self.stockroom.query("SELECT count(*) FROM recorded_replies")
        return answered == answers and await self.kafka.idle()


@pytest.fixture
async def depot(infrastructure: Infrastructure, inventory_database: str) -> AsyncIterator[Depot]:
    """The service runs as its first replica, with nothing in its tables."""
    kafka = KafkaSettings(
        bootstrap_servers=infrastructure.kafka,
        topic_prefix=f"{infrastructure.prefix}inventory{next(_numbers)}.",
    )
    await create_topics(kafka, TOPICS)
    depot = Depot(kafka, inventory_database)
    await depot.stockroom.empty()
    app = depot.stockroom.service.app
    async with app.router.lifespan_context(app):
        yield depot
    await depot.stockroom.close()


async def test_a_checkout_goes_through_with_every_message_doubled(
    depot: Depot, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    await depot.stockroom.receive({"TEAPOT": 3})
    story = (
        reserve(checkout, {"TEAPOT": 2}),
        commit(checkout, {"TEAPOT": 2}),
        release(checkout),
        reserve(checkout, {"TEAPOT": 9}, 2),
    )
    same = [new_id() for _ in story]
    await depot.tell(*story, ids=same)
    await depot.tell(*story, ids=same)
    await depot.tell(*story)
    await wait_until(lambda: depot.settled(4), what="four answers")

    async def answered_again() -> bool:
        replies = await depot.kafka.read_all(ORDER_REPLIES)
        return len(replies) >= 8 and await depot.kafka.idle()

    await wait_until(answered_again, what="the answers to what was sent again")
    for kind in (StockReserved, ReservationCommitted, StockReleased, StockRejected):
        (answer,) = (await depot.heard(kind)).values()
        assert answer.checkout_id == checkout
    events = (await depot.heard(StockMoved)).values()
    assert [(one.event_seq, one.kind, one.on_hand) for one in events] == [
        (1, "receipt", 3),
        (2, "sale", 1),
        (3, "return", 3),
    ]
    told = (await depot.heard(StockAvailability)).values()
    assert max(told, key=lambda one: one.version).available == 3
    assert not any((await depot.stockroom.violations()).values())


async def test_the_saga_is_asked_about_what_is_due_until_it_answers(
    depot: Depot, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    await depot.stockroom.receive({"TEAPOT": 3})
    await depot.tell(reserve(checkout, {"TEAPOT": 2}, expires_at=utc_now()))

    async def asked() -> bool:
        return bool(await depot.heard(ReservationDue))

    await wait_until(asked, what="the question")
    (question,) = (await depot.heard(ReservationDue)).values()
    assert (question.checkout_id, question.round) == (checkout, 1)
    assert await depot.stockroom.level("TEAPOT") == (3, 2)
    await depot.tell(release(checkout))
    await wait_until(lambda: depot.settled(2), what="the release")
    assert await depot.stockroom.level("TEAPOT") == (3, 0)


async def test_what_is_no_command_is_kept_aside_and_the_rest_goes_on(
    depot: Depot, wait_until: WaitUntil
) -> None:
    poison: list[tuple[bytes | None, list[tuple[str, bytes]]]] = [
        (b"\xff\xfe", [("ce_type", b"\xff")]),
        (b"{}", []),
        (None, [("ce_type", b"inventory.reserve_stock.v1")]),
        (b"x" * 2_500_000, [("ce_type", b"inventory.reserve_stock.v1")]),
    ]
    checkout = new_id()
    await depot.stockroom.receive({"TEAPOT": 3})
    good = [
        address(reserve(new_id(), {"TEAPOT": 1}), source="order", now=utc_now()) for _ in range(2)
    ]
    headers, others = (one.envelope.headers() for one in good if one.envelope)
    poison.append((b'{"checkout_id": 7}', headers))
    poison.append(
        (
            good[1].payload,
            [
                (name, b"inventory.reserve_stock.v99" if name == "ce_type" else value)
                for name, value in others
            ],
        )
    )
    async with depot.kafka.producer() as producer:
        for number, (value, given) in enumerate(poison):
            await producer.send(
                depot.kafka.name_of(INVENTORY_COMMANDS),
                value,
                key=b"k%d" % number,
                partition=partition_of(str(checkout).encode(), INVENTORY_COMMANDS.partitions),
                headers=given,
            )
    await depot.tell(reserve(checkout, {"TEAPOT": 1}))
    await wait_until(lambda: depot.settled(1), what="the answer to the good command")
    kept = await depot.stockroom.query("SELECT value FROM dead_letters")
    assert sorted(row[0] or b"" for row in kept) == sorted(value or b"" for value, _ in poison)
    assert len(await depot.kafka.read_all(dead_letter_topic("inventory"))) == len(kept)


async def test_a_second_replica_in_the_middle_changes_nothing_about_the_outcome(
    depot: Depot, wait_until: WaitUntil
) -> None:
    checkouts = [new_id() for _ in range(120)]
    await depot.stockroom.receive({"HOT": 90, "COLD": 500})
    second = depot.replica(1)

    async def saga(part: Sequence[UUID]) -> None:
        for checkout in part:
            await depot.tell(
                reserve(checkout, {"HOT": 1, "COLD": 2}), commit(checkout, {"HOT": 1, "COLD": 2})
            )

    async def takes_part() -> bool:
        return second.service.assigned(INVENTORY_COMMANDS) > 0

    first_half = asyncio.create_task(saga(checkouts[:60]))
    try:
        async with second.service.app.router.lifespan_context(second.service.app):
            await first_half
            await wait_until(takes_part, what="the second replica's partitions")
            await saga(checkouts[60:])
            await wait_until(lambda: depot.settled(240), seconds=60, what="240 answers")
            assert any("UPDATE stock_levels" in statement for statement in second.statements)
    finally:
        await second.close()
    assert len(await depot.heard(StockReserved)) == 90
    assert len(await depot.heard(StockRejected)) == 30
    assert len(await depot.heard(ReservationCommitted)) == 90
    assert await depot.stockroom.levels() == {("HOT", "main"): (0, 0), ("COLD", "main"): (320, 0)}
    for sku, movements in (("HOT", 91), ("COLD", 91)):
        events = [one for one in (await depot.heard(StockMoved)).values() if one.sku == sku]
        assert [one.event_seq for one in events] == list(range(1, movements + 1))
    assert await depot.stockroom.dead_letters() == 0
    assert not any((await depot.stockroom.violations()).values())
