"""What stands on the public event topics, as rows that can be joined with a database's.

The topics are read from their first record to their end, as any program outside would read them
(read_committed), and only what the invariants ask is kept: in a temporary SQLite file, so that
millions of events need no memory.
"""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from contracts.envelope import MalformedEnvelope, parse_envelope
from contracts.topics import CART_EVENTS, INVENTORY_EVENTS, ORDER_EVENTS, PAYMENT_EVENTS, Topic
from messaging.kafka import client_options
from messaging.settings import KafkaSettings
from trolley.audit.invariant import Read, Row
from trolley.audit.join import Chunks
from trolley.audit.settings import AuditSettings
from trolley.audit.statements import Asked, Dialect
from trolley.runtime.errors import KafkaUnavailable, RuntimeStartError

R = TypeVar("R", bound=Row)

EVENT_TOPICS = (ORDER_EVENTS, INVENTORY_EVENTS, PAYMENT_EVENTS, CART_EVENTS)

_POLL_MS = 200
_FETCH_WAIT_MS = 20
"""Once a partition is at its end, the broker would hold the others' answer for so long."""

_TABLES = """
    PRAGMA journal_mode = OFF;
    CREATE TABLE events (
        topic TEXT, partition INTEGER, key TEXT, seq INTEGER, type TEXT, total_minor INTEGER
    );
    CREATE TABLE strangers (topic TEXT, partition INTEGER, place INTEGER, why TEXT);
    CREATE TABLE partitions (
        topic TEXT, partition INTEGER, whole INTEGER, PRIMARY KEY (topic, partition)
    );
"""
"""`whole` says that the first record ever written is still there. Retention takes the oldest, and
what it took cannot be missed."""


_INDEX = """
    CREATE INDEX IF NOT EXISTS events_of
    ON events (topic, key, seq, partition, type, total_minor)
"""
"""Made once the first events are in; every read finds all it needs in it, in order."""


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
        settings: AuditSettings,
    ) -> None:
        self._consumer = consumer
        self._topics = topics
        self._servers = servers
        self._settings = settings
        self._events = sqlite3.connect("")
        self._events.executescript(_TABLES)
        self._forgot: set[str] = set()
        self._was_read = False
        """Whether the end was reached once: only what comes later is news."""
        self._news: defaultdict[str, dict[str, None]] = defaultdict(dict)

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, kafka: KafkaSettings, settings: AuditSettings
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
            async with asyncio.timeout(settings.audit_connect_seconds):
                await consumer.start()
                there = await consumer.topics()
        except (KafkaError, OSError, TimeoutError) as error:
            await consumer.stop()
            reason = str(error) or type(error).__name__
            raise KafkaUnavailable(kafka.bootstrap_servers, reason) from error
        try:
            topics = {}
            for topic in EVENT_TOPICS:
                name = kafka.topic_prefix + topic.name
                if name not in there:
                    raise TopicMissing(kafka.bootstrap_servers, name)
                for partition in range(topic.partitions):
                    topics[TopicPartition(name, partition)] = topic
            consumer.assign(list(topics))
            published = cls(consumer, topics, kafka.bootstrap_servers, settings)
            try:
                yield published
            finally:
                published._events.close()
        finally:
            await consumer.stop()

    async def read_to_end(self) -> None:
        """Take in every event up to where the topics end now. Raises KafkaUnavailable."""
        places = list(self._topics)
        try:
            begins = await self._consumer.beginning_offsets(places)
            ends = await self._consumer.end_offsets(places)
            self._note_what_is_whole(begins)
            while behind := [p for p in places if await self._consumer.position(p) < ends[p]]:
                await self._take_in(behind)
            self._events.execute(_INDEX)
            self._was_read = True
        except KafkaError as error:
            raise KafkaUnavailable(self._servers, str(error) or type(error).__name__) from error

    def _note_what_is_whole(self, begins: Mapping[TopicPartition, int]) -> None:
        for place, offset in begins.items():
            topic = self._topics[place]
            if offset:
                self._forgot.add(topic.name)
            self._events.execute(
                "INSERT OR REPLACE INTO partitions VALUES (?, ?, ?)",
                (topic.name, place.partition, offset == 0),
            )

    async def _take_in(self, behind: Sequence[TopicPartition]) -> None:
        """Read on until at least one of these partitions has moved."""
        before = [await self._consumer.position(place) for place in behind]
        try:
            async with asyncio.timeout(self._settings.audit_topic_silence_seconds):
                # Markers of transactions move a position without giving a record.
                while [await self._consumer.position(place) for place in behind] == before:
                    fetched = await self._consumer.getmany(
                        timeout_ms=_POLL_MS, max_records=self._settings.audit_chunk_rows
                    )
                    self._keep(record for records in fetched.values() for record in records)
        except TimeoutError:
            names = ", ".join(sorted({place.topic for place in behind}))
            raise KafkaUnavailable(self._servers, f"nothing more came from {names}") from None

    def _keep(self, records: Iterable[ConsumerRecord[bytes, bytes]]) -> None:
        events, strangers = [], []
        for record in records:
            topic = self._topics[TopicPartition(record.topic, record.partition)]
            try:
                events.append((topic.name, record.partition, *_facts(topic, record)))
            except NoEvent as error:
                strangers.append((topic.name, record.partition, record.offset, str(error)))
        if self._was_read:
            for event in events:
                self._news[event[0]][event[2]] = None
        self._events.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", events)
        self._events.executemany("INSERT INTO strangers VALUES (?, ?, ?, ?)", strangers)

    def news(self, topics: Iterable[Topic]) -> Iterator[str]:
        """The keys of stories that were told something on these topics since `forget_news`.

        What was there when the topics were first read is no news.
        """
        for topic in topics:
            yield from self._news[topic.name]

    def forget_news(self) -> None:
        """What was read so far is known from now on."""
        self._news.clear()

    async def chunks(self, read: Read[R], keys: Sequence[str] | None) -> Chunks[R]:
        """The rows of a read in order, a bounded number at a time; `:topic` is the read's."""
        asked = Asked(read, keys is not None, Dialect.SQLITE)
        cursor = self._events.execute(asked.ordered, _arguments(read, keys))
        while rows := cursor.fetchmany(self._settings.audit_chunk_rows):
            yield [read.row(*row) for row in rows]

    async def judged(
        self, read: Read[Any], rules: Sequence[str], keys: Sequence[str] | None, *, kept: int
    ) -> Sequence[tuple[int, int, Sequence[Row]]]:
        """For each rule its facts, how many break it, and the first rows that do."""
        asked, arguments = Asked(read, keys is not None, Dialect.SQLITE), _arguments(read, keys)
        counts = self._events.execute(asked.counted(rules), arguments).fetchone()
        judged = []
        for rule, facts, broken in zip(rules, counts[::2], counts[1::2], strict=True):
            found = self._events.execute(asked.breaking(rule, kept), arguments) if broken else ()
            judged.append((facts, broken, [read.row(*row) for row in found]))
        return judged

    def may_have_forgotten(self, topic: Topic) -> bool:
        """Whether retention has taken events of this topic: that one is missing says nothing."""
        return topic.name in self._forgot


def _arguments(read: Read[Any], keys: Sequence[str] | None) -> dict[str, Any]:
    return {"topic": read.topic and read.topic.name, "keys": orjson.dumps(keys or ()).decode()}


def _facts(topic: Topic, record: ConsumerRecord[bytes, bytes]) -> tuple[Any, ...]:
    """What is kept of an event, under the key of its story (the checkout id, where one is).

    Raises `NoEvent`.
    """
    try:
        envelope = parse_envelope(record.headers)
        total = orjson.loads(record.value)["total_minor"] if topic is ORDER_EVENTS else None
    except (MalformedEnvelope, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise NoEvent(f"{type(error).__name__}: {error}") from error
    if envelope.event_seq is None:
        raise NoEvent("header ce_eventseq is missing")
    return envelope.correlation_id, envelope.event_seq, envelope.type, total
