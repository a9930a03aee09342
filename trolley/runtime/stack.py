"""The whole of Trolley on one machine: servers, databases, topics and services as processes."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

import aiohttp

from trolley.databases import ensure_databases
from trolley.members import remove_replica
from trolley.runtime.children import Child, Children, last_line
from trolley.runtime.errors import PortInUse, RuntimeStartError, StartFailed
from trolley.runtime.guardian import Rung, birth
from trolley.runtime.home import Home, ProcessState, RuntimeState, python_environment
from trolley.runtime.kafka import EmbeddedKafka
from trolley.runtime.ports import PortReservations
from trolley.runtime.postgres import EmbeddedPostgres
from trolley.runtime.server import EmbeddedServer
from trolley.services import SERVICES, Service, databases
from trolley.settings import RuntimeSettings
from trolley.together import together
from trolley.topics import apply_topics

SERVICES_PHASE = 0
"""Services are stopped before the servers they stand on (phase 1)."""

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared, not bound


@dataclass
class _Kept:
    """A process that is started again whenever it ends."""

    name: str
    kind: Literal["server", "service"]
    port: int
    state: str = "starting"
    child: Child | None = None
    restarts: int = 0
    since: float | None = None
    note: str | None = None
    early_ends: int = 0
    killed: bool = False
    """Its next end is our own doing and says nothing against it."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def shown(self) -> ProcessState:
        """What of it goes into the state file."""
        pid = self.child.pid if self.child is not None else None
        return ProcessState(
            self.name, self.kind, self.state, pid, self.port, self.restarts, self.since, self.note
        )


@dataclass(frozen=True)
class _Instance:
    """One replica of a service."""

    service: Service
    slot: int
    host: str
    port: int

    @property
    def name(self) -> str:
        return instance_name(self.service.name, self.slot)

    @property
    def url(self) -> str:
        return f"http://{_ANY_ADDRESS.get(self.host, self.host)}:{self.port}"


def instance_name(service: str, slot: int) -> str:
    """How a replica is called in the state, in the status table and by its log file."""
    return f"{service}-{slot}"


AT_REST = ("ready", "stopped")
"""States that nobody waits for to change."""


class Runtime:
    """Starts and keeps everything of one state directory; nothing of it outlives this process.

    ```python
    async with Runtime(Path(".trolley"), replicas=2) as runtime:
        runtime.url("cart")
        await runtime.kill("order")
        await runtime.wait_ready()
    ```

    `environment` is for every process and wins over this process's own; `service_environment`
    adds to it per service name. With KAFKA_BOOTSTRAP_SERVERS or all database URLs in the
    environment the servers named there are used and the embedded ones are not started.
    """

    def __init__(
        self,
        home: Path,
        *,
        replicas: int = 1,
        environment: Mapping[str, str] | None = None,
        service_environment: Mapping[str, Mapping[str, str]] | None = None,
        services: tuple[Service, ...] = SERVICES,
        settings: RuntimeSettings | None = None,
    ) -> None:
        self.home = Home(home)
        self.replicas = replicas
        self.services = services
        self.settings = settings or RuntimeSettings()
        self.kafka: EmbeddedKafka | None = None
        self.postgres: EmbeddedPostgres | None = None
        self._given = {**os.environ, **(environment or {})}
        self._service_environment = service_environment or {}
        self._children = Children(self.home.path)
        self._ports = PortReservations(self.settings.first_port, self.settings.last_port)
        self._ports_by_name: dict[str, int] = {}
        self._kept: dict[str, _Kept] = {}
        self._instances: dict[str, _Instance] = {}
        self._background: list[asyncio.Task[None]] = []
        self._written: dict[str, str] = {}
        self._started = time.time()
        self._state = "starting"
        self._step = "starting"
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    # What runs

    @property
    def step(self) -> str:
        """What is being done while it starts, in words for the user."""
        return self._step

    @property
    def environment(self) -> Mapping[str, str]:
        """All settings of the running stack, as in `runtime.env`."""
        return dict(self._written)

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` of Kafka."""
        return self._written["KAFKA_BOOTSTRAP_SERVERS"]

    @property
    def signing_key(self) -> str:
        """The key that signs customer tokens."""
        return self._written["TROLLEY_SIGNING_KEY"]

    def database_url(self, database: str) -> str:
        """The URL of a database by its name in `trolley.services`, such as `order`."""
        for declared in databases(self.services):
            if declared.name == database:
                return self._written[declared.setting]
        raise KeyError(database)

    def url(self, service: str, slot: int = 0) -> str:
        """`http://host:port` of a replica; it stays the same over restarts."""
        return self._instances[instance_name(service, slot)].url

    def urls(self, service: str) -> list[str]:
        """The addresses of all replicas of a service."""
        return [one.url for one in self._instances.values() if one.service.name == service]

    def processes(self) -> tuple[ProcessState, ...]:
        """The state of every process, servers first."""
        return tuple(kept.shown() for kept in self._kept.values())

    def state(self) -> RuntimeState:
        """What the state file says, with the processes as they are now."""
        pid = os.getpid()
        return RuntimeState(pid, birth(pid) or "", self._state, self._started, self.processes())

    def pid(self, service: str, slot: int = 0) -> int | None:
        """The process id of a replica; None while it is down."""
        return self._kept[instance_name(service, slot)].shown().pid

    def restarts(self, service: str, slot: int = 0) -> int:
        """How often a replica was started again."""
        return self._kept[instance_name(service, slot)].restarts

    # Start and stop

    async def start(self) -> None:
        """Starts everything and returns when every service is ready.

        Raises a RuntimeStartError, with everything stopped again.
        """
        await asyncio.to_thread(self.home.prepare, self.settings.smallest_free_mib)
        self.home.lock()
        try:
            await asyncio.to_thread(self._children.clear_leftovers)
            self._http = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(self.settings.ready_answer_seconds)
            )
            await self._start()
            await self.wait_ready()
            self._state = self._step = "ready"
            self._changed()
            if self.kafka is not None:
                self._background.append(asyncio.create_task(self.kafka.share_classes()))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stops services, then servers, each cleanly; harmless when nothing was started."""
        if not self.home.locked:
            return  # what runs there is another supervisor's
        self._state = self._step = "stopping"
        for kept in self._kept.values():
            self._background += kept.tasks
            kept.tasks, kept.state = [], "stopping"
        if self._kept:
            self._changed()
        await _cancelled(self._background)
        self._background = []
        await self._children.stop_all()
        self._children.close()
        self._ports.close()
        if self._http is not None:
            await self._http.close()
            self._http = None
        for kept in self._kept.values():
            kept.child, kept.state = None, "stopped"
        self._state = self._step = "stopped"
        self.home.clear_state()
        self.home.unlock()

    async def wait_ready(self, *, seconds: float | None = None) -> None:
        """Waits until every server and service is ready, but for those stopped on purpose.

        Raises StartFailed if one cannot be.
        """
        seconds = self.settings.service_ready_seconds if seconds is None else seconds
        deadline = time.monotonic() + seconds
        while waiting := [kept for kept in self._kept.values() if kept.state not in AT_REST]:
            for kept in waiting:
                if kept.early_ends >= self.settings.service_start_attempts:
                    log = self._log(kept.name)
                    reason = f"{kept.note}, {kept.early_ends} times in a row"
                    raise StartFailed(kept.name, reason, log, last_line(log))
            if time.monotonic() > deadline:
                kept = waiting[0]
                log = self._log(kept.name)
                raise StartFailed(kept.name, f"not ready in {seconds:g} s", log, last_line(log))
            await asyncio.sleep(self.settings.ready_wait_poll_seconds)

    # Faults on purpose

    async def kill(self, service: str, slot: int = 0) -> None:
        """SIGKILL to a replica; returns when it is gone. It is started again at once."""
        kept = self._kept[instance_name(service, slot)]
        child = kept.child
        if child is not None:
            kept.killed = True
            child.signal(signal.SIGKILL)
            await child.ended()
            if kept.child is child:
                # The restart has not begun; it must be taken neither for alive nor for ready.
                kept.child, kept.state = None, "restarting"

    async def kill_server(self, name: Literal["kafka", "postgres"]) -> None:
        """SIGKILL to an embedded server; returns when it is gone. It is started again at once."""
        kept = self._kept[name]
        child = kept.child
        if child is not None:
            child.signal(signal.SIGKILL)
            await child.ended()
            if kept.child is child:
                # The restart has not begun; it must be taken neither for alive nor for ready.
                kept.child, kept.state = None, "restarting"

    def freeze_server(self, name: Literal["kafka", "postgres"]) -> None:
        """Stops an embedded server in the middle of what it does, until `thaw_server`."""
        kept = self._kept[name]
        if kept.child is not None:
            kept.child.freeze()

    def thaw_server(self, name: Literal["kafka", "postgres"]) -> None:
        """Lets a server that `freeze_server` stopped go on."""
        kept = self._kept[name]
        if kept.child is not None:
            kept.child.thaw()

    def signal(self, service: str, number: int, slot: int = 0) -> None:
        """Sends any signal to a replica, such as SIGSTOP and SIGCONT to freeze it for a while."""
        kept = self._kept[instance_name(service, slot)]
        if kept.child is not None:
            kept.child.signal(number)

    async def stop_service(self, service: str, slot: int = 0) -> None:
        """Drains a replica by SIGTERM and leaves it down until `start_service`."""
        kept = self._kept[instance_name(service, slot)]
        await _cancelled(kept.tasks)
        kept.tasks = []
        if kept.child is not None:
            await self._children.stop([kept.child])
            kept.child = None
        kept.state = "stopped"
        self._changed()

    async def retire_service(self, service: str, slot: int = 0) -> None:
        """Stops a replica and takes it out of its consumer groups: others take over at once."""
        await self.stop_service(service, slot)
        await remove_replica(self.environment, service, slot)

    def start_service(self, service: str, slot: int = 0) -> None:
        """Starts a replica that `stop_service` stopped; `wait_ready` waits for it."""
        instance = self._instances[instance_name(service, slot)]
        kept = self._kept[instance.name]
        if not kept.tasks:
            kept.early_ends = 0
            kept.state = "starting"
            kept.tasks = [
                asyncio.create_task(self._keep_service(kept, instance)),
                asyncio.create_task(self._ask_ready(kept, instance)),
            ]

    async def stop_kafka(self, *, kill: bool = False) -> None:
        """Stops the embedded Kafka, by SIGKILL if asked; it stays down until `start_kafka`."""
        await self._stop_server("kafka", self.kafka, kill)

    async def start_kafka(self) -> None:
        """Starts the embedded Kafka again on the same port; returns when it answers."""
        await self._start_server("kafka", self.kafka)

    async def restart_kafka(self, *, kill: bool = False) -> None:
        """`stop_kafka` and `start_kafka`."""
        await self.stop_kafka(kill=kill)
        await self.start_kafka()

    async def stop_postgres(self, *, kill: bool = False) -> None:
        """Stops the embedded PostgreSQL, by SIGKILL if asked, until `start_postgres`."""
        await self._stop_server("postgres", self.postgres, kill)

    async def start_postgres(self) -> None:
        """Starts the embedded PostgreSQL again on the same port; returns when it answers."""
        await self._start_server("postgres", self.postgres)

    async def restart_postgres(self, *, kill: bool = False) -> None:
        """`stop_postgres` and `start_postgres`."""
        await self.stop_postgres(kill=kill)
        await self.start_postgres()

    # How it starts

    async def _start(self) -> None:
        declared = list(databases(self.services))
        self._forget_own_addresses()
        embeds_kafka = "KAFKA_BOOTSTRAP_SERVERS" not in self._given
        embeds_postgres = any(database.setting not in self._given for database in declared)
        self._choose_ports(embeds_kafka, embeds_postgres)
        if embeds_postgres:
            self._embed_postgres()
        if embeds_kafka:
            self._embed_kafka()
        self._written = self._settings_for_all()
        self.home.write_environment(self._written)
        for service in self.services:
            for slot in self._slots(service):
                self._add_instance(service, slot)
        self._changed()
        self._background += [
            asyncio.create_task(self._keep_guarded()),
            asyncio.create_task(self._rotate_logs()),
        ]
        await together([self._prepare_postgres(), self._prepare_kafka()])
        self._step = "starting the services"
        for instance in self._instances.values():
            self.start_service(instance.service.name, instance.slot)

    def _forget_own_addresses(self) -> None:
        """Drops what a shell that read `runtime.env` says of servers that we start ourselves."""
        ports = self.home.ports()
        own = {f"127.0.0.1:{ports.get(server)}" for server in ("kafka", "postgres")}
        for name, value in list(self._given.items()):
            if name == "KAFKA_BOOTSTRAP_SERVERS":
                address = value
            elif name.endswith("_DATABASE_URL"):
                address = urlsplit(value).netloc.rpartition("@")[2]
            else:
                continue
            if address in own:
                del self._given[name]

    def _embed_postgres(self) -> None:
        wanted = 100 + self.replicas * self.settings.postgres_connections_per_replica
        enough = max(self.settings.postgres_max_connections, wanted)
        self.postgres = EmbeddedPostgres(
            self.home.path,
            self._children,
            self.settings.model_copy(update={"postgres_max_connections": enough}),
            port=self._ports_by_name["postgres"],
        )
        self._kept["postgres"] = _Kept("postgres", "server", self.postgres.port)

    def _embed_kafka(self) -> None:
        self.kafka = EmbeddedKafka(
            self.home.path,
            self._children,
            self.settings,
            port=self._ports_by_name["kafka"],
            controller_port=self._ports_by_name["kafka-controller"],
        )
        self._kept["kafka"] = _Kept("kafka", "server", self.kafka.port)

    def _slots(self, service: Service) -> range:
        return range(self.replicas if service.replicated else 1)

    def _add_instance(self, service: Service, slot: int) -> None:
        name = instance_name(service.name, slot)
        host = self._written[service.host_setting]
        instance = _Instance(service, slot, host, self._ports_by_name[name])
        self._instances[name] = instance
        self._kept[name] = _Kept(name, "service", instance.port)

    async def _prepare_postgres(self) -> None:
        if self.postgres is not None:
            self._step = "starting PostgreSQL and Kafka"
            await self._start_server("postgres", self.postgres)
        await ensure_databases(
            [self._written[database.setting] for database in databases(self.services)],
            connect_seconds=self.settings.database_connect_seconds,
        )
        migrated = [
            service.name
            for service in self.services
            if any(database.migrations for database in service.databases)
        ]
        if migrated:
            self._step = "bringing the databases to their newest schema"
            await self._migrate(migrated)

    async def _prepare_kafka(self) -> None:
        if self.kafka is not None:
            self._step = "starting PostgreSQL and Kafka"
            await self._start_server("kafka", self.kafka)
        await apply_topics(self._written)

    async def _migrate(self, names: Sequence[str]) -> None:
        # A process of its own: Alembic and all tables need not stay in the supervisor.
        log = self._log("migrate")
        code = await self._children.run(
            "migrate",
            [sys.executable, "-m", "trolley", "migrate", *names],
            environment=self._environment({}),
            directory=self.home.path,
            log=log,
            seconds=self.settings.setup_seconds,
        )
        if code != 0:
            raise StartFailed("The migration", _ending(code), log, last_line(log))

    def _choose_ports(self, embeds_kafka: bool, embeds_postgres: bool) -> None:
        remembered = self.home.ports()
        wanted: dict[str, tuple[str, int | None]] = {}
        if embeds_postgres:
            wanted["postgres"] = ("TROLLEY_POSTGRES_PORT", self.settings.postgres_port)
        if embeds_kafka:
            wanted["kafka"] = ("TROLLEY_KAFKA_PORT", self.settings.kafka_port)
            wanted["kafka-controller"] = ("", None)
        for service in self.services:
            for slot in self._slots(service):
                given = int(self._given.get(service.port_setting) or 0) if slot == 0 else 0
                name = instance_name(service.name, slot)
                wanted[name] = (service.port_setting, given or None)
        # Ports that were asked for come first, so that none of them is picked for another.
        for name, (setting, port) in wanted.items():
            if port is not None:
                if not self._ports.reserve(port):
                    raise PortInUse(port, name, setting)
                self._ports_by_name[name] = port
        for name in wanted:
            if name not in self._ports_by_name:
                self._ports_by_name[name] = self._ports.pick(remembered.get(name))
        self.home.write_ports({**remembered, **self._ports_by_name})

    def _settings_for_all(self) -> dict[str, str]:
        """What goes into `runtime.env`: where everything is, and what was given from outside."""
        written = {
            name: value
            for name, value in self._given.items()
            if name.startswith("KAFKA_") or name == "LOG_LEVEL"
        }
        if self.kafka is not None:
            written["KAFKA_BOOTSTRAP_SERVERS"] = self.kafka.bootstrap_servers
        for database in databases(self.services):
            given = self._given.get(database.setting)
            if given is None:
                assert self.postgres is not None  # noqa: S101 - embedded when one URL is missing
                given = self.postgres.database_url(database.name)
            written[database.setting] = given
        for service in self.services:
            name = instance_name(service.name, 0)
            written[service.host_setting] = self._given.get(service.host_setting, "127.0.0.1")
            written[service.port_setting] = str(self._ports_by_name[name])
        addresses = {one.name: self._address(one, written) for one in self.services}
        for service in self.services:
            for setting, linked in service.links:
                address = self._given.get(setting) or addresses.get(linked)
                if address is not None:
                    written[setting] = address
            for setting, value in service.gives:
                written[setting] = self._given.get(setting, value)
        key = self._given.get("TROLLEY_SIGNING_KEY")
        written["TROLLEY_SIGNING_KEY"] = key or self.home.signing_key()
        return written

    @staticmethod
    def _address(service: Service, written: Mapping[str, str]) -> str:
        host, port = written[service.host_setting], written[service.port_setting]
        return f"http://{_ANY_ADDRESS.get(host, host)}:{port}"

    # How it is kept

    def _log(self, name: str) -> Path:
        return self.home.logs / f"{name}.log"

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        return python_environment(
            {
                **self._given,
                **self._written,
                **extra,
                "TROLLEY_ENV_FILE": str(self.home.environment_file),
                "TROLLEY_HOME": str(self.home.path),
            }
        )

    def _spawn(self, instance: _Instance) -> Child:
        service = instance.service
        extra = {
            **self._service_environment.get(service.name, {}),
            service.port_setting: str(instance.port),
            service.slot_setting: str(instance.slot),
        }
        return self._children.spawn(
            instance.name,
            [sys.executable, "-m", service.module],
            environment=self._environment(extra),
            directory=self.home.path,
            log=self._log(instance.name),
            phase=SERVICES_PHASE,
            ladder=(
                Rung(signal.SIGTERM, self.settings.service_stop_seconds),
                Rung(signal.SIGKILL, self.settings.killed_gone_seconds),
            ),
        )

    async def _keep_service(self, kept: _Kept, instance: _Instance) -> None:
        wait = self.settings.restart_first_seconds
        while True:
            began = time.monotonic()
            kept.state, kept.since = "starting", time.time()
            kept.child = child = self._spawn(instance)
            self._changed()
            await child.ended()
            kept.child, kept.state = None, "restarting"
            kept.note = _ending(child.process.returncode)
            kept.restarts += 1
            self._children.forget(child)
            late = time.monotonic() - began >= self.settings.restart_forgiven_seconds
            if late or kept.killed:
                wait, kept.early_ends = self.settings.restart_first_seconds, 0
            kept.early_ends += not kept.killed
            kept.killed = False
            self._changed()
            await asyncio.sleep(wait)
            wait = min(wait * 2, self.settings.restart_longest_seconds)

    async def _ask_ready(self, kept: _Kept, instance: _Instance) -> None:
        assert self._http is not None  # noqa: S101 - made before anything is started
        while True:
            child = kept.child
            if child is not None:
                try:
                    async with self._http.get(f"{instance.url}/health/ready") as answer:
                        ready = answer.ok
                except (aiohttp.ClientError, TimeoutError):
                    ready = False
                if kept.child is child and child.alive():
                    before = kept.state
                    if ready:
                        kept.state, kept.early_ends = "ready", 0
                    elif before == "ready":
                        kept.state = "unready"
                    if kept.state != before:
                        self._changed()
            await asyncio.sleep(self._poll_seconds(kept.state))

    def _poll_seconds(self, state: str) -> float:
        """How long until a replica in this state is asked again whether it is ready."""
        match state:
            case "ready":
                return self.settings.ready_poll_seconds
            case "unready":
                return self.settings.waiting_poll_seconds
            case _:
                return self.settings.unready_poll_seconds

    async def _start_server(self, name: str, server: EmbeddedServer | None) -> None:
        kept = self._kept[name]
        if server is None or kept.tasks:
            return
        kept.state, kept.since = "starting", time.time()
        self._changed()
        await server.start()
        kept.child, kept.state = server.child, "ready"
        self._changed()
        kept.tasks = [asyncio.create_task(self._keep_server(kept, server))]

    async def _stop_server(self, name: str, server: EmbeddedServer | None, kill: bool) -> None:
        kept = self._kept[name]
        if server is None:
            return
        await _cancelled(kept.tasks)
        kept.tasks = []
        await (server.kill() if kill else server.stop())
        kept.child, kept.state = None, "stopped"
        self._changed()

    async def _keep_server(self, kept: _Kept, server: EmbeddedServer) -> None:
        wait = self.settings.restart_first_seconds
        while True:
            if server.child is not None:
                await server.child.ended()
                kept.note = _ending(server.child.process.returncode)
            kept.child, kept.state = None, "restarting"
            kept.restarts += 1
            self._changed()
            try:
                await server.start()
            except RuntimeStartError as error:
                kept.note = str(error)
                self._changed()
                await asyncio.sleep(wait)
                wait = min(wait * 2, self.settings.restart_longest_seconds)
                continue
            wait = self.settings.restart_first_seconds
            kept.child, kept.state, kept.since = server.child, "ready", time.time()
            self._changed()

    async def _keep_guarded(self) -> None:
        while True:
            await asyncio.sleep(self.settings.log_look_seconds)
            self._children.ensure_guarded()

    async def _rotate_logs(self) -> None:
        limit = self.settings.log_rotate_mib * 2**20
        while True:
            await asyncio.sleep(self.settings.log_look_seconds)
            with contextlib.suppress(OSError):
                await asyncio.to_thread(_rotate, self.home.logs, limit)

    def _changed(self) -> None:
        # The state is for reading along; a full disk must not stop the supervisor.
        with contextlib.suppress(OSError):
            self.home.write_state(self.state())


def _ending(code: int | None) -> str:
    if code is None:
        return "still running"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _rotate(logs: Path, limit: int) -> None:
    """Copies what outgrew the limit aside and empties it; writers append, so they go on."""
    for log in logs.glob("*.log"):
        if log.stat().st_size > limit:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
