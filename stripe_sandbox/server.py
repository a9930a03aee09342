"""The sandbox on HTTP: takes a request, troubles it where asked to, and answers as Stripe does."""

import asyncio
import base64
import binascii
import hmac
import socket
import struct
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from aiohttp import web

from stripe_sandbox import idempotency
from stripe_sandbox.database import Cause, Database, Transaction
from stripe_sandbox.errors import (
    ApiError,
    BodyTooLarge,
    InvalidRequest,
    NotAuthenticated,
    NotSimulated,
    ServerError,
    TooManyRequests,
)
from stripe_sandbox.expansion import Expansion
from stripe_sandbox.faults import HEADER, Faults, RequestFault, Trouble, asked_for
from stripe_sandbox.idempotency import Keys, Stored
from stripe_sandbox.limit import Limit
from stripe_sandbox.parameters import InvalidParameter, checked, decode_form
from stripe_sandbox.resources import INCLUDES
from stripe_sandbox.routes import Route, route_of
from stripe_sandbox.settings import API_VERSION, TEST_KEYS, SandboxSettings

log = structlog.get_logger()

LOST_BEFORE = frozenset({RequestFault.TIMEOUT_BEFORE_EFFECT, RequestFault.RESET_BEFORE_EFFECT})
"""Faults of which nothing is kept: the same request, made again, is the first one."""
LOST_AFTER = frozenset({RequestFault.TIMEOUT_AFTER_EFFECT, RequestFault.RESET_AFTER_EFFECT})

FORM = "application/x-www-form-urlencoded"

_RESET_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER that has a closed connection be reset."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was found in order. `text` is all that rules may look for."""

    route: Route
    params: dict[str, Any]
    key: str | None
    same: bytes
    text: str


class Api:
    """The operations behind their paths. `happened` is called after whatever may be due."""

    def __init__(
        self,
        database: Database,
        faults: Faults,
        limit: Limit,
        settings: SandboxSettings,
        happened: Callable[[], None],
    ) -> None:
        self._database = database
        self._faults = faults
        self._limit = limit
        self._settings = settings
        self._happened = happened
        self._keys = Keys(database)
        self._api_key = settings.api_key.get_secret_value().encode()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Carry a request out, or say why not."""
        headers = {
            "Request-Id": Transaction.new_id("req", 14),
            "Stripe-Version": API_VERSION,
            "Cache-Control": "no-cache, no-store",
        }
        try:
            call = self._call(request, await self._body(request))
            if not self._limit.takes_one_more():
                raise TooManyRequests
            return await self._carried_out(request, call, headers)
        except ApiError as error:
            if isinstance(error, NotAuthenticated):
                headers["WWW-Authenticate"] = 'Basic realm="Stripe"'
            return _response(_refused(error), headers)
        except ConnectionError:  # whoever asked has gone
            raise
        except Exception:
            log.exception("a request failed", path=request.path, request=headers["Request-Id"])
            return _response(_refused(ServerError()), headers)

    async def _carried_out(
        self, request: web.Request, call: Call, headers: dict[str, str]
    ) -> web.StreamResponse:
        """The answer, or none. What the request waits for before, it waits for with its key."""
        with self._keys.hold(call.key, call.same) if call.key else nullcontext() as before:
            trouble, webhook_fault = self._trouble(request, call)
            cause = Cause(headers["Request-Id"], call.key, webhook_fault)
            fault = trouble.fault if trouble else None
            if fault is RequestFault.RATE_LIMIT:
                raise TooManyRequests
            if trouble and fault is RequestFault.SLOW_BEFORE_EFFECT:
                await asyncio.sleep(trouble.milliseconds / 1000)
            if before is not None:
                stored = before
            elif fault not in LOST_BEFORE:
                stored = self._take_effect(call, cause, fault)
                self._happened()
        if trouble and fault is RequestFault.SLOW_AFTER_EFFECT:
            await asyncio.sleep(trouble.milliseconds / 1000)
        if trouble and fault in LOST_BEFORE | LOST_AFTER:
            return await self._lost(request, trouble)
        if call.key is not None:
            headers |= {"Idempotency-Key": call.key, "Original-Request": cause.request_id}
        if before is not None:
            original = orjson.loads(before.body)["request_id"]
            headers |= {"Idempotent-Replayed": "true", "Original-Request": original}
            stored = _replayed(before)
        return _response(stored, headers)

    def _take_effect(self, call: Call, cause: Cause, fault: RequestFault | None) -> Stored:
        """The effect and its answer, in one transaction."""
        with self._database.transaction(cause) as transaction:
            try:
                with transaction.part():
                    if fault is RequestFault.ERROR_BEFORE_EFFECT:
                        raise ServerError
                    stored = self._operated(call, transaction)
                if fault is RequestFault.ERROR_AFTER_EFFECT:
                    raise ServerError
            except ApiError as error:
                stored = _refused(error)
            if call.key is not None:
                idempotency.keep(transaction, call.key, call.same, _kept(stored, cause.request_id))
        return stored

    def _operated(self, call: Call, transaction: Transaction) -> Stored:
        try:
            answer = call.route.operation(transaction, call.route.ids, call.params)
        except ApiError as error:
            if not error.keeps_effects:
                raise
            return _refused(error)
        expand = Expansion(transaction, INCLUDES)
        return Stored(200, orjson.dumps(expand(answer, call.params.get("expand", ()))))

    async def _body(self, request: web.Request) -> bytes:
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise BodyTooLarge(self._settings.largest_body_bytes) from None

    def _call(self, request: web.Request, raw: bytes) -> Call:
        """What is asked for. Raises ApiError."""
        self._authenticate(request)
        version = request.headers.get("Stripe-Version", API_VERSION)
        if version != API_VERSION:
            raise InvalidRequest(f"The sandbox speaks {API_VERSION} only, not {version}")
        if "Stripe-Account" in request.headers:
            raise NotSimulated("Stripe-Account")
        route = route_of(request.method, request.path)
        has_body = request.method == "POST"
        if has_body and raw and request.content_type != FORM:
            raise InvalidRequest(f"The body of a request is {FORM}, not {request.content_type}")
        query = request.rel_url.raw_query_string.encode()
        form = b"&".join(filter(None, (query, raw if has_body else b"")))
        try:
            params = checked(route.name, decode_form(form))
        except InvalidParameter as error:
            raise InvalidRequest(error.message, code=error.code, param=error.param) from None
        route.operation.check(params)
        key = request.headers.get("Idempotency-Key") if has_body else None
        if key is not None and not (1 <= len(key) <= idempotency.LONGEST_KEY and key.isprintable()):
            raise InvalidRequest(
                f"An idempotency key has 1 to {idempotency.LONGEST_KEY} printable characters"
            )
        same = f"{request.method} {request.path}\n".encode() + orjson.dumps(
            params, option=orjson.OPT_SORT_KEYS
        )
        text = f"{request.path}\n{raw.decode(errors='replace')}\n{key or ''}"
        return Call(route, params, key, same, text)

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                value = base64.b64decode(value, validate=True).decode().partition(":")[0]
            except (binascii.Error, UnicodeDecodeError):
                value = ""
        if not value:
            raise NotAuthenticated("There is no API key in the Authorization header")
        if value.startswith(("sk_live_", "rk_live_")):
            raise NotAuthenticated("The sandbox takes no live key. Whoever sent it, change it now.")
        if not value.startswith(TEST_KEYS) or not hmac.compare_digest(
            value.encode(errors="replace"), self._api_key
        ):
            raise NotAuthenticated("The API key is not the one that this sandbox takes")

    def _trouble(
        self, request: web.Request, call: Call
    ) -> tuple[Trouble[RequestFault] | None, str | None]:
        """What is to go wrong with the request, and with the deliveries of its events."""
        header = request.headers.get(HEADER)
        asked = asked_for(header) if header is not None else None
        if asked is not None and isinstance(asked.fault, RequestFault):
            return Trouble(asked.fault, asked.milliseconds), None
        return self._faults.of_request(call.route.name, call.text), header

    async def _lost(
        self, request: web.Request, trouble: Trouble[RequestFault]
    ) -> web.StreamResponse:
        """No answer: the connection hangs for a while and breaks, or breaks at once."""
        if trouble.fault in (
            RequestFault.TIMEOUT_BEFORE_EFFECT,
            RequestFault.TIMEOUT_AFTER_EFFECT,
        ):
            await asyncio.sleep(trouble.milliseconds / 1000 or self._settings.timeout_seconds)
        if request.transport is not None:
            connection = request.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
            request.transport.abort()
        return web.Response()


def _refused(error: ApiError) -> Stored:
    return Stored(error.status, orjson.dumps(error.body()))


def _kept(stored: Stored, request_id: str) -> Stored:
    """As it is kept: with the id of the request that it answered."""
    kept = {"request_id": request_id, "answer": orjson.Fragment(stored.body)}
    return Stored(stored.status, orjson.dumps(kept))


def _replayed(kept: Stored) -> Stored:
    return Stored(kept.status, orjson.dumps(orjson.loads(kept.body)["answer"]))


def _response(stored: Stored, headers: dict[str, str]) -> web.Response:
    return web.Response(
        status=stored.status, body=stored.body, headers=headers, content_type="application/json"
    )
