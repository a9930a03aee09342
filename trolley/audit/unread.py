"""Records that stand on Kafka and have not taken effect yet."""

import asyncio
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from contracts.partitioning import partition_of
from contracts.topics import SERVICES, TOPICS_BY_NAME, Topic
from messaging.kafka import client_options
from messaging.settings import KafkaSettings
from trolley.audit.published import told
from trolley.audit.settings import AuditSettings
from trolley.topics import admin_client


class Unread:
    """Partitions of which a consumer group of ours has not committed everything."""

    def __init__(self, behind: Iterable[tuple[str, int]] = ()) -> None:
        self._behind = frozenset(behind)

    def concerns(self, key: str, topics: Iterable[Topic]) -> bool:
        """Whether an unread record of one of these topics may be one under this key."""
        return any(
            (topic.name, partition_of(key.encode(), topic.partitions)) in self._behind
            for topic in topics
        )

    @classmethod
    async def now(cls, kafka: KafkaSettings, settings: AuditSettings) -> "Unread":
        """What is unread at this moment. Raises KafkaUnavailable."""
        consumer = AIOKafkaConsumer(
            **client_options(kafka), isolation_level="read_committed", enable_auto_commit=False
        )
        with told(kafka.bootstrap_servers):
            try:
                async with asyncio.timeout(settings.audit_topic_silence_seconds):
                    async with admin_client(kafka) as admin:
                        await consumer.start()
                        return cls(await _behind(admin, consumer, kafka.topic_prefix))
            finally:
                await consumer.stop()


NOTHING_UNREAD = Unread()


async def _behind(
    admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, prefix: str
) -> set[tuple[str, int]]:
    behind = set()
    for group, *_ in await admin.list_consumer_groups():
        # A group is named after its service and its topic: `order.payment.events`.
        service, _, name = group.removeprefix(prefix).partition(".")
        topic = TOPICS_BY_NAME.get(name)
        if not group.startswith(prefix) or service not in SERVICES or topic is None:
            continue
        places = [TopicPartition(prefix + name, number) for number in range(topic.partitions)]
        committed = await admin.list_consumer_group_offsets(group)
        ends = await consumer.end_offsets(places)
        begins = await consumer.beginning_offsets(places)
        for place in places:
            offset = committed[place].offset if place in committed else -1
            if max(offset, begins[place]) < ends[place]:
                behind.add((name, place.partition))
    return behind
