"""Databases and topics of a benchmark's own on servers that run already, gone at its end."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from contracts.topics import Topic
from messaging.settings import KafkaSettings


@asynccontextmanager
async def own_database(url: str, name: str) -> AsyncIterator[str]:
    """An empty database beside the one that `url` names; gives its URL."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        yield url.rpartition("/")[0] + f"/{name}"
    finally:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.close()


@asynccontextmanager
async def own_topics(kafka: KafkaSettings, topics: Sequence[Topic]) -> AsyncIterator[None]:
    """Topics under the prefix of these settings."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    names = [kafka.topic_prefix + topic.name for topic in topics]
    try:
        await admin.create_topics(
            [NewTopic(name, topic.partitions, 1) for name, topic in zip(names, topics, strict=True)]
        )
        yield
    finally:
        await admin.delete_topics(names)
        await admin.close()
