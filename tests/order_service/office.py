"""The order service on a real database, and what a test wants to do with it."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import httpx
from pydantic import SecretStr

from contracts.ids import new_id
from contracts.messages import MESSAGES_BY_TYPE
from contracts.messages.base import Message
from contracts.topics import ORDER_COMMANDS, ORDER_REPLIES, TOPICS_BY_NAME
from messaging.batch import BatchProcessor
from messaging.clock import utc_now
from messaging.database import Connection
from messaging.dead_letters.desk import Selection, begin_run
from messaging.dead_letters.letters import Status
from messaging.dead_letters.runs import Action
from messaging.delivery import deliver
from messaging.metrics import BATCH_RETRIES
from messaging.outbox import Outgoing, address
from messaging.records import Record
from messaging.settings import ConsumerSettings
from messaging.signing import customer_token, sign
from order_service.app import build
from order_service.checkout import Checkout, Outcome, Tombstone, advance
from order_service.checkout.facts import order_id_of, payment_id_of, refund_id_of
from order_service.consumers import subscriptions
from order_service.exploration import CHECKOUT_ID, start
from order_service.handlers import CheckoutHandler
from order_service.settings import OrderSettings
from order_service.store import checkouts as store
from order_service.sweeper import note_deadlines

KEY = SecretStr("a signing key that only tests know")
TABLES = (
    "after_sales",
    "order_lines",
    "orders",
    "checkout_history",
    "resolutions",
    "checkouts",
    "inbox",
    "outbox",
    "recorded_replies",
    "dead_letters",
    "dead_letter_history",
    "dead_letter_runs",
    "parked_keys",
    "http_idempotency",
)

ORDER_ID = order_id_of(CHECKOUT_ID)

M = TypeVar("M", bound=Message)


class Office:
    """The order service. Messages go through the batch processors that its consumers use.

    `statements` are all that it sent to the database.
    """

    def __init__(self, database_url: str, **settings: Any) -> None:
        self.database_url = database_url
        self.settings = OrderSettings(
            **{"database_url": database_url, "signing_key": KEY, **settings}
        )
        self.service = build(self.settings)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.service.app, raise_app_exceptions=False),
            base_url="http://orders",
        )
        self._handler = CheckoutHandler(self.settings.policy(), self.settings.sellers)
        self._processors = {
            subscription.topic.name: BatchProcessor(
                "order", subscription, self.service.database, ConsumerSettings(retry_first_ms=1)
            )
            for subscription in subscriptions(self._handler)
        }
        self._numbers = count(1)
        self.statements: list[str] = []
        for database in (self.service.database, self.service.api_database):
            database.watch(self.statements.append)

    async def close(self) -> None:
        """Close all connections."""
        await self.http.aclose()
        await self.service.database.close()
        await self.service.api_database.close()

    async def empty(self) -> None:
        """Forget everything, documents too, which nobody may delete."""
        await self.query("TRUNCATE documents, document_series")
        for table in TABLES:
            await self.query(f"DELETE FROM {table}")  # noqa: S608 - constants
        self.statements.clear()

    # Over HTTP.

    def customer(self, sub: str = "ada", *roles: str, shop: str = "main") -> dict[str, str]:
        """The Authorization header of a customer, or of somebody with these roles."""
        token = customer_token(
            KEY,
            sub=sub,
            roles=frozenset(roles),
            shop=shop,
            now=utc_now(),
            valid_for=timedelta(minutes=5),
        )
        return {"Authorization": f"Bearer {token}"}

    def signature(self, checkout_id: UUID = CHECKOUT_ID, shop: str = "main") -> str:
        """What the cart puts behind a status URL."""
        return sign(KEY, "checkout", {"shop": shop, "checkout_id": str(checkout_id)})

    async def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        """A look, of Ada unless other headers are given."""
        return await self.http.get(path, headers=self.customer() if headers is None else headers)

    async def post(
        self,
        path: str,
        body: object,
        headers: dict[str, str] | None = None,
        *,
        key: str | None = None,
    ) -> httpx.Response:
        """A command, of Ada unless other headers are given, under a fresh key unless given."""
        who = self.customer() if headers is None else headers
        named = {**who, "Idempotency-Key": key or f"a-key-{next(self._numbers):08}"}
        return await self.http.post(path, json=body, headers=named)

    # What happens.

    async def tell(self, *messages: Message) -> None:
        """Handle messages one after the other, each in a batch of its own."""
        for message in messages:
            await self.send(message)

    async def send(self, *messages: Message) -> None:
        """Handle messages of one topic as one batch, each under a fresh id."""
        await self.handle([self.record(message) for message in messages])

    async def handle(self, records: Sequence[Record]) -> None:
        """Handle records of one topic as one batch."""
        topic = TOPICS_BY_NAME[records[0].topic]
        assert all(record.topic == topic.name for record in records)
        batch = [deliver(record, topic) for record in records]
        assert await self._processors[topic.name].settle(batch, asyncio.Event())

    def record(self, message: Message, message_id: UUID | None = None) -> Record:
        """A message as it comes from Kafka."""
        outgoing = address(message, source="cart", now=utc_now(), message_id=message_id)
        return record_of(outgoing, next(self._numbers))

    async def lock(self, connection: Connection, checkout_id: UUID) -> None:
        """Lock a checkout, in a transaction of the test's own."""
        await store.lock(connection, {checkout_id}, ())

    async def sweep(self) -> int:
        """Note the deadlines that have passed; gives how many checkouts had one."""
        return await note_deadlines(self.settings)(self.service.database)

    async def time_passes(self, seconds: float = 3600) -> None:
        """As if all that waits had waited for so long already."""
        await self.query(
            """
            UPDATE checkouts SET deadline_at = deadline_at - make_interval(secs => $1),
                facts = (
                    jsonb_set(
                        jsonb_set(facts::jsonb, '{waits}', (
                            SELECT coalesce(jsonb_agg(jsonb_set(wait, '{due_at}', to_jsonb(
                                (wait->>'due_at')::timestamptz - make_interval(secs => $1)
                            ))), '[]') FROM jsonb_array_elements(facts::jsonb->'waits') AS wait)),
                        '{order,window_closes_at}', coalesce(to_jsonb(
                            (facts->'order'->>'window_closes_at')::timestamptz
                                - make_interval(secs => $1)), 'null'), false)
                )::json
            WHERE facts IS NOT NULL
            """,
            seconds,
        )

    async def hear_itself(self) -> None:
        """Handle what the service has sent to its own command topic, as if over Kafka."""
        rows = await self.query(
            "DELETE FROM outbox WHERE topic = 'order.commands' RETURNING id, type, payload"
        )
        for row in sorted(rows, key=lambda row: int(row["id"])):
            await self.send(MESSAGES_BY_TYPE[row["type"]].model_validate_json(row["payload"]))

    # What there is.

    async def query(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows of the database."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def value(self, statement: str, *arguments: object) -> Any:
        """The one value that a statement gives."""
        ((value,),) = await self.query(statement, *arguments)
        return value

    async def known(self, checkout_id: UUID = CHECKOUT_ID) -> Checkout | Tombstone | None:
        """What the service knows of a checkout."""
        async with self.service.database.reading() as connection:
            found = await store.load(connection, [checkout_id])
        return found[0] if found else None

    async def checkout(self, checkout_id: UUID = CHECKOUT_ID) -> Checkout:
        """A checkout that has begun."""
        known = await self.known(checkout_id)
        assert isinstance(known, Checkout)
        return known

    async def states(self) -> dict[UUID, str]:
        """State by checkout."""
        return {
            row[0]: row[1] for row in await self.query("SELECT checkout_id, state FROM checkouts")
        }

    async def history(self, checkout_id: UUID = CHECKOUT_ID) -> list[tuple[str, str, str]]:
        """(message, outcome, state) of a history; of the type only its own name."""
        rows = await self.query(
            "SELECT split_part(message_type, '.', 2), outcome, state FROM checkout_history"
            " WHERE checkout_id = $1 ORDER BY entry_no",
            checkout_id,
        )
        return [(row[0], row[1], row[2]) for row in rows]

    async def sent(self, kind: type[M]) -> list[M]:
        """The messages of one kind in the outbox, in order."""
        rows = await self.query("SELECT payload FROM outbox WHERE type = $1 ORDER BY id", kind.type)
        return [kind.model_validate_json(row["payload"]) for row in rows]

    async def sent_types(self) -> list[str]:
        """The types of all messages in the outbox, in order, without version."""
        rows = await self.query("SELECT type FROM outbox ORDER BY id")
        return [str(row["type"]).removesuffix(".v1") for row in rows]

    async def replay(self, action: Action = "replay") -> None:
        """Replay, or discard, all dead letters with what waits behind them."""
        database, now = self.service.database, utc_now()
        async with database.transaction() as connection:
            every = Selection(statuses=(Status.DEAD,))
            run = await begin_run(
                connection,
                "order",
                action,
                every,
                who="olga",
                reason="fixed",
                rate_per_second=None,
                now=now,
            )
        assert run is not None
        for row in await self.query("SELECT id FROM dead_letters WHERE run_id = $1", run.id):
            letter_id: UUID | None = row["id"]
            while letter_id is not None:
                async with database.transaction() as connection:
                    turn = await self.service.replayer.take_turn(connection, letter_id, run, now)
                letter_id = turn.following

    async def blocked(self) -> set[UUID]:
        """The checkouts that a dead letter stands in the way of."""
        return {
            row[0] for row in await self.query("SELECT checkout_id FROM checkouts WHERE blocked")
        }

    async def dead_letters(self) -> list[str]:
        """What the dead letters say, but for what is parked behind them."""
        dead = "SELECT error_text FROM dead_letters WHERE status = 'dead' ORDER BY seq"
        return [row[0] for row in await self.query(dead)]

    def retried_batches(self) -> float:
        """How often a batch was tried again, as after a deadlock or a violated constraint."""
        return sum(
            sample.value
            for sample in next(iter(BATCH_RETRIES.collect())).samples
            if sample.name.endswith("_total")
        )


def refusing(kind: type[Message]) -> Callable[..., Outcome]:
    """A saga that cannot take in one kind of message."""

    def refuse(known: Any, message: Any, *rest: Any) -> Outcome:
        if isinstance(message, kind):
            raise RuntimeError(f"cannot take in {message.type}")
        return advance(known, message, *rest)

    return refuse


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


def of(checkout_id: UUID, message: M) -> M:
    """The same message about another checkout."""
    update: dict[str, object] = {"checkout_id": checkout_id}
    if "payment_id" in type(message).model_fields:
        update["payment_id"] = payment_id_of(checkout_id)
    if "refund_id" in type(message).model_fields:
        update["refund_id"] = refund_id_of(checkout_id, getattr(message, "round"))  # noqa: B009
    return message.model_copy(update=update)


def some_checkouts(many: int) -> list[UUID]:
    """Fresh checkout ids, sorted."""
    return sorted(new_id() for _ in range(many))


def start_of(checkout_id: UUID, customer_id: str = "ada", **request: Any) -> Message:
    """A StartCheckout of its own cart."""
    begins = of(checkout_id, start(**request))
    return begins.model_copy(update={"cart_id": new_id(), "customer_id": customer_id})


async def placed_at(office: Office, checkout_id: UUID, moment: datetime) -> None:
    """As if that order had been placed then."""
    await office.query(
        "UPDATE orders SET placed_at = $2 WHERE checkout_id = $1", checkout_id, moment
    )


COMMANDS, REPLIES = ORDER_COMMANDS.name, ORDER_REPLIES.name
