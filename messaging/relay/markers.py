"""The end markers of transactions: whether they came, and those that Kafka forgot to write.

A transaction counts as complete at its coordinator once a marker stands in each of its partitions.
Where the coordinator knows no leader of a partition at that moment, while a broker stops, starts or
is fenced, Kafka takes the partition for deleted and leaves its marker out. The records there, and
all behind them, are never seen by readers of committed records then, and nobody of Kafka's own
ever ends it (`docs/facts.md` has the reproduction; KIP-664 the requests that mend it).
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import LeaderNotAvailableError, for_code

from messaging.kafka import client_options
from messaging.relay.lead import START_SECONDS
from messaging.relay.producers import left
from messaging.relay.requests import describe_producers, describe_transaction, write_marker
from messaging.settings import KafkaSettings

POLL_SECONDS = 0.005
"""How soon markers are looked for again: they follow the answer to a commit by a few ms."""

LONGEST_POLL_SECONDS = 0.25

NO_SUCH_ID = 105
"""Kafka's TRANSACTIONAL_ID_NOT_FOUND, which aiokafka does not name."""

OUTCOMES: Mapping[str, bool] = {
    "PrepareCommit": True,
    "CompleteCommit": True,
    "PrepareAbort": False,
    "CompleteAbort": False,
    "PrepareEpochFence": False,
    "Ongoing": False,
}
"""What becomes of a transaction in these states once its producer is fenced: is it committed?"""


@dataclass(frozen=True, slots=True)
class Last:
    """The last transaction of a transactional id. `committed` is None where that is forgotten."""

    producer_id: int
    committed: bool | None


@dataclass(frozen=True, slots=True)
class Unended:
    """A transaction that is open in one partition, from the offset `begun_at` on."""

    place: TopicPartition
    producer_id: int
    producer_epoch: int
    coordinator_epoch: int
    begun_at: int


class Markers:
    """Looks after the markers of one lane's transactions."""

    def __init__(self, client: AIOKafkaClient, consumer: AIOKafkaConsumer) -> None:
        self._client = client
        self._consumer = consumer

    @classmethod
    @asynccontextmanager
    async def opened(cls, kafka: KafkaSettings, client_id: str) -> AsyncIterator["Markers"]:
        """Connected. Raises `KafkaError` and TimeoutError."""
        options = {**client_options(kafka), "client_id": client_id}
        client = AIOKafkaClient(**options)
        consumer = AIOKafkaConsumer(
            **options, isolation_level="read_committed", enable_auto_commit=False
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                await client.bootstrap()
                await consumer.start()
            yield cls(client, consumer)
        finally:
            await left(consumer.stop())
            await left(client.close())

    async def last(self, transactional_id: str) -> Last | None:
        """The last transaction of this id; None if it never had one. Raises `KafkaError`.

        Ask before its producer is fenced: that makes the coordinator forget the outcome.
        """
        node = await self._client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id)
        answer = await self._client.send(node, describe_transaction(transactional_id))
        ((code, _, state, _, _, producer_id, *_),) = answer.transaction_states
        if code == NO_SUCH_ID:
            return None
        _check(code)
        return Last(producer_id, OUTCOMES.get(state))

    async def came(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Wait until readers of committed records have got past these offsets.

        Without a bound of its own. Raises `KafkaError`.
        """
        wait, missing = POLL_SECONDS, offsets
        while missing := await self.missing(missing):
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_POLL_SECONDS)

    async def missing(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Those of these offsets that such readers have not got past.

        Raises `KafkaError` and TimeoutError.
        """
        async with asyncio.timeout(START_SECONDS):  # without one it goes on asking for 40 s
            ends = await self._consumer.end_offsets(list(offsets))
        return {place: at for place, at in offsets.items() if ends[place] <= at}

    async def unended(self, places: Iterable[TopicPartition], producer_id: int) -> list[Unended]:
        """The transactions of a producer that are open in these partitions. Raises `KafkaError`.

        Once its transactional id is fenced these are the ones that Kafka forgot to end.
        """
        found = []
        for leader, partitions in (await self._by_leader(places)).items():
            answer = await self._client.send(leader, describe_producers(partitions))
            for topic, described, _ in answer.topics:
                for partition, code, _, producers, _ in described:
                    _check(code)
                    for producer, epoch, _, _, coordinator_epoch, begun_at, _ in producers:
                        if producer == producer_id and begun_at >= 0:
                            place = TopicPartition(topic, partition)
                            coordinator_epoch = max(0, coordinator_epoch)
                            found.append(
                                Unended(place, producer, epoch, coordinator_epoch, begun_at)
                            )
        return found

    async def end(self, unended: Iterable[Unended], *, commit: bool) -> None:
        """Write the markers that are missing.

        Raises `KafkaError`; ClusterAuthorizationFailedError where we may not: that needs ALTER on
        the cluster.
        """
        for one in unended:
            ((leader, _),) = (await self._by_leader([one.place])).items()
            marker = write_marker(
                one.place.topic,
                one.place.partition,
                producer_id=one.producer_id,
                producer_epoch=one.producer_epoch,
                coordinator_epoch=one.coordinator_epoch,
                commit=commit,
            )
            answer = await self._client.send(leader, marker)
            for _, topics, _ in answer.markers:
                for _, partitions, _ in topics:
                    for _, code, _ in partitions:
                        _check(code)

    async def _by_leader(self, places: Iterable[TopicPartition]) -> dict[int, dict[str, list[int]]]:
        """The partitions by the broker that leads them. Raises LeaderNotAvailableError."""
        places = list(places)
        self._client.set_topics([place.topic for place in places])
        await self._client.force_metadata_update()
        found: dict[int, dict[str, list[int]]] = {}
        for place in places:
            leader: Any = self._client.cluster.leader_for_partition(place)
            if leader is None or leader < 0:
                raise LeaderNotAvailableError(f"{place.topic} {place.partition}")
            found.setdefault(leader, {}).setdefault(place.topic, []).append(place.partition)
        return found


def _check(code: int) -> None:
    if code:
        raise for_code(code)()
