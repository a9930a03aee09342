"""The services on a runtime of their own, with goods on the shelves and carts that check out.

The carts are there as their shoppers would have left them: locked, and their first event told.
Each checkout is placed on `order.commands` as its cart would send it, so what is measured begins
with the saga.
"""

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
from aiokafka import AIOKafkaProducer

from bench.batches import Told, told
from bench.progress import WrongState, watched
from bench.servers import given_servers, made_home, own_database
from bench.statement_log import counted
from contracts.ids import new_id
from contracts.messages.cart import CartChanged
from contracts.messages.order import StartCheckout
from contracts.messages.parts import Address, OrderLine, PaymentMethod
from messaging.clock import utc_now
from messaging.database import Database
from messaging.http.tokens import hash_token
from messaging.outbox import Outgoing, address, write_outgoing
from messaging.relay.rows import LARGEST_BATCH_BYTES
from trolley.audit import Sources, audit
from trolley.client import Client
from trolley.demo.orders import Product, Variant
from trolley.demo.pace import Pace
from trolley.demo.settings import DemoSettings
from trolley.demo.shop import Shop
from trolley.runtime.stack import Runtime
from trolley.services import SERVICES, databases
from trolley.settings import RuntimeSettings
from trolley.topics import admin_client, kafka_settings

CURRENCY = "GBP"
PRICE_MINOR = 500
PIECES_ON_THE_SHELF = 1_000_000
LINES = 3
"""Lines of a checkout, one piece each."""

HOME = Address(name="Ada", line1="1 Mill Lane", city="Leeds", country="GB")
PAYS = PaymentMethod(token="pm_ok")  # noqa: S106 - names a method, opens nothing
SKUS = tuple(f"BENCH-{number}" for number in range(500))
ROWS_AT_ONCE = 1_000
WINDOW_SECONDS = 1_800
KEPT_LOG_MIB = 4_096
"""No log is put aside while its statements are counted."""

_KNOWN = """
    SELECT count(*) FROM catalog_items JOIN stock_availability USING (shop_id, sku)
    WHERE sku = ANY($1) AND available > 0
"""


@dataclass(frozen=True, slots=True)
class Placed:
    """A cart and its checkout."""

    checkout_id: UUID
    cart_id: UUID
    skus: tuple[str, ...]
    method: PaymentMethod = PAYS
    window_seconds: int = WINDOW_SECONDS

    @property
    def token(self) -> str:
        """The Cart-Token of the guest whose cart it is."""
        return self.cart_id.hex


class Pipeline:
    """All services, ready."""

    def __init__(self, runtime: Runtime, orders: asyncpg.Connection) -> None:
        self.runtime = runtime
        self._orders = orders

    @property
    def processes(self) -> dict[str, int]:
        """Ids of the servers and services, by name."""
        state = self.runtime.home.state()
        assert state is not None  # noqa: S101 - it runs
        pids = {one.name.removesuffix("-0"): one.pid for one in state.processes if one.pid}
        return dict(sorted(pids.items()))

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Counter[str] | None]:
        """What the services ask in this block, by database; None of servers that are not ours."""
        postgres = self.runtime.postgres
        if postgres is None:
            yield None
            return
        own = self._orders.get_server_pid()
        async with counted(postgres.url, postgres.log, without=own) as asked:
            yield asked
        del asked["postgres"]

    @property
    def databases(self) -> dict[str, str]:
        """URLs of the services' databases, by name."""
        return {one.name: self.runtime.database_url(one.name) for one in databases()}

    async def put_on_shelves(self, skus: Sequence[str], pieces: int = PIECES_ON_THE_SHELF) -> None:
        """Receive so many of each of these goods: by default more than anybody buys."""
        async with self._shop() as shop:
            await shop.receive(dict.fromkeys(skus, pieces))

    async def offer(self, skus: Sequence[str]) -> None:
        """Put these goods into the catalog and on the shelves, and wait until carts know them."""
        products = [Product(sku, sku, PRICE_MINOR, (Variant(sku, 0),)) for sku in skus]
        async with self._shop() as shop:
            await shop.import_products(products)
            await shop.receive(dict.fromkeys(skus, PIECES_ON_THE_SHELF))
        carts = await asyncpg.connect(self.runtime.database_url("cart"))

        async def known() -> int:
            count: int = await carts.fetchval(_KNOWN, list(skus))
            return count

        try:
            await watched(known, len(skus), "goods that carts know")
        finally:
            await carts.close()

    @asynccontextmanager
    async def _shop(self) -> AsyncIterator[Shop]:
        urls = {service.name: self.runtime.url(service.name) for service in SERVICES}
        async with Client(urls, DemoSettings()) as client:
            yield Shop(client, self.runtime.signing_key, Pace(0.1, shortest=0.1, longest=1))

    async def fill_carts(
        self,
        count: int,
        skus: Sequence[str],
        *,
        lines: int = LINES,
        checking_out: bool = True,
        at_rest: bool = True,
    ) -> list[Placed]:
        """So many carts, each with a few of these goods, and locked by its checkout if asked.

        Their events are published when it returns, unless it need not be `at_rest`.
        """
        placed = [
            Placed(
                new_id(),
                new_id(),
                tuple(skus[(number * lines + line) % len(skus)] for line in range(lines)),
            )
            for number in range(count)
        ]
        url = self.runtime.database_url("cart")

        async def waiting() -> int:
            count: int = await carts.fetchval("SELECT -count(*) FROM outbox")
            return count

        database = Database(url, pool_connections=1, application_name="bench")
        carts = await asyncpg.connect(url)
        try:
            now = utc_now()
            for some in _portions(placed, ROWS_AT_ONCE):
                await _insert_carts(carts, some, now, checking_out)
                opened = [
                    CartChanged(event_seq=1, cart_id=one.cart_id, status="active", changed_at=now)
                    for one in some
                ]
                async with database.transaction() as connection:
                    rows = [address(event, source="cart", now=now) for event in opened]
                    await write_outgoing(connection, rows)
            if at_rest:
                await carts.execute("ANALYZE carts, cart_lines")
                await watched(waiting, 0, "events of carts that wait")
        finally:
            await carts.close()
            await database.close()
        return placed

    async def place(self, placed: Sequence[Placed]) -> None:
        """Put the checkouts onto their topic, all of them in one go.

        They are made before the first is sent: while they are taken, little else is done here.
        """
        environment = self.runtime.environment
        prefix = environment.get("KAFKA_TOPIC_PREFIX", "")
        now = utc_now()
        places: dict[tuple[str, int], list[Outgoing]] = {}
        for one in placed:
            row = address(_start(one, now), source="cart", now=now)
            places.setdefault((prefix + row.topic, row.partition), []).append(row)
        producer = AIOKafkaProducer(
            bootstrap_servers=environment["KAFKA_BOOTSTRAP_SERVERS"],
            enable_idempotence=True,
            max_batch_size=LARGEST_BATCH_BYTES,
        )
        async with producer:
            await asyncio.gather(*(_send(producer, place, rows) for place, rows in places.items()))

    async def ended(self) -> int:
        """How many checkouts are final."""
        count: int = await self._orders.fetchval("SELECT count(*) FROM checkouts WHERE final")
        return count

    async def states(self) -> dict[str, int]:
        """Checkouts by state."""
        rows = await self._orders.fetch("SELECT state, count(*) FROM checkouts GROUP BY state")
        return {row["state"]: row["count"] for row in rows}

    async def messages(self) -> int:
        """How many messages the services have published so far."""
        total = 0
        for service in SERVICES:
            url = self.runtime.database_url(service.name)
            connection = await asyncpg.connect(url)
            try:
                last = await connection.fetchval("SELECT last_value FROM outbox_id_seq")
                total += last or 0
            finally:
                await connection.close()
        return total

    async def settle(self, wanted: Mapping[str, int]) -> None:
        """So many checkouts ended in each state, and all is as it must be. Raises `WrongState`."""
        await watched(self.ended, sum(wanted.values()), "ended")
        states = await self.states()
        if states != {state: count for state, count in wanted.items() if count}:
            raise WrongState(f"checkouts ended as {states}, not as {wanted}")
        await self.audit()

    async def told(self) -> Told:
        """Records and batches so far, by consumer, of the services that run."""
        running = [one.name for one in SERVICES if self.runtime.pid(one.name) is not None]
        return await told({name: self.runtime.urls(name) for name in running})

    async def audit(self) -> None:
        """Everything is as it must be. Raises `WrongState`."""
        report = await audit(Sources.named_by(self.runtime.environment))
        if not report.clean:
            raise WrongState(f"the auditor found {[one.id for one in report.findings]}")


@asynccontextmanager
async def pipeline(*, replicas: int = 1, **environment: str) -> AsyncIterator[Pipeline]:
    """All services with empty databases, gone at the end; with these settings besides."""
    home = made_home()
    try:
        async with (
            _own_places() as places,
            Runtime(
                home / "home",
                replicas=replicas,
                environment={**places, **environment},
                settings=RuntimeSettings(log_rotate_mib=KEPT_LOG_MIB),
            ) as runtime,
        ):
            await runtime.wait_ready()
            orders = await asyncpg.connect(runtime.database_url("order"))
            try:
                yield Pipeline(runtime, orders)
            except BaseException as error:
                kept = Path(tempfile.mkdtemp(prefix="trolley-bench-logs-"))
                shutil.copytree(runtime.home.logs, kept, dirs_exist_ok=True)
                error.add_note(f"the logs are kept in {kept}")
                raise
            finally:
                await orders.close()
    finally:
        await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)


@asynccontextmanager
async def _own_places() -> AsyncIterator[dict[str, str]]:
    """Settings that name databases and topics of our own, on servers that were given to us."""
    given = given_servers()
    if given is None:
        yield {}
        return
    prefix = f"bench_{uuid4().hex[:8]}_"
    kafka = {"KAFKA_BOOTSTRAP_SERVERS": given.kafka, "KAFKA_TOPIC_PREFIX": prefix}
    async with AsyncExitStack() as stack:
        urls = {
            one.setting: await stack.enter_async_context(
                own_database(given.postgres, f"{prefix}{one.name}")
            )
            for one in databases()
        }
        try:
            yield {**kafka, **urls}
        finally:
            async with admin_client(kafka_settings(kafka)) as admin:
                names = await admin.list_topics()
                await admin.delete_topics([name for name in names if name.startswith(prefix)])


def _portions(placed: Sequence[Placed], most: int) -> Iterator[Sequence[Placed]]:
    for first in range(0, len(placed), most):
        yield placed[first : first + most]


async def _insert_carts(
    carts: asyncpg.Connection, some: Sequence[Placed], now: datetime, checking_out: bool
) -> None:
    await carts.copy_records_to_table(
        "carts",
        columns=[
            *("cart_id", "shop_id", "guest_token_hash", "currency", "status", "version"),
            *("event_seq", "last_line_no", "checkout_id", "checkout_fingerprint"),
            *("created_at", "changed_at"),
        ],
        records=[
            (
                *(one.cart_id, "main", hash_token(one.token), CURRENCY),
                *(("locked", 2) if checking_out else ("active", 1)),
                *(1, len(one.skus)),
                *((one.checkout_id, "as placed") if checking_out else (None, None)),
                *(now, now),
            )
            for one in some
        ],
    )
    await carts.copy_records_to_table(
        "cart_lines",
        columns=[
            *("cart_id", "line_no", "sku", "name", "quantity"),
            *("added_price_minor", "seen_price_minor"),
        ],
        records=[
            (one.cart_id, number, sku, sku, 1, PRICE_MINOR, PRICE_MINOR)
            for one in some
            for number, sku in enumerate(one.skus, start=1)
        ],
    )


async def _send(
    producer: AIOKafkaProducer, place: tuple[str, int], rows: Sequence[Outgoing]
) -> None:
    """In order, one batch after the other."""
    topic, partition = place
    batch = producer.create_batch()
    for row in rows:
        assert row.envelope is not None  # noqa: S101 - `address` has put it there
        headers = row.envelope.headers()
        record = {"key": row.key, "value": row.payload, "headers": headers, "timestamp": None}
        if batch.append(**record) is None:
            await (await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(**record)
    await (await producer.send_batch(batch, topic, partition=partition))


def _start(placed: Placed, now: datetime) -> StartCheckout:
    return StartCheckout(
        checkout_id=placed.checkout_id,
        cart_id=placed.cart_id,
        cart_version=2,
        guest_token_hash=hash_token(placed.token),
        email="ada@shop.example",
        shipping_address=HOME,
        currency=CURRENCY,
        lines=tuple(
            OrderLine(
                sku=sku,
                name=sku,
                unit_price_minor=PRICE_MINOR,
                quantity=1,
                net_minor=PRICE_MINOR,
                gross_minor=PRICE_MINOR,
            )
            for sku in placed.skus
        ),
        total_minor=len(placed.skus) * PRICE_MINOR,
        payment=placed.method,
        payment_window_seconds=placed.window_seconds,
        requested_at=now,
    )
