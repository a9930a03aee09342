"""What the database layer promises beyond the driver's own promises."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg
import pytest

from messaging.database import (
    Connection,
    Database,
    FailedTransaction,
    NoFreeConnection,
    Statement,
    sql,
)
from messaging.faults import heals_with_time
from tests.messaging.example import Example

ONE = sql("SELECT 1")


@pytest.mark.parametrize(
    ("text", "compiled", "names"),
    [
        ("SELECT :a, :b, :a", "SELECT $1, $2, $1", ("a", "b")),
        ("SELECT :a::text, x::int", "SELECT $1::text, x::int", ("a",)),
        ("SELECT to_char(t, 'HH24:MI') FROM t", "SELECT to_char(t, 'HH24:MI') FROM t", ()),
        ("SELECT a[1:2], '12:30'", "SELECT a[1:2], '12:30'", ()),
        ("SELECT CAST(:ids AS uuid[])", "SELECT CAST($1 AS uuid[])", ("ids",)),
    ],
)
def test_names_become_numbers(text: str, compiled: str, names: tuple[str, ...]) -> None:
    statement = Statement(text)
    assert (statement.text, statement.names) == (compiled, names)


def test_a_missing_value_is_an_error_and_one_too_many_is_none() -> None:
    assert sql("SELECT :a").arguments({"a": 1, "b": 2}) == [1]
    with pytest.raises(KeyError):
        sql("SELECT :a").arguments({"b": 2})


def test_another_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="postgresql://"):
        Database("mysql://there/is", pool_connections=1, application_name="test")


@pytest.fixture
async def two(example: Example) -> AsyncIterator[Database]:
    """A pool of two connections."""
    database = Database(example.database_url, pool_connections=2, application_name="two")
    yield database
    await database.close()


@pytest.mark.integration
class TestTransaction:
    async def test_is_rolled_back_when_a_failure_in_it_was_swallowed(self, two: Database) -> None:
        async def swallow() -> None:
            async with two.transaction() as connection:
                with suppress(asyncpg.DivisionByZeroError):
                    await connection.fetch(sql("SELECT 1 / 0"))

        with pytest.raises(FailedTransaction):
            await swallow()

    async def test_what_is_locked_last_is_done_behind_everything_else(self, two: Database) -> None:
        done: list[str] = []

        async def draw() -> None:
            done.append("last")

        async def fail() -> None:
            async with two.transaction() as connection:
                connection.before_commit(draw)
                raise RuntimeError("no")

        with pytest.raises(RuntimeError, match="no"):
            await fail()
        assert done == []
        async with two.transaction() as connection:
            connection.before_commit(draw)
            done.append("first")
        assert done == ["first", "last"]

    async def test_is_rolled_back_by_what_fails_in_the_end(
        self, two: Database, example: Example
    ) -> None:
        async def write_and_fail() -> None:
            async with two.transaction() as connection:
                await connection.execute(sql("CREATE TABLE never (n int)"))

                async def draw() -> None:
                    await connection.execute(sql("SELECT 1 / 0"))

                connection.before_commit(draw)

        with pytest.raises(asyncpg.DivisionByZeroError):
            await write_and_fail()
        async with two.reading() as connection:
            assert await connection.fetch_value(sql("SELECT to_regclass('never')")) is None

    async def test_wakes_after_its_commit_and_not_after_a_rollback(self, two: Database) -> None:
        woken: list[str] = []

        def wake() -> None:
            woken.append("committed")

        async def fail() -> None:
            async with two.transaction() as connection:
                connection.after_commit(wake)
                raise RuntimeError("no")

        with pytest.raises(RuntimeError, match="no"):
            await fail()
        assert woken == []
        async with two.transaction() as connection:
            connection.after_commit(wake)
            connection.after_commit(wake)
            assert woken == []
        assert woken == ["committed"]

    async def test_wakes_the_relay_even_when_it_is_cancelled_in_the_commit(
        self, two: Database
    ) -> None:
        woken: list[None] = []
        two.after_emit("plain", lambda: woken.append(None))
        two.after_emit("transactional", lambda: pytest.fail("nothing is on this lane"))

        async def work() -> None:
            async with two.transaction() as connection:
                await connection.fetch(ONE)
                connection.note_emitted({"plain"})
                asyncio.get_running_loop().call_soon(task.cancel)

        task = asyncio.create_task(work())
        await asyncio.wait([task])
        assert task.cancelled()
        assert woken

    async def test_gives_its_connection_back_wherever_it_is_cancelled(self, two: Database) -> None:
        async def work() -> None:
            async with two.transaction() as connection:
                await connection.fetch(ONE)
                await connection.fetch(ONE)

        for turns in range(60):
            task = asyncio.create_task(work())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        async with two.transaction() as one, two.transaction() as other:
            assert await one.fetch_value(ONE) == await other.fetch_value(ONE) == 1


@pytest.mark.integration
async def test_a_session_that_began_with_a_small_table_does_not_scan_it_for_ever(
    two: Database,
) -> None:
    fill = sql(
        "INSERT INTO parent SELECT 'k' || n, repeat('x', 150) FROM generate_series(1, 200) n"
    )
    grow = sql(
        "INSERT INTO parent SELECT 'm' || n, repeat('x', 150) FROM generate_series(1, 5000) n"
    )
    refer = sql("INSERT INTO child SELECT 'k' || n FROM generate_series(1, 20) n")
    async with two.reading() as session:
        await session.execute(sql("CREATE TABLE parent (k text PRIMARY KEY, pad text)"))
        await session.execute(sql("CREATE TABLE child (k text REFERENCES parent)"))
        await session.execute(fill)
        await session.execute(sql("ANALYZE parent"))
        for _ in range(10):  # by then the session keeps the plan of the check
            await session.execute(refer)
        before = await _scans(session)
        await session.execute(grow)
        await session.execute(refer)
        assert await _scans(session) == before


async def _scans(session: Connection) -> int:
    await session.fetch_value(sql("SELECT pg_stat_force_next_flush()::text"))
    scans: int = await session.fetch_value(
        sql("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'parent'")
    )
    return scans


@pytest.mark.integration
class TestAppend:
    async def test_numbers_rows_in_their_order_and_takes_json_as_text(self, two: Database) -> None:
        rows = [(name, '{"n": 12345678901234567890}', "[1]") for name in "cabd"]
        async with two.transaction() as connection:
            await connection.execute(_LIST)
            await connection.append("listed", ("name", "plain", "binary"), rows)
            found = await connection.fetch(sql("SELECT * FROM listed ORDER BY id"))
        assert [row.name for row in found] == ["c", "a", "b", "d"]
        assert found[0].plain == {"n": 12345678901234567890}
        assert found[0].binary == [1]

    async def test_of_nothing_asks_nothing(self, two: Database) -> None:
        asked: list[str] = []
        async with two.transaction() as connection:
            two.watch(asked.append)
            await connection.append("there is no such table", ("name",), [])
        assert asked == []

    async def test_of_a_row_that_is_refused_rolls_everything_back(self, two: Database) -> None:
        async def swallow() -> None:
            async with two.transaction() as connection:
                await connection.execute(_LIST)
                with suppress(asyncpg.UniqueViolationError):
                    await connection.append("listed", ("name",), [("a",), ("a",)])

        with pytest.raises(FailedTransaction):
            await swallow()
        async with two.transaction() as connection:
            assert await connection.fetch_value(sql("SELECT to_regclass('listed')")) is None


_LIST = sql("""
    CREATE TABLE listed (
        id bigint GENERATED ALWAYS AS IDENTITY, name text UNIQUE, plain json, "binary" jsonb
    )
""")


@pytest.mark.integration
class TestPool:
    async def test_says_when_no_connection_comes_free(
        self, two: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with two.reading(), two.reading():
            monkeypatch.setattr(two, "_wait_seconds", 0.2)  # now that both are open
            with pytest.raises(NoFreeConnection) as caught:
                async with two.reading():
                    pass
        assert heals_with_time(caught.value)
        async with two.reading() as connection:
            assert await connection.fetch_value(ONE) == 1

    async def test_comes_back_after_the_server_ended_its_connections(
        self, two: Database, example: Example
    ) -> None:
        async with two.reading() as one, two.reading() as other:
            await one.fetch(ONE)
            await other.fetch(ONE)
        killer = await asyncpg.connect(example.database_url)
        await killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'two'"
        )
        await killer.close()
        failures = 0
        for _ in range(4):
            try:
                async with two.transaction() as connection:
                    await connection.fetch(ONE)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must be known
                assert heals_with_time(error), error  # noqa: PT017 - none of them may be blamed
                failures += 1
        assert failures < 4

    async def test_notices_silence_of_the_other_side(self, two: Database) -> None:
        async with two.reading() as connection:
            link = connection._driver._transport.get_extra_info("socket")
            assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000

    async def test_does_not_open_again_once_closed(self, two: Database) -> None:
        async with two.reading() as connection:
            await connection.fetch(ONE)
        await two.close()
        with pytest.raises(asyncpg.InterfaceError):
            async with two.reading():
                pass

    async def test_reads_json_as_what_it_says_with_exact_integers(self, two: Database) -> None:
        async with two.reading() as connection:
            row = await connection.fetch_one(
                sql("SELECT CAST(:text AS jsonb) AS value, NULL::jsonb AS nothing"),
                {"text": f'{{"amount": {2**70}}}'},
            )
        assert row is not None
        assert (row.value, row.nothing) == ({"amount": 2**70}, None)


@pytest.mark.integration
async def test_only_the_first_connection_asks_what_types_there_are(example: Example) -> None:
    arrays = sql("SELECT CAST(:ids AS oid[]), CAST(:names AS name[])")
    asked = []
    for _ in range(2):
        database = Database(example.database_url, pool_connections=1, application_name="types")
        try:
            async with database.transaction() as connection:
                connection._driver.add_query_logger(lambda query: asked.append(query.query))
                row = await connection.fetch_one(arrays, {"ids": [1], "names": ["a"]})
                assert row is not None
                assert tuple(row) == ([1], ["a"])
        finally:
            await database.close()
    assert sum("typeinfo_tree" in query for query in asked) == 1
