"""Servers that ask for TLS and a password are reached by settings alone, with the same code."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from contracts.topics import INVENTORY_COMMANDS, ORDER_REPLIES
from messaging.database import Database, sql
from messaging.kafka import client_options
from messaging.settings import KafkaSettings
from tests.conftest import Infrastructure
from tests.messaging.example import (
    Example,
    addressed,
    checkouts_by_partition,
    create_tables,
    create_topics,
    reserve,
)
from trolley.runtime.children import Children
from trolley.runtime.kafka import EmbeddedKafka
from trolley.runtime.ports import PortReservations
from trolley.settings import RuntimeSettings

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]

USER, PASSWORD = "trolley", "a password of the test"


@dataclass(frozen=True)
class Papers:
    """Who is believed, and what the servers show."""

    authority: Path
    certificate: bytes
    key: bytes

    @classmethod
    def issue(cls, directory: Path) -> "Papers":
        authority = trustme.CA()
        shown = authority.issue_cert("127.0.0.1")
        path = directory / "authority.pem"
        authority.cert_pem.write_to_path(path)
        key = load_pem_private_key(shown.private_key_pem.bytes(), None)
        return cls(
            path,
            b"".join(blob.bytes() for blob in shown.cert_chain_pems),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )


class GuardedKafka(EmbeddedKafka):
    """Has a second listener, which asks for TLS and a password."""

    def __init__(self, *arguments: Any, papers: Papers, guarded_port: int, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.papers, self.guarded_port = papers, guarded_port

    def _configure(self) -> None:
        super()._configure()
        store = self.directory / "server.pem"
        store.write_bytes(self.papers.key + self.papers.certificate)
        properties = self.directory / "server.properties"
        lines = dict(line.split("=", 1) for line in properties.read_text().splitlines())
        guarded = f"SASL_SSL://127.0.0.1:{self.guarded_port}"
        for name in ("listeners", "advertised.listeners"):
            lines[name] = f"{lines[name]},{guarded}"
        lines["listener.security.protocol.map"] += ",SASL_SSL:SASL_SSL"
        lines |= {
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": (
                "org.apache.kafka.common.security.plain.PlainLoginModule required "
                f'user_{USER}="{PASSWORD}";'
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": "server.pem",
        }
        properties.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))


@dataclass(frozen=True)
class Guarded:
    """The same Kafka, seen without and with TLS."""

    plain: Example
    secured: Example


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A state directory, with what was issued beside it."""
    parent = Path(tempfile.mkdtemp(prefix="trolley tls "))
    (parent / "state" / "logs").mkdir(parents=True)
    yield parent / "state"
    shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture(scope="module")
async def guarded(infrastructure: Infrastructure, home: Path) -> AsyncIterator[Guarded]:
    """A Kafka of its own that asks for TLS and a password."""
    papers = Papers.issue(home.parent)
    settings = RuntimeSettings()
    children, ports = Children(home), PortReservations(settings.first_port, settings.last_port)
    try:
        kafka = GuardedKafka(
            home,
            children,
            settings,
            port=ports.pick(),
            controller_port=ports.pick(),
            guarded_port=ports.pick(),
            papers=papers,
        )
        await kafka.start()
        plain = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix="tls.")
        secured = KafkaSettings(
            bootstrap_servers=f"127.0.0.1:{kafka.guarded_port}",
            topic_prefix="tls.",
            security_protocol="SASL_SSL",
            sasl_mechanism="PLAIN",
            sasl_username=USER,
            sasl_password=PASSWORD,
            ssl_cafile=str(papers.authority),
        )
        await create_topics(plain)
        async with infrastructure.database("tls") as url:
            await create_tables(url)
            yield Guarded(Example(plain, url), Example(secured, url))
    finally:
        await children.stop_all()
        children.close()
        ports.close()


async def test_a_service_works_over_tls_with_a_password(
    guarded: Guarded, wait_until: WaitUntil
) -> None:
    checkouts = checkouts_by_partition(16)
    await guarded.plain.send(*(addressed(reserve(checkout)) for checkout in checkouts))
    async with guarded.secured.running() as service:

        async def done() -> bool:
            return len(await guarded.plain.counts()) == 16 and await guarded.plain.idle()

        await wait_until(done, what="commands and replies over TLS")
        assert service.assigned(INVENTORY_COMMANDS) > 0
    assert len(await guarded.plain.read_all(ORDER_REPLIES)) == 16


@pytest.mark.parametrize(
    "change",
    [{"sasl_password": "another"}, {"ssl_cafile": None}, {"security_protocol": "SASL_PLAINTEXT"}],
    ids=["a wrong password", "an authority that is not believed", "no encryption"],
)
async def test_kafka_is_not_reached_with(guarded: Guarded, change: dict[str, Any]) -> None:
    settings = guarded.secured.kafka.model_copy(
        update=KafkaSettings(**change).model_dump(include=set(change))
    )
    producer = AIOKafkaProducer(**client_options(settings), request_timeout_ms=3000)
    with pytest.raises(KafkaError):
        await producer.start()
    await producer.stop()


async def test_a_database_url_that_asks_for_tls_never_goes_without(
    infrastructure: Infrastructure, home: Path
) -> None:
    """The PostgreSQL of the tests speaks no TLS, so a client that insists cannot connect."""
    papers = Papers.issue(home.parent)
    url = f"{infrastructure.postgres}?sslmode=verify-full&sslrootcert={papers.authority}"
    database = Database(url, pool_connections=1, application_name="test")
    with pytest.raises(OSError, match="SSL"):
        async with database.reading() as connection:
            await connection.fetch(sql("SELECT 1"))
    await database.close()
