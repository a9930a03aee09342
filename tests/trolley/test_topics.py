"""Topics on a real broker, as declared."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from contracts.topics import CATALOG_ITEMS, ORDER_COMMANDS, TOPICS
from trolley import topics
from trolley.runtime.errors import KafkaUnavailable
from trolley.topics import admin_client, apply_topics, kafka_settings, list_topics

if TYPE_CHECKING:
    from tests.conftest import Infrastructure

pytestmark = pytest.mark.integration


@pytest.fixture
async def environment(infrastructure: "Infrastructure") -> AsyncIterator[Mapping[str, str]]:
    """Settings of the test's broker, and topics of its own on it.

    No two tests share names: a deleted topic is still shown for up to half a second.
    """
    prefix = f"{infrastructure.prefix}{uuid.uuid4().hex[:8]}."
    settings = {"KAFKA_BOOTSTRAP_SERVERS": infrastructure.kafka, "KAFKA_TOPIC_PREFIX": prefix}
    yield settings
    async with admin_client(kafka_settings(settings)) as admin:
        await admin.delete_topics([prefix + topic.name for topic in TOPICS])


async def test_topics_are_created_once_as_declared(environment: Mapping[str, str]) -> None:
    first = await apply_topics(environment)
    again = await apply_topics(environment)

    names = {environment["KAFKA_TOPIC_PREFIX"] + topic.name for topic in TOPICS}
    assert (set(first.created), first.altered, first.unchanged) == (names, (), ())
    assert (again.created, again.altered, set(again.unchanged)) == ((), (), names)
    for listed in await list_topics(environment):
        assert listed.partitions == listed.topic.partitions
        assert listed.differing == ()


async def test_a_topic_that_was_changed_is_brought_back(
    environment: Mapping[str, str], wait_until: Callable[..., Awaitable[None]]
) -> None:
    await apply_topics(environment)
    name = environment["KAFKA_TOPIC_PREFIX"] + CATALOG_ITEMS.name
    async with admin_client(kafka_settings(environment)) as admin:
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name, {"cleanup.policy": "delete"})]
        )

    async def differing() -> dict[str, tuple[str, ...]]:
        return {one.name: one.differing for one in await list_topics(environment) if one.differing}

    # The broker shows a changed setting only a moment later.
    async def changed() -> bool:
        return "cleanup.policy" in (await differing()).get(name, ())

    await wait_until(changed, what="the broker shows the change")

    applied = await apply_topics(environment)

    assert applied.altered == (name,)

    async def as_declared() -> bool:
        return await differing() == {}

    await wait_until(as_declared, what="every topic is as declared")


async def test_a_broker_that_was_silent_for_too_long_is_asked_until_it_leads_again(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    class Fenced(AIOKafkaAdminClient):  # type: ignore[misc] # aiokafka has no types
        """The first ones are told of no broker at all, as for a moment after such a silence."""

        async def start(self) -> None:
            started.append(self)
            await super().start()
            if len(started) < 3:
                self._client.cluster.brokers = set

    monkeypatch.setattr(topics, "AIOKafkaAdminClient", Fenced)

    assert (await apply_topics(environment)).created
    assert len(started) == 3
    monkeypatch.setattr(topics, "LED_SECONDS", 0)
    started.clear()
    with pytest.raises(KafkaUnavailable, match="not ready"):
        await apply_topics(environment)


async def test_a_missing_topic_is_listed_as_missing(environment: Mapping[str, str]) -> None:
    await apply_topics(environment)
    other = {**environment, "KAFKA_TOPIC_PREFIX": environment["KAFKA_TOPIC_PREFIX"] + "none."}

    assert all(one.partitions is None for one in await list_topics(other))
    assert {one.topic.name for one in await list_topics(environment)} >= {ORDER_COMMANDS.name}


async def test_no_broker_is_one_clear_sentence() -> None:
    with pytest.raises(KafkaUnavailable, match=r"Kafka at 127\.0\.0\.1:9 cannot be used"):
        await apply_topics({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"})
