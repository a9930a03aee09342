"""The floor writes what was seen to be written: no row more, and none less."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from bench.anatomy import seen
from bench.floor import written
from tests.conftest import Infrastructure

pytestmark = pytest.mark.integration

Fresh = Callable[[str], Awaitable[str]]


async def test_rows_are_seen_with_what_becomes_of_them(database: Fresh) -> None:
    url = await database("shop")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "CREATE TABLE things (id uuid PRIMARY KEY, size int) PARTITION BY RANGE (id);"
            "CREATE TABLE things_default PARTITION OF things DEFAULT;"
        )
        async with seen({"shop": url}, checkouts=2) as anatomy:
            await connection.execute(
                "INSERT INTO things SELECT gen_random_uuid(), n FROM generate_series(1, 6) n"
            )
            await connection.execute("UPDATE things SET size = 7 WHERE size > 4")
            await connection.execute("DELETE FROM things WHERE size = 1")
        (things,) = anatomy.tables
        assert (things.inserts, things.updates, things.deletes) == (6, 2, 1)
        assert (anatomy.rows, anatomy.deletes) == (4, 0.5)
        await connection.execute("INSERT INTO things SELECT gen_random_uuid(), 1")
    finally:
        await connection.close()


async def test_what_was_seen_is_written_again(
    database: Fresh, infrastructure: Infrastructure
) -> None:
    url = await database("shop")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute('CREATE TABLE things (number int, "order" bytea, at timestamptz)')
        async with seen({"shop": url}, checkouts=10) as anatomy:
            await connection.execute(r"INSERT INTO things VALUES (1, '\x00ff', now())")
            await connection.execute("DELETE FROM things")
    finally:
        await connection.close()
    assert await written(infrastructure.postgres, anatomy, seconds=1, clients=1) > 10
