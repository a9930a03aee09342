"""Unsafe requests run once: key, fingerprint and response are stored with the effect.

`CommandRoute` opens the transaction, takes an advisory lock on the idempotency key, replays a
stored response, else runs the route in the transaction and stores what it answered. Whatever
is not a 2xx leaves no trace, so the same key may be used again. A request with a card number in it
is refused before any of that, before even its body is parsed.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import datetime
from typing import Annotated, Any, ClassVar

import orjson
from asyncpg import LockNotAvailableError
from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response

from messaging.clock import utc_now
from messaging.database import Connection, sql
from messaging.http.bodies import read_bounded
from messaging.http.card_fields import card_number_in_body
from messaging.http.card_numbers import has_card_number
from messaging.http.declared import Declared, RequestHeader
from messaging.http.problems import Problem, card_number_refused
from messaging.http.tokens import OPTIONAL_CUSTOMER, identity_of
from messaging.points import Point, reach
from messaging.storable import has_nul

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
KEY_PATTERN = re.compile(r"[\x21-\x7e]{8,255}")
NOT_STORED = frozenset({b"content-length", b"date", b"server"})
DIGESTED = frozenset({b"idempotency-key", b"if-match", b"cart-token"})
"""Request headers of which a digest is stored: who knows how few card numbers there are finds one
by its digest."""

SEARCHED_AT_ONCE_BYTES = 64 * 1024
"""Larger bodies are searched off the event loop: other requests go on meanwhile."""

COMMAND = (
    Declared(
        header=RequestHeader(
            "Idempotency-Key",
            "A fresh random value for each new command, and the same one when repeating it.",
            f"^{KEY_PATTERN.pattern}$",
            required=True,
        ),
        problems=(400, 408, 409, 413, 415, 422),
        answers=("Idempotent-Replayed",),
    ),
    OPTIONAL_CUSTOMER,
)
"""What comes with every unsafe method of a `CommandRoute`; a key belongs to who uses it."""

_LOCK = sql("SELECT pg_advisory_xact_lock(:lock)")
_FIND = sql("SELECT fingerprint, status, headers, body FROM http_idempotency WHERE scope = :scope")
_STORE = sql("""
    INSERT INTO http_idempotency (scope, fingerprint, status, headers, body, created_at)
    VALUES (:scope, :fingerprint, :status, CAST(:headers AS jsonb), :body, :now)
""")


async def command_connection(request: Request) -> Connection:
    """The transaction of this command, opened and committed by its route."""
    connection = request.state.connection
    assert isinstance(connection, Connection)  # noqa: S101 - set by CommandRoute
    return connection


async def read_connection(request: Request) -> AsyncIterator[Connection]:
    """A connection for a safe request."""
    async with request.app.state.api_database.reading() as connection:
        yield connection


async def snapshot_connection(request: Request) -> AsyncIterator[Connection]:
    """A connection for a safe request that puts together what several statements read."""
    async with request.app.state.api_database.snapshot() as connection:
        yield connection


async def request_time() -> datetime:
    """When this request is decided."""
    return utc_now()


CommandConnection = Annotated[Connection, Depends(command_connection)]
ReadConnection = Annotated[Connection, Depends(read_connection)]
SnapshotConnection = Annotated[Connection, Depends(snapshot_connection)]
Now = Annotated[datetime, Depends(request_time)]


class CommandRoute(APIRoute):
    """A route whose unsafe methods take effect once per Idempotency-Key.

    Subclass to accept other media types or larger bodies: `media_types`, and `body_setting`,
    the name of the service setting that bounds the body in bytes.
    """

    media_types: ClassVar[tuple[str, ...]] = ("application/json",)
    body_setting: ClassVar[str | None] = None

    def get_route_handler(self) -> Callable[[StarletteRequest], Coroutine[Any, Any, Response]]:
        """The route's handler, wrapped in its transaction."""
        run = super().get_route_handler()

        async def handle(request: StarletteRequest) -> Response:
            if request.method in SAFE_METHODS:
                return await run(request)
            command = _CommandRequest(request.scope, request.receive)
            return await self._run_once(command, run)

        return handle

    async def _run_once(
        self,
        request: "_CommandRequest",
        run: Callable[[StarletteRequest], Coroutine[Any, Any, Response]],
    ) -> Response:
        key = _key_of(request)
        await request.read(
            self._largest_body(request), request.app.state.settings.http.body_seconds
        )
        media_type = self._media_type_of(request)
        await _refuse_card_numbers(request, media_type)
        if media_type == "application/json":
            request.parse()
        scope = _digest(identity_of(request), request.method, self.path, key)
        fingerprint = _digest(
            request.url.path,
            request.url.query,
            ", ".join(request.headers.getlist("if-match")),
            await request.body(),
        )
        try:
            async with request.app.state.api_database.transaction() as connection:
                await _lock(connection, scope)
                stored = await connection.fetch_one(_FIND, {"scope": scope})
                if stored is not None:
                    return _replay(stored, fingerprint)
                request.state.connection = connection
                response = await run(request)
                if not 200 <= response.status_code < 300:
                    raise _Refused(response)
                await connection.execute(_STORE, _stored(scope, fingerprint, response))
                await self._reach(Point.ANSWER_STORED, request)
            await self._reach(Point.ANSWER_COMMITTED, request)
        except _Refused as refused:
            return refused.response
        return response

    async def _reach(self, point: Point, request: StarletteRequest) -> None:
        await reach(point, request.app.state.service, [f"{request.method} {self.path}"])

    def _largest_body(self, request: StarletteRequest) -> int:
        settings = request.app.state.settings
        if self.body_setting is None:
            return int(settings.http.body_bytes)
        return int(getattr(settings, self.body_setting))

    def _media_type_of(self, request: "_CommandRequest") -> str | None:
        """What the body is in; None without one. Raises a 415 problem for what is not taken."""
        if not request.has_body:
            return None
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in self.media_types:
            raise Problem(
                415,
                "unsupported-media-type",
                "The body is in a media type that is not accepted here",
                accepted=list(self.media_types),
            )
        return media_type


class _Refused(Exception):
    """A response that is no success: rolls its transaction back."""

    def __init__(self, response: Response) -> None:
        self.response = response


class _CommandRequest(Request):
    """A request whose body is read within its bound and parsed strictly, once."""

    _body: bytes
    _json: Any

    @property
    def has_body(self) -> bool:
        return len(self._body) > 0

    async def read(self, largest_bytes: int, longest_seconds: float) -> None:
        """Read the body within its bounds. Raises 413 and 408 problems."""
        self._body = await read_bounded(self, largest_bytes, longest_seconds)

    def parse(self) -> None:
        """Parse the JSON body: UTF-8, no NaN, no lone surrogates, bounded depth, no NUL.

        Raises 400 and 422 problems.
        """
        try:
            self._json = orjson.loads(self._body)
        except orjson.JSONDecodeError:
            raise Problem(400, "malformed-json", "The body is not valid JSON") from None
        if b"\\u0000" in self._body and has_nul(self._json):
            raise Problem(422, "invalid-request", "Text must not contain the NUL character")


async def _refuse_card_numbers(request: _CommandRequest, media_type: str | None) -> None:
    """Raise a 422 problem for a card number in the raw body, or in a header that is kept."""
    for name, value in request.scope["headers"]:
        if name in DIGESTED and has_card_number(value.decode("latin-1")):
            raise card_number_refused(f"header.{name.decode('latin-1')}")
    if media_type is None:
        return
    body = await request.body()
    if len(body) <= SEARCHED_AT_ONCE_BYTES:
        location = card_number_in_body(body, media_type)
    else:
        location = await asyncio.to_thread(card_number_in_body, body, media_type)
    if location is not None:
        raise card_number_refused(location)


def _key_of(request: StarletteRequest) -> str:
    key = request.headers.get("idempotency-key")
    if key is None:
        raise Problem(
            400,
            "idempotency-key-missing",
            "The Idempotency-Key header is missing",
            "Send a fresh random value with each new command and the same one when repeating it.",
        )
    if not KEY_PATTERN.fullmatch(key):
        raise Problem(
            400,
            "idempotency-key-invalid",
            "The Idempotency-Key header must be 8 to 255 visible ASCII characters",
        )
    return key


def _digest(*parts: str | bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode(errors="surrogateescape") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.digest()


async def _lock(connection: Connection, scope: bytes) -> None:
    # 64 bits of the scope; the connection's lock_timeout bounds the wait.
    lock = int.from_bytes(scope[:8], "big", signed=True)
    try:
        await connection.execute(_LOCK, {"lock": lock})
    except LockNotAvailableError as error:
        raise Problem(
            409,
            "request-in-progress",
            "Another request under the same key is still running",
            headers={"Retry-After": "1"},
        ) from error


def _replay(stored: Any, fingerprint: bytes) -> Response:
    if stored.fingerprint != fingerprint:
        raise Problem(422, "idempotency-key-reused", "This key was used for another request before")
    response = Response(bytes(stored.body), stored.status)
    response.raw_headers.extend(
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in stored.headers
    )
    response.headers["Idempotent-Replayed"] = "true"
    return response


def _stored(scope: bytes, fingerprint: bytes, response: Response) -> dict[str, Any]:
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in response.raw_headers
        if name.lower() not in NOT_STORED
    ]
    return {
        "scope": scope,
        "fingerprint": fingerprint,
        "status": response.status_code,
        "headers": orjson.dumps(headers).decode(),
        "body": bytes(response.body),
        "now": utc_now(),
    }


_FORGET = sql("""
    DELETE FROM http_idempotency WHERE scope IN (
        SELECT scope FROM http_idempotency WHERE created_at < :before
        ORDER BY created_at LIMIT :most FOR UPDATE SKIP LOCKED)
""")


async def forget_responses(connection: Connection, before: datetime, most: int) -> int:
    """Delete at most `most` responses stored before `before`; returns how many."""
    return await connection.execute(_FORGET, {"before": before, "most": most})
