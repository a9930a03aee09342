"""A replica that goes for good frees its partitions."""

from collections.abc import Awaitable, Callable

import pytest

from contracts.topics import INVENTORY_COMMANDS, replay_topic
from tests.messaging.conftest import example
from tests.messaging.example import Example
from trolley.members import remove_replica

__all__ = ["example"]

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]
LONG_SESSION_MS = 150_000
LONGEST_SECONDS = 60


async def test_others_have_its_partitions_long_before_its_session_ends(
    example: Example, wait_until: WaitUntil
) -> None:
    assert LONG_SESSION_MS / 1000 > 2 * LONGEST_SECONDS
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": example.kafka.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": example.kafka.topic_prefix,
    }
    groups = {
        f"{example.kafka.topic_prefix}inventory.{topic.name}"
        for topic in (INVENTORY_COMMANDS, replay_topic("inventory"))
    }
    async with example.running(0, session_timeout_ms=LONG_SESSION_MS) as stays:
        async with example.running(1, session_timeout_ms=LONG_SESSION_MS) as goes:

            async def shared() -> bool:
                return (
                    stays.assigned(INVENTORY_COMMANDS) > 0 and goes.assigned(INVENTORY_COMMANDS) > 0
                )

            await wait_until(shared, what="both replicas' partitions")
        assert stays.assigned(INVENTORY_COMMANDS) < INVENTORY_COMMANDS.partitions

        assert set(await remove_replica(environment, "inventory", 1)) == groups

        async def all_of_them() -> bool:
            return stays.assigned(INVENTORY_COMMANDS) == INVENTORY_COMMANDS.partitions

        await wait_until(all_of_them, seconds=LONGEST_SECONDS, what="all partitions")
        assert await remove_replica(environment, "inventory", 1) == []
        assert await remove_replica(environment, "payment", 0) == []
