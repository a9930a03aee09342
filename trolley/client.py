"""A REST client that gives up late: what is lost on the way is sent again under the same key."""

import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import orjson

from trolley.replicas import Replicas
from trolley.settings import ClientSettings

_KEY_BYTES = 24


class ClientError(Exception):
    """The root of what can go wrong with a request."""


class Refused(ClientError):
    """The service said no; `slug` names the problem, `problem` is its whole document."""

    def __init__(self, method: str, path: str, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = problem
        self.slug = str(problem.get("type", "")).rpartition("/")[2]
        super().__init__(f"{method} {path}: {status} {self.slug or problem}")


class Unanswered(ClientError):
    """No answer came, however often the request was repeated."""

    def __init__(self, method: str, path: str, last: str, seconds: float) -> None:
        super().__init__(f"{method} {path}: no answer in {seconds:.0f} s, last {last}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A success: its status, its body from JSON, its headers."""

    status: int
    body: Any
    headers: Mapping[str, str]


def fresh_key() -> str:
    """An Idempotency-Key that nobody can guess."""
    return secrets.token_urlsafe(_KEY_BYTES)


class Client:
    """Sends requests to services by name; use it as an async context.

    `urls` has the address of each service, or those of its replicas, which take turns.
    A request that is lost, or put off with 503 or with 409 and Retry-After, is sent again with
    growing waits until `patience_seconds` are over. That is safe: safe methods change nothing,
    and all others carry an Idempotency-Key that stays the same.
    """

    def __init__(self, urls: Mapping[str, str | tuple[str, ...]], settings: ClientSettings) -> None:
        self._settings = settings
        self.requests = 0
        """Requests that were answered."""
        self.repeats = 0
        """How often one of them had to be sent again."""
        self._replicas = {
            service: Replicas(
                (each,) if isinstance(each, str) else each,
                avoided_seconds=settings.avoided_seconds,
            )
            for service, each in urls.items()
        }
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, limit_per_host=self._settings.connections_per_service
            ),
            # Waiting for a connection is our own crowd's doing and loses nothing.
            timeout=aiohttp.ClientTimeout(
                sock_connect=self._settings.request_seconds,
                sock_read=self._settings.request_seconds,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def get(
        self, service: str, path: str, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer to a GET of a path, or of a whole URL. Raises `ClientError`."""
        return await self._answer("GET", service, path, None, dict(headers or {}))

    async def command(
        self,
        method: str,
        service: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Answer:
        """The answer to an unsafe request, which takes effect once. Raises `ClientError`."""
        sent = {**(headers or {}), "Idempotency-Key": key or fresh_key()}
        content = None
        if body is not None:
            content = orjson.dumps(body)
            sent["Content-Type"] = "application/json"
        return await self._answer(method, service, path, content, sent)

    async def _answer(
        self, method: str, service: str, path: str, content: bytes | None, headers: dict[str, str]
    ) -> Answer:
        if self._http is None:
            raise RuntimeError("requests are sent inside of `async with`")
        replicas = None if "://" in path else self._replicas[service]
        began = time.monotonic()
        wait = self._settings.retry_first_seconds
        while True:
            replica = "" if replicas is None else replicas.next()
            url = replica + path
            try:
                async with self._http.request(
                    method, url, data=content, headers=headers
                ) as response:
                    received = await response.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                last = type(error).__name__
            else:
                if not _put_off(response):
                    self.requests += 1
                    return _answer(response, received)
                last = f"status {response.status}"
            if replicas is not None:
                replicas.failed(replica)
            spent = time.monotonic() - began
            if spent + wait > self._settings.patience_seconds:
                raise Unanswered(method, urlsplit(url).path, last, spent)
            self.repeats += 1
            await asyncio.sleep(wait)
            wait = min(2 * wait, self._settings.retry_longest_seconds)


def _put_off(response: aiohttp.ClientResponse) -> bool:
    """Whether the service asks for the same request, under the same key, a little later."""
    return response.status == 503 or (response.status == 409 and "Retry-After" in response.headers)


def _answer(response: aiohttp.ClientResponse, content: bytes) -> Answer:
    # Not orjson: a dead letter is shown as it is, and numbers beyond 64 bits would be rounded.
    body = json.loads(content) if "json" in response.content_type else None
    if response.ok:
        return Answer(response.status, body, response.headers)
    problem = body if isinstance(body, dict) else {"title": response.reason}
    raise Refused(response.method, response.url.path, response.status, problem)
