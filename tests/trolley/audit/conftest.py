"""Every service's database, migrated once, and topics with what the shop published."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from itertools import count

import asyncpg
import pytest

from messaging.migrations import upgrade
from messaging.settings import KafkaSettings
from tests.conftest import Infrastructure
from tests.trolley.audit.world import Shop, World, publish
from trolley.audit import AuditReport, AuditSettings, Sources, audit
from trolley.audit.invariant import DATABASES, Invariant, Source
from trolley.audit.invariants import INVARIANTS
from trolley.topics import apply_topics

_topics = count(1)

SETTINGS = AuditSettings(audit_settle_seconds=0)
"""The second look comes at once: nothing moves in these databases but what a test moves."""


@pytest.fixture(scope="session")
async def migrated(infrastructure: Infrastructure) -> AsyncIterator[dict[Source, str]]:
    """The URLs of all databases that an audit reads, migrated and empty."""
    async with AsyncExitStack() as stack:
        urls: dict[Source, str] = {
            source: await stack.enter_async_context(infrastructure.database(f"audit_{source}"))
            for source in DATABASES
        }
        for source, url in urls.items():
            await asyncio.to_thread(upgrade, _migrations(source), url)
        yield urls


def _migrations(source: Source) -> str:
    if source is Source.SIMULATED_PROVIDER:
        return "payment_service.providers.simulated"
    return f"{source}_service"


@pytest.fixture(scope="session")
async def connections(
    migrated: dict[Source, str],
) -> AsyncIterator[dict[Source, asyncpg.Connection]]:
    """A connection to each, to build and to break with."""
    opened = {source: await asyncpg.connect(url) for source, url in migrated.items()}
    yield opened
    for connection in opened.values():
        await connection.close()


@pytest.fixture
async def world(connections: dict[Source, asyncpg.Connection]) -> AsyncIterator[World]:
    """The databases as the shop left them."""
    world = World(connections)
    await world.build(Shop())
    yield world
    await world.empty()


@pytest.fixture(scope="session")
async def fresh_topics(
    infrastructure: Infrastructure,
) -> Callable[[], Awaitable[KafkaSettings]]:
    """Gives topics of their own, empty."""

    async def fresh() -> KafkaSettings:
        prefix = f"{infrastructure.prefix}audit{next(_topics)}."
        kafka = KafkaSettings(bootstrap_servers=infrastructure.kafka, topic_prefix=prefix)
        await apply_topics(
            {"KAFKA_BOOTSTRAP_SERVERS": infrastructure.kafka, "KAFKA_TOPIC_PREFIX": prefix}
        )
        return kafka

    return fresh


@pytest.fixture(scope="session")
async def published(fresh_topics: Callable[[], Awaitable[KafkaSettings]]) -> KafkaSettings:
    """Topics on which everything stands that the shop published. Not to be written to."""
    kafka = await fresh_topics()
    await publish(kafka, Shop().events)
    return kafka


@pytest.fixture
def audited(
    migrated: dict[Source, str], published: KafkaSettings, world: World
) -> Callable[..., Awaitable[AuditReport]]:
    """`await audited()` audits the shop, or what the arguments put in its place."""
    del world

    async def audited(
        *,
        kafka: KafkaSettings = published,
        settings: AuditSettings = SETTINGS,
        invariants: Sequence[Invariant] = INVARIANTS,
        before_second_look: Callable[[int], Awaitable[None]] | None = None,
    ) -> AuditReport:
        return await audit(
            Sources(migrated, kafka),
            settings,
            invariants=invariants,
            before_second_look=before_second_look,
        )

    return audited


def environment_of(urls: dict[Source, str], kafka: KafkaSettings) -> dict[str, str]:
    """The settings that name these sources to a program."""
    return {
        **{f"{source.upper()}_DATABASE_URL": url for source, url in urls.items()},
        "PAYMENT_SIMULATED_DATABASE_URL": urls[Source.SIMULATED_PROVIDER],
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
    }
