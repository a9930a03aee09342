"""A service that reads no topic needs Kafka too, for what it writes."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from messaging.contact import KafkaContact
from messaging.service import Service
from messaging.settings import RelaySettings, ServiceSettings
from tests.messaging.example import Example

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]

RELAY = RelaySettings(retry_first_ms=10, retry_longest_ms=80)


class Way:
    """The way to Kafka: nobody listens there until it is open.

    The first `lost` that come by it then hear nothing.
    """

    def __init__(self, kafka: str, *, lost: int = 0) -> None:
        self._lost = lost
        self._host, _, port = kafka.rpartition(":")
        self._port = int(port)
        self._carrying: set[asyncio.Task[None]] = set()

    async def open(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._begin, "127.0.0.1", port)

    async def closed_port(self) -> int:
        server = await self.open(0)
        port: int = server.sockets[0].getsockname()[1]
        await self.close(server)
        return port

    async def close(self, server: asyncio.Server) -> None:
        server.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)
        await server.wait_closed()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lost -= 1
        try:
            if self._lost >= 0:
                await asyncio.Event().wait()
            there, back = await asyncio.open_connection(self._host, self._port)
            try:
                with suppress(OSError):
                    await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))
            finally:
                await _hang_up(back)
        finally:
            await _hang_up(writer)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@pytest.mark.parametrize(("lost", "at_first"), [(1, True), (2, False)])
async def test_a_question_that_was_lost_is_asked_twice_and_the_next_one_begins_anew(
    example: Example, lost: int, at_first: bool
) -> None:
    way = Way(example.kafka.bootstrap_servers, lost=lost)
    server = await way.open(0)
    servers = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    contact = KafkaContact(example.kafka.model_copy(update={"bootstrap_servers": servers}), "test")
    try:
        assert await contact.reaches_kafka() is at_first
        assert await contact.reaches_kafka()
    finally:
        await contact.close()
        await way.close(server)


async def test_without_kafka_it_is_not_ready_says_so_and_comes_back(
    example: Example, wait_until: WaitUntil
) -> None:
    way = Way(example.kafka.bootstrap_servers)
    port = await way.closed_port()
    settings = ServiceSettings(
        database_url=SecretStr(example.database_url),
        TROLLEY_SIGNING_KEY=SecretStr("k" * 32),
        kafka=example.kafka.model_copy(update={"bootstrap_servers": f"127.0.0.1:{port}"}),
        relay=RELAY,
    )
    service = Service("inventory", settings, title="Writes alone")
    checks = {"database": True, "relay": True}

    async def readiness() -> tuple[int, Any]:
        answer = await http.get("/health/ready")
        return answer.status_code, answer.json()

    async def waits() -> bool:
        away = {"status": "waiting", "checks": {**checks, "kafka": False}}
        return await readiness() == (503, away)

    async def is_ready() -> bool:
        return await readiness() == (
            200,
            {"status": "ready", "checks": {**checks, "kafka": True}},
        )

    def told(event: str, lane: str) -> list[Any]:
        return [one for one in logs if one["event"] == event and one["lane"] == lane]

    async def says_that_it_waits() -> bool:
        return all(len(told("relay waits", lane)) >= 5 for lane in ("plain", "transactional"))

    async def leads() -> bool:
        return bool(told("relay leads", "plain"))

    with capture_logs() as logs:
        async with (
            service.app.router.lifespan_context(service.app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app=service.app), base_url="http://service"
            ) as http,
        ):
            await wait_until(waits, what="it names Kafka")
            await wait_until(says_that_it_waits, what="the log says that both lanes wait")
            for lane in ("plain", "transactional"):
                waited = [one["wait_ms"] for one in told("relay waits", lane)]
                assert waited[:5] == [10, 20, 40, 80, 80]
            assert not await leads()

            server = await way.open(port)
            try:
                await wait_until(is_ready, what="it is ready")
                await wait_until(leads, what="its relay leads")
            finally:
                await way.close(server)
