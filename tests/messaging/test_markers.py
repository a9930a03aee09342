"""Transactions that Kafka forgets to end: no reader waits for ever, no event is lost or doubled."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import chain, repeat
from typing import Any, Literal

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.producer.transaction_manager import TransactionState

import messaging.relay.transactional
from contracts.topics import RELAY_POSITIONS
from messaging.relay.markers import Markers
from messaging.relay.positions import last_position
from messaging.settings import KafkaSettings
from tests.messaging.example import Example, relaying
from tests.messaging.test_transactional_relay import (
    Writer,
    assert_all_is_there_once,
    relay_of,
    writer,
)
from trolley.topics import admin_client

__all__ = ["writer"]

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]

UNVERIFIED = {"transaction.partition.verification.enable": "false"}
"""Lets a producer write in a transaction of which its coordinator does not know."""


Forgotten = Literal["nothing", "position", "everything"]


class Forgetful(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka has no types
    """Of some partitions the coordinator never hears: their markers are as good as forgotten."""

    forgets: Iterator[Forgotten] = repeat("nothing")
    forgotten: Forgotten = "nothing"

    async def begin_transaction(self) -> None:
        await super().begin_transaction()
        self.forgotten = next(Forgetful.forgets)
        manager = self._txn_manager
        manager.__dict__.pop("maybe_add_partition_to_txn", None)
        adds = manager.maybe_add_partition_to_txn

        def add(place: TopicPartition) -> None:
            of_position = place.topic.endswith(RELAY_POSITIONS.name)
            if self.forgotten == "everything" or (self.forgotten == "position" and of_position):
                manager._txn_partitions.add(place)
            else:
                adds(place)

        manager.maybe_add_partition_to_txn = add

    async def commit_transaction(self) -> None:
        if self.forgotten != "everything":
            await super().commit_transaction()
            return
        manager = self._txn_manager
        manager._txn_partitions.clear()
        manager._transaction_waiter.set_result(None)
        manager.state = TransactionState.READY


@asynccontextmanager
async def unverified(kafka: KafkaSettings) -> AsyncIterator[None]:
    """The brokers do not ask coordinators whether a transaction is theirs."""
    async with admin_client(kafka) as admin:
        brokers = [str(one["node_id"]) for one in (await admin.describe_cluster())["brokers"]]

        async def alter(configs: dict[str, str]) -> None:
            await admin.alter_configs(
                [ConfigResource(ConfigResourceType.BROKER, one, configs=configs) for one in brokers]
            )

        await alter(UNVERIFIED)
        try:
            yield
        finally:
            await alter({})


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`forgetful("nothing", "everything")`: the lane's second transaction is, and no other."""
    monkeypatch.setattr(messaging.relay.transactional, "AIOKafkaProducer", Forgetful)
    monkeypatch.setattr(messaging.relay.transactional, "TRANSACTION_SECONDS", 2)

    def forget(*forgotten: Forgotten) -> None:
        Forgetful.forgets = chain(forgotten, repeat("nothing"))

    return forget


@pytest.mark.parametrize(
    "forgotten",
    [
        pytest.param(["everything"], id="of which nobody knows how it ended"),
        pytest.param(["nothing", "everything"], id="that its coordinator takes for committed"),
        pytest.param(["everything", "everything"], id="twice"),
        pytest.param(["position"], id="whose position alone lacks it"),
    ],
)
async def test_a_transaction_without_its_end_is_ended_by_who_takes_over(
    example: Example,
    writer: Writer,
    wait_until: WaitUntil,
    forgetful: Callable[..., None],
    forgotten: list[Forgotten],
) -> None:
    forgetful(*forgotten)
    async with unverified(example.kafka), relaying(relay_of(example)):
        for _ in range(3):
            await writer.write(["SKU-1", "SKU-2", "SKU-3"])
            await wait_until(example.idle, what="an empty outbox")
    await assert_all_is_there_once(example, writer)


async def test_a_batch_is_kept_until_its_readers_have_got_past(
    example: Example,
    writer: Writer,
    wait_until: WaitUntil,
    forgetful: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Markers, "end", _nothing)
    forgetful("everything")
    async with unverified(example.kafka):
        await writer.write(["SKU-1", "SKU-2"])
        async with relaying(relay_of(example)):
            await asyncio.sleep(5)  # longer than a transaction and a take-over
            assert not await example.idle()
        monkeypatch.undo()
        async with relaying(relay_of(example)):
            await wait_until(example.idle, what="an empty outbox")
    await assert_all_is_there_once(example, writer)


async def test_a_position_without_its_end_is_ended_before_anothers_take_over_needs_it(
    example: Example,
    writer: Writer,
    wait_until: WaitUntil,
    forgetful: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(messaging.relay.transactional, "FORGOTTEN_SECONDS", 1)
    forgetful("position")
    async with unverified(example.kafka), relaying(relay_of(example)):
        await writer.write(["SKU-1", "SKU-2"])
        await wait_until(example.idle, what="an empty outbox")
        async with asyncio.timeout(60):
            await last_position(example.kafka, f"{example.kafka.topic_prefix}other.events")
    await assert_all_is_there_once(example, writer)


async def test_a_broker_that_was_silent_for_too_long_ends_no_lane(
    example: Example, writer: Writer, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstraps = 0
    bootstrap = AIOKafkaClient.bootstrap

    async def fenced(self: Any) -> None:
        """The first clients are told of no broker for a moment, as after such a silence."""
        nonlocal bootstraps
        await bootstrap(self)
        if self._client_id.endswith("-relay"):
            bootstraps += 1
            if bootstraps < 3:
                self.cluster.brokers = set
                asyncio.get_running_loop().call_later(0.1, self.cluster.__dict__.pop, "brokers")

    monkeypatch.setattr(AIOKafkaClient, "bootstrap", fenced)
    await writer.write(["SKU-1", "SKU-2"])
    async with relaying(relay_of(example)):
        await wait_until(example.idle, what="an empty outbox")
    assert bootstraps >= 3
    await assert_all_is_there_once(example, writer)


async def _nothing(*_: object, **__: object) -> None:
    """As where we may not write markers."""
