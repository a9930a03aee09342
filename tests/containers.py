"""The pair of servers for tests where Docker is at hand: the images that docker-compose.yml runs.

Not run where there is no Docker engine; what can be checked without one is in
`tests/deploy/test_containers.py`.
"""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

COMPOSE = Path(__file__).parent.parent / "docker-compose.yml"
KAFKA_PORT = 9092
KAFKA_STARTED = "Kafka Server started"


def docker_answers() -> bool:
    """Whether there is an engine to use; TROLLEY_TEST_DOCKER=0 says that there is none."""
    if os.environ.get("TROLLEY_TEST_DOCKER") == "0":
        return False
    # In a process of its own: the client leaves an open socket behind when nobody answers.
    ping = "import docker; docker.from_env(timeout=2).ping()"
    done = subprocess.run([sys.executable, "-c", ping], capture_output=True, check=False)
    return done.returncode == 0


class ContainersFailed(RuntimeError):
    """Docker is there, and its containers do not start."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            "Docker answers but its containers do not start; TROLLEY_TEST_DOCKER=0 takes the "
            f"embedded servers instead ({type(error).__name__}: {error})"
        )


@contextlib.contextmanager
def pair() -> Iterator[tuple[str, str]]:
    """Kafka and PostgreSQL in containers: `host:port`, and a URL. Raises `ContainersFailed`.

    testcontainers removes them at the end, even after a kill.
    """
    from testcontainers.community.postgres import PostgresContainer
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    services = yaml.safe_load(COMPOSE.read_text())["services"]
    port = _free_port()
    postgres = PostgresContainer(services["postgres"]["image"], driver=None).with_command(
        services["postgres"]["command"]
    )
    kafka = DockerContainer(services["kafka"]["image"]).with_bind_ports(KAFKA_PORT, port)
    with contextlib.ExitStack() as stack:
        try:
            # Kafka tells its clients where to go on, so it has to know where they see it.
            seen_at = f"{kafka.get_container_host_ip()}:{port}"
            for name, value in kafka_environment(services, seen_at).items():
                kafka.with_env(name, value)
            kafka.waiting_for(LogMessageWaitStrategy(KAFKA_STARTED))
            stack.enter_context(kafka)
            stack.enter_context(postgres)
        except Exception as error:
            raise ContainersFailed(error) from error
        yield seen_at, postgres.get_connection_url()


def kafka_environment(services: Mapping[str, Any], seen_at: str) -> dict[str, str]:
    """The settings of compose's Kafka, reachable at `seen_at`, with its data in the container."""
    environment = {name: str(value) for name, value in services["kafka"]["environment"].items()}
    environment["KAFKA_ADVERTISED_LISTENERS"] = f"PLAINTEXT://{seen_at}"
    environment["KAFKA_LOG_DIRS"] = "/tmp/kafka-data"  # noqa: S108 - inside of the container
    return environment


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port
