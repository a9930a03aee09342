"""The relay: carries the outbox to Kafka, in order per key, at least once.

One relay per database is active, under a session advisory lock; it reads and deletes over the
very connection that holds the lock, so losing the connection stops it. The others stand by and
pass wake-ups on. Readers drop the duplicates that a lost confirmation leads to by message id.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from contracts.envelope import Envelope
from messaging import metrics
from messaging.database import connect
from messaging.dead_letters import unpack_headers
from messaging.faults import heals_with_time
from messaging.kafka import client_options
from messaging.settings import KafkaSettings, RelaySettings
from messaging.waiting import happens

log = structlog.get_logger()

LOCK_NAME = "trolley relay"
CHANNEL = "trolley_outbox"
STANDBY_SECONDS = 0.5
"""How often a standby asks for the lock: a takeover needs no longer than this."""

LARGEST_BATCH_BYTES = 1024 * 1024
"""One producer batch; a single larger record still goes, alone."""

SLOW_SECONDS = 0.2
"""A partition that takes longer goes on alone, while the others are read and sent again."""

CLOSE_SECONDS = 2
"""How long a connection or a producer may take to say goodbye; it is dropped then."""

LARGEST_REQUEST_BYTES = 16 * 1024 * 1024

_READ = """
    SELECT * FROM (
        SELECT o.*, sum(coalesce(octet_length(o.payload), 0)) OVER (ORDER BY o.id) AS running
        FROM (
            SELECT * FROM outbox o
            WHERE flagged_at IS NULL
              AND NOT EXISTS (SELECT 1 FROM outbox f WHERE f.flagged_at IS NOT NULL
                              AND f.topic = o.topic AND f.key = o.key)
              AND NOT EXISTS (SELECT 1 FROM unnest($3::text[], $4::int[]) AS r (topic, partition)
                              WHERE r.topic = o.topic AND r.partition = o.partition)
            ORDER BY id LIMIT $1
        ) o
    ) o
    WHERE running - coalesce(octet_length(payload), 0) <= $2
    ORDER BY id
"""

_DELETE = "DELETE FROM outbox WHERE id = ANY($1::bigint[])"
_FLAG = "UPDATE outbox SET flagged_at = now(), flag_reason = $2 WHERE id = $1"

Place = tuple[str, int]


@dataclass(slots=True)
class _Outcome:
    """What became of the rows of one partition: ids known to be on Kafka, and what failed."""

    confirmed: list[int]
    unsendable: int | None = None
    error: BaseException | None = None


class Relay:
    """Carries one database's outbox to Kafka while it holds the lock; else stands by."""

    def __init__(
        self, service: str, database_url: str, kafka: KafkaSettings, settings: RelaySettings
    ) -> None:
        self._service = service
        self._url = database_url
        self._kafka = kafka
        self._settings = settings
        self._woken = asyncio.Event()
        self._resting: dict[Place, float] = {}
        self._waits_ms: dict[Place, int] = {}
        self.leads = False
        self.connected = False

    def wake(self) -> None:
        """There is something to send; called after commits, in the event loop."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop` is set; every fault is waited out, visibly."""
        wait_ms = self._settings.retry_first_ms
        while not stop.is_set():
            try:
                await self._with_connection(stop)
                wait_ms = self._settings.retry_first_ms
            except Exception as error:
                if not heals_with_time(error):
                    raise
                log.warning("relay waits", error=type(error).__name__, wait_ms=wait_ms)
                await happens(stop, wait_ms / 1000)
                wait_ms = min(2 * wait_ms, self._settings.retry_longest_ms)
            finally:
                self.connected = False
                self._set_leads(False)

    async def _with_connection(self, stop: asyncio.Event) -> None:
        connection = await connect(self._url, f"{self._service}-relay")
        try:
            self.connected = True
            if await self._stand_by(connection, stop):
                self._set_leads(True)
                await connection.add_listener(CHANNEL, self._notified)
                await self._lead(connection, stop)
        finally:
            # Closing ends the session, and with it the lock.
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                await connection.close(timeout=CLOSE_SECONDS)

    def _notified(self, *_: Any) -> None:
        self._woken.set()

    def _set_leads(self, leads: bool) -> None:
        self.leads = leads
        metrics.RELAY_LEADS.labels(self._service).set(1 if leads else 0)

    async def _stand_by(self, connection: Any, stop: asyncio.Event) -> bool:
        """Wait for the lock, passing wake-ups on to its holder. False when stopped."""
        while not stop.is_set():
            if await connection.fetchval("SELECT pg_try_advisory_lock(hashtext($1))", LOCK_NAME):
                return True
            if await _either(stop, self._woken, STANDBY_SECONDS):
                self._woken.clear()
                await connection.execute("SELECT pg_notify($1, '')", CHANNEL)
        return False

    async def _lead(self, connection: Any, stop: asyncio.Event) -> None:
        """Read, send, delete; a producer that failed is replaced by a fresh one."""
        while not stop.is_set():
            producer = AIOKafkaProducer(
                **client_options(self._kafka),
                client_id=f"{self._service}-relay",
                acks="all",
                enable_idempotence=True,
                max_batch_size=LARGEST_BATCH_BYTES,
                max_request_size=LARGEST_REQUEST_BYTES,
                linger_ms=0,
            )
            try:
                await producer.start()
                log.info("relay leads")
                await self._carry(connection, producer, stop)
            finally:
                await _close(producer)

    async def _carry(
        self, connection: Any, producer: AIOKafkaProducer, stop: asyncio.Event
    ) -> None:
        """Carry batches until stopped or until one fails and the producer must go."""
        sending: dict[Place, asyncio.Task[_Outcome]] = {}
        try:
            while not stop.is_set():
                self._woken.clear()
                rows = await self._read(connection, left_out=[*self._resting_now(), *sending])
                for place, group in _by_place(rows).items():
                    sending[place] = asyncio.create_task(self._send(producer, place, group))
                if not await self._settle(connection, sending):
                    return
                if len(rows) >= self._settings.batch_rows // 2:
                    continue
                if rows:
                    await happens(stop, self._settings.linger_ms / 1000)
                else:
                    await _either(stop, self._woken, self._next_look())
        finally:
            for task in sending.values():
                task.cancel()
            await asyncio.gather(*sending.values(), return_exceptions=True)

    async def _read(self, connection: Any, *, left_out: Sequence[Place]) -> Sequence[Any]:
        rows: Sequence[Any] = await connection.fetch(
            _READ,
            self._settings.batch_rows,
            self._settings.batch_bytes,
            [topic for topic, _ in left_out],
            [partition for _, partition in left_out],
        )
        return rows

    def _resting_now(self) -> list[Place]:
        now = monotonic()
        self._resting = {place: until for place, until in self._resting.items() if until > now}
        return list(self._resting)

    def _next_look(self) -> float:
        """Seconds to the poll, or to the end of a partition's rest if that is sooner."""
        now = monotonic()
        ends = [until - now for until in self._resting.values()]
        return max(0.0, min([self._settings.poll_seconds, *ends]))

    async def _settle(self, connection: Any, sending: dict[Place, asyncio.Task[_Outcome]]) -> bool:
        """Delete what is confirmed by now, leaving slow partitions to go on; False on a failure.

        A failure ends the producer, so the others get the same moment to finish.
        """
        if not sending:
            return True
        await asyncio.wait(sending.values(), timeout=SLOW_SECONDS)
        if any(task.done() and task.result().error is not None for task in sending.values()):
            await asyncio.wait(sending.values(), timeout=SLOW_SECONDS)
        outcomes = {place: task.result() for place, task in sending.items() if task.done()}
        for place in outcomes:
            del sending[place]
        confirmed = [id_ for outcome in outcomes.values() for id_ in outcome.confirmed]
        if confirmed:
            await connection.execute(_DELETE, confirmed)
            metrics.PUBLISHED.labels(self._service).inc(len(confirmed))
        for place, outcome in outcomes.items():
            if outcome.unsendable is not None:
                await self._flag(connection, outcome.unsendable, outcome.error)
            elif outcome.error is not None:
                self._rest(place, outcome.error)
            else:
                self._waits_ms.pop(place, None)
        return all(outcome.error is None for outcome in outcomes.values())

    async def _send(
        self, producer: AIOKafkaProducer, place: Place, rows: Sequence[Any]
    ) -> _Outcome:
        """Send one partition's rows in order, one producer batch in flight at a time."""
        outcome = _Outcome(confirmed=[])
        topic, partition = self._kafka.topic_prefix + place[0], place[1]
        index, most = 0, len(rows)
        while index < len(rows):
            batch = producer.create_batch()
            end = index
            while end < len(rows) and end - index < most and _append(batch, rows[end]):
                end += 1
            batch.close()
            try:
                async with asyncio.timeout(self._settings.send_timeout_seconds):
                    confirmation = await producer.send_batch(batch, topic, partition=partition)
                    await confirmation
            except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
                if end - index == 1:
                    outcome.unsendable, outcome.error = rows[index]["id"], error
                    return outcome
                most = 1  # find the row that is too large; those before it still go
                continue
            except (KafkaError, TimeoutError, AssertionError) as error:
                outcome.error = error
                return outcome
            outcome.confirmed.extend(row["id"] for row in rows[index:end])
            index = end
        return outcome

    def _rest(self, place: Place, error: BaseException) -> None:
        """Leave a failing partition out for a while, so that it holds up nobody else."""
        wait_ms = self._waits_ms.get(place, self._settings.retry_first_ms)
        self._waits_ms[place] = min(2 * wait_ms, self._settings.retry_longest_ms)
        self._resting[place] = monotonic() + wait_ms / 1000
        metrics.RELAY_FAILURES.labels(self._service).inc()
        log.warning(
            "partition not written",
            topic=place[0],
            partition=place[1],
            error=type(error).__name__,
            wait_ms=wait_ms,
        )

    async def _flag(self, connection: Any, row_id: int, error: BaseException | None) -> None:
        """Take a row that can never be sent out of the way, with its key, visibly."""
        await connection.execute(_FLAG, row_id, f"{type(error).__name__}: {error}"[:500])
        metrics.FLAGGED.labels(self._service).inc()
        log.error("outbox row flagged: it can never be sent", outbox_id=row_id)


def _by_place(rows: Sequence[Any]) -> dict[Place, list[Any]]:
    places: dict[Place, list[Any]] = {}
    for row in rows:
        places.setdefault((row["topic"], row["partition"]), []).append(row)
    return places


def _append(batch: Any, row: Any) -> bool:
    added = batch.append(
        timestamp=int(row["time"].timestamp() * 1000),
        key=row["key"],
        value=row["payload"],
        headers=_headers(row),
    )
    return added is not None


def _headers(row: Any) -> list[tuple[str, bytes]]:
    if row["raw_headers"] is not None:
        # A null header value cannot be written by this client; it stands as empty on the topic
        # and as null in the table.
        return [(name, value or b"") for name, value in unpack_headers(row["raw_headers"])]
    return Envelope(
        id=row["message_id"],
        type=row["type"],
        source=row["source"],
        time=row["time"],
        subject=row["subject"],
        shop_id=row["shop_id"],
        correlation_id=row["correlation_id"],
        causation_id=row["causation_id"],
        traceparent=row["traceparent"],
        step=row["step"],
        round=row["round"],
        event_seq=row["event_seq"],
    ).headers()


async def _close(producer: AIOKafkaProducer) -> None:
    """Close a producer; what it still holds is in the outbox, so nothing waits for it."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await producer.stop()
    except (KafkaError, TimeoutError):
        pass
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # else it was one of the producer's own tasks that was cancelled


async def _either(stop: asyncio.Event, woken: asyncio.Event, seconds: float) -> bool:
    """Wait for `stop` or `woken`, at most so long; whether either was set."""
    tasks = [asyncio.create_task(event.wait()) for event in (stop, woken)]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    return bool(done)
