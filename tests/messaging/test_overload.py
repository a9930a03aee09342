"""More requests than a service can do: what it takes it answers, the rest is told to come back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import APIRouter
from pydantic import SecretStr

from messaging.database import sql
from messaging.http.bodies import RequestBody
from messaging.http.commands import CommandConnection, CommandRoute
from messaging.http.rendering import JsonResponse
from messaging.migrations import STATEMENTS
from messaging.service import Service
from messaging.settings import HttpSettings, ServiceSettings
from tests.conftest import Infrastructure
from tests.serving import served

pytestmark = pytest.mark.integration
WaitUntil = Callable[..., Awaitable[None]]

AT_ONCE = 6
CONNECTIONS = 2
CROWD = 60


class Nothing(RequestBody):
    """All that is asked for is an effect."""


class Bench:
    """A service whose requests stay in the database until they are let go, and its crowd."""

    def __init__(self, url: str, wait_seconds: float) -> None:
        self.under_way = 0
        """Requests that have the database."""
        self.may_go_on = asyncio.Event()
        self._url = url
        router = APIRouter(route_class=CommandRoute)

        @router.post("/effects", status_code=201)
        async def effect(body: Nothing, connection: CommandConnection) -> JsonResponse:
            self.under_way += 1
            await self.may_go_on.wait()
            await connection.execute(sql("INSERT INTO effects VALUES (1)"))
            return JsonResponse({}, 201)

        settings: dict[str, Any] = {
            "database_url": url,
            "signing_key": SecretStr("k" * 32),
            "api_database_connections": CONNECTIONS,
            "http": HttpSettings(requests_at_once=AT_ONCE, idempotency_wait_seconds=wait_seconds),
        }
        self.service = Service(
            "example", ServiceSettings(**settings), title="Example", routers=[router]
        )
        self.http = httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=CROWD + 1))

    async def post(self, number: int) -> httpx.Response:
        """One of the crowd, under a key of its own."""
        headers = {"Idempotency-Key": f"a-key-{number:08}"}
        return await self.http.post("/effects", json={}, headers=headers)

    async def effects(self) -> int:
        """What was done."""
        connection = await asyncpg.connect(self._url)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM effects"))
        finally:
            await connection.close()


@asynccontextmanager
async def serving(infrastructure: Infrastructure, wait_seconds: float) -> AsyncIterator[Bench]:
    """A service on a port, where a request waits so long for a connection at most."""
    async with infrastructure.database("overload") as url:
        connection = await asyncpg.connect(url)
        for statement in (*STATEMENTS, "CREATE TABLE effects (id int)"):
            await connection.execute(statement)
        await connection.close()
        bench = Bench(url, wait_seconds)
        async with served(bench.service.app) as address, bench.http:
            bench.http.base_url = httpx.URL(address)
            try:
                yield bench
            finally:
                bench.may_go_on.set()
        await bench.service.api_database.close()
        await bench.service.database.close()


async def test_what_is_taken_is_answered_and_the_rest_is_shed_while_that_waits(
    infrastructure: Infrastructure, wait_until: WaitUntil
) -> None:
    async with serving(infrastructure, wait_seconds=120) as bench:
        crowd = [asyncio.create_task(bench.post(number)) for number in range(CROWD)]

        async def the_rest_is_shed() -> bool:
            answered = sum(one.done() for one in crowd)
            return answered >= CROWD - AT_ONCE and bench.under_way >= CONNECTIONS

        await wait_until(the_rest_is_shed, what="what is shed")
        shed = [number for number, one in enumerate(crowd) if one.done()]
        for number in shed:
            answer = crowd[number].result()
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert (await bench.http.get("/health/live")).status_code == 200
        # Of those that were taken, as many as have a connection; the others wait for one.
        assert sum(not one.done() for one in crowd) == AT_ONCE
        assert bench.under_way == CONNECTIONS

        bench.may_go_on.set()
        taken = await asyncio.gather(*(crowd[n] for n in range(CROWD) if n not in shed))
        assert {answer.status_code for answer in taken} == {201}
        assert await bench.effects() == AT_ONCE
        # Every place is given back, and who comes again under the same key is served.
        assert {(await bench.post(number)).status_code for number in shed} == {201}
        assert await bench.effects() == CROWD


async def test_who_waits_too_long_for_the_database_is_told_to_come_back(
    infrastructure: Infrastructure, wait_until: WaitUntil
) -> None:
    async with serving(infrastructure, wait_seconds=1) as bench:

        async def patient(number: int) -> int:
            while (answer := await bench.post(number)).status_code == 503:
                pass
            return answer.status_code

        holding = [asyncio.create_task(patient(number)) for number in range(CONNECTIONS)]

        async def all_is_held() -> bool:
            return bench.under_way == CONNECTIONS

        await wait_until(all_is_held, what="requests that hold every connection")
        answer = await bench.post(CONNECTIONS)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        bench.may_go_on.set()
        assert await asyncio.gather(*holding) == CONNECTIONS * [201]
        assert await patient(CONNECTIONS) == 201
        assert await bench.effects() == CONNECTIONS + 1
