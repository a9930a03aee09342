"""A client that costs little, so that a load of requests can come from the same machine.

One request at a time on each connection, which stays open; the bytes are made by hand, and read by
the parser that uvicorn uses.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httptools
import orjson

from bench.report import Figure
from trolley.client import fresh_key

PUT_OFF = 503
PUT_OFF_SECONDS = 0.05
PATIENCE_SECONDS = 60.0


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


class Connection:
    """One connection to a service; opened again where the service has closed it meanwhile."""

    def __init__(self, url: str) -> None:
        """To `http://host:port`; it is opened with the first request."""
        parts = urlsplit(url)
        self._name, self._host, self._port = parts.netloc, str(parts.hostname), parts.port or 80
        self._wire: _Wire | None = None
        self.put_off = 0
        """How often the service answered 503, and the same request was sent again."""

    def close(self) -> None:
        """Close it."""
        if self._wire is not None:
            self._wire.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """The answer; every unsafe request has an Idempotency-Key of its own.

        `token` is the cart's. A request that is lost with its connection is sent once more, under
        the same key, and one that is put off (503) until it is answered, as clients do. Raises
        `ConnectionError` when it is lost twice.
        """
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._name}"]
        if token is not None:
            lines.append(f"Cart-Token: {token}")
        content = b"" if body is None else orjson.dumps(body)
        if body is not None:
            lines.append("Content-Type: application/json")
        if method != "GET":
            lines += [f"Idempotency-Key: {fresh_key()}", f"Content-Length: {len(content)}"]
        request = "\r\n".join([*lines, "", ""]).encode() + content
        patience_ends = time.monotonic() + PATIENCE_SECONDS
        while (answer := await self._exchange(request)).status == PUT_OFF:
            if time.monotonic() > patience_ends:
                break
            self.put_off += 1
            await asyncio.sleep(PUT_OFF_SECONDS)
        return answer

    async def _exchange(self, request: bytes) -> Answer:
        try:
            return await (await self._opened()).exchange(request)
        except ConnectionError:
            return await (await self._opened()).exchange(request)

    async def _opened(self) -> "_Wire":
        if self._wire is None or not self._wire.is_open:
            loop = asyncio.get_running_loop()
            _, self._wire = await loop.create_connection(_Wire, self._host, self._port)
        return self._wire


class _Wire(asyncio.Protocol):
    """A connection as it is, for one request after the other."""

    def __init__(self) -> None:
        self.is_open = False
        self._transport: Any = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._content: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    def close(self) -> None:
        self._transport.close()

    async def exchange(self, request: bytes) -> Answer:
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.is_open = transport, True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError("the service closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._content.append(body)

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.is_open = False
        answer = Answer(self._parser.get_status_code(), b"".join(self._content))
        self._content, self._parser = [], httptools.HttpResponseParser(self)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)


def put_off(connections: Iterable[Connection]) -> Figure:
    """How many requests had to be sent again."""
    return Figure("requests put off", "", sum(one.put_off for one in connections))


@asynccontextmanager
async def connections(url: str, count: int) -> AsyncIterator[list[Connection]]:
    """So many connections, closed at the end."""
    with ExitStack() as stack:
        made = [Connection(url) for _ in range(count)]
        for one in made:
            stack.callback(one.close)
        yield made
