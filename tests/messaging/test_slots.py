"""One process per slot: the guard, what a second process does, and what a lost slot ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from structlog.testing import capture_logs

from contracts.topics import INVENTORY_COMMANDS
from messaging.slots import Slot, SlotLost
from tests.messaging.example import Example, addressed, checkouts_by_partition, reserve

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]

LOCK = "hashtext('trolley slot'), 0"
CUT_WHOEVER_IS_WAITED_FOR = """
    SELECT pg_terminate_backend(held.pid)
    FROM pg_locks held JOIN pg_locks waiting USING (locktype, database, classid, objid)
    WHERE locktype = 'advisory' AND held.granted AND NOT waiting.granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def slot(example: Example, number: int = 0) -> Slot:
    return Slot(example.database_url, "inventory", number)


@asynccontextmanager
async def taken_over(example: Example, wait_until: WaitUntil) -> AsyncIterator[None]:
    """Cut whoever holds slot 0, and have it from that very moment."""
    connection = await asyncpg.connect(example.database_url)
    try:
        # It stands in line for the lock, so nobody else can be before it.
        waiting = asyncio.create_task(connection.execute(f"SELECT pg_advisory_lock({LOCK})"))

        async def cut() -> bool:
            return bool(await example.query(CUT_WHOEVER_IS_WAITED_FOR))

        await wait_until(cut)
        async with asyncio.timeout(60):
            await waiting
        yield
    finally:
        await connection.close()


async def test_a_slot_is_one_process_until_that_is_gone(
    example: Example, wait_until: WaitUntil
) -> None:
    first, second, other = slot(example), slot(example), slot(example, 1)
    stop = asyncio.Event()
    assert await first.take(stop)
    with capture_logs() as logs:
        taking = asyncio.create_task(second.take(stop))

        async def found_it_held() -> bool:
            return any(entry["event"].startswith("slot is held") for entry in logs)

        await wait_until(found_it_held, what="the wait for the slot")
    assert await other.take(stop)
    assert not taking.done()
    await first.release()
    async with asyncio.timeout(60):
        assert await taking
    await asyncio.gather(second.release(), other.release())


async def test_a_slot_whose_connection_is_lost_is_taken_again(
    example: Example, wait_until: WaitUntil
) -> None:
    held, stop = slot(example), asyncio.Event()
    assert await held.take(stop)
    holding = asyncio.create_task(held.hold(stop))
    (lost,) = await example.query(
        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'inventory-slot-0'"
    )

    async def held_over_another_connection() -> bool:
        rows = await example.query(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return [row["pid"] for row in rows if row["pid"] != lost["pid"]] != []

    await wait_until(held_over_another_connection)
    assert not holding.done()
    stop.set()
    await holding
    await held.release()


async def test_a_slot_that_another_process_took_is_lost(
    example: Example, wait_until: WaitUntil
) -> None:
    held, stop = slot(example), asyncio.Event()
    assert await held.take(stop)
    async with taken_over(example, wait_until):
        with pytest.raises(SlotLost):
            async with asyncio.timeout(60):
                await held.hold(stop)
    await held.release()


async def test_a_second_process_in_a_slot_consumes_only_once_the_first_is_gone(
    example: Example, wait_until: WaitUntil
) -> None:
    checkouts = checkouts_by_partition(INVENTORY_COMMANDS.partitions)

    async def counted(round_: int) -> bool:
        counts = await example.counts()
        return len(counts) == len(checkouts) and all(c[1][-1:] == [round_] for c in counts.values())

    with capture_logs() as logs:

        async def found_it_held() -> bool:
            return any(entry["event"].startswith("slot is held") for entry in logs)

        second = example.service()
        async with example.running() as first:

            async def first_reads() -> bool:
                return first.assigned(INVENTORY_COMMANDS) == INVENTORY_COMMANDS.partitions

            await wait_until(first_reads)
            standing_by = second.app.router.lifespan_context(second.app)
            await standing_by.__aenter__()
            await wait_until(found_it_held, what="the wait for the slot")
            await example.send(*(addressed(reserve(c, 1)) for c in checkouts))
            await wait_until(lambda: counted(1))
            assert second._consumers == ()
            assert first.assigned(INVENTORY_COMMANDS) == INVENTORY_COMMANDS.partitions
        try:
            await example.send(*(addressed(reserve(c, 2)) for c in checkouts))
            await wait_until(lambda: counted(2))
        finally:
            await standing_by.__aexit__(None, None, None)
    assert await example.counts() == {c: (2, [1, 2]) for c in checkouts}


async def test_a_process_that_lost_its_slot_ends(example: Example, wait_until: WaitUntil) -> None:
    async with example.running() as service:

        async def reads() -> bool:
            return service.assigned(INVENTORY_COMMANDS) > 0

        async def ended() -> bool:
            return service._failed

        await wait_until(reads)
        async with taken_over(example, wait_until):
            await wait_until(ended)
