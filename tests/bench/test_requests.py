"""The client of the benchmark sends what others send, and reads what they read."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.load import as_answered, as_it_comes
from bench.requests import Connection, Unexpected, connections


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Where a service says what it was asked."""

    busy = iter([503, 503])

    async def say(request: web.Request) -> web.Response:
        content = await request.read()
        told = {
            "method": request.method,
            "path": request.path_qs,
            "token": request.headers.get("Cart-Token"),
            "key": request.headers.get("Idempotency-Key"),
            "content": content.decode(),
            "more": "x" * 200_000,
        }
        status = next(busy, 201) if request.path == "/busy" else 201
        answer = web.json_response(told, status=status)
        if request.path == "/last":
            answer.force_close()
        return answer

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", say)
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/")


async def test_a_request_arrives_whole_and_so_does_its_answer(url: str) -> None:
    async with connections(url, 1) as (connection,):
        first = (await connection.ask("POST", "/a?b=c", token="t", body={"n": 1})).expect(201)
        second = (await connection.ask("POST", "/a", token="t", body={"n": 1})).expect(201)
        seen = (await connection.ask("GET", "/d")).expect(201)
    assert (first["path"], first["token"], first["content"]) == ("/a?b=c", "t", '{"n":1}')
    assert first["key"] != second["key"]
    assert (seen["method"], seen["key"], seen["content"]) == ("GET", None, "")


async def test_a_connection_that_the_service_ends_is_opened_again(url: str) -> None:
    async with connections(url, 1) as (connection,):
        for _ in range(3):
            (await connection.ask("GET", "/last")).expect(201)


async def test_a_request_that_is_put_off_is_sent_again_and_counted(url: str) -> None:
    async with connections(url, 1) as (connection,):
        (await connection.ask("POST", "/busy")).expect(201)
    assert connection.put_off == 2


async def test_an_answer_that_must_not_be_is_told(url: str) -> None:
    async with connections(url, 1) as (connection,):
        with pytest.raises(Unexpected, match="201 instead of 200"):
            (await connection.ask("GET", "/")).expect(200)


async def test_each_connection_sends_until_the_time_is_over(url: str) -> None:
    numbers = []

    async def send(connection: Connection, number: int) -> None:
        numbers.append(number)
        (await connection.ask("GET", "/")).expect(201)

    async with connections(url, 3) as senders:
        load = await as_answered(senders, send, seconds=0.05)
    assert sorted(numbers) == list(range(len(load.waits)))
    assert len(load.waits) >= 3


async def test_what_comes_meanwhile_is_sent_though_nothing_was_answered_yet() -> None:
    all_sent, sent = asyncio.Event(), 0

    async def send(due: float, number: int) -> None:
        nonlocal sent
        sent += 1
        if sent == 20:
            all_sent.set()
        await all_sent.wait()

    load = await as_it_comes(1_000, 0.02, send)
    assert len(load.waits) == 20
