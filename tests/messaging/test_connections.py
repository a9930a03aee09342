"""What a connection may cost before there is a request, over real sockets to a real server."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from pydantic import ValidationError

from messaging.http.connections import BoundedConfig
from messaging.http.problems import MEDIA_TYPE, TYPE_BASE
from messaging.http.rendering import JsonResponse
from messaging.settings import HttpSettings

WaitUntil = Callable[..., Awaitable[None]]

PIECE = b"x" * 16 * 1024
KERNEL_BYTES = 32 * 1024 * 1024
"""More than what the sockets of both sides may hold, and far less than what is offered."""


@dataclass
class Shop:
    """Answers every request, those for /slow when it is free; reads the bodies of POST alone."""

    port: int
    free: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)
    body_bytes: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        self.asked.append(scope["path"])
        if scope["path"] == "/slow":
            await self.free.wait()
        more = scope["method"] == "POST"
        while more:
            message = await receive()
            self.body_bytes += len(message.get("body", b""))
            more = message.get("more_body", False)
        await JsonResponse({"path": scope["path"]})(scope, receive, send)


@dataclass
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, header fields and document of the next answer."""
        async with asyncio.timeout(60):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(fields["content-length"]))
        return int(head[0].split()[1]), fields, json.loads(body)

    async def path(self) -> str:
        """What was asked for, of the next answer, which is a good one."""
        status, _, document = await self.answer()
        assert status == 200
        return str(document["path"])

    async def ends(self) -> bytes:
        """What still comes until the server ends the connection."""
        async with asyncio.timeout(60):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def sent_without_end(self, piece: bytes) -> int:
        """Bytes that the server and the kernel took before the connection ended."""
        sent = 0
        async with asyncio.timeout(60):
            try:
                while sent < 2 * KERNEL_BYTES:
                    await self.send(piece)
                    sent += len(piece)
            except ConnectionError:
                pass
        return sent


Connect = Callable[[], Awaitable[Connection]]


@asynccontextmanager
async def serving(**bounds: Any) -> AsyncIterator[tuple[Shop, Connect]]:
    listening = socket.create_server(("127.0.0.1", 0))
    shop = Shop(listening.getsockname()[1])
    settings = HttpSettings(drain_seconds=1, **bounds)
    config = BoundedConfig(shop, service="shop", bounds=settings, host="127.0.0.1", port=shop.port)
    server = uvicorn.Server(config)
    served = asyncio.create_task(server.serve(sockets=[listening]))
    async with AsyncExitStack() as stack:

        async def connect() -> Connection:
            connection = Connection(*await asyncio.open_connection("127.0.0.1", shop.port))
            stack.callback(connection.writer.close)
            return connection

        try:
            yield shop, connect
        finally:
            shop.free.set()
            server.should_exit = True
            await served


def get(path: str, *fields: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: shop\r\n%b\r\n" % (path.encode(), b"".join(fields))


def assert_problem(answer: tuple[int, dict[str, str], Any], status: int, slug: str) -> None:
    got, fields, document = answer
    assert (got, document["status"], document["type"]) == (status, status, TYPE_BASE + slug)
    assert fields["content-type"] == MEDIA_TYPE
    assert fields["connection"] == "close"


@pytest.mark.parametrize(
    "rest",
    [b"X-More: " + b"x" * 9000, b"".join(b"X-%d: x\r\n" % number for number in range(40))],
    ids=["bytes", "fields"],
)
async def test_too_large_a_head_is_refused_before_it_ends(rest: bytes) -> None:
    async with serving(header_bytes=4096, header_fields=32) as (shop, connect):
        connection = await connect()
        await connection.send(b"GET / HTTP/1.1\r\nHost: shop\r\n", rest)
        answer = await connection.answer()
        assert_problem(answer, 431, "headers-too-large")
        assert (answer[2]["largest_bytes"], answer[2]["most_fields"]) == (4096, 32)
        assert await connection.ends() == b""
    assert shop.asked == []


@pytest.mark.parametrize(
    "begin",
    [
        b"GET / HTTP/1.1\r\nHost: shop\r\nX-More: ",
        b"GET /",
        b"POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-More: ",
        b"POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n1;more=",
    ],
    ids=["field", "line", "trailer", "chunk extension"],
)
async def test_little_is_read_of_what_does_not_end(begin: bytes) -> None:
    async with serving() as (_, connect):
        connection = await connect()
        await connection.send(begin)
        assert await connection.sent_without_end(PIECE) < KERNEL_BYTES


async def test_empty_lines_are_no_request_that_goes_on_for_ever() -> None:
    async with serving() as (_, connect):
        connection = await connect()
        assert await connection.sent_without_end(b"\r\n" * 8192) < KERNEL_BYTES


async def test_bodies_and_many_requests_together_are_no_head() -> None:
    async with serving(header_bytes=1024) as (shop, connect):
        connection = await connect()
        await connection.send(
            b"POST /body HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n",
            b"x" * 1_000_000,
        )
        assert await connection.path() == "/body"
        assert shop.body_bytes == 1_000_000
        paths = [f"/{number}" for number in range(100)]
        more = b"X-More: " + b"x" * 500 + b"\r\n"
        await connection.send(*(get(path, more) for path in paths))
        assert [await connection.path() for _ in paths] == paths


@pytest.mark.parametrize(
    "half", [b"G", b"GET / HTTP/1.1\r\nHost: sh", b"\r\nGET / HTTP/1.1\r\nHost: shop\r\n"]
)
async def test_a_head_that_does_not_come_in_time_is_ended(half: bytes) -> None:
    async with serving(head_seconds=0.1) as (shop, connect):
        connection = await connect()
        await connection.send(half)
        assert_problem(await connection.answer(), 408, "request-too-slow")
        assert await connection.ends() == b""
    assert shop.asked == []


@pytest.mark.parametrize("nothing", [b"", b"\r\n"])
async def test_a_connection_that_asks_for_nothing_is_ended(nothing: bytes) -> None:
    async with serving(head_seconds=0.1) as (_, connect):
        connection = await connect()
        await connection.send(nothing)
        assert await connection.ends() == b""


async def test_a_head_that_comes_byte_by_byte_has_no_more_time(wait_until: WaitUntil) -> None:
    async with serving(head_seconds=0.2) as (_, connect):
        connection = await connect()
        await connection.send(b"GET / HTTP/1.1\r\nHost: shop\r\nX-More: ")
        await ends_while_bytes_come(connection, wait_until)


async def test_a_body_that_nobody_reads_has_its_time_and_no_more(wait_until: WaitUntil) -> None:
    bounds = {"head_seconds": 0.1, "body_seconds": 0.1, "request_seconds": 0.3}
    async with serving(**bounds) as (_, connect):
        connection = await connect()
        await connection.send(get("/answered", b"Content-Length: 1000000\r\n"))
        assert await connection.path() == "/answered"
        await ends_while_bytes_come(connection, wait_until)


async def test_a_connection_may_rest_after_a_late_body_but_not_for_ever() -> None:
    async with serving(head_seconds=0.3) as (_, connect):
        connection = await connect()
        await connection.send(get("/answered", b"Content-Length: 3\r\n"))
        assert await connection.path() == "/answered"
        await connection.send(b"xyz", get("/next"))
        assert await connection.path() == "/next"
        await connection.send(get("/answered", b"Content-Length: 3\r\n"))
        assert await connection.path() == "/answered"
        await connection.send(b"xyz")
        assert await connection.ends() == b""


async def ends_while_bytes_come(connection: Connection, wait_until: WaitUntil) -> None:
    async def ended() -> bool:
        connection.writer.write(b"x")
        return connection.reader.at_eof() or connection.reader.exception() is not None

    reading = asyncio.create_task(connection.ends())
    await wait_until(ended, what="the end of the connection")
    await reading


async def test_neither_rest_nor_a_slow_answer_is_a_slow_request() -> None:
    async with serving(head_seconds=0.5) as (shop, connect):
        resting, waiting, pipelining = [await connect() for _ in range(3)]
        await resting.send(get("/first"))
        assert await resting.path() == "/first"
        await waiting.send(get("/slow"))
        await pipelining.send(get("/slow"), b"GET /half")
        late = await connect()
        await late.send(b"GET")
        await late.ends()  # the others have had as long
        shop.free.set()
        await resting.send(get("/second"))
        assert await resting.path() == "/second"
        assert await waiting.path() == "/slow"
        assert await pipelining.path() == "/slow"
        assert_problem(await pipelining.answer(), 408, "request-too-slow")


async def test_more_connections_than_the_bound_are_refused_and_the_others_go_on(
    wait_until: WaitUntil,
) -> None:
    async with serving(connections_at_once=2) as (shop, connect):
        first, second = [await connect() for _ in range(2)]
        for connection in (first, second):
            await connection.send(get("/before"))
            assert await connection.path() == "/before"
        for _ in range(3):
            refused = await connect()
            answer = await refused.answer()
            assert_problem(answer, 503, "temporarily-unavailable")
            assert answer[1]["retry-after"] == "1"
            assert await refused.ends() == b""
        for connection in (first, second):
            await connection.send(get("/after"))
            assert await connection.path() == "/after"
        first.writer.close()

        async def admitted() -> bool:
            connection = await connect()
            await connection.send(get("/again"))
            return (await connection.answer())[0] == 200

        await wait_until(admitted, what="a place for another connection")
    assert shop.asked == ["/before", "/before", "/after", "/after", "/again"]


def test_a_slow_body_is_answered_before_its_connection_ends() -> None:
    with pytest.raises(ValidationError, match="request_seconds is less"):
        HttpSettings(head_seconds=10, body_seconds=25, request_seconds=30)
