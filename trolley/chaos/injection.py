"""Does what a fault says, to the processes of a running stack."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import assert_never

import asyncpg

from trolley.chaos.connections import cut, ports_of
from trolley.chaos.faults import Fault, Kind, Server
from trolley.chaos.replica import Probe
from trolley.chaos.settings import ChaosSettings
from trolley.runtime.errors import KafkaUnavailable
from trolley.runtime.stack import Runtime
from trolley.topics import admin_client, kafka_settings

# The names of a service's sessions: `order`, `order-api`, `order-plain-relay`, `order-slot-1`.
_DROP = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND (application_name = $1 OR starts_with(application_name, $1 || '-'))
"""


class NotInjected(Exception):
    """The fault could not be brought about, or its victim did not follow in time."""


@dataclass(frozen=True, slots=True)
class Injected:
    """What was done.

    `struck_at` and `over_at` are readings of the monotonic clock: the blow itself, and when
    nothing of ours kept the victim away any more. `victim` names the replica where the plan could
    not. `server_back_seconds`: from the kill of a server until it answered a client.
    `partitions_moved_seconds`: from the removal of a replica until the others read all its
    partitions. `connections`: how many were ended.
    """

    fault: Fault
    victim: str
    struck_at: float
    over_at: float
    server_back_seconds: float | None = None
    partitions_moved_seconds: float | None = None
    connections: int | None = None


class Injector:
    """Strikes the processes of one runtime, and leaves none of them frozen or scaled away."""

    def __init__(self, runtime: Runtime, probe: Probe, settings: ChaosSettings) -> None:
        self._runtime = runtime
        self._probe = probe
        self._settings = settings

    async def inject(self, fault: Fault) -> Injected:
        """Brings the fault about; returns when it is over. Raises `NotInjected`."""
        match fault.kind:
            case Kind.KILL_SERVICE:
                return await self._kill_service(fault)
            case Kind.DRAIN_SERVICE:
                return await self._drain(fault)
            case Kind.FREEZE_SERVICE:
                return await self._freeze(fault)
            case Kind.SCALE_SERVICE:
                return await self._scale(fault)
            case Kind.KILL_RELAY:
                leader = await self._leader(fault)
                return await self._kill_service(replace(fault, slot=leader))
            case Kind.FREEZE_RELAY:
                leader = await self._leader(fault)
                return await self._freeze(replace(fault, slot=leader))
            case Kind.DROP_CONNECTIONS:
                return await self._drop_connections(fault)
            case Kind.DROP_KAFKA_CONNECTIONS:
                return self._drop_kafka_connections(fault)
            case Kind.KILL_KAFKA | Kind.KILL_POSTGRES:
                return await self._down(fault, self._runtime.kill_server(_server(fault)))
            case Kind.RESTART_KAFKA:
                return await self._down(fault, self._runtime.restart_kafka())
            case Kind.RESTART_POSTGRES:
                return await self._down(fault, self._runtime.restart_postgres())
            case Kind.FREEZE_KAFKA | Kind.FREEZE_POSTGRES:
                return await self._freeze_server(fault)
            case _:
                assert_never(fault.kind)

    async def all_ready(self) -> bool:
        """Whether every replica and both servers can do their work now."""
        if any(process.state != "ready" for process in self._runtime.processes()):
            return False
        urls = [url for one in self._runtime.services for url in self._runtime.urls(one.name)]
        return all(await asyncio.gather(*map(self._probe.is_ready, urls)))

    async def _kill_service(self, fault: Fault) -> Injected:
        service, slot = _replica(fault)
        struck_at = time.monotonic()
        await self._runtime.kill(service, slot)
        return Injected(fault, fault.victim, struck_at, struck_at)

    async def _drain(self, fault: Fault) -> Injected:
        service, slot = _replica(fault)
        pid = self._runtime.pid(service, slot)
        struck_at = time.monotonic()
        self._runtime.signal(service, signal.SIGTERM, slot)

        async def ended() -> bool:
            return self._runtime.pid(service, slot) != pid

        if not await self._happens(ended, self._settings.drain_seconds):
            raise NotInjected(f"{fault.victim} did not end after SIGTERM")
        return Injected(fault, fault.victim, struck_at, time.monotonic())

    async def _freeze(self, fault: Fault) -> Injected:
        service, slot = _replica(fault)
        struck_at = time.monotonic()
        self._runtime.signal(service, signal.SIGSTOP, slot)
        try:
            await asyncio.sleep(fault.lasts_seconds)
        finally:
            self._runtime.signal(service, signal.SIGCONT, slot)
        return Injected(fault, fault.victim, struck_at, time.monotonic())

    async def _freeze_server(self, fault: Fault) -> Injected:
        server, struck_at = _server(fault), time.monotonic()
        self._runtime.freeze_server(server)
        try:
            await asyncio.sleep(fault.lasts_seconds)
        finally:
            self._runtime.thaw_server(server)
        return Injected(fault, fault.victim, struck_at, time.monotonic())

    async def _scale(self, fault: Fault) -> Injected:
        service, slot = _replica(fault)
        urls = self._runtime.urls(service)
        others = [url for number, url in enumerate(urls) if number != slot]
        wanted = await self._partitions(urls)
        if wanted is None:
            raise NotInjected(f"a replica of {service} does not say what it reads")

        async def moved() -> bool:
            return await self._partitions(others) == wanted

        struck_at = time.monotonic()
        try:
            await self._runtime.stop_service(service, slot)
            removed_at = time.monotonic()
            await self._runtime.retire_service(service, slot)
            if not await self._happens(moved, self._settings.recovery_seconds):
                raise NotInjected(f"the partitions of {fault.victim} were not taken over")
            moved_seconds = time.monotonic() - removed_at
            await asyncio.sleep(max(0.0, fault.lasts_seconds - moved_seconds))
        finally:
            self._runtime.start_service(service, slot)
        return Injected(
            fault,
            fault.victim,
            struck_at,
            time.monotonic(),
            partitions_moved_seconds=moved_seconds,
        )

    async def _leader(self, fault: Fault) -> int:
        """The slot of the replica that leads the fault's lane. Raises `NotInjected`."""
        service, lane = fault.service or "", fault.lane or ""
        leader: int | None = None

        async def found() -> bool:
            nonlocal leader
            urls = self._runtime.urls(service)
            leading = await asyncio.gather(*(self._probe.leads(url, lane) for url in urls))
            leader = next((slot for slot, leads in enumerate(leading) if leads), None)
            return leader is not None

        if not await self._happens(found, self._settings.leader_seconds) or leader is None:
            raise NotInjected(f"nobody leads the {lane} lane of {service}")
        return leader

    async def _drop_connections(self, fault: Fault) -> Injected:
        service = fault.service or ""
        struck_at = time.monotonic()
        try:
            connection = await asyncpg.connect(self._runtime.database_url(service))
            try:
                ended = await connection.fetchval(_DROP, service)
            finally:
                await connection.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise NotInjected(f"{service}'s connections could not be ended: {error}") from error
        return Injected(fault, fault.victim, struck_at, time.monotonic(), connections=ended)

    def _drop_kafka_connections(self, fault: Fault) -> Injected:
        service, struck_at = fault.service or "", time.monotonic()
        replicas = range(len(self._runtime.urls(service)))
        pids = [self._runtime.pid(service, slot) for slot in replicas]
        ports = ports_of(self._runtime.bootstrap_servers)
        try:
            ended = sum(cut(pid, ports) for pid in pids if pid is not None)
        except OSError as error:
            raise NotInjected(f"{service}'s connections could not be cut: {error}") from error
        if not ended:
            raise NotInjected(f"{service} has no connection to Kafka")
        return Injected(fault, fault.victim, struck_at, time.monotonic(), connections=ended)

    async def _down(self, fault: Fault, struck: Awaitable[None]) -> Injected:
        """A server goes down and comes back; `struck` is how it goes."""
        answers = self._kafka_answers if _server(fault) == "kafka" else self._postgres_answers
        struck_at = time.monotonic()
        await struck
        if not await self._happens(answers, self._settings.recovery_seconds):
            raise NotInjected(f"{fault.victim} is not back")
        back_at = time.monotonic()
        return Injected(
            fault, fault.victim, struck_at, back_at, server_back_seconds=back_at - struck_at
        )

    async def _kafka_answers(self) -> bool:
        """Whether a client that is new can list the topics."""
        if not self._is_up("kafka"):
            return False
        try:
            async with admin_client(kafka_settings(self._runtime.environment)) as admin:
                return bool(await admin.list_topics())
        except KafkaUnavailable:
            return False

    async def _postgres_answers(self) -> bool:
        return self._is_up("postgres")  # the supervisor has connected before it says so

    def _is_up(self, name: str) -> bool:
        return any(one.name == name and one.state == "ready" for one in self._runtime.processes())

    async def _partitions(self, urls: list[str]) -> int | None:
        """What these replicas read together; None unless all of them say."""
        told = await asyncio.gather(*map(self._probe.partitions, urls))
        return None if None in told else sum(one for one in told if one is not None)

    async def _happens(self, condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not await condition():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(self._settings.recovery_poll_seconds)
        return True


def _server(fault: Fault) -> Server:
    if fault.kind.server is None:
        raise ValueError(f"{fault.kind} strikes no server")
    return fault.kind.server


def _replica(fault: Fault) -> tuple[str, int]:
    if fault.service is None or fault.slot is None:
        raise ValueError(f"{fault.kind} strikes a replica, and none is named")
    return fault.service, fault.slot
