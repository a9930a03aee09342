"""The plain lane: at least once, every partition at its own pace.

Readers drop the duplicates that a lost confirmation leads to by message id.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from messaging.kafka import client_options
from messaging.points import Point, reach
from messaging.relay import rows as outbox
from messaging.relay.lead import START_SECONDS, Relay
from messaging.relay.producers import close
from messaging.relay.rows import Place
from messaging.waiting import happens

log = structlog.get_logger()

SLOW_SECONDS = 0.2
"""A partition that takes longer goes on alone, while the others are read and sent again."""


@dataclass(slots=True)
class _Outcome:
    """What became of the rows of one partition: those known to be on Kafka, and what failed."""

    confirmed: list[Any]
    unsendable: int | None = None
    error: BaseException | None = None


class PlainRelay(Relay):
    """Carries commands, replies and read models."""

    lane = "plain"

    async def _lead(self, connection: Any, stop: asyncio.Event) -> None:
        """Read, send, delete; a producer that failed is replaced by a fresh one."""
        while not stop.is_set():
            producer = AIOKafkaProducer(
                **client_options(self._kafka),
                client_id=f"{self._service}-relay",
                acks="all",
                enable_idempotence=True,
                max_batch_size=outbox.LARGEST_BATCH_BYTES,
                max_request_size=outbox.LARGEST_REQUEST_BYTES,
                linger_ms=0,
            )
            try:
                async with asyncio.timeout(START_SECONDS):
                    await producer.start()
                log.info("relay leads", lane=self.lane)
                await self._carry(connection, producer, stop)
            finally:
                await close(producer)

    async def _carry(
        self, connection: Any, producer: AIOKafkaProducer, stop: asyncio.Event
    ) -> None:
        """Carry batches until stopped or until one fails and the producer must go."""
        sending: dict[Place, asyncio.Task[_Outcome]] = {}
        try:
            while not stop.is_set():
                self._woken.clear()
                left_out = [*self._rests.now(), *sending]
                rows = await outbox.read(connection, self.lane, self._settings, left_out=left_out)
                await reach(Point.ROWS_READ, self._service, outbox.types_of(rows))
                for place, group in outbox.by_place(rows).items():
                    sending[place] = asyncio.create_task(self._send(producer, place, group))
                if not await self._settle(connection, sending):
                    return
                self._backoff.reset()
                if len(rows) >= self._settings.batch_rows // 2:
                    continue
                if rows:
                    await happens(stop, self._settings.linger_ms / 1000)
                else:
                    await self._idle(stop)
        finally:
            for task in sending.values():
                task.cancel()
            await asyncio.gather(*sending.values(), return_exceptions=True)

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
        confirmed = [row for outcome in outcomes.values() for row in outcome.confirmed]
        if confirmed:
            await reach(Point.ROWS_CONFIRMED, self._service, outbox.types_of(confirmed))
            ids = [row["id"] for row in confirmed]
            await outbox.delete(connection, self.lane, ids, self._service)
            await reach(Point.ROWS_DELETED, self._service, outbox.types_of(confirmed))
        for place, outcome in outcomes.items():
            if outcome.unsendable is not None:
                await outbox.flag(
                    connection, self.lane, outcome.unsendable, outcome.error, self._service
                )
            elif outcome.error is not None:
                self._rests.begin(place, outcome.error)
            else:
                self._rests.works(place)
        return all(outcome.error is None for outcome in outcomes.values())

    async def _send(
        self, producer: AIOKafkaProducer, place: Place, rows: Sequence[Any]
    ) -> _Outcome:
        """Send one partition's rows in order, one producer batch in flight at a time."""
        outcome = _Outcome(confirmed=[])
        topic, partition = self._kafka.topic_prefix + place[0], place[1]
        index, most = 0, len(rows)
        while index < len(rows):
            batch, end = outbox.batch_of(producer, rows, index, most)
            try:
                async with asyncio.timeout(self._settings.send_timeout_seconds):
                    confirmation = await producer.send_batch(batch, topic, partition=partition)
                    await reach(Point.ROWS_SENT, self._service, outbox.types_of(rows[index:end]))
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
            outcome.confirmed.extend(rows[index:end])
            index = end
        return outcome
