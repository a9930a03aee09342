"""The inbox: claims, and partitions that come before their time and go after Kafka's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from contracts.ids import first_id_at, new_id
from contracts.topics import TOPICS
from messaging import inbox
from messaging.database import Database, sql
from messaging.migrations import STATEMENTS
from messaging.settings import ServiceSettings
from tests.conftest import Infrastructure

pytestmark = pytest.mark.integration
DAY = timedelta(days=1)


@pytest.fixture
async def database(infrastructure: Infrastructure) -> AsyncIterator[Database]:
    async with infrastructure.database("inbox") as url:
        connection = await asyncpg.connect(url)
        for statement in STATEMENTS:
            await connection.execute(statement)
        await connection.close()
        database = Database(url, pool_connections=4, application_name="test")
        yield database
        await database.close()


async def claim(database: Database, consumer: str, *ids: UUID) -> set[UUID]:
    async with database.transaction() as connection:
        return await inbox.claim(connection, consumer, ids)


async def partitions(database: Database) -> dict[str, int]:
    async with database.reading() as connection:
        rows = await connection.fetch(
            sql("SELECT tableoid::regclass::text AS name, count(*) AS claims FROM inbox GROUP BY 1")
        )
        return {row.name: row.claims for row in rows}


async def test_an_id_is_new_once_per_consumer(database: Database) -> None:
    one, two = new_id(), new_id()
    assert await claim(database, "a", one, one) == {one}
    assert await claim(database, "a", two, one) == {two}
    assert await claim(database, "b", one) == {one}


async def test_a_claim_that_rolled_back_is_free_again(database: Database) -> None:
    one = new_id()

    async def crash_after_the_claim() -> None:
        async with database.transaction() as connection:
            assert await inbox.claim(connection, "a", [one]) == {one}
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        await crash_after_the_claim()
    assert await claim(database, "a", one) == {one}


async def test_batches_that_overlap_wait_for_each_other_whatever_their_order(
    database: Database, wait_until: Callable[..., Awaitable[None]]
) -> None:
    # Their hashes collide, so that even a set would keep the order that they come in.
    first, middle, last = (UUID(int=number) for number in (8, 16, 24))

    async def both_wait() -> bool:
        async with database.reading() as connection:
            waiting = sql(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return bool(await connection.fetch_value(waiting) == 2)

    async with database.transaction() as connection:
        await inbox.claim(connection, "a", [middle])
        batches = [
            asyncio.create_task(claim(database, "a", last, middle, first)),
            asyncio.create_task(claim(database, "a", first, middle, last)),
        ]
        await wait_until(both_wait)
    one, other = await asyncio.gather(*batches)
    assert one | other == {first, last}
    assert one & other == set()


async def test_ids_of_our_time_have_their_partition_and_foreign_ones_the_default(
    database: Database,
) -> None:
    now = datetime.now(UTC)
    async with database.transaction() as connection:
        await inbox.keep_partitions(connection, now, 9)
    foreign = uuid4()
    await claim(database, "a", new_id(), first_id_at(now + 2 * DAY), foreign)
    found = await partitions(database)
    assert found.pop("inbox_default") == 1
    assert found == {f"inbox_{now:%Y%m%d}": 1, f"inbox_{now + 2 * DAY:%Y%m%d}": 1}
    assert await claim(database, "a", foreign) == set()


async def test_claims_from_before_their_day_had_a_partition_move_into_it(
    database: Database,
) -> None:
    later = datetime.now(UTC) + 5 * DAY
    early, foreign = first_id_at(later), uuid4()
    await claim(database, "a", early, foreign)
    assert await partitions(database) == {"inbox_default": 2}
    for _ in range(2):
        async with database.transaction() as connection:
            await inbox.keep_partitions(connection, later, 9)
    assert await partitions(database) == {"inbox_default": 1, f"inbox_{later:%Y%m%d}": 1}
    assert await claim(database, "a", early, foreign) == set()
    assert await claim(database, "b", early) == {early}


async def test_a_partition_goes_only_after_everything_that_kafka_may_still_deliver(
    database: Database,
) -> None:
    settings_days = ServiceSettings.model_fields["inbox_keep_days"].default
    longest_kept = max(
        topic.retention_ms or 0 for topic in TOPICS if topic.name.endswith((".commands", "replies"))
    )
    assert timedelta(days=settings_days) > timedelta(milliseconds=longest_kept) + DAY
    now = datetime.now(UTC)
    async with database.transaction() as connection:
        await inbox.keep_partitions(connection, now, settings_days)
    old = first_id_at(now)
    await claim(database, "a", old)
    for days, is_new in ((settings_days, False), (settings_days + 2, True)):
        async with database.transaction() as connection:
            await inbox.keep_partitions(connection, now + timedelta(days=days), settings_days)
        assert (await claim(database, "a", old) == {old}) is is_new
