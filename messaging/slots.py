"""Instance slots: one living process per slot of a service.

A replica's slot names its static membership in every consumer group, so two processes in one
slot would fence each other for ever. A session advisory lock on a connection of its own guards
it; PostgreSQL gives it up as soon as the process is gone.
"""

import asyncio
from contextlib import suppress
from typing import Any

import asyncpg
import structlog

from messaging.database import connect
from messaging.faults import heals_with_time
from messaging.waiting import happens

log = structlog.get_logger()

ASK_SECONDS = 0.2
WATCH_SECONDS = 1.0


class SlotLost(RuntimeError):
    """Another process may hold this slot now: this one must end."""


class Slot:
    """The guard of one slot of one service."""

    def __init__(self, database_url: str, service: str, slot: int) -> None:
        self._url = database_url
        self._service = service
        self._slot = slot
        self._connection: Any = None

    async def take(self, stop: asyncio.Event) -> bool:
        """Wait until the slot is ours; False when `stop` was set first."""
        said = False
        while not stop.is_set():
            try:
                if self._connection is None:
                    self._connection = await self._connect()
                if await self._connection.fetchval(
                    "SELECT pg_try_advisory_lock(hashtext('trolley slot'), $1)", self._slot
                ):
                    return True
                if not said:
                    log.warning("slot is held by another process; waiting", slot=self._slot)
                    said = True
            except Exception as error:
                if not heals_with_time(error):
                    raise
                log.warning("slot waits for the database", error=type(error).__name__)
                await self.release()
            await happens(stop, ASK_SECONDS)
        return False

    async def _connect(self) -> Any:
        return await connect(self._url, f"{self._service}-slot-{self._slot}")

    async def hold(self, stop: asyncio.Event) -> None:
        """Watch the guard until `stop`. After a lost connection the slot is taken again.

        Raises `SlotLost` when another process took it meanwhile.
        """
        while not stop.is_set():
            if await happens(stop, WATCH_SECONDS):
                return
            if self._connection is not None and not self._connection.is_closed():
                continue
            await self.release()
            if not await self._take_once():
                raise SlotLost(f"slot {self._slot} of {self._service}")

    async def _take_once(self) -> bool:
        """Ask for the slot again. True also while the database is away: nobody else can ask."""
        try:
            self._connection = await self._connect()
            taken = await self._connection.fetchval(
                "SELECT pg_try_advisory_lock(hashtext('trolley slot'), $1)", self._slot
            )
        except Exception as error:
            if not heals_with_time(error):
                raise
            await self.release()
            return True
        return bool(taken)

    async def release(self) -> None:
        """Give the slot up by closing its connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                await connection.close(timeout=1)
