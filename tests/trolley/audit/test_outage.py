"""What goes away in the middle of a look ends it, is told, and leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest

from messaging.settings import KafkaSettings
from tests.trolley.audit.test_watch import SETTINGS, touch
from tests.trolley.audit.world import World, named
from trolley.audit.auditor import Sources
from trolley.audit.engine import AuditTooLarge
from trolley.audit.findings import Findings
from trolley.audit.invariant import DATABASES, Source
from trolley.audit.unread import Unread
from trolley.audit.watch import Watch
from trolley.runtime.errors import DatabaseUnavailable, KafkaUnavailable

pytestmark = pytest.mark.integration

Connections = dict[Source, asyncpg.Connection]

NOWHERE = KafkaSettings(bootstrap_servers="127.0.0.1:1")

_LARGEST = {
    Source.CATALOG: "variants",
    Source.CART: "carts",
    Source.INVENTORY: "movements",
    Source.ORDER: "order_lines",
    Source.PAYMENT: "ledger",
    Source.SIMULATED_PROVIDER: "ledger",
}
_END = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = $1 AND application_name = 'trolley audit'
"""


@pytest.fixture
async def watch(
    migrated: dict[Source, str], published: KafkaSettings, world: World
) -> AsyncIterator[Watch]:
    """A watch that has not looked yet."""
    del world
    findings = Findings(":memory:", resolved_kept=timedelta(days=1))
    async with Watch.opened(Sources(migrated, published), findings, SETTINGS) as watch:
        yield watch


@asynccontextmanager
async def held_up(connection: asyncpg.Connection, table: str) -> AsyncIterator[None]:
    """Who reads this table waits."""
    async with connection.transaction():
        await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


async def look_and_be_cut_off(
    watch: Watch,
    connections: Connections,
    source: Source,
    wait_until: Callable[..., Awaitable[None]],
) -> None:
    """A look that waits for a table of this database when its connection ends."""
    name = await connections[source].fetchval("SELECT current_database()")
    # Within its transaction, the one that holds the table sees no news of who waits.
    onlooker = next(other for one, other in connections.items() if one is not source)

    async def cut_off() -> bool:
        ended: int = await onlooker.fetchval(f"{_END} AND wait_event_type = 'Lock'", name)
        return ended > 0

    async with held_up(connections[source], _LARGEST[source]):
        look = asyncio.create_task(watch.look())
        await wait_until(cut_off, what="a look that waits")
        with pytest.raises(DatabaseUnavailable, match=name):
            await look


@pytest.mark.parametrize("source", DATABASES)
async def test_a_database_that_goes_away_ends_the_look_and_the_next_one_finds_nothing(
    watch: Watch,
    connections: Connections,
    source: Source,
    wait_until: Callable[..., Awaitable[None]],
) -> None:
    await look_and_be_cut_off(watch, connections, source, wait_until)

    looked = await watch.look()

    assert looked.whole
    assert looked.facts > 100
    assert watch.findings.open() == []


async def test_a_look_at_changes_that_is_cut_off_is_taken_again(
    watch: Watch,
    world: World,
    connections: Connections,
    wait_until: Callable[..., Awaitable[None]],
) -> None:
    await watch.look()
    await world.run(
        Source.INVENTORY,
        "UPDATE reservations SET status = 'committed' WHERE owner_id = $1",
        named("refunded"),
    )
    await touch(world)
    await look_and_be_cut_off(watch, connections, Source.INVENTORY, wait_until)
    assert watch.findings.open() == []

    looked = await watch.look()

    assert not looked.whole
    assert "stock.reservations-move-what-they-took" in {one.invariant for one in looked.news.new}


async def test_a_connection_that_ends_at_any_moment_is_told(
    watch: Watch, connections: Connections
) -> None:
    stop = asyncio.Event()
    name = await connections[Source.ORDER].fetchval("SELECT current_database()")

    async def cut_off() -> None:
        while not stop.is_set():
            await connections[Source.ORDER].execute(_END, name)

    cutting = asyncio.create_task(cut_off())
    try:
        for _ in range(5):
            with pytest.raises(DatabaseUnavailable):
                await watch.look()
    finally:
        stop.set()
        await cutting

    assert (await watch.look()).whole
    assert watch.findings.open() == []


async def test_a_database_that_takes_no_connections_is_told(
    watch: Watch, migrated: dict[Source, str], connections: Connections
) -> None:
    await watch.look()
    name = await connections[Source.CART].fetchval("SELECT current_database()")
    other = connections[Source.ORDER]
    await other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    try:
        with pytest.raises(DatabaseUnavailable, match=name):
            await watch.look()
    finally:
        await other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    await watch.look()

    assert watch.findings.open() == []


async def test_kafka_that_cannot_be_reached_is_told(migrated: dict[Source, str]) -> None:
    findings = Findings(":memory:", resolved_kept=timedelta(days=1))

    with pytest.raises(KafkaUnavailable, match=r"127\.0\.0\.1:1"):
        async with Watch.opened(Sources(migrated, NOWHERE), findings, SETTINGS):
            pass
    with pytest.raises(KafkaUnavailable, match=r"127\.0\.0\.1:1"):
        await Unread.now(NOWHERE, SETTINGS)


async def test_a_look_that_needs_more_than_it_may_use_says_so(
    migrated: dict[Source, str], published: KafkaSettings, world: World
) -> None:
    del world
    findings = Findings(":memory:", resolved_kept=timedelta(days=1))
    little = SETTINGS.model_copy(update={"audit_memory_mib": 1})

    with pytest.raises(AuditTooLarge, match="TROLLEY_AUDIT_MEMORY_MIB"):
        async with Watch.opened(Sources(migrated, published), findings, little) as watch:
            await watch.look()
