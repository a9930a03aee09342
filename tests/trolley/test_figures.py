"""Lag and checkouts, read from real servers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.structs import OffsetAndMetadata

from trolley.figures import Figures, Reading
from trolley.topics import admin_client, kafka_settings

if TYPE_CHECKING:
    from tests.conftest import Infrastructure

pytestmark = pytest.mark.integration


@pytest.fixture
async def figures() -> AsyncIterator[Figures]:
    opened = Figures(timeout_seconds=20)
    yield opened
    await opened.close()


async def test_lag_is_what_a_service_has_not_committed_in_all_its_groups(
    figures: Figures, infrastructure: "Infrastructure"
) -> None:
    prefix = f"{infrastructure.prefix}lag."
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": infrastructure.kafka,
        "KAFKA_TOPIC_PREFIX": prefix,
    }
    topic = f"{prefix}order.commands"
    async with admin_client(kafka_settings(environment)) as admin:
        await admin.create_topics([NewTopic(topic, 2, 1)])
    producer = AIOKafkaProducer(bootstrap_servers=infrastructure.kafka)
    await producer.start()
    for partition, records in ((0, 5), (1, 2)):
        for _ in range(records):
            await producer.send_and_wait(topic, b"{}", partition=partition)
    await producer.stop()
    for group, done in (("order.order.commands", {0: 3, 1: 2}), ("cart.order.commands", {0: 4})):
        consumer = AIOKafkaConsumer(
            bootstrap_servers=infrastructure.kafka,
            group_id=prefix + group,
            enable_auto_commit=False,
        )
        await consumer.start()
        consumer.assign([TopicPartition(topic, partition) for partition in done])
        await consumer.commit(
            {
                TopicPartition(topic, partition): OffsetAndMetadata(offset, "")
                for partition, offset in done.items()
            }
        )
        await consumer.stop()

    reading = await figures.read(environment)

    assert reading.lag == {"order": 2, "cart": 1}
    assert figures.latest == reading


async def test_checkouts_are_counted_by_state(
    figures: Figures,
    infrastructure: "Infrastructure",
    database: Callable[[str], Awaitable[str]],
) -> None:
    url = await database("figures")
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": infrastructure.kafka,
        "KAFKA_TOPIC_PREFIX": f"{infrastructure.prefix}none.",
        "ORDER_DATABASE_URL": url,
    }
    assert (await figures.read(environment)).checkouts is None  # not migrated yet
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE checkouts (state text)")
    await connection.execute("INSERT INTO checkouts VALUES ('paid'), ('paying'), ('paid')")
    await connection.close()

    assert (await figures.read(environment)).checkouts == {"paid": 2, "paying": 1}


async def test_what_is_away_is_left_out(figures: Figures) -> None:
    nowhere = {
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "ORDER_DATABASE_URL": "postgresql://postgres@127.0.0.1:9/order",
    }

    assert await figures.read(nowhere) == Reading({}, None)
