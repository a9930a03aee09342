"""One batch of records: claimed, folded and committed in one transaction, whatever is in it.

A record that cannot be decoded, or whose `decide` raises, is dead-lettered in the batch's own
transaction. A batch that the database rejects is tried again whole, then in halves strictly in
order, so that the fault comes down to single messages. What time can heal is retried for ever.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from uuid import UUID

import structlog
from pydantic import ValidationError

from contracts.envelope import Envelope, parse_envelope, usable_id
from contracts.ids import unidentified_record_id
from contracts.messages import MESSAGES_BY_TYPE
from contracts.messages.base import Message
from contracts.topics import Topic
from messaging import inbox, metrics
from messaging.clock import utc_now
from messaging.database import Database
from messaging.dead_letters import DeadLetter, Record, bury, fingerprint
from messaging.faults import heals_with_time
from messaging.fold import Handler, Incoming, open_fold
from messaging.points import Point, reach
from messaging.settings import ConsumerSettings
from messaging.waiting import happens

log = structlog.get_logger()

ATTEMPTS_BEFORE_BLAME = 2
"""A constraint violation may be a race: only the same error twice is the message's own."""

MOST_REJECTIONS = 5
"""So many, however different, are the message's own too."""


class UndecodableRecord(ValueError):
    """A record is no message that this topic carries; the text says why."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which topic goes to which handler."""

    topic: Topic
    handler: Handler[Any]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record with its id and what it decodes to: a message, or the error that it is none."""

    record: Record
    message_id: UUID
    type: str | None
    incoming: Incoming | None
    error: Exception | None

    @property
    def lines(self) -> int:
        """Order lines that the message carries or is about: its work beyond its count."""
        if self.incoming is None:
            return 0
        body = self.incoming.body
        return getattr(body, "line_count", 0) or len(getattr(body, "lines", ()))


def types_of(deliveries: Iterable[Delivery]) -> Iterable[str]:
    """What kinds of messages these are; one that says nothing of it is left out."""
    return (delivery.type for delivery in deliveries if delivery.type is not None)


def deliver(record: Record, topic: Topic) -> Delivery:
    """Decode a record; what cannot be decoded is a delivery too, with the error."""
    message_id = usable_id(record.headers) or unidentified_record_id(
        topic.name, record.partition, record.offset
    )
    envelope: Envelope | None = None
    try:
        if record.size_bytes > topic.largest_record_bytes:
            raise UndecodableRecord(
                f"the record has {record.size_bytes} bytes, "
                f"more than the {topic.largest_record_bytes} of its topic"
            )
        envelope = parse_envelope(record.headers)
        body = _decode(record, envelope, topic)
    except Exception as error:  # noqa: BLE001 - whatever a record does to its reader is its own
        return Delivery(record, message_id, envelope.type if envelope else None, None, error)
    return Delivery(record, message_id, envelope.type, Incoming(body, envelope), None)


def _decode(record: Record, envelope: Envelope, topic: Topic) -> Message:
    kind = MESSAGES_BY_TYPE.get(envelope.type)
    if kind is None:
        raise UndecodableRecord(f"unknown message type or version {envelope.type[:120]!r}")
    if kind.topic.name != topic.name:
        raise UndecodableRecord(f"{envelope.type} does not belong on {topic.name}")
    if record.value is None:
        raise UndecodableRecord("the record has no value")
    try:
        return kind.model_validate_json(record.value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in found["loc"]) or "the value"
        raise UndecodableRecord(f"{where}: {found['msg']}") from None


class BatchProcessor:
    """Settles batches of one subscription: decides their fate, and returns only then."""

    def __init__(
        self,
        service: str,
        subscription: Subscription,
        database: Database,
        settings: ConsumerSettings,
    ) -> None:
        self.service = service
        self.subscription = subscription
        self.consumer = f"{service}.{subscription.topic.name}"
        self._database = database
        self._settings = settings
        # A compacted topic keeps its records longer than any inbox could: its messages carry
        # versions and are applied only if newer, which makes a claim needless.
        self._claims = subscription.topic.cleanup != "compact"

    async def settle(
        self, batch: Sequence[Delivery], abandon: asyncio.Event, patience: int | None = None
    ) -> bool:
        """Take a batch to its end: everything in it has had its effect or is dead-lettered.

        False when `abandon` was set while waiting for something to heal, or when `patience`
        attempts have not healed it (None: as many as it takes). Then nothing of what is left was
        kept, and it has to be delivered again.
        """
        started = perf_counter()
        settled = await self._settle(batch, abandon, patience)
        if settled:
            metrics.BATCH_RECORDS.labels(self.consumer).observe(len(batch))
            metrics.BATCH_SECONDS.labels(self.consumer).observe(perf_counter() - started)
        return settled

    async def _settle(
        self, batch: Sequence[Delivery], abandon: asyncio.Event, patience: int | None
    ) -> bool:
        wait_ms, waited = self._settings.retry_first_ms, 0
        blamed: list[str] = []
        while True:
            try:
                await self._transact(batch)
                return True
            except Exception as error:  # noqa: BLE001 - every fault is classified below
                if heals_with_time(error):
                    metrics.BATCH_RETRIES.labels(self.consumer, "healing").inc()
                    log.warning(
                        "batch waits for a dependency",
                        consumer=self.consumer,
                        records=len(batch),
                        error=type(error).__name__,
                        wait_ms=wait_ms,
                    )
                    waited += 1
                    if waited == patience or await happens(abandon, wait_ms / 1000):
                        return False
                    wait_ms = min(2 * wait_ms, self._settings.retry_longest_ms)
                    continue
                metrics.BATCH_RETRIES.labels(self.consumer, "rejected").inc()
                blamed.append(fingerprint("", None, type(error).__name__, str(error)))
                again = blamed.count(blamed[-1]) < ATTEMPTS_BEFORE_BLAME
                if again and len(blamed) < MOST_REJECTIONS:
                    continue
                if len(batch) == 1:
                    return await self._dead_letter(batch[0], error, len(blamed), abandon)
            middle = len(batch) // 2
            return await self._settle(batch[:middle], abandon, patience) and await self._settle(
                batch[middle:], abandon, patience
            )

    async def _transact(self, batch: Sequence[Delivery]) -> None:
        """The batch in one transaction. Raises whatever the database or the handler raises."""
        now = utc_now()
        async with self._database.transaction() as connection:
            fresh = await self._claim(connection, batch)
            await reach(Point.MESSAGES_CLAIMED, self.service, types_of(fresh))
            letters = [self._letter(d, d.error, 1) for d in fresh if d.error is not None]
            work = [(d, d.incoming) for d in fresh if d.incoming is not None]
            if work:
                handler = self.subscription.handler
                fold = await open_fold(
                    connection,
                    handler,
                    [incoming.body for _, incoming in work],
                    source=self.service,
                    now=now,
                )
                for delivery, incoming in work:
                    try:
                        fold.step(handler, incoming)
                    except Exception as error:  # noqa: BLE001 - the fault is this message's alone
                        letters.append(self._letter(delivery, error, 1))
                await fold.save(connection, handler)
            await bury(connection, letters)
            await reach(Point.BATCH_WRITTEN, self.service, types_of(fresh))
        await reach(Point.BATCH_COMMITTED, self.service, types_of(fresh))
        metrics.MESSAGES.labels(self.consumer, "handled").inc(len(fresh) - len(letters))
        metrics.MESSAGES.labels(self.consumer, "duplicate").inc(len(batch) - len(fresh))
        self._report(letters)

    async def _claim(self, connection: Any, batch: Sequence[Delivery]) -> list[Delivery]:
        """The deliveries of the batch that are new, each id once, in order."""
        claimed = [d for d in batch if self._claims or d.error is not None]
        new = await inbox.claim(connection, self.consumer, [d.message_id for d in claimed])
        fresh: list[Delivery] = []
        for delivery in batch:
            if self._claims or delivery.error is not None:
                if delivery.message_id not in new:
                    continue
                new.discard(delivery.message_id)
            fresh.append(delivery)
        return fresh

    async def _dead_letter(
        self, delivery: Delivery, error: Exception, attempts: int, abandon: asyncio.Event
    ) -> bool:
        """Bury one message in a transaction of its own, once the database takes it."""
        letter = self._letter(delivery, error, attempts)
        wait_ms = self._settings.retry_first_ms
        while True:
            try:
                async with self._database.transaction() as connection:
                    if await inbox.claim(connection, self.consumer, [delivery.message_id]):
                        await bury(connection, [letter])
            except Exception as failure:  # noqa: BLE001 - a dead letter is never given up
                log.error(
                    "a dead letter waits for the database",
                    consumer=self.consumer,
                    error=type(failure).__name__,
                )
                if await happens(abandon, wait_ms / 1000):
                    return False
                wait_ms = min(2 * wait_ms, self._settings.retry_longest_ms)
                continue
            self._report([letter])
            return True

    def _letter(self, delivery: Delivery, error: Exception, attempts: int) -> DeadLetter:
        return DeadLetter.of(
            delivery.record,
            error,
            service=self.service,
            consumer=self.consumer,
            message_id=delivery.message_id,
            message_type=delivery.type,
            attempts=attempts,
            now=utc_now(),
        )

    def _report(self, letters: Sequence[DeadLetter]) -> None:
        metrics.MESSAGES.labels(self.consumer, "dead_lettered").inc(len(letters))
        for letter in letters:
            log.error(
                "message dead-lettered",
                consumer=self.consumer,
                dead_letter=str(letter.id),
                message=str(letter.message_id),
                type=letter.type,
                error=letter.error_type,
                fingerprint=letter.fingerprint,
            )
