"""Topics as declared in `contracts.topics`, brought onto a broker."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaError,
    NodeNotReadyError,
    for_code,
)

from contracts.topics import TOPICS, Topic
from messaging.kafka import client_options
from messaging.settings import KafkaSettings
from trolley.runtime.errors import KafkaUnavailable

REQUEST_TIMEOUT_MS = 15_000
"""How long the broker may take over one request of the admin client."""

LED_SECONDS = 15
"""How long a broker may take until it leads what it is asked for."""

_TOPIC_EXISTS = 36
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Applied:
    """What `apply_topics` found and did, by full topic name."""

    created: tuple[str, ...]
    altered: tuple[str, ...]
    unchanged: tuple[str, ...]


@dataclass(frozen=True)
class ListedTopic:
    """A declared topic and what the broker has of it."""

    topic: Topic
    name: str
    partitions: int | None
    """On the broker; None when the topic is missing there."""
    differing: tuple[str, ...]
    """The settings in which the broker differs from the declaration."""


def kafka_settings(environment: Mapping[str, str]) -> KafkaSettings:
    """Kafka's settings out of an environment that need not be this process's."""
    named = {
        name.removeprefix("KAFKA_").lower(): value
        for name, value in environment.items()
        if name.startswith("KAFKA_")
    }
    # No file: that of another state directory may be near.
    return KafkaSettings(_env_file=None, **cast(dict[str, Any], named))


@asynccontextmanager
async def admin_client(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client; raises KafkaUnavailable when the broker cannot be used."""
    try:
        admin = await _started_admin(settings)
        try:
            yield admin
        finally:
            await admin.close()
    except (KafkaError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise KafkaUnavailable(settings.bootstrap_servers, reason) from error


async def _started_admin(settings: KafkaSettings) -> AIOKafkaAdminClient:
    """An admin client that knows a broker to ask.

    A broker that stood still for longer than its session answers, and names none until it is heard
    again; a client that starts meanwhile can never send anything.
    """
    deadline = time.monotonic() + LED_SECONDS
    while True:
        admin = AIOKafkaAdminClient(
            **client_options(settings), client_id="trolley", request_timeout_ms=REQUEST_TIMEOUT_MS
        )
        try:
            await admin.start()
            await admin.describe_cluster()
        except NodeNotReadyError:
            await admin.close()
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_POLL_SECONDS)
        except BaseException:
            await admin.close()
            raise
        else:
            return admin


async def apply_topics(environment: Mapping[str, str]) -> Applied:
    """Creates the missing topics and brings the others to their declared settings; repeatable.

    Partitions are only ever added: to take some away would move keys to other partitions.
    Raises KafkaUnavailable.
    """
    settings = kafka_settings(environment)
    async with admin_client(settings) as admin:
        listed = await _listed(admin, settings.topic_prefix)
        missing = [one for one in listed if one.partitions is None]
        if missing:
            answer = await admin.create_topics([_new(one) for one in missing])
            _raise_for(answer.topic_errors, but=_TOPIC_EXISTS)
            await _until_led(admin, {one.name: one.topic.partitions for one in missing})
        fewer = [one for one in listed if one.partitions and one.partitions < one.topic.partitions]
        if fewer:
            answer = await admin.create_partitions(
                {one.name: NewPartitions(one.topic.partitions) for one in fewer}
            )
            _raise_for(answer.topic_errors)
        differing = [one for one in listed if one.differing]
        if differing:
            for answer in await admin.alter_configs(
                [
                    ConfigResource(ConfigResourceType.TOPIC, one.name, _configs(one.topic))
                    for one in differing
                ]
            ):
                _raise_for((name, code, text) for code, text, _, name in answer.resources)
        await _until_coordinated(admin)
        created = {one.name for one in missing}
        altered = {one.name for one in (*fewer, *differing)}
        return Applied(
            tuple(sorted(created)),
            tuple(sorted(altered)),
            tuple(sorted({one.name for one in listed} - created - altered)),
        )


async def _until_led(admin: AIOKafkaAdminClient, partitions: Mapping[str, int]) -> None:
    """Waits until the broker shows every partition with a leader.

    A consumer that subscribes before sees no topic, and looks again only minutes later.
    """
    deadline = time.monotonic() + LED_SECONDS
    while True:
        described = await admin.describe_topics(list(partitions))
        led = {
            one["topic"]: sum(part["leader"] >= 0 for part in one["partitions"])
            for one in described
        }
        if all(led.get(name, 0) >= count for name, count in partitions.items()):
            return
        if time.monotonic() > deadline:
            raise TimeoutError("new topics have no leader yet")
        await asyncio.sleep(_POLL_SECONDS)


async def _until_coordinated(admin: AIOKafkaAdminClient) -> None:
    """Waits until the broker can coordinate consumer groups.

    A new broker makes its topic of offsets at the first question for a coordinator; consumers that
    ask first wait for seconds.
    """
    deadline = time.monotonic() + LED_SECONDS
    while True:
        try:
            await admin.find_coordinator("trolley")
        except (CoordinatorNotAvailableError, CoordinatorLoadInProgressError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_POLL_SECONDS)
        else:
            return


async def list_topics(environment: Mapping[str, str]) -> list[ListedTopic]:
    """Every declared topic and what the broker has of it; raises KafkaUnavailable."""
    settings = kafka_settings(environment)
    async with admin_client(settings) as admin:
        return await _listed(admin, settings.topic_prefix)


async def _listed(admin: AIOKafkaAdminClient, prefix: str) -> list[ListedTopic]:
    present = set(await admin.list_topics())
    names = {prefix + topic.name: topic for topic in TOPICS}
    there = [name for name in names if name in present]
    if not there:
        return [ListedTopic(topic, name, None, ()) for name, topic in names.items()]
    described = {one["topic"]: len(one["partitions"]) for one in await admin.describe_topics(there)}
    configs = await _broker_configs(admin, there)
    return [
        ListedTopic(topic, name, described.get(name), _differing(topic, configs.get(name)))
        for name, topic in names.items()
    ]


async def _broker_configs(
    admin: AIOKafkaAdminClient, names: list[str]
) -> dict[str, dict[str, str | None]]:
    answers = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    )
    configs: dict[str, dict[str, str | None]] = {}
    for answer in answers:
        for code, text, _, name, entries in answer.resources:
            _raise_for([(name, code, text)])
            configs[name] = {entry[0]: entry[1] for entry in entries}
    return configs


def _new(listed: ListedTopic) -> NewTopic:
    new = NewTopic(
        listed.name,
        num_partitions=listed.topic.partitions,
        replication_factor=1,
        topic_configs=_configs(listed.topic),
    )
    # The broker's own default, which the constructor does not let through.
    new.replication_factor = -1
    return new


def _configs(topic: Topic) -> dict[str, str]:
    """The broker's settings of a declared topic."""
    segment = {} if topic.segment_bytes is None else {"segment.bytes": str(topic.segment_bytes)}
    return {
        **segment,
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(-1 if topic.retention_ms is None else topic.retention_ms),
        "max.message.bytes": str(topic.broker_max_message_bytes),
    }


def _differing(topic: Topic, broker: Mapping[str, str | None] | None) -> tuple[str, ...]:
    if broker is None:
        return ()
    return tuple(name for name, value in _configs(topic).items() if broker.get(name) != value)


def _raise_for(answers: Any, but: int | None = None) -> None:
    for name, code, text in answers:
        if code not in (0, but):
            error = for_code(code)
            raise error(f"{name}: {text or error.description}")
