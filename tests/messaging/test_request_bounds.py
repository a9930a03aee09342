"""A request is bounded in time and size before anything is done for it; no server is needed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import APIRouter
from structlog.testing import capture_logs

from messaging.http.bodies import RequestBody
from messaging.http.commands import CommandRoute
from messaging.http.problems import MEDIA_TYPE, TYPE_BASE
from messaging.service import Service
from messaging.settings import HttpSettings, ServiceSettings

router = APIRouter(route_class=CommandRoute)
HEADERS = {"Idempotency-Key": "key-00001", "Content-Type": "application/json"}


class Note(RequestBody):
    text: str


@router.post("/notes")
async def write(body: Note) -> None:
    """Never comes to run: the database is nowhere."""


def service(**http: Any) -> Service:
    settings: dict[str, Any] = {
        "signing_key": "k" * 32,
        "database_url": "postgresql://nobody@127.0.0.1:1/nothing",
        "http": HttpSettings(**http),
    }
    return Service("notes", ServiceSettings(**settings), title="Notes", routers=[router])


def client_of(app: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://notes")


async def test_a_body_that_does_not_arrive_gives_its_place_back() -> None:
    async def unfinished() -> AsyncIterator[bytes]:
        yield b'{"text":'
        await asyncio.Event().wait()

    async with client_of(service(body_seconds=0.05, requests_at_once=1).app) as client:
        for _ in range(2):
            async with asyncio.timeout(60):
                response = await client.post("/notes", content=unfinished(), headers=HEADERS)
            assert (response.status_code, response.json()["type"]) == (
                408,
                TYPE_BASE + "body-too-slow",
            )
            assert response.headers["content-type"] == MEDIA_TYPE
            assert response.headers["connection"] == "close"


async def test_a_client_that_goes_away_is_no_error_of_ours() -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/notes",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()],
    }
    with capture_logs() as logs:
        await service().app(scope, receive, send)
    assert logs == []
    assert sent[0]["status"] == 400


async def test_headers_beyond_their_bound_are_refused_whatever_is_asked_for() -> None:
    most = HttpSettings().header_bytes
    assert most == 64 * 1024
    async with client_of(service().app) as client:
        sent = sum(len(name) + len(value) for name, value in client.headers.raw)
        fits = most - sent - len("host" + "notes" + "x-more")
        for path in ("/nowhere", "/health/live"):
            fitting = await client.get(path, headers={"X-More": "x" * fits})
            assert fitting.status_code in (200, 404)
            # Many small ones are as large as one, and very many cost more than their bytes.
            for headers in (
                {"X-More": "x" * (fits + 1)},
                {f"X-{number}": "x" * 1024 for number in range(64)},
                {f"X-{number}": "" for number in range(HttpSettings().header_fields)},
            ):
                response = await client.get(path, headers=headers)
                assert (response.status_code, response.json()["type"]) == (
                    431,
                    TYPE_BASE + "headers-too-large",
                )
                assert response.headers["content-type"] == MEDIA_TYPE
                assert response.json()["largest_bytes"] == most
                assert response.json()["most_fields"] == HttpSettings().header_fields
