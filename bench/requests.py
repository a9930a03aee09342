"""A client that costs little, so that a load of requests can come from the same machine.

One request at a time on each connection, which stays open; the bytes are made by hand, and read by
the parser that uvicorn uses.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import httptools
import orjson

from trolley.client import fresh_key


class Unexpected(Exception):
    """An answer that must not be."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request."""

    status: int
    content: bytes

    def expect(self, status: int) -> Any:
        """Its JSON. Raises `Unexpected` at another status."""
        if self.status != status:
            raise Unexpected(f"{self.status} instead of {status}: {self.content[:500]!r}")
        return orjson.loads(self.content)


class Connection(asyncio.Protocol):
    """One connection to a service."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._transport: Any = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._content: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    @classmethod
    async def opened(cls, url: str) -> Self:
        """A connection to `http://host:port`."""
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(
            lambda: cls(parts.netloc), str(parts.hostname), parts.port or 80
        )
        return made

    def close(self) -> None:
        """Close it."""
        self._transport.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """The answer; every unsafe request has an Idempotency-Key of its own.

        `token` is the cart's. Raises `ConnectionError` when the other side closes.
        """
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}"]
        if token is not None:
            lines.append(f"Cart-Token: {token}")
        if method != "GET":
            lines.append(f"Idempotency-Key: {fresh_key()}")
        content = b"" if body is None else orjson.dumps(body)
        if body is not None:
            lines.append("Content-Type: application/json")
        if method != "GET":
            lines.append(f"Content-Length: {len(content)}")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write("\r\n".join([*lines, "", ""]).encode() + content)
        return await self._waiting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of `asyncio.Protocol`."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Of `asyncio.Protocol`."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError("the service closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Of `asyncio.Protocol`."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Of the parser."""
        self._content.append(body)

    def on_message_complete(self) -> None:
        """Of the parser."""
        answer = Answer(self._parser.get_status_code(), b"".join(self._content))
        self._content = []
        self._parser = httptools.HttpResponseParser(self)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)


@asynccontextmanager
async def connections(url: str, count: int) -> AsyncIterator[list[Connection]]:
    """So many connections, closed at the end."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            one = await Connection.opened(url)
            stack.callback(one.close)
            made.append(one)
        yield made
