"""The example service taken apart, to put messages aside and to see what becomes of them."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import httpx
from pydantic import SecretStr

from contracts.ids import new_id
from contracts.messages.inventory import ReserveStock, StockReserved
from contracts.messages.order import StepBlocked, StepUnblocked
from contracts.topics import INVENTORY_COMMANDS, replay_topic
from messaging.batch import BatchProcessor
from messaging.clock import utc_now
from messaging.dead_letters.replays import ReplayProcessor
from messaging.delivery import Delivery, Subscription, deliver
from messaging.records import RawHeaders, Record
from messaging.settings import ConsumerSettings
from messaging.signing import customer_token
from tests.messaging.example import RAISES, CountingHandler, Example, addressed, reserve

KEY = SecretStr("k" * 32)
SETTINGS = ConsumerSettings(retry_first_ms=1)
FIXED = "the handler refused a SKU; fixed in 1.2"


class Bench:
    """The example service's processors and its API, one batch at a time."""

    def __init__(self, example: Example) -> None:
        self.example = example
        self.handler = CountingHandler()
        self.service = example.service(handler=self.handler)
        self.batches = BatchProcessor(
            "inventory",
            Subscription(INVENTORY_COMMANDS, self.handler),
            self.service.database,
            SETTINGS,
        )
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.service.app, raise_app_exceptions=False),
            base_url="http://inventory",
            headers=authorized("operations"),
        )
        self._numbers = count(1)

    async def close(self) -> None:
        await self.http.aclose()
        await self.service.database.close()
        await self.service.api_database.close()

    def replays(self) -> ReplayProcessor:
        return ReplayProcessor(self.service.replayer, self.service.database, SETTINGS)

    # What comes from Kafka.

    def delivery(
        self, message: ReserveStock, change: Callable[[Record], Record] = lambda record: record
    ) -> Delivery:
        sent = addressed(message)
        assert sent.envelope is not None
        headers: RawHeaders = tuple(sent.envelope.headers())
        offset = next(self._numbers)
        record = Record(INVENTORY_COMMANDS.name, 0, offset, sent.key, sent.payload, headers)
        return deliver(change(record), INVENTORY_COMMANDS)

    async def tell(self, *messages: ReserveStock) -> None:
        """Handle messages as one batch."""
        await self.hand(*map(self.delivery, messages))

    async def hand(self, *deliveries: Delivery) -> None:
        assert await self.batches.settle(deliveries, asyncio.Event())

    async def put_aside(self, letters: int) -> None:
        """Have so many dead letters, each of a key of its own: one that came, and its likes."""
        await self.tell(reserve(new_id(), sku=RAISES))
        own = ("id", "message_id", "seq", "key", "key_hash", "copy_key")
        (row,) = await self.example.query(
            "SELECT string_agg(column_name, ', ') FROM information_schema.columns "
            "WHERE table_name = 'dead_letters' AND column_name <> ALL($1)",
            own,
        )
        await self.example.query(
            f"INSERT INTO dead_letters (id, message_id, key, key_hash, {row[0]}) "  # noqa: S608
            "SELECT gen_random_uuid(), gen_random_uuid(), convert_to(n::text, 'UTF8'), "
            f"sha256(convert_to(n::text, 'UTF8')), {row[0]} "
            "FROM dead_letters, generate_series(2, $1) AS n",
            letters,
        )

    async def give_turns(self, processor: ReplayProcessor | None = None) -> None:
        """Handle what is on the way to the replays topic."""
        assert await (processor or self.replays()).settle(await self.turns(), asyncio.Event())

    async def turns(self) -> list[Delivery]:
        """Take the replays out of the outbox."""
        topic = replay_topic("inventory")
        rows = await self.example.query(
            "WITH sent AS (DELETE FROM outbox WHERE topic = $1 RETURNING *) "
            "SELECT * FROM sent ORDER BY id",
            topic.name,
        )
        found = []
        for row in rows:
            headers = (
                ("ce_specversion", b"1.0"),
                ("ce_id", str(row["message_id"]).encode()),
                ("ce_type", row["type"].encode()),
                ("ce_source", row["source"].encode()),
                ("ce_time", row["time"].isoformat().encode()),
                ("ce_subject", row["subject"].encode()),
                ("ce_shopid", row["shop_id"].encode()),
                ("ce_correlationid", row["correlation_id"].encode()),
            )
            record = Record(topic.name, 0, row["id"], row["key"], row["payload"], headers)
            found.append(deliver(record, topic))
        return found

    # What is found.

    async def rounds(self, checkout: UUID) -> list[int]:
        """What took effect, in order."""
        return (await self.example.counts()).get(checkout, (0, []))[1]

    async def statuses(self) -> list[tuple[str, int]]:
        """Of what was put aside: where it stands, and its attempts."""
        rows = await self.example.query("SELECT status, attempts FROM dead_letters ORDER BY seq")
        return [(row["status"], row["attempts"]) for row in rows]

    async def told(self) -> list[tuple[str, int]]:
        """What the saga is told: blocked and unblocked rounds, and answers, in order."""
        names = {kind.type: kind.__name__ for kind in (StepBlocked, StepUnblocked, StockReserved)}
        rows = await self.example.query("SELECT type, round FROM outbox ORDER BY id")
        return [(names[row["type"]], row["round"]) for row in rows if row["type"] in names]

    async def parked(self) -> int:
        """How many keys are parked."""
        return int((await self.example.query("SELECT count(*) FROM parked_keys"))[0][0])

    async def letters(self, **query: Any) -> list[dict[str, Any]]:
        """The list over HTTP, oldest first."""
        answer = await self.http.get("/dead-letters", params=query)
        assert answer.status_code == 200, answer.text
        return list(reversed(answer.json()["items"]))

    async def lock_is_waited_for(self) -> bool:
        return bool(
            await self.example.query(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                "AND datname = current_database()"
            )
        )

    # What operators do.

    async def post(self, path: str, **body: Any) -> httpx.Response:
        headers = {"Idempotency-Key": str(uuid4())}
        return await self.http.post(f"/dead-letters{path}", json=body, headers=headers)

    async def run(self, action: str = "replay", **chosen: Any) -> str:
        """Begin a run; its id."""
        answer = await self.post("/runs", action=action, reason=FIXED, **chosen)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def figures(self, run_id: str) -> dict[str, Any]:
        """How far a run is."""
        answer = await self.http.get(f"/dead-letters/runs/{run_id}")
        names = ("status", "chosen", "done", "failed", "untried", "drained")
        return {name: answer.json()[name] for name in names}

    async def fingerprint(self) -> str:
        (row,) = await self.example.query(
            "SELECT DISTINCT fingerprint FROM dead_letters WHERE fingerprint IS NOT NULL"
        )
        return str(row[0])


def authorized(*roles: str) -> dict[str, str]:
    token = customer_token(
        KEY,
        sub="olga",
        roles=frozenset(roles),
        now=utc_now(),
        valid_for=timedelta(minutes=5),
    )
    return {"Authorization": f"Bearer {token}"}
