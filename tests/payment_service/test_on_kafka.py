"""The whole service on real Kafka and PostgreSQL: repeated, poisoned, doubled, killed."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiokafka import ConsumerRecord

from contracts.envelope import parse_envelope
from contracts.ids import derived_id, new_id
from contracts.messages import MESSAGES_BY_TYPE
from contracts.messages.base import Message, SagaReply
from contracts.messages.payment import PaymentChanged
from contracts.topics import (
    ORDER_REPLIES,
    PAYMENT_COMMANDS,
    PAYMENT_EVENTS,
    Topic,
    dead_letter_topic,
    replay_topic,
)
from messaging.clock import utc_now
from messaging.outbox import address
from messaging.settings import ConsumerSettings, KafkaSettings, RelaySettings
from tests.conftest import Infrastructure
from tests.messaging.example import Example, create_topics
from tests.payment_service.cashdesk import KEY, CashDesk, soon
from tests.payment_service.story import capture, close, refund

pytestmark = pytest.mark.integration

TOPICS = (
    PAYMENT_COMMANDS,
    PAYMENT_EVENTS,
    ORDER_REPLIES,
    dead_letter_topic("payment"),
    replay_topic("payment"),
)
WaitUntil = Callable[..., Awaitable[None]]
_numbers = count(1)


class Branch:
    """Replicas of the service on Kafka, and the saga's side of the conversation."""

    def __init__(self, kafka: KafkaSettings, payment_url: str, bank_url: str) -> None:
        self.kafka = Example(kafka, payment_url)
        self._urls = payment_url, bank_url
        self.settings: dict[str, Any] = {
            "kafka": kafka,
            "consumer": ConsumerSettings(session_timeout_ms=6000, batch_records=20),
            "relay": RelaySettings(poll_seconds=0.2, send_timeout_seconds=5),
        }
        self.desk = self.replica(0)

    def replica(self, slot: int) -> CashDesk:
        """One more process of the service, not yet running."""
        return CashDesk(*self._urls, instance_slot=slot, **self.settings)

    @asynccontextmanager
    async def running(self, desk: CashDesk) -> AsyncIterator[None]:
        """A replica that runs, without its HTTP port."""
        app = desk.service.app
        async with app.router.lifespan_context(app):
            yield

    @asynccontextmanager
    async def process(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """The service as a process of its own, in slot 0."""
        kafka = self.kafka.kafka
        environment = {
            **os.environ,
            "TROLLEY_ENV_FILE": os.devnull,
            "TROLLEY_SIGNING_KEY": KEY.get_secret_value(),
            "PAYMENT_DATABASE_URL": self._urls[0],
            "PAYMENT_SIMULATED_DATABASE_URL": self._urls[1],
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "payment_service.app"),
            env=environment,
            cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def tell(self, *messages: Message, ids: dict[int, UUID] | None = None) -> None:
        """Send commands, in order; `ids` gives the message ids by place."""
        await self.kafka.send(
            *(
                address(message, source="order", now=utc_now(), message_id=(ids or {}).get(place))
                for place, message in enumerate(messages)
            )
        )

    async def heard(self, topic: Topic) -> dict[UUID, Message]:
        """All messages on a topic, by id: the relay may send one twice."""
        found: dict[UUID, Message] = {}
        for record in await self.kafka.read_all(topic):
            assert isinstance(record, ConsumerRecord)
            envelope = parse_envelope(record.headers)
            found[envelope.id] = MESSAGES_BY_TYPE[envelope.type].model_validate_json(record.value)
        return found

    async def replies(self) -> Counter[tuple[str, str, int]]:
        """How often each reply was given, by name, step and round."""
        return Counter(
            (type(reply).__name__, reply.step.value, reply.round)
            for reply in (await self.heard(ORDER_REPLIES)).values()
            if isinstance(reply, SagaReply)
        )

    async def done(self, operations: int) -> bool:
        """Whether so many operations have come to their end, and all is sent."""
        statuses = await self.desk.statuses()
        return (
            len(statuses) == operations
            and not {"due", "leased", "reported"} & set(statuses)
            and await self.kafka.idle()
        )


@pytest.fixture
async def branch(
    infrastructure: Infrastructure, payment_databases: tuple[str, str]
) -> AsyncIterator[Branch]:
    """The service with nothing in its books; no replica runs yet."""
    kafka = KafkaSettings(
        bootstrap_servers=infrastructure.kafka,
        topic_prefix=f"{infrastructure.prefix}payment{next(_numbers)}.",
    )
    await create_topics(kafka, TOPICS)
    branch = Branch(kafka, *payment_databases)
    await branch.desk.empty()
    yield branch
    await branch.desk.close()


async def test_a_checkout_is_paid_with_every_message_doubled(
    branch: Branch, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    payment_id = derived_id(checkout, "payment")
    story = [
        soon(checkout, flow="authorize"),
        capture(checkout=checkout),
        refund(1, 400, checkout=checkout),
    ]
    async with branch.running(branch.desk):
        for at, command in enumerate(story):
            same = {0: new_id()}
            await branch.tell(command, ids=same)
            await branch.tell(command, ids=same)
            await branch.tell(command)
            await wait_until(lambda n=at + 1: branch.done(n), what=f"operation {at + 1}")
        await branch.tell(close(checkout=checkout), *story)

        async def closed() -> bool:
            return ("PaymentSucceeded", "close_payment", 1) in await branch.replies()

        await wait_until(closed, what="the answer to the close")

        async def all_is_published() -> bool:
            return not await branch.desk.query("SELECT 1 FROM outbox LIMIT 1")

        await wait_until(all_is_published, what="an empty outbox")

    assert await branch.replies() == Counter(
        [
            ("PaymentAuthorized", "charge", 1),
            ("PaymentSucceeded", "capture", 1),
            ("Refunded", "refund", 1),
            ("PaymentSucceeded", "close_payment", 1),
        ]
    )
    events = (await branch.heard(PAYMENT_EVENTS)).values()
    assert [
        (event.event_seq, event.status)
        for event in events
        if isinstance(event, PaymentChanged) and event.payment_id == payment_id
    ] == [(1, "authorized"), (2, "succeeded"), (3, "succeeded"), (4, "partly_refunded")]
    assert await branch.desk.calls() == {"charge": 1, "capture": 1, "refund": 1}
    assert await branch.desk.differences() == []


async def test_what_is_no_command_is_kept_aside_and_the_rest_goes_on(
    branch: Branch, wait_until: WaitUntil
) -> None:
    checkout = new_id()
    good = address(soon(checkout), source="order", now=utc_now())
    assert good.envelope is not None
    headers = good.envelope.headers()
    fresh = [header for header in headers if header[0] != "ce_id"]
    poison: list[tuple[bytes | None, list[tuple[str, bytes]]]] = [
        (b"\xff\xfe", [("ce_type", b"\xff")]),
        (b"{}", []),
        (None, [*fresh, ("ce_id", str(new_id()).encode())]),
        (b'{"checkout_id": 7}', [*fresh, ("ce_id", str(new_id()).encode())]),
        (b"x" * 2_500_000, [*fresh, ("ce_id", str(new_id()).encode())]),
    ]
    async with branch.kafka.producer() as producer:
        for number, (value, given) in enumerate(poison):
            await producer.send(
                branch.kafka.name_of(PAYMENT_COMMANDS),
                value,
                key=b"k%d" % number,
                partition=good.partition,
                headers=given,
            )
    await branch.kafka.send(good)
    async with branch.running(branch.desk):
        await wait_until(lambda: branch.done(1), what="the good charge")

    assert await branch.replies() == Counter([("PaymentSucceeded", "charge", 1)])
    kept = await branch.desk.query("SELECT value FROM dead_letters")
    assert sorted(row[0] or b"" for row in kept) == sorted(value or b"" for value, _ in poison)
    assert len(await branch.kafka.read_all(dead_letter_topic("payment"))) == len(poison)


async def test_a_second_replica_in_the_middle_changes_nothing_about_the_outcome(
    branch: Branch, wait_until: WaitUntil
) -> None:
    checkouts = [new_id() for _ in range(120)]
    second = branch.replica(1)

    async def pay(part: list[UUID]) -> None:
        for checkout in part:
            await branch.tell(soon(checkout, method="pm_slow_20"))

    try:
        async with branch.running(branch.desk):
            first_half = asyncio.create_task(pay(checkouts[:60]))
            async with branch.running(second):
                await first_half
                await pay(checkouts[60:100])
            await pay(checkouts[100:])
            await wait_until(lambda: branch.done(120), seconds=60, what="120 payments")
    finally:
        await second.close()

    assert await branch.replies() == Counter({("PaymentSucceeded", "charge", 1): 120})
    calls = await branch.desk.calls()
    assert calls["charge"] == 120  # a drained replica's are asked about, not made again
    assert await branch.desk.dead_letters() == 0
    assert await branch.desk.differences() == []


async def test_killed_with_calls_in_doubt_it_comes_back_and_knows_them_all(
    branch: Branch, wait_until: WaitUntil
) -> None:
    checkouts = [new_id() for _ in range(40)]
    await branch.tell(
        *(soon(checkout, method="pm_slow_after_effect_60000") for checkout in checkouts)
    )
    async with branch.process() as process:

        async def all_took_effect() -> bool:
            return await branch.desk.captured_at_bank() == 40_000

        await wait_until(all_took_effect, seconds=60, what="40 effects")
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert await branch.desk.statuses() == ["leased"] * 40

    async with branch.process() as process:
        await wait_until(lambda: branch.done(40), seconds=60, what="40 answers")
        process.terminate()
        async with asyncio.timeout(60):
            assert await process.wait() in {0, -signal.SIGTERM}

    assert await branch.replies() == Counter({("PaymentSucceeded", "charge", 1): 40})
    assert await branch.desk.calls() == {"charge": 40, "ask": 40}
    assert await branch.desk.differences() == []
