"""The payment service on real databases, and what a test wants to do with it.

Commands go through the batch processor that its consumer uses, reports of the worker likewise:
everything but Kafka itself. Workers are started, stopped and killed one by one.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import httpx
from pydantic import SecretStr

from contracts.messages import MESSAGES_BY_TYPE
from contracts.messages.base import Message, SagaReply
from contracts.messages.parts import ON_FILE, ON_PAGE
from contracts.messages.payment import ChargePayment, PaymentChanged
from contracts.topics import PAYMENT_COMMANDS
from contracts.values import replace
from messaging.batch import BatchProcessor
from messaging.clock import utc_now
from messaging.delivery import deliver
from messaging.outbox import Outgoing, address
from messaging.records import Record
from messaging.settings import ConsumerSettings
from messaging.signing import customer_token
from payment_service.app import build
from payment_service.consumers import subscriptions
from payment_service.domain.outcomes import (
    Declined,
    PaymentOutcome,
    RefundOutcome,
    ReviewOutcome,
    Unknown,
)
from payment_service.domain.payment import Payment
from payment_service.domain.rules import Rules
from payment_service.domain.saved_methods import KeptMethod, Payer
from payment_service.handlers import PaymentHandler
from payment_service.providers.port import (
    Capture,
    Charge,
    Close,
    PaymentQuestion,
    Provider,
    Refund,
    RefundQuestion,
    Review,
    SeenMoney,
)
from payment_service.providers.simulated.provider import SimulatedProvider
from payment_service.settings import PaymentSettings
from payment_service.store import payments as store
from payment_service.sweeper import resend_reports
from payment_service.worker import ProviderWorker
from tests.payment_service.story import Flow, charge

KEY = SecretStr("a signing key that only tests know")
TABLES = (
    "differences",
    "reconciliations",
    "ledger",
    "operations",
    "refunds",
    "attempts",
    "payments",
    "inbox",
    "outbox",
    "webhooks",
    "saved_methods",
    "provider_customers",
    "recorded_replies",
    "dead_letters",
    "dead_letter_history",
    "dead_letter_runs",
    "parked_keys",
    "http_idempotency",
)
BANK_TABLES = ("ledger", "calls", "answers", "refunds", "disputes", "payments")
WINDOW = timedelta(minutes=30)

M = TypeVar("M", bound=Message)


class Gate:
    """A provider that a test can hold up, on either side of the effect."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.before = asyncio.Event()
        self.after = asyncio.Event()
        self.name = provider.name
        self.open()

    def open(self) -> None:
        """Let everything through."""
        self.before.set()
        self.after.set()

    async def prepare(self, request: Charge) -> str | Declined | Unknown | None:
        return await self._provider.prepare(request)

    async def charge(self, request: Charge) -> PaymentOutcome:
        await self.before.wait()
        outcome = await self._provider.charge(request)
        await self.after.wait()
        return outcome

    async def capture(self, request: Capture) -> PaymentOutcome:
        await self.before.wait()
        outcome = await self._provider.capture(request)
        await self.after.wait()
        return outcome

    async def close(self, request: Close) -> PaymentOutcome:
        await self.before.wait()
        outcome = await self._provider.close(request)
        await self.after.wait()
        return outcome

    async def refund(self, request: Refund) -> RefundOutcome:
        await self.before.wait()
        outcome = await self._provider.refund(request)
        await self.after.wait()
        return outcome

    async def retrieve(self, question: PaymentQuestion) -> PaymentOutcome:
        return await self._provider.retrieve(question)

    async def retrieve_refund(self, question: RefundQuestion) -> RefundOutcome:
        return await self._provider.retrieve_refund(question)

    async def review(self, question: Review) -> ReviewOutcome:
        return await self._provider.review(question)

    async def customer(self, payer: Payer) -> str | Unknown:
        return await self._provider.customer(payer)

    async def kept_method(self, charge: Charge) -> KeptMethod | None:
        return await self._provider.kept_method(charge)

    async def forget_method(self, token: str) -> bool:
        return await self._provider.forget_method(token)

    def moved_since(self, since: datetime) -> AsyncIterator[SeenMoney]:
        return self._provider.moved_since(since)

    async def close_connections(self) -> None:
        await self._provider.close_connections()


class Worker:
    """A worker of one instance, with gates of its own before the providers."""

    def __init__(self, desk: "CashDesk", slot: int, **settings: Any) -> None:
        self.gates = {name: Gate(provider) for name, provider in desk.providers.items()}
        self.gate = self.gates["simulated"]
        self._desk = desk
        self._settings = desk.settings.model_copy(update={"instance_slot": slot, **settings})
        self.worker = ProviderWorker(self.gates, desk.rules, self._settings)
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> "Worker":
        """Begin to work."""
        self._task = asyncio.create_task(self.worker.run(self._desk.database, self._stop))
        return self

    async def kill(self) -> None:
        """As by SIGKILL: nothing more is recorded, and no lease given up."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def drain(self) -> None:
        """As by SIGTERM."""
        assert self._task is not None
        self._stop.set()
        await self._task

    async def end(self) -> None:
        """Whatever state it is in."""
        if self._task is not None and not self._task.done():
            await self.kill()


class CashDesk:
    """The service's databases, and hands to work on them."""

    def __init__(self, database_url: str, bank_url: str, **settings: Any) -> None:
        self.database_url = database_url
        self.bank_url = bank_url
        self.settings = PaymentSettings(
            **{
                "database_url": database_url,
                "simulated_database_url": bank_url,
                "signing_key": KEY,
                "public_base_url": "http://shop.example",
                "worker_poll_seconds": 0.05,
                "ask_first_seconds": 0.02,
                "ask_longest_seconds": 0.1,
                "ask_bank_longest_seconds": 0.1,
                **settings,
            }
        )
        self.service = build(self.settings)
        self.database = self.service.database
        self.providers: dict[str, Provider] = dict(self.service.app.state.providers)
        self.rules = Rules(
            frozenset(self.providers),
            self.settings.ask_first,
            self.settings.ask_longest,
            self.settings.ask_bank_longest,
        )
        simulated = self.providers["simulated"]
        assert isinstance(simulated, SimulatedProvider)
        self.provider, self.bank = simulated, simulated.bank
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.service.app, raise_app_exceptions=False),
            base_url="http://payment",
        )
        self.workers: list[Worker] = []
        self.processor = self.new_processor()
        self._numbers = count(1)
        self._pumped: set[UUID] = set()
        self.statements: list[str] = []
        self.database.watch(self.statements.append)

    def offer(self, name: str, provider: Provider) -> None:
        """One more provider, for charges and workers from now on."""
        self.providers[name] = provider
        self.rules = replace(self.rules, providers=frozenset(self.providers))
        self.processor = self.new_processor()

    def new_processor(self) -> BatchProcessor:
        """A consumer's batch processor; its handler wakes all workers of this desk."""
        (subscription,) = subscriptions(PaymentHandler(self.rules, self._wake))
        return BatchProcessor(
            "payment", subscription, self.database, ConsumerSettings(retry_first_ms=1)
        )

    def _wake(self) -> None:
        for worker in self.workers:
            worker.worker.wake()

    async def close(self) -> None:
        """End the workers and close all connections."""
        for worker in self.workers:
            await worker.end()
        await self.http.aclose()
        for provider in set(self.providers.values()):
            await provider.close_connections()
        await self.service.database.close()
        await self.service.api_database.close()

    async def empty(self) -> None:
        """Forget everything, even the ledgers, which nobody else can."""
        for url, tables in ((self.database_url, TABLES), (self.bank_url, BANK_TABLES)):
            connection = await asyncpg.connect(url)
            try:
                await connection.execute("SET session_replication_role = replica")
                for table in tables:
                    await connection.execute(f"DELETE FROM {table}")  # noqa: S608 - constants
            finally:
                await connection.close()

    # what happens

    def worker(self, slot: int = 0, **settings: Any) -> Worker:
        """A worker of this instance, not yet started."""
        worker = Worker(self, slot, **settings)
        self.workers.append(worker)
        return worker

    async def tell(self, *messages: Message) -> None:
        """Handle messages as one batch, each under a fresh id."""
        await self.handle([self.record(message) for message in messages])

    async def handle(
        self, records: Sequence[Record], processor: BatchProcessor | None = None
    ) -> None:
        """Handle records as one batch."""
        settled = await (processor or self.processor).settle(
            [deliver(record, PAYMENT_COMMANDS) for record in records], asyncio.Event()
        )
        assert settled

    def record(self, message: Message, message_id: UUID | None = None) -> Record:
        """A message as it comes from Kafka."""
        outgoing = address(message, source="order", now=utc_now(), message_id=message_id)
        return record_of(outgoing, next(self._numbers))

    async def pump(self) -> int:
        """Read what the service has told itself, as relay and consumer would; how many."""
        rows = [
            row
            for row in await self.query(
                "SELECT message_id, type, payload FROM outbox WHERE topic = $1 ORDER BY id",
                PAYMENT_COMMANDS.name,
            )
            if row["message_id"] not in self._pumped
        ]
        if rows:
            self._pumped.update(row["message_id"] for row in rows)
            await self.handle(
                [
                    self.record(
                        MESSAGES_BY_TYPE[row["type"]].model_validate_json(row["payload"]),
                        row["message_id"],
                    )
                    for row in rows
                ]
            )
        return len(rows)

    @asynccontextmanager
    async def pumping(self) -> AsyncIterator[None]:
        """What the service tells itself is read all the time."""

        async def pump() -> None:
            while True:
                await self.pump()
                await asyncio.sleep(0.01)

        task = asyncio.create_task(pump())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def leases_run_out(self) -> None:
        """As if so much time had passed."""
        await self.query("UPDATE operations SET claimable_at = now() WHERE status = 'leased'")

    async def resend_reports(self) -> int:
        """The sweeper."""
        return await resend_reports(self.settings)(self.database)

    # what there is

    async def query(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows of the service's database."""
        return await _fetch(self.database_url, statement, *arguments)

    async def bank_query(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows of the simulated provider's database."""
        return await _fetch(self.bank_url, statement, *arguments)

    async def payment(self, payment_id: UUID) -> Payment:
        """The payment with all its parts."""
        async with self.database.reading() as connection:
            (payment,) = await store.load_payments(connection, [payment_id])
        return payment

    async def sent(self, kind: type[M]) -> list[M]:
        """The messages of one kind in the outbox, in order."""
        rows = await self.query("SELECT payload FROM outbox WHERE type = $1 ORDER BY id", kind.type)
        return [kind.model_validate_json(row["payload"]) for row in rows]

    async def replies(self) -> list[tuple[str, str, int]]:
        """Name, step and round of the replies to the saga, each id once, in order."""
        return [
            (type(reply).__name__, reply.step.value, reply.round)
            for reply in await self._told()
            if isinstance(reply, SagaReply)
        ]

    async def notices(self) -> list[str]:
        """Names of what the saga is told without having asked, in order."""
        return [type(one).__name__ for one in await self._told() if not isinstance(one, SagaReply)]

    async def _told(self) -> list[Message]:
        rows = await self.query(
            "SELECT DISTINCT ON (message_id) id, type, payload FROM outbox"
            " WHERE topic = 'order.replies' AND type LIKE 'payment.%' ORDER BY message_id, id"
        )
        return [
            MESSAGES_BY_TYPE[row["type"]].model_validate_json(row["payload"])
            for row in sorted(rows, key=lambda row: int(row["id"]))
        ]

    async def statuses(self) -> list[str]:
        """Statuses of the operations, in order of their making."""
        rows = await self.query("SELECT status FROM operations ORDER BY created_at, operation_id")
        return [row["status"] for row in rows]

    async def calls(self) -> dict[str, int]:
        """How often each call reached the provider."""
        rows = await self.bank_query("SELECT call, sum(calls) AS n FROM calls GROUP BY call")
        return {row["call"]: int(row["n"]) for row in rows}

    async def captured_at_bank(self) -> int:
        """What the provider has captured."""
        rows = await self.bank_query(
            "SELECT coalesce(sum(amount_minor), 0) AS n FROM ledger WHERE kind = 'captured'"
        )
        return int(rows[0]["n"])

    async def dead_letters(self) -> int:
        """How many messages were dead-lettered."""
        return int((await self.query("SELECT count(*) FROM dead_letters"))[0][0])

    async def differences(self) -> list[tuple[Any, ...]]:
        """Where the two ledgers disagree, or a payment with its ledger; empty when all is well."""
        sums = (
            "SELECT payment_id, attempt, kind, currency, sum(amount_minor)::bigint AS amount"
            " FROM ledger GROUP BY payment_id, attempt, kind, currency"
        )
        ours = {tuple(row) for row in await self.query(sums)}
        theirs = {tuple(row) for row in await self.bank_query(sums)}
        return sorted(ours ^ theirs, key=str) + [
            tuple(row) for row in await self.query(PAYMENTS_UNLIKE_THEIR_LEDGER)
        ]

    async def events(self, payment_id: UUID) -> list[int]:
        """The `event_seq`s of a payment's events, in order."""
        return [
            sent.event_seq
            for sent in await self.sent(PaymentChanged)
            if sent.payment_id == payment_id
        ]

    def token(self, *roles: str, shop: str = "main", sub: str = "somebody") -> dict[str, str]:
        """The Authorization header of somebody with these roles."""
        token = customer_token(
            KEY,
            sub=sub,
            roles=frozenset(roles),
            shop=shop,
            now=utc_now(),
            valid_for=timedelta(minutes=5),
        )
        return {"Authorization": f"Bearer {token}"}


PAYMENTS_UNLIKE_THEIR_LEDGER = """
    WITH booked AS (
        SELECT payment_id,
            coalesce(sum(amount_minor) FILTER (WHERE kind = 'authorized'), 0)
            - coalesce(sum(amount_minor) FILTER (WHERE kind = 'voided'), 0) AS authorized,
            coalesce(sum(amount_minor) FILTER (WHERE kind = 'captured'), 0) AS captured,
            coalesce(sum(amount_minor) FILTER (WHERE kind = 'refunded'), 0)
            - coalesce(sum(amount_minor) FILTER (WHERE kind = 'refund_returned'), 0) AS refunded,
            coalesce(sum(amount_minor) FILTER (WHERE kind = 'refund_requested'), 0)
            - coalesce(sum(amount_minor) FILTER (WHERE kind IN ('refunded', 'refund_failed')), 0)
                AS pending,
            coalesce(sum(amount_minor) FILTER (WHERE kind = 'disputed'), 0)
            - coalesce(sum(amount_minor) FILTER (WHERE kind IN ('dispute_won', 'dispute_lost')), 0)
                AS disputed,
            coalesce(sum(amount_minor) FILTER (WHERE kind = 'dispute_lost'), 0) AS lost
        FROM ledger GROUP BY payment_id)
    SELECT p.payment_id FROM payments p LEFT JOIN booked b USING (payment_id)
    WHERE (p.authorized_minor, p.captured_minor, p.refunded_minor + p.over_refunded_minor,
           p.refund_pending_minor, p.disputed_minor, p.dispute_lost_minor)
        IS DISTINCT FROM (coalesce(b.authorized, 0), coalesce(b.captured, 0),
                          coalesce(b.refunded, 0), coalesce(b.pending, 0),
                          coalesce(b.disputed, 0), coalesce(b.lost, 0))
"""


async def settled(desk: CashDesk) -> bool:
    """Whether nothing is open any more."""
    return not {"due", "leased", "reported"} & set(await desk.statuses())


def soon(
    checkout: UUID,
    *,
    method: str = "pm_ok",
    attempt: int = 1,
    amount: int = 1000,
    flow: Flow = "automatic",
    hosted: bool = False,
    save: bool = False,
    saved_method_id: UUID | None = None,
    customer: str = "c-1",
    provider: str = "simulated",
) -> ChargePayment:
    """A charge whose window is open now."""
    asked = charge(
        attempt,
        amount,
        method=ON_FILE if saved_method_id else ON_PAGE if hosted else method,
        flow=flow,
        hosted=hosted,
        provider=provider,
        window_closes_at=utc_now() + WINDOW,
        checkout=checkout,
    )
    how = asked.method.model_copy(update={"save": save, "saved_method_id": saved_method_id})
    return asked.model_copy(update={"method": how, "customer_id": customer})


def record_of(outgoing: Outgoing, offset: int) -> Record:
    """The record of an outbox row, as its topic's reader gets it."""
    assert outgoing.envelope is not None
    return Record(
        topic=outgoing.topic,
        partition=outgoing.partition,
        offset=offset,
        key=outgoing.key,
        value=outgoing.payload,
        headers=tuple(outgoing.envelope.headers()),
    )


async def _fetch(url: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(statement, *arguments))
    finally:
        await connection.close()
