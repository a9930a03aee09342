"""The client repeats what was lost or put off, always under the same key, and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from trolley.client import Client, Refused, Unanswered
from trolley.demo.settings import DemoSettings

LOST = b""


@dataclass
class Till:
    """A server on a real socket that answers from a script, and what it was sent."""

    script: list[bytes]
    keys: list[str | None] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.keys.append(headers.get("idempotency-key"))
        self.bodies.append(body)
        writer.write(self.script.pop(0))
        await writer.drain()
        writer.close()


def reply(status: int, *headers: str, **body: object) -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status} Word",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "Connection: close",
        *headers,
    )
    return "\r\n".join((*head, "", "")).encode() + content


def problem(status: int, slug: str, *headers: str, **facts: object) -> bytes:
    return reply(status, *headers, type=f"https://trolley.example/problems/{slug}", **facts)


@asynccontextmanager
async def till(*script: bytes) -> AsyncIterator[Till]:
    it = Till(list(script))
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    it.url = f"http://{host}:{port}"
    async with server:
        yield it


@pytest.fixture
def client_of() -> Callable[[Till], Client]:
    def make(it: Till) -> Client:
        settings = DemoSettings(retry_first_seconds=0.001, retry_longest_seconds=0.01)
        return Client({"cart": it.url}, settings)

    return make


async def test_a_command_is_repeated_under_its_key_until_it_is_answered(
    client_of: Callable[[Till], Client],
) -> None:
    put_off = (
        LOST,
        problem(503, "temporarily-unavailable"),
        problem(409, "request-in-progress", "Retry-After: 1"),
    )
    async with till(*put_off, reply(201, id=7)) as shop, client_of(shop) as client:
        answer = await client.command("POST", "cart", "/carts", {"currency": "GBP"})

    assert (answer.status, answer.body) == (201, {"id": 7})
    assert len(shop.keys) == 4
    assert len(set(shop.keys)) == 1
    assert len(shop.keys[0] or "") >= 20
    assert set(shop.bodies) == {b'{"currency":"GBP"}'}
    assert (client.requests, client.repeats) == (1, 3)


async def test_each_command_has_a_key_of_its_own(client_of: Callable[[Till], Client]) -> None:
    async with till(reply(200), reply(200)) as shop, client_of(shop) as client:
        await client.command("POST", "cart", "/carts")
        await client.command("POST", "cart", "/carts")

    assert len(set(shop.keys)) == 2


@pytest.mark.parametrize("status", [400, 404, 409, 412, 422, 500])
async def test_a_refusal_is_not_repeated(client_of: Callable[[Till], Client], status: int) -> None:
    async with till(problem(status, "quote-changed", left=3)) as shop, client_of(shop) as client:
        with pytest.raises(Refused) as caught:
            await client.command("POST", "cart", "/carts")

    assert (caught.value.status, caught.value.slug) == (status, "quote-changed")
    assert caught.value.problem["left"] == 3
    assert len(shop.keys) == 1


async def test_a_question_is_repeated_too(client_of: Callable[[Till], Client]) -> None:
    async with till(LOST, reply(200, state="paid")) as shop, client_of(shop) as client:
        answer = await client.get("cart", f"{shop.url}/checkouts/1?signature=s")

    assert answer.body == {"state": "paid"}
    assert shop.keys == [None, None]


async def test_patience_ends() -> None:
    settings = DemoSettings(
        patience_seconds=0.3, retry_first_seconds=0.001, retry_longest_seconds=0.01
    )
    async with till(*[LOST] * 1000) as shop, Client({"cart": shop.url}, settings) as client:
        with pytest.raises(Unanswered, match="POST /carts: no answer"):
            await client.command("POST", "cart", "/carts")

    assert len(set(shop.keys)) == 1


async def test_what_one_replica_lost_goes_to_another_under_the_same_key() -> None:
    settings = DemoSettings(retry_first_seconds=0.001, avoided_seconds=60)
    async with till(LOST) as broken, till(reply(200, id=7), reply(200, id=8)) as sound:
        urls = {"cart": (broken.url, sound.url)}
        async with Client(urls, settings) as client:
            first = await client.command("POST", "cart", "/carts")
            second = await client.command("POST", "cart", "/carts")

    assert (first.body, second.body) == ({"id": 7}, {"id": 8})
    assert broken.keys == sound.keys[:1]
    assert len(broken.keys) == 1
