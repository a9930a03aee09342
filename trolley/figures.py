"""Figures of a running stack: consumer lag per service, checkouts by state."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from messaging.kafka import client_options
from trolley.services import SERVICES
from trolley.topics import REQUEST_TIMEOUT_MS, kafka_settings

_COUNT_CHECKOUTS = "SELECT state, count(*) FROM checkouts GROUP BY state"


@dataclass(frozen=True)
class Reading:
    """What could be read; a figure that could not is missing, never zero."""

    lag: Mapping[str, int] = field(default_factory=dict)
    """Records not yet processed, by service."""
    checkouts: Mapping[str, int] | None = None
    """Number of checkouts by state of the saga."""


class Figures:
    """Reads the figures over connections that are kept; whatever is away is left out."""

    def __init__(self, *, timeout_seconds: float) -> None:
        self.latest = Reading()
        self._timeout_seconds = timeout_seconds
        self._admin: AIOKafkaAdminClient | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._database: asyncpg.Connection | None = None

    async def read(self, environment: Mapping[str, str]) -> Reading:
        """Reads all figures of the stack with these settings; `latest` keeps them."""
        lag, checkouts = await asyncio.gather(
            self._read_lag(environment), self._read_checkouts(environment)
        )
        self.latest = Reading(lag, checkouts)
        return self.latest

    async def close(self) -> None:
        """Closes all connections."""
        await self._close_kafka()
        await self._close_database()

    async def _read_lag(self, environment: Mapping[str, str]) -> dict[str, int]:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._lag(environment)
        except (KafkaError, OSError, TimeoutError):
            await self._close_kafka()
            return {}

    async def _lag(self, environment: Mapping[str, str]) -> dict[str, int]:
        settings = kafka_settings(environment)
        if self._admin is None or self._consumer is None:
            options = client_options(settings) | {"request_timeout_ms": REQUEST_TIMEOUT_MS}
            self._admin = AIOKafkaAdminClient(**options)
            await self._admin.start()
            self._consumer = AIOKafkaConsumer(**options, enable_auto_commit=False)
            await self._consumer.start()
        groups = [group for group, *_ in await self._admin.list_consumer_groups()]
        lag: dict[str, int] = {}
        for service in SERVICES:
            own = [
                one for one in groups if one.startswith(f"{settings.topic_prefix}{service.name}.")
            ]
            for group in own:
                committed = await self._admin.list_consumer_group_offsets(group)
                ends = await self._consumer.end_offsets(list(committed))
                lag[service.name] = lag.get(service.name, 0) + _behind(committed, ends)
        return lag

    async def _read_checkouts(self, environment: Mapping[str, str]) -> dict[str, int] | None:
        url = environment.get("ORDER_DATABASE_URL")
        if url is None:
            return None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                if self._database is None or self._database.is_closed():
                    self._database = await asyncpg.connect(url)
                rows = await self._database.fetch(_COUNT_CHECKOUTS)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            await self._close_database()
            return None
        return {row["state"]: row["count"] for row in rows}

    async def _close_kafka(self) -> None:
        admin, consumer, self._admin, self._consumer = self._admin, self._consumer, None, None
        with contextlib.suppress(KafkaError, OSError):
            if consumer is not None:
                await consumer.stop()
            if admin is not None:
                await admin.close()

    async def _close_database(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.terminate()


def _behind(committed: Mapping[TopicPartition, object], ends: Mapping[TopicPartition, int]) -> int:
    behind = 0
    for partition, end in ends.items():
        offset = getattr(committed[partition], "offset", -1)
        if offset >= 0:
            behind += max(0, end - offset)
    return behind
