"""The sandbox on HTTP: takes a request, troubles it where asked to, and answers as Stripe does."""

import asyncio
import base64
import binascii
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from aiohttp import web

from stripe_sandbox import idempotency
from stripe_sandbox.database import Cause, Database, Transaction
from stripe_sandbox.errors import (
    ApiError,
    InvalidRequest,
    NotAuthenticated,
    ServerError,
    TooManyRequests,
)
from stripe_sandbox.expansion import Expansion
from stripe_sandbox.faults import HEADER, Faults, RequestFault, Trouble, asked_for
from stripe_sandbox.idempotency import Stored
from stripe_sandbox.parameters import InvalidParameter, checked, decode_form
from stripe_sandbox.resources import INCLUDES
from stripe_sandbox.routes import Route, route_of
from stripe_sandbox.settings import API_VERSION, TEST_KEYS, SandboxSettings

log = structlog.get_logger()

BEFORE_EFFECT = frozenset({RequestFault.TIMEOUT_BEFORE_EFFECT, RequestFault.RESET_BEFORE_EFFECT})
"""Faults of which nothing is kept: the same request, made again, is the first one."""


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
        settings: SandboxSettings,
        happened: Callable[[], None],
    ) -> None:
        self._database = database
        self._faults = faults
        self._settings = settings
        self._happened = happened
        self._api_key = settings.api_key.get_secret_value().encode()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Carry a request out, or say why not."""
        cause = Cause(Transaction.new_id("req", 14), None)
        headers = {
            "Request-Id": cause.request_id,
            "Stripe-Version": API_VERSION,
            "Cache-Control": "no-cache, no-store",
        }
        try:
            raw = await request.read()
            call = self._call(request, raw)
            trouble = self._trouble(request, call)
            if trouble is not None and trouble.fault is RequestFault.RATE_LIMIT:
                raise TooManyRequests
            if call.key is not None:
                headers |= {"Idempotency-Key": call.key, "Original-Request": cause.request_id}
                before = idempotency.begin(self._database, call.key, call.same)
                if before is not None:
                    original = orjson.loads(before.body)["request_id"]
                    headers |= {"Idempotent-Replayed": "true", "Original-Request": original}
                    return _response(_replayed(before), headers)
                cause = Cause(cause.request_id, call.key)
        except ApiError as error:
            return _response(_refused(error), headers)
        return await self._carried_out(request, call, cause, trouble, headers)

    async def _carried_out(
        self,
        request: web.Request,
        call: Call,
        cause: Cause,
        trouble: Trouble[RequestFault] | None,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        try:
            fault = trouble.fault if trouble else None
            if trouble and fault is RequestFault.SLOW_BEFORE_EFFECT:
                await asyncio.sleep(trouble.milliseconds / 1000)
            if fault in BEFORE_EFFECT:
                return await self._lost(request, trouble)
            stored = self._take_effect(call, cause, fault)
        finally:
            if call.key is not None:
                idempotency.forget(self._database, call.key)  # where it came to no answer
        self._happened()
        if trouble and fault is RequestFault.SLOW_AFTER_EFFECT:
            await asyncio.sleep(trouble.milliseconds / 1000)
        if fault in (RequestFault.TIMEOUT_AFTER_EFFECT, RequestFault.RESET_AFTER_EFFECT):
            return await self._lost(request, trouble)
        return _response(stored, headers)

    def _take_effect(self, call: Call, cause: Cause, fault: RequestFault | None) -> Stored:
        """The effect and its answer, in one transaction."""
        try:
            with self._database.transaction(cause) as transaction:
                if fault is RequestFault.ERROR_BEFORE_EFFECT:
                    stored = _refused(ServerError())
                else:
                    stored = self._operated(call, transaction)
                if fault is RequestFault.ERROR_AFTER_EFFECT:
                    stored = _refused(ServerError())
                if call.key is not None:
                    idempotency.end(transaction, call.key, _kept(stored, cause.request_id))
                return stored
        except ApiError as error:
            stored = _refused(error)
            if call.key is not None:
                with self._database.transaction(cause) as transaction:
                    idempotency.end(transaction, call.key, _kept(stored, cause.request_id))
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

    def _call(self, request: web.Request, raw: bytes) -> Call:
        """What is asked for. Raises ApiError."""
        self._authenticate(request)
        version = request.headers.get("Stripe-Version", API_VERSION)
        if version != API_VERSION:
            raise InvalidRequest(f"The sandbox speaks {API_VERSION} only, not {version}")
        route = route_of(request.method, request.path)
        has_body = request.method == "POST"
        form = raw if has_body else request.query_string.encode()
        try:
            params = checked(route.name, decode_form(form))
        except InvalidParameter as error:
            raise InvalidRequest(error.message, code=error.code, param=error.param) from None
        key = request.headers.get("Idempotency-Key") if has_body else None
        if key is not None and not 1 <= len(key) <= idempotency.LONGEST_KEY:
            raise InvalidRequest(
                f"An idempotency key has 1 to {idempotency.LONGEST_KEY} characters"
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
            value.encode(), self._api_key
        ):
            raise NotAuthenticated("The API key is not the one that this sandbox takes")

    def _trouble(self, request: web.Request, call: Call) -> Trouble[RequestFault] | None:
        header = request.headers.get(HEADER)
        if header is not None:
            return asked_for(header)
        return self._faults.of_request(call.route.name, call.text)

    async def _lost(
        self, request: web.Request, trouble: Trouble[RequestFault] | None
    ) -> web.StreamResponse:
        """No answer: the connection hangs for a while and breaks, or breaks at once."""
        assert trouble is not None  # noqa: S101 - the caller's case
        if trouble.fault in (
            RequestFault.TIMEOUT_BEFORE_EFFECT,
            RequestFault.TIMEOUT_AFTER_EFFECT,
        ):
            await asyncio.sleep(trouble.milliseconds / 1000 or self._settings.timeout_seconds)
        if request.transport is not None:
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
