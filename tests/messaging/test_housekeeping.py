"""What a service clears away by itself, and that no part of it waits for another."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import asyncpg
import pytest

from messaging.clock import utc_now
from messaging.database import Database
from messaging.http.commands import forget_responses
from messaging.settings import HttpSettings
from tests.messaging.example import Example

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]
KEEP = timedelta(seconds=HttpSettings().idempotency_keep_seconds)


async def store(example: Example, scope: bytes, created_at: datetime) -> None:
    await example.query(
        "INSERT INTO http_idempotency VALUES ($1, '', 201, '[]', '', $2)", scope, created_at
    )


async def stored(example: Example) -> list[bytes]:
    rows = await example.query("SELECT scope FROM http_idempotency ORDER BY scope")
    return [row["scope"] for row in rows]


async def has_partitions(example: Example) -> bool:
    return bool(
        await example.query(
            "SELECT 1 FROM pg_inherits WHERE inhparent = 'inbox'::regclass OFFSET 1"
        )
    )


async def test_old_responses_go_and_only_they(example: Example, wait_until: WaitUntil) -> None:
    now = utc_now()
    await store(example, b"new", now)
    await store(example, b"just kept", now - KEEP + timedelta(minutes=5))
    for number in range(3):
        await store(example, b"old %d" % number, now - KEEP - timedelta(seconds=1 + number))

    async def the_old_are_gone() -> bool:
        return not any(scope.startswith(b"old") for scope in await stored(example))

    async with example.running():
        await wait_until(the_old_are_gone)
    assert await stored(example) == [b"just kept", b"new"]


async def test_responses_go_though_partitions_cannot_be_made(
    example: Example, wait_until: WaitUntil
) -> None:
    now = utc_now()
    await example.query(f"CREATE TABLE inbox_{now:%Y%m%d} (in_the_way int)")
    await store(example, b"old", now - 2 * KEEP)

    async def gone() -> bool:
        return not await stored(example)

    async with example.running():
        await wait_until(gone)
    assert not await has_partitions(example)


async def test_partitions_are_made_though_responses_cannot_go(
    example: Example, wait_until: WaitUntil
) -> None:
    await example.query("DROP TABLE http_idempotency")
    with pytest.raises(asyncpg.UndefinedTableError):
        await stored(example)
    async with example.running():
        await wait_until(lambda: has_partitions(example))


async def test_so_many_old_responses_go_at_a_time_the_oldest_first(example: Example) -> None:
    now = utc_now()
    for hours in (1, 2, 3, 4):
        await store(example, b"%d hours" % hours, now - timedelta(hours=hours))
    database = Database(example.database_url, pool_connections=1, application_name="test")
    left = []
    for _ in range(3):
        async with database.transaction() as connection:
            await forget_responses(connection, now - timedelta(minutes=90), 2)
        left.append(await stored(example))
    await database.close()
    assert left == [[b"1 hours", b"2 hours"], [b"1 hours"], [b"1 hours"]]
