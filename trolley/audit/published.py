"""What stands on the public event topics, as rows that can be joined with a database's.

The topics are read from their first record to their end, as any program outside would read them
(read_committed), and only what the invariants ask is kept, in the engine.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from contracts.envelope import MalformedEnvelope, parse_envelope
from contracts.topics import CART_EVENTS, INVENTORY_EVENTS, ORDER_EVENTS, PAYMENT_EVENTS, Topic
from messaging.kafka import client_options
from messaging.settings import KafkaSettings
from trolley.audit.engine import Engine
from trolley.audit.settings import AuditSettings
from trolley.runtime.errors import KafkaUnavailable, RuntimeStartError

EVENT_TOPICS = (ORDER_EVENTS, INVENTORY_EVENTS, PAYMENT_EVENTS, CART_EVENTS)

_REQUIRED = frozenset(
    ("ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "ce_subject", "ce_shopid")
)
_DIGITS = 18
"""Of a number in a header, at most."""

_POLL_MS = 200
_FETCH_WAIT_MS = 20
"""The broker holds its answer for so long where there is nothing yet: markers, say."""

_EVENTS = {
    "partition": "INTEGER",
    "key": "VARCHAR",
    "seq": "BIGINT",
    "type": "VARCHAR",
    "total_minor": "BIGINT",
}
"""`key` is that of the story: the checkout id, where one is."""
_STRANGERS = {"topic": "VARCHAR", "partition": "INTEGER", "place": "BIGINT", "why": "VARCHAR"}
_PARTITIONS = {"topic": "VARCHAR", "partition": "INTEGER", "whole": "BOOLEAN"}
"""`whole` says that the first record ever written is still there: retention takes the oldest, and
what it took cannot be missed."""


def events_on(topic: Topic) -> str:
    """The table of a topic's events."""
    return topic.name.replace(".", "_")


class TopicMissing(RuntimeStartError):
    """An event topic is not there."""

    def __init__(self, servers: str, name: str) -> None:
        self.servers, self.name = servers, name
        super().__init__(
            f"Kafka at {servers} has no topic {name}: run `trolley topics apply`, or check "
            f"KAFKA_BOOTSTRAP_SERVERS and KAFKA_TOPIC_PREFIX."
        )


class NoEvent(ValueError):
    """A record that is no event of ours; the text says why."""


class Published:
    """The events read so far; `read_to_end` takes in what came since."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        topics: Mapping[TopicPartition, Topic],
        servers: str,
        engine: Engine,
        settings: AuditSettings,
    ) -> None:
        self._consumer = consumer
        self._topics = topics
        self._servers = servers
        self._engine = engine
        self._settings = settings
        self._events: defaultdict[Topic, list[tuple[Any, ...]]] = defaultdict(list)
        self._strangers: list[tuple[Any, ...]] = []
        self._whole: Mapping[TopicPartition, bool] = {}
        self._was_read = False
        """Whether the end was reached once: only what comes later is news."""
        self._news: defaultdict[str, dict[str, None]] = defaultdict(dict)

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, kafka: KafkaSettings, engine: Engine, settings: AuditSettings
    ) -> AsyncIterator["Published"]:
        """The event topics of this Kafka, nothing read yet.

        Raises KafkaUnavailable and TopicMissing.
        """
        consumer = AIOKafkaConsumer(
            **client_options(kafka),
            client_id="trolley-audit",
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            enable_auto_commit=False,
        )
        try:
            with told(kafka.bootstrap_servers):
                async with asyncio.timeout(settings.audit_connect_seconds):
                    await consumer.start()
                    there = await consumer.topics()
            topics = {}
            for topic in EVENT_TOPICS:
                name = kafka.topic_prefix + topic.name
                if name not in there:
                    raise TopicMissing(kafka.bootstrap_servers, name)
                for partition in range(topic.partitions):
                    topics[TopicPartition(name, partition)] = topic
            consumer.assign(list(topics))
            consumer.pause(*topics)
            for topic in EVENT_TOPICS:
                await engine.main.make(events_on(topic), _EVENTS)
            await engine.main.make("strangers", _STRANGERS)
            await engine.main.make("partitions", _PARTITIONS)
            yield cls(consumer, topics, kafka.bootstrap_servers, engine, settings)
        finally:
            await consumer.stop()

    async def read_to_end(self) -> None:
        """Take in every event up to where the topics end now.

        Raises KafkaUnavailable and AuditTooLarge.
        """
        places = list(self._topics)
        with told(self._servers):
            async with asyncio.timeout(self._settings.audit_topic_silence_seconds):
                begins = await self._consumer.beginning_offsets(places)
                ends = await self._consumer.end_offsets(places)
            try:
                while behind := [p for p in places if await self._consumer.position(p) < ends[p]]:
                    self._ask_for(behind)
                    await self._read_on(behind)
                    if sum(map(len, self._events.values())) >= self._settings.audit_events_held:
                        await self._take_in()
            finally:
                self._ask_for(())
        await self._take_in()
        await self._note_what_is_whole({place: offset == 0 for place, offset in begins.items()})
        self._was_read = True

    def _ask_for(self, places: Collection[TopicPartition]) -> None:
        """Fetch from these alone: the consumer asks the broker on and on for all it may fetch."""
        self._consumer.pause(*(self._topics.keys() - places))
        self._consumer.resume(*places)

    async def _read_on(self, behind: Sequence[TopicPartition]) -> None:
        """Read until at least one of these partitions has moved."""
        before = [await self._consumer.position(place) for place in behind]
        try:
            async with asyncio.timeout(self._settings.audit_topic_silence_seconds):
                # Markers of transactions move a position without giving a record.
                while [await self._consumer.position(place) for place in behind] == before:
                    fetched = await self._consumer.getmany(
                        timeout_ms=_POLL_MS, max_records=self._settings.audit_chunk_rows
                    )
                    for place, records in fetched.items():
                        self._keep(self._topics[place], place.partition, records)
        except TimeoutError:
            names = ", ".join(sorted({place.topic for place in behind}))
            raise KafkaUnavailable(self._servers, f"nothing more came from {names}") from None

    def _keep(
        self, topic: Topic, partition: int, records: Iterable[ConsumerRecord[bytes, bytes]]
    ) -> None:
        news = self._news[topic.name] if self._was_read else None
        events = self._events[topic]
        for record in records:
            try:
                facts = _facts(topic, record)
            except NoEvent as error:
                self._strangers.append((topic.name, partition, record.offset, str(error)))
                continue
            events.append((partition, *facts))
            if news is not None:
                news[facts[0]] = None

    async def _take_in(self) -> None:
        """Hand over to the engine what was read: what is cut short is handed over again."""
        for topic, rows in self._events.items():
            if rows:
                await self._engine.main.take_over(events_on(topic), _EVENTS, rows)
        if self._strangers:
            await self._engine.main.take_over("strangers", _STRANGERS, self._strangers)

    async def _note_what_is_whole(self, whole: Mapping[TopicPartition, bool]) -> None:
        if whole != self._whole:
            rows = [(self._topics[one].name, one.partition, is_so) for one, is_so in whole.items()]
            await self._engine.main.run("TRUNCATE partitions")
            await self._engine.main.take_over("partitions", _PARTITIONS, rows)
            self._whole = whole

    def news(self, topics: Iterable[Topic]) -> Iterator[str]:
        """The keys of stories that were told something on these topics since `forget_news`.

        What was there when the topics were first read is no news.
        """
        for topic in topics:
            yield from self._news[topic.name]

    def forget_news(self) -> None:
        """What was read so far is known from now on."""
        self._news.clear()


@contextmanager
def told(servers: str) -> Iterator[None]:
    """What goes wrong with Kafka is told with its address. Raises KafkaUnavailable."""
    try:
        yield
    except (KafkaError, OSError) as error:  # a timeout among them
        raise KafkaUnavailable(servers, str(error) or type(error).__name__) from error


def _facts(topic: Topic, record: ConsumerRecord[bytes, bytes]) -> tuple[str, int, str, int | None]:
    """What is kept of an event: the key of its story, its number, its type, and its total.

    Only what is kept is looked at; what is wrong there is said as every reader of the envelope
    would. Raises `NoEvent`.
    """
    try:
        values = dict(record.headers)
        key, number = values["ce_correlationid"].decode(), values["ce_eventseq"]
        if not (values.keys() >= _REQUIRED and number.isdigit() and len(number) <= _DIGITS):
            raise NoEvent(_reason(record, "its headers"))
        if not key or "\0" in key:
            raise NoEvent("header ce_correlationid is no name")
        total = orjson.loads(record.value)["total_minor"] if topic is ORDER_EVENTS else None
        if total is not None and type(total) is not int:
            raise NoEvent("total_minor is no whole number")
        return key, int(number), values["ce_type"].decode(), total
    except (AttributeError, KeyError, TypeError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, NoEvent):
            raise
        raise NoEvent(_reason(record, f"{type(error).__name__}: {error}")) from error


def _reason(record: ConsumerRecord[bytes, bytes], otherwise: str) -> str:
    """What a reader of the envelope would say."""
    try:
        envelope = parse_envelope(record.headers)
    except MalformedEnvelope as malformed:
        return f"MalformedEnvelope: {malformed}"
    return "header ce_eventseq is missing" if envelope.event_seq is None else otherwise
