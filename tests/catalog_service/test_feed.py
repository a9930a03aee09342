"""What others read on `catalog.items`: through the real relay, on a real Kafka."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from catalog_service.app import build
from catalog_service.settings import CatalogSettings
from contracts.envelope import parse_envelope
from contracts.messages import MESSAGES_BY_TYPE
from contracts.messages.catalog import CatalogItem
from contracts.partitioning import partition_of
from contracts.topics import CATALOG_ITEMS
from messaging.migrations import upgrade
from messaging.settings import KafkaSettings
from tests.catalog_service.conftest import Shop
from tests.conftest import Infrastructure
from tests.messaging.example import create_topics

pytestmark = pytest.mark.integration


async def records_of(kafka: KafkaSettings) -> list[Any]:
    """Every record that stands on `catalog.items` now."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        topic = kafka.topic_prefix + CATALOG_ITEMS.name
        places = [TopicPartition(topic, number) for number in range(CATALOG_ITEMS.partitions)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        records: list[Any] = []
        while any([await consumer.position(place) < ends[place] for place in places]):
            for group in (await consumer.getmany(timeout_ms=200)).values():
                records.extend(group)
        return records
    finally:
        await consumer.stop()


async def test_a_read_model_can_be_built_from_the_topic_alone(
    infrastructure: Infrastructure, wait_until: Callable[..., Awaitable[None]]
) -> None:
    kafka = KafkaSettings(
        bootstrap_servers=infrastructure.kafka, topic_prefix=f"{infrastructure.prefix}catalog."
    )
    await create_topics(kafka, [CATALOG_ITEMS])
    async with infrastructure.database("catalog_feed") as url:
        await asyncio.to_thread(upgrade, "catalog_service", url)
        settings: dict[str, Any] = {"database_url": url, "signing_key": "k" * 32, "kafka": kafka}
        service = build(CatalogSettings(**settings))
        async with (
            service.app.router.lifespan_context(service.app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app=service.app), base_url="http://catalog"
            ) as client,
        ):
            shop = Shop(service, client, "main")
            rows = [
                {
                    "product_code": f"P{n % 7}",
                    "sku": f"{'sS'[n % 2]}ku {n // 2}",
                    "prices": [{"currency": "GBP", "base_minor": n % 7, "additional_minor": n}],
                }
                for n in range(200)
            ]
            for change in ({}, {"name": "Renamed"}, {"status": "inactive"}):
                said = [{**row, **change} for row in rows]
                answer = await shop.send("POST", "/imports", json={"rows": said})
                assert answer.json()["items_changed"] == len(rows)

            async def everything_is_sent() -> bool:
                return not await shop.rows("SELECT 1 FROM outbox LIMIT 1")

            await wait_until(everything_is_sent, what="an empty outbox")
            records = await records_of(kafka)

            model: dict[str, CatalogItem] = {}
            for record in records:
                envelope = parse_envelope(record.headers)
                item = MESSAGES_BY_TYPE[envelope.type].model_validate_json(record.value)
                assert isinstance(item, CatalogItem)
                assert record.key.decode() == item.key == envelope.subject
                assert record.partition == partition_of(record.key, CATALOG_ITEMS.partitions)
                # Of one SKU each version comes once, in order.
                known = model.get(item.sku)
                assert item.version == (known.version if known else 0) + 1
                model[item.sku] = item
            assert len(records) == 3 * len(rows)
            assert len(model) == len(rows)
            for sku, item in model.items():
                shown = await shop.read(f"/items/{sku}")
                assert shown == item.model_dump(mode="json", exclude={"shop_id"})
                assert (item.name, item.status, item.version) == ("Renamed", "inactive", 3)
