"""A REST client that gives up late: what is lost on the way is sent again under the same key."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
import orjson

from trolley.demo.settings import DemoSettings

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

    A request that is lost, or put off with 503 or with 409 and Retry-After, is sent again with
    growing waits until `patience_seconds` are over. That is safe: safe methods change nothing,
    and all others carry an Idempotency-Key that stays the same.
    """

    def __init__(self, urls: Mapping[str, str], settings: DemoSettings) -> None:
        self._settings = settings
        self.requests = 0
        """Requests that were answered."""
        self.repeats = 0
        """How often one of them had to be sent again."""
        # A pool for each service, and small: httpx looks at every connection for each request.
        self._http = {
            service: httpx.AsyncClient(
                base_url=url,
                timeout=httpx.Timeout(settings.request_seconds, pool=None),
                limits=httpx.Limits(
                    max_connections=settings.connections_per_service,
                    max_keepalive_connections=settings.connections_per_service,
                ),
                trust_env=False,
            )
            for service, url in urls.items()
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for http in self._http.values():
            await http.aclose()

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
        http = self._http[service]
        began = time.monotonic()
        wait = self._settings.retry_first_seconds
        while True:
            try:
                response = await http.request(method, path, content=content, headers=headers)
            except httpx.TransportError as error:
                last = type(error).__name__
            else:
                if not _put_off(response):
                    self.requests += 1
                    return _answer(response)
                last = f"status {response.status_code}"
            spent = time.monotonic() - began
            if spent + wait > self._settings.patience_seconds:
                raise Unanswered(method, httpx.URL(path).path, last, spent)
            self.repeats += 1
            await asyncio.sleep(wait)
            wait = min(2 * wait, self._settings.retry_longest_seconds)


def _json(response: httpx.Response) -> Any:
    if "json" not in response.headers.get("content-type", ""):
        return None
    return orjson.loads(response.content)


def _put_off(response: httpx.Response) -> bool:
    """Whether the service asks for the same request, under the same key, a little later."""
    return response.status_code == 503 or (
        response.status_code == 409 and "retry-after" in response.headers
    )


def _answer(response: httpx.Response) -> Answer:
    body = _json(response)
    if response.is_success:
        return Answer(response.status_code, body, response.headers)
    problem = body if isinstance(body, dict) else {"title": response.reason_phrase}
    request = response.request
    raise Refused(request.method, request.url.path, response.status_code, problem)
