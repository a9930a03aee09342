"""One service and one stand-in for hundreds of shoppers at a time.

What the service tells itself is read in batches, as a consumer would, and taken from the outbox, as
the relay does; what it tells the saga is kept here, so that no shopper asks the database.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

import asyncpg
from aiohttp import web

from contracts.messages import MESSAGES_BY_TYPE
from contracts.messages.base import Message, SagaReply, Step
from contracts.messages.payment import PaymentChanged
from contracts.topics import ORDER_REPLIES, PAYMENT_COMMANDS
from messaging.clock import utc_now
from messaging.points import listen
from payment_service.providers.stripe.client import StripeConnection
from payment_service.providers.stripe.provider import StripeProvider
from payment_service.sweeper import forget_methods, heed_webhooks
from stripe_sandbox.app import Running
from tests.payment_service.cashdesk import PAYMENTS_UNLIKE_THEIR_LEDGER, CashDesk
from tests.payment_service.fault_matrix.wire import Runs, Wire

WaitUntil = Callable[..., Awaitable[None]]

KEY = "sk_test_sandbox"
ROUND_SECONDS = 0.02

_TAKE = """
    WITH taken AS (DELETE FROM outbox WHERE topic = $1 RETURNING id, message_id, type, payload)
    SELECT * FROM taken ORDER BY id
"""
_OPEN = """
    SELECT DISTINCT payment_id FROM operations WHERE status IN ('due', 'leased', 'reported')
"""
_OURS = """
    SELECT payment_id, authorized_minor, captured_minor, refund_pending_minor, refunded_minor,
           disputed_minor, dispute_lost_minor, event_seq FROM payments
"""


@dataclass(frozen=True, slots=True)
class Ours:
    """What the service has of one payment: amounts in minor units, and where its parts stand."""

    held_minor: int
    captured_minor: int
    pending_minor: int
    refunded_minor: int
    disputed_minor: int
    lost_minor: int
    attempts: tuple[str, ...]
    refunds: tuple[str, ...]


class Till:
    """The service, with everything that it runs by itself."""

    def __init__(self, desk: CashDesk, sandbox: Running, wait_until: WaitUntil) -> None:
        self.desk, self.sandbox, self.wait_until = desk, sandbox, wait_until
        self.runs = Runs()
        self.open: set[UUID] = set()
        self.connection: asyncpg.Connection
        self._told: defaultdict[UUID, list[Message]] = defaultdict(list)
        self._said: list[Message] = []
        self._read = 0
        self._rounds = 0
        connection = StripeConnection(
            KEY,
            sandbox.url,
            call_seconds=desk.settings.stripe_call_seconds,
            http=lambda timeout: Wire(timeout, self.runs),
        )
        desk.offer(
            "stripe",
            StripeProvider(
                connection,
                desk.settings.stripe_returns_to,
                utc_now,
                slow_methods=["us_bank_account"],
            ),
        )

    @asynccontextmanager
    async def working(self) -> AsyncIterator["Till"]:
        """Everything runs until the block ends."""
        self.connection = await asyncpg.connect(self.desk.database_url)
        listen(self.runs.at_point)
        self.desk.worker().start()
        task = asyncio.create_task(self._work())
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            listen(None)
            await self.connection.close()

    async def _work(self) -> None:
        forget = forget_methods(self.desk.settings, self.desk.providers)
        heed = heed_webhooks(self.desk.settings)
        while True:
            await self._round()
            if self._rounds % 10 == 0:
                await forget(self.desk.database)
                await heed(self.desk.database)
            await asyncio.sleep(ROUND_SECONDS)

    async def _round(self) -> None:
        """Read what was said, then look what came of it."""
        said, self._said = self._said, []
        rows = await self.connection.fetch(_TAKE, PAYMENT_COMMANDS.name)
        records = [self.desk.record(message) for message in said] + [
            self.desk.record(_message(row), row["message_id"]) for row in rows
        ]
        if records:
            await self.desk.handle(records)
        for row in await self.connection.fetch(
            "SELECT id, type, payload FROM outbox WHERE topic = $1 AND id > $2 ORDER BY id",
            ORDER_REPLIES.name,
            self._read,
        ):
            self._read = row["id"]
            if row["type"].startswith("payment."):
                told = _message(row)
                self._told[UUID(told.key)].append(told)
        self.open = {row["payment_id"] for row in await self.connection.fetch(_OPEN)}
        self._rounds += 1

    async def tell(self, message: Message) -> None:
        """As the saga, or whoever thinks that a review is due; it has been handled then."""
        self._said.append(message)
        after = self._rounds + 2  # this round may have begun without it

        async def handled() -> bool:
            return self._rounds >= after

        await self.wait_until(handled, what=f"the handling of {type(message).__name__}")

    def replies(self, checkout: UUID) -> dict[tuple[Step, int], SagaReply]:
        """The last reply to each question of a checkout."""
        told = (one for one in self._told[checkout] if isinstance(one, SagaReply))
        return {(one.step, one.round): one for one in told}

    def notices(self, checkout: UUID) -> list[Message]:
        """What the saga of a checkout was told without having asked, in order."""
        return [one for one in self._told[checkout] if not isinstance(one, SagaReply)]

    async def at_rest(self) -> bool:
        """Whether nothing is open, and nothing on its way."""
        waiting = await self.desk.query(
            "SELECT count(*) AS n FROM outbox WHERE topic = $1", PAYMENT_COMMANDS.name
        )
        called = sum(worker.worker.in_flight for worker in self.desk.workers)
        with self.sandbox.database.transaction() as transaction:
            (sent,) = transaction.sql(
                "SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending')"
            ).fetchone()
        return not (self.open or self._said or waiting[0]["n"] or called or sent)

    async def ours(self) -> dict[UUID, Ours]:
        """What the service has of each payment."""
        attempts = await self._parts("attempts", "attempt")
        refunds = await self._parts("refunds", "created_at, refund_id")
        return {
            row["payment_id"]: Ours(
                row["authorized_minor"] - row["captured_minor"],
                row["captured_minor"],
                row["refund_pending_minor"],
                row["refunded_minor"],
                row["disputed_minor"],
                row["dispute_lost_minor"],
                attempts.get(row["payment_id"], ()),
                refunds.get(row["payment_id"], ()),
            )
            for row in await self.desk.query(_OURS)
        }

    async def _parts(self, table: str, order: str) -> dict[UUID, tuple[str, ...]]:
        rows = await self.desk.query(
            f"SELECT payment_id, array_agg(status ORDER BY {order}) AS statuses"  # noqa: S608
            f" FROM {table} GROUP BY payment_id"
        )
        return {row["payment_id"]: tuple(row["statuses"]) for row in rows}

    async def unlike_their_ledger(self) -> set[UUID]:
        """Payments whose amounts are not the sums of their ledger."""
        return {row["payment_id"] for row in await self.desk.query(PAYMENTS_UNLIKE_THEIR_LEDGER)}

    async def out_of_step(self) -> set[UUID]:
        """Payments whose public events are not counted without gaps up to the last."""
        rows = await self.desk.query(
            "SELECT p.payment_id FROM payments p LEFT JOIN ("
            " SELECT (convert_from(payload, 'UTF8')::jsonb ->> 'payment_id')::uuid AS payment_id,"
            " event_seq FROM outbox WHERE type = $1) e USING (payment_id)"
            " GROUP BY p.payment_id, p.event_seq HAVING p.event_seq <> count(e.event_seq)"
            " OR p.event_seq <> coalesce(max(e.event_seq), 0)"
            " OR count(e.event_seq) <> count(DISTINCT e.event_seq)",
            PaymentChanged.type,
        )
        return {row["payment_id"] for row in rows}

    async def webhooks(self) -> dict[str, int]:
        """How many webhooks came to what."""
        rows = await self.desk.query("SELECT state, count(*) AS n FROM webhooks GROUP BY state")
        return {row["state"]: row["n"] for row in rows}


@asynccontextmanager
async def endpoint_of(desk: CashDesk) -> AsyncIterator[str]:
    """Where the desk's service takes webhooks over HTTP, until the block ends."""

    async def told(request: web.Request) -> web.Response:
        answer = await desk.http.post(
            request.path, content=await request.read(), headers=dict(request.headers)
        )
        return web.Response(status=answer.status_code, body=answer.content)

    application = web.Application()
    application.router.add_post("/{tail:.*}", told)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _message(row: asyncpg.Record) -> Message:
    return MESSAGES_BY_TYPE[row["type"]].model_validate_json(row["payload"])
