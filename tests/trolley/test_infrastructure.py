"""The fixture that every integration test stands on."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient

pytestmark = pytest.mark.integration


async def test_gives_a_real_postgresql_with_fresh_databases(
    database: Callable[[str], Awaitable[str]],
) -> None:
    connection = await asyncpg.connect(await database("fresh"))
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_stat_user_tables") == 0
        assert int(await connection.fetchval("SHOW server_version_num")) >= 160000
    finally:
        await connection.close()


async def test_gives_a_real_kafka(infrastructure) -> None:  # type: ignore[no-untyped-def]
    admin = AIOKafkaAdminClient(bootstrap_servers=infrastructure.kafka)
    await admin.start()
    try:
        described = await admin.describe_cluster()
        assert len(described["brokers"]) >= 1
    finally:
        await admin.close()
