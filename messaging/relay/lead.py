"""Who relays: one process per lane of a database, under a session advisory lock.

It reads and deletes over the very connection that holds the lock, so losing the connection stops
it. The others stand by and pass wake-ups on.
"""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any, ClassVar

import asyncpg
import structlog

from contracts.topics import Lane
from messaging import metrics
from messaging.database import connect
from messaging.faults import heals_with_time
from messaging.relay.rests import Rests
from messaging.relay.rows import read_by_key
from messaging.settings import KafkaSettings, RelaySettings
from messaging.waiting import Backoff

log = structlog.get_logger()

STANDBY_SECONDS = 0.5
"""How often a standby asks for the lock: a takeover needs no longer than this."""

START_SECONDS = 15
"""How long a producer may take to be ready to send: the broker has to give it an id."""

CLOSE_SECONDS = 2
"""How long a connection or a producer may take to say goodbye; it is dropped then."""


class Relay(ABC):
    """Carries one lane of a database's outbox to Kafka while it holds the lock; else stands by."""

    lane: ClassVar[Lane]
    frozen_seconds: ClassVar[int | None] = None
    """A leader that says nothing to its database for so long is frozen: its session is ended, and
    with it the lock. None where nothing keeps it from sending when it wakes up."""

    longest_rest_ms: ClassVar[int] = 0
    """A partition that fails again and again may be left out for so long, whatever the settings
    say of waits."""

    def __init__(
        self, service: str, database_url: str, kafka: KafkaSettings, settings: RelaySettings
    ) -> None:
        self._service = service
        self._url = database_url
        self._kafka = kafka
        self._settings = settings
        self._woken = asyncio.Event()
        longest_rest_ms = max(self.longest_rest_ms, settings.retry_longest_ms)
        self._rests = Rests(service, settings, longest_ms=longest_rest_ms)
        self._backoff = Backoff(settings.retry_first_ms, settings.retry_longest_ms)
        """Who leads has the lock, which says nothing of Kafka: a lane begins with a short wait
        again when it has carried what there was."""
        self._channel = f"trolley_outbox_{self.lane}"
        self.leads = False
        self.connected = False

    def wake(self) -> None:
        """There is something to send; called after commits, in the event loop."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop` is set; every fault is waited out, visibly."""
        while not stop.is_set():
            try:
                await self._with_connection(stop)
            except Exception as error:
                if not heals_with_time(error):
                    raise
                log.warning(
                    "relay waits",
                    lane=self.lane,
                    error=type(error).__name__,
                    wait_ms=self._backoff.wait_ms,
                )
                await self._backoff.rest(stop)
            finally:
                self.connected = False
                self._set_leads(False)

    async def _with_connection(self, stop: asyncio.Event) -> None:
        connection = await connect(
            self._url, f"{self._service}-{self.lane}-relay", idle_seconds=self.frozen_seconds
        )
        try:
            self.connected = True
            await read_by_key(connection)
            if await self._stand_by(connection, stop):
                self._set_leads(True)
                await connection.add_listener(self._channel, self._notified)
                await self._lead(connection, stop)
        finally:
            # Closing ends the session, and with it the lock.
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                await connection.close(timeout=CLOSE_SECONDS)

    def _notified(self, *_: Any) -> None:
        self._woken.set()

    def _set_leads(self, leads: bool) -> None:
        self.leads = leads
        metrics.RELAY_LEADS.labels(self._service, self.lane).set(1 if leads else 0)

    async def _stand_by(self, connection: Any, stop: asyncio.Event) -> bool:
        """Wait for the lock, passing wake-ups on to its holder. False when stopped."""
        lock = f"trolley {self.lane} relay"
        while not stop.is_set():
            if await connection.fetchval("SELECT pg_try_advisory_lock(hashtext($1))", lock):
                return True
            if await either(stop, self._woken, STANDBY_SECONDS):
                self._woken.clear()
                await connection.execute("SELECT pg_notify($1, '')", self._channel)
        return False

    async def _idle(self, stop: asyncio.Event) -> None:
        """Wait for a wake-up, the end of a partition's rest, or the next look."""
        await either(stop, self._woken, self._rests.end_within(self._settings.poll_seconds))

    @abstractmethod
    async def _lead(self, connection: Any, stop: asyncio.Event) -> None:
        """Carry rows until `stop`, over the connection that holds the lock."""


async def either(stop: asyncio.Event, woken: asyncio.Event, seconds: float) -> bool:
    """Wait for `stop` or `woken`, at most so long; whether either was set."""
    tasks = [asyncio.create_task(event.wait()) for event in (stop, woken)]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    return bool(done)
