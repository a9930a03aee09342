"""The program: the API, the pages, what the sandbox itself can be told, and what goes on beside."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import orjson
import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stripe_sandbox import agenda, pages
from stripe_sandbox.database import Database
from stripe_sandbox.faults import MOST_RULES, Faults, Rule, TooManyRules
from stripe_sandbox.limit import Limit
from stripe_sandbox.resources.webhook_endpoints import keep_endpoint
from stripe_sandbox.server import Api
from stripe_sandbox.settings import API_VERSION, SandboxSettings
from stripe_sandbox.webhooks import Deliveries

log = structlog.get_logger()

IDLE_SECONDS = 0.25
"""How late what happens by itself may be."""

SHUTDOWN_SECONDS = 1
"""Requests that are under way have so long to end; those that are made to hang do not."""


class Later(BaseModel):
    """How far the clock goes forward."""

    model_config = ConfigDict(extra="forbid")

    seconds: int = Field(ge=0, le=400 * 24 * 3600)


@dataclass(frozen=True, slots=True)
class Running:
    """A sandbox that answers. `url` is what the SDK's `base_addresses` are given."""

    url: str
    database: Database
    faults: Faults
    limit: Limit


@asynccontextmanager
async def running(settings: SandboxSettings) -> AsyncIterator[Running]:
    """A sandbox until the block ends.

    Raises StateInUse, StateUnreadable and OSError (the port is taken).
    """
    database = Database(settings.state, settings.search_lag_seconds)
    faults = Faults(database)
    if settings.webhook_base_url is not None:
        url = f"{settings.webhook_base_url.rstrip('/')}{settings.webhook_path}"
        with database.transaction() as transaction:
            keep_endpoint(transaction, url, settings.webhook_secret.get_secret_value())
    deliveries = Deliveries(database, faults, settings)
    limit = Limit(settings.requests_per_second)
    api = Api(database, faults, limit, settings, deliveries.wake)
    application = web.Application(client_max_size=settings.largest_body_bytes)
    application.add_routes(_controls(database, faults, deliveries))
    pages.add_to(application, database, deliveries.wake)
    application.router.add_route("*", "/{tail:.*}", api.answer)
    runner = web.AppRunner(
        application,
        access_log=None,
        handler_cancellation=False,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    tasks = [
        asyncio.create_task(deliveries.run(), name="deliveries"),
        asyncio.create_task(_let_happen(database, deliveries), name="agenda"),
    ]
    host = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
    try:
        site = web.TCPSite(runner, settings.http_host, settings.http_port)
        await site.start()
        url = f"http://{host}:{runner.addresses[0][1]}"
        database.public_url = settings.public_url or url
        yield Running(url, database, faults, limit)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runner.cleanup()
        database.close()


async def _let_happen(database: Database, deliveries: Deliveries) -> None:
    while True:
        try:
            happened = agenda.run(database)
        except sqlite3.Error:
            log.exception("nothing happens by itself")
            happened = 0
        if happened:
            deliveries.wake()
        await asyncio.sleep(0 if happened else IDLE_SECONDS)


def _controls(database: Database, faults: Faults, deliveries: Deliveries) -> list[web.RouteDef]:
    """What is no part of Stripe's API: health, trouble, and the clock."""

    async def health(request: web.Request) -> web.Response:
        return _json({"status": "ok", "api_version": API_VERSION, "now": database.now})

    async def add_fault(request: web.Request) -> web.Response:
        faults.add(Rule.model_validate_json(await request.read()))
        return _json({"faults": faults.left()})

    async def list_faults(request: web.Request) -> web.Response:
        return _json({"faults": faults.left()})

    async def clear_faults(request: web.Request) -> web.Response:
        faults.clear()
        return _json({"faults": []})

    async def put_forward(request: web.Request) -> web.Response:
        database.put_forward(Later.model_validate_json(await request.read()).seconds)
        while agenda.run(database):
            deliveries.wake()
            await asyncio.sleep(0)
        return _json({"now": database.now})

    async def resend(request: web.Request) -> web.Response:
        """Send an event again to every endpoint that wanted it."""
        with database.transaction() as transaction:
            sent = transaction.sql(
                "INSERT INTO deliveries (event, endpoint, due, fault)"
                " SELECT DISTINCT event, endpoint, 0, 'had' FROM deliveries WHERE event = ?"
                " RETURNING number",
                (request.match_info["event"],),
            ).fetchall()
        deliveries.wake()
        return _json({"sent": len(sent)}, status=200 if sent else 404)

    return [
        web.get("/health/live", health),
        web.get("/health/ready", health),
        web.get("/sandbox/clock", health),
        web.get("/sandbox/faults", list_faults),
        web.post("/sandbox/faults", _told(add_fault)),
        web.delete("/sandbox/faults", clear_faults),
        web.post("/sandbox/clock", _told(put_forward)),
        web.post("/sandbox/events/{event}/resend", resend),
    ]


_Handler = Callable[[web.Request], Awaitable[web.Response]]


def _told(handler: _Handler) -> _Handler:
    """What is wrong with a body is told."""

    async def handled(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except ValidationError as error:
            wrong = [
                {"where": ".".join(map(str, one["loc"])), "what": one["msg"]}
                for one in error.errors(include_input=False)
            ]
            return _json({"error": wrong}, status=400)
        except TooManyRules:
            return _json({"error": f"there are {MOST_RULES} rules already"}, status=400)

    return handled


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


async def serve(settings: SandboxSettings, stop: asyncio.Event) -> None:
    """Answer until `stop`."""
    async with running(settings) as sandbox:
        log.info("sandbox answers", url=sandbox.url, state=str(settings.state))
        with suppress(asyncio.CancelledError):
            await stop.wait()
