"""The whole service on real Kafka, among neighbours that answer it there."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from contracts.envelope import parse_envelope
from contracts.ids import new_id
from contracts.messages import MESSAGES_BY_TYPE
from contracts.messages.base import Message, SagaCommand, SagaReply
from contracts.messages.order import OrderCancelled, OrderEvent, OrderPaid, StartCheckout
from contracts.messages.payment import ChargePayment, Refunded
from contracts.partitioning import partition_of
from contracts.topics import (
    CART_COMMANDS,
    INVENTORY_COMMANDS,
    ORDER_COMMANDS,
    ORDER_EVENTS,
    ORDER_REPLIES,
    PAYMENT_COMMANDS,
    Topic,
    dead_letter_topic,
    replay_topic,
)
from messaging.clock import utc_now
from messaging.outbox import address
from messaging.settings import ConsumerSettings, KafkaSettings, RelaySettings
from order_service.checkout.facts import payment_id_of, refund_id_of
from order_service.exploration import start
from tests.conftest import Infrastructure
from tests.messaging.example import Example, create_topics
from tests.order_service.office import Office, of, start_of
from tests.order_service.story import cancel, committed, reserved
from tests.order_service.world import Cart, Provider, Stockroom

pytestmark = pytest.mark.integration

ASKED = (INVENTORY_COMMANDS, PAYMENT_COMMANDS, CART_COMMANDS)
TOPICS = (
    *ASKED,
    ORDER_COMMANDS,
    ORDER_REPLIES,
    ORDER_EVENTS,
    dead_letter_topic("order"),
    replay_topic("order"),
)
WaitUntil = Callable[..., Awaitable[None]]
_numbers = count(1)


class Neighbours:
    """Inventory, payment and cart, as far as the saga can tell: each checkout a world of its own.

    They send every answer `times` times, and the same one again when asked again.
    """

    def __init__(self, kafka: Example, *, times: int = 1) -> None:
        self._kafka = kafka
        self._times = times
        self.fates: dict[UUID, str] = {}
        self.out_of_stock: set[UUID] = set()
        self.providers: dict[UUID, Provider] = {}
        self.stockrooms: dict[UUID, Stockroom] = {}
        self._answers: dict[tuple[UUID, str, int], tuple[UUID, SagaReply]] = {}

    async def serve(self) -> None:
        """Answer for ever."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._kafka.kafka.bootstrap_servers, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            consumer.assign(
                [
                    TopicPartition(self._kafka.name_of(topic), partition)
                    for topic in ASKED
                    for partition in range(topic.partitions)
                ]
            )
            while True:
                for records in (await consumer.getmany(timeout_ms=50)).values():
                    await self._answer(records)
        finally:
            await consumer.stop()

    async def _answer(self, records: Sequence[ConsumerRecord]) -> None:
        outgoing = []
        for record in records:
            kind = MESSAGES_BY_TYPE[parse_envelope(record.headers).type]
            command = kind.model_validate_json(record.value)
            if not isinstance(command, SagaCommand):
                continue
            answer = self._answer_to(command)
            if answer is not None:
                message_id, reply = answer
                outgoing += [
                    address(reply, source="payment", now=utc_now(), message_id=message_id)
                ] * self._times
        if outgoing:
            await self._kafka.send(*outgoing)

    def _answer_to(self, command: SagaCommand) -> tuple[UUID, SagaReply] | None:
        question = (command.checkout_id, command.step.value, command.round)
        if question not in self._answers:
            reply = self._worker(command).answer(command, utc_now())
            if reply is None:
                return None
            self._answers[question] = new_id(), reply
        return self._answers[question]

    def _worker(self, command: SagaCommand) -> Stockroom | Provider | Cart:
        checkout = command.checkout_id
        match command.topic.name:
            case INVENTORY_COMMANDS.name:
                fits = checkout not in self.out_of_stock
                return self.stockrooms.setdefault(checkout, Stockroom(lambda: fits))
            case PAYMENT_COMMANDS.name:
                fate = self.fates.get(checkout, "now-yes")
                return self.providers.setdefault(checkout, Provider(lambda: fate))
        return Cart()


class Quarter:
    """Replicas of the service on Kafka, and everybody around them."""

    def __init__(self, kafka: KafkaSettings, database_url: str) -> None:
        self.kafka = Example(kafka, database_url)
        self.neighbours = Neighbours(self.kafka, times=2)
        self._settings: dict[str, Any] = {
            "kafka": kafka,
            "consumer": ConsumerSettings(session_timeout_ms=6000, batch_records=20),
            "relay": RelaySettings(poll_seconds=0.2, send_timeout_seconds=5),
            "sweep_interval_seconds": 0.1,
            "deadline_repeat_seconds": 2,
            "resend_first_seconds": 3,
            "charge_sends": 1,
        }
        self.office = self.replica(0)

    def replica(self, slot: int) -> Office:
        """One more process of the service, not yet running."""
        return Office(self.kafka.database_url, instance_slot=slot, **self._settings)

    async def tell(self, *messages: Message, times: int = 1) -> None:
        """Send messages to their topics, in order, each so many times under one id."""
        rows = [address(message, source="cart", now=utc_now()) for message in messages]
        await self.kafka.send(*(row for row in rows for _ in range(times)))

    async def heard(self, topic: Topic) -> list[Message]:
        """What stands on a topic, each message once however often the relay sent it."""
        found: dict[UUID, Message] = {}
        for record in await self.kafka.read_all(topic):
            assert isinstance(record, ConsumerRecord)
            envelope = parse_envelope(record.headers)
            message = MESSAGES_BY_TYPE[envelope.type].model_validate_json(record.value)
            found.setdefault(envelope.id, message)
        return list(found.values())

    async def all_final(self) -> bool:
        """Whether every checkout is over and everything is sent."""
        left = await self.office.value("SELECT count(*) FROM checkouts WHERE NOT final")
        return left == 0 and await self.kafka.idle()


@pytest.fixture
async def quarter(infrastructure: Infrastructure, order_database: str) -> AsyncIterator[Quarter]:
    """The service runs as its first replica, with nothing in its tables."""
    kafka = KafkaSettings(
        bootstrap_servers=infrastructure.kafka,
        topic_prefix=f"{infrastructure.prefix}order{next(_numbers)}.",
    )
    await create_topics(kafka, TOPICS)
    quarter = Quarter(kafka, order_database)
    await quarter.office.empty()
    serving = asyncio.create_task(quarter.neighbours.serve())
    app = quarter.office.service.app
    try:
        async with app.router.lifespan_context(app):
            yield quarter
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        await quarter.office.close()


def begin(checkout_id: UUID, *, window_seconds: int = 600) -> StartCheckout:
    begins = start_of(checkout_id)
    assert isinstance(begins, StartCheckout)
    return begins.model_copy(update={"payment_window_seconds": window_seconds})


async def ended_as(quarter: Quarter) -> Counter[str]:
    return Counter((await quarter.office.states()).values())


async def assert_books_agree(quarter: Quarter) -> None:
    """What the saga ended with is what its neighbours have in their books."""
    for checkout, state in (await quarter.office.states()).items():
        provider = quarter.neighbours.providers.get(checkout)
        stock = quarter.neighbours.stockrooms[checkout]
        paid = state == "paid"
        assert (provider.kept_minor if provider else 0) == (2500 if paid else 0)
        assert (stock.sold, stock.held) == (int(paid), 0)


async def assert_events_have_no_gaps(quarter: Quarter, wait_until: WaitUntil) -> None:
    async def all_is_published() -> bool:
        return not await quarter.office.query("SELECT 1 FROM outbox LIMIT 1")

    await wait_until(all_is_published, what="an empty outbox")
    by_order: dict[UUID, list[int]] = {}
    for event in await quarter.heard(ORDER_EVENTS):
        assert isinstance(event, OrderEvent)
        by_order.setdefault(event.order_id, []).append(event.event_seq)
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in by_order.values())
    rows = await quarter.office.query("SELECT order_id, event_seq FROM orders")
    assert {row[0]: row[1] for row in rows} == {key: len(seqs) for key, seqs in by_order.items()}


async def test_every_kind_of_checkout_ends_with_every_message_doubled(
    quarter: Quarter, wait_until: WaitUntil
) -> None:
    paid, authorized, declined, silent, short = ([new_id() for _ in range(4)] for _ in range(5))
    quarter.neighbours.fates |= dict.fromkeys(authorized, "authorized-yes")
    quarter.neighbours.fates |= dict.fromkeys(declined, "now-no")
    quarter.neighbours.fates |= dict.fromkeys(silent, "silent-yes")
    quarter.neighbours.out_of_stock |= set(short)
    for one in (*paid, *authorized, *silent, *short):
        await quarter.tell(begin(one), times=2)
    for one in declined:
        await quarter.tell(begin(one, window_seconds=1), times=2)

    async def over() -> bool:
        return sum((await ended_as(quarter)).values()) == 20 and await quarter.all_final()

    await wait_until(over, seconds=60, what="the end of all checkouts")
    assert await ended_as(quarter) == {"paid": 12, "cancelled": 4, "rejected": 4}
    await assert_books_agree(quarter)
    await assert_events_have_no_gaps(quarter, wait_until)
    kinds = Counter(type(event) for event in await quarter.heard(ORDER_EVENTS))
    assert (kinds[OrderPaid], kinds[OrderCancelled]) == (12, 4)
    assert await quarter.office.dead_letters() == []


async def test_a_second_replica_in_the_middle_changes_nothing_about_the_outcome(
    quarter: Quarter, wait_until: WaitUntil
) -> None:
    checkouts = [new_id() for _ in range(100)]
    second = quarter.replica(1)

    async def shop(part: Sequence[UUID]) -> None:
        for one in part:
            await quarter.tell(begin(one))

    async def takes_part() -> bool:
        return second.service.assigned(ORDER_REPLIES) > 0

    async def over() -> bool:
        return (await ended_as(quarter)) == {"paid": 100} and await quarter.all_final()

    first_half = asyncio.create_task(shop(checkouts[:50]))
    try:
        async with second.service.app.router.lifespan_context(second.service.app):
            await first_half
            await wait_until(takes_part, what="the second replica's partitions")
            await shop(checkouts[50:])
            await wait_until(over, seconds=60, what="the end of all checkouts")
            assert any("UPDATE checkouts" in statement for statement in second.statements)
    finally:
        await second.close()
    charges = [m for m in await quarter.heard(PAYMENT_COMMANDS) if isinstance(m, ChargePayment)]
    assert {charge.attempt for charge in charges} == {1}
    await assert_books_agree(quarter)
    await assert_events_have_no_gaps(quarter, wait_until)
    assert await quarter.office.dead_letters() == []


async def test_cancels_race_with_success_and_no_money_stays(
    quarter: Quarter, wait_until: WaitUntil
) -> None:
    checkouts = [new_id() for _ in range(30)]
    await quarter.tell(*(begin(one) for one in checkouts))
    for one in checkouts:
        await quarter.tell(of(one, cancel()), times=2)

    async def refunded() -> bool:
        for provider in list(quarter.neighbours.providers.values()):
            for number, status in list(provider.refunds.items()):
                if status == "pending":
                    provider.refunds[number] = "refunded"
                    await tell_of_refund(quarter, provider, number)
        return sum((await ended_as(quarter)).values()) == 30 and await quarter.all_final()

    await wait_until(refunded, seconds=60, what="the end of all checkouts")
    assert await ended_as(quarter) == {"cancelled": 30}
    await assert_books_agree(quarter)


async def tell_of_refund(quarter: Quarter, provider: Provider, number: int) -> None:
    """The bank's word on a pending refund, which nobody asked for again."""
    (checkout,) = [k for k, v in quarter.neighbours.providers.items() if v is provider]
    await quarter.tell(
        Refunded(
            checkout_id=checkout,
            round=number,
            attempt=1,
            payment_id=payment_id_of(checkout),
            refund_id=refund_id_of(checkout, number),
            amount_minor=2500,
        )
    )


async def test_what_is_no_message_is_kept_aside_and_the_rest_goes_on(
    quarter: Quarter, wait_until: WaitUntil
) -> None:
    one = new_id()
    partition = partition_of(str(one).encode(), ORDER_COMMANDS.partitions)
    good = [address(begin(new_id()), source="cart", now=utc_now()) for _ in range(2)]
    headers, others = (each.envelope.headers() for each in good if each.envelope)
    newer = [(n, b"order.start_checkout.v99" if n == "ce_type" else v) for n, v in others]
    poison: list[tuple[bytes | None, list[tuple[str, bytes]]]] = [
        (b"\xff\xfe", [("ce_type", b"\xff")]),
        (b"{}", []),
        (None, [("ce_type", b"order.start_checkout.v1")]),
        (b'{"checkout_id": 7}', headers),
        (good[1].payload, newer),
    ]
    async with quarter.kafka.producer() as producer:
        for topic in (ORDER_COMMANDS, ORDER_REPLIES):
            for number, (value, given) in enumerate(poison):
                await producer.send(
                    quarter.kafka.name_of(topic),
                    value,
                    key=b"k%d" % number,
                    partition=partition,
                    headers=given,
                )
    await quarter.tell(of(new_id(), committed()), of(new_id(), reserved()), of(one, start()))

    async def over() -> bool:
        return (await quarter.office.states()) == {one: "paid"} and await quarter.all_final()

    await wait_until(over, seconds=60, what="the end of the good checkout")
    kept = await quarter.office.value("SELECT count(*) FROM dead_letters")
    assert kept == 2 * len(poison) + 2
    assert len(await quarter.kafka.read_all(dead_letter_topic("order"))) == kept
