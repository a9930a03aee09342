# ruff: noqa: S608 - every statement is made of constants
"""A shop of any size, as its services would have left it: what a benchmark of the auditor reads.

Order `n` is paid, but for every tenth, which was declined and given up, and every tenth after
those, which was paid and refunded. Each has two SKUs and postage. Rows are made by SQL from the
numbers of the orders, so a range of them can be added to what is there already; all of a range
are committed together in each database. Not made is what no invariant reads: inboxes, histories,
operations that ended.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete

from contracts.envelope import SPEC_VERSION
from contracts.messages.cart import CartChanged
from contracts.messages.inventory import StockMoved
from contracts.messages.order import (
    OrderCancelled,
    OrderEvent,
    OrderPaid,
    OrderPaymentFailed,
    OrderPlaced,
    OrderRefunded,
)
from contracts.messages.payment import PaymentChanged
from contracts.partitioning import partition_of
from contracts.topics import CART_EVENTS, INVENTORY_EVENTS, ORDER_EVENTS, PAYMENT_EVENTS, Topic
from messaging.settings import KafkaSettings
from trolley.audit.invariant import Source
from trolley.audit.published import EVENT_TOPICS
from trolley.topics import admin_client

CURRENCY = "GBP"
PRICE, POSTAGE = 1_250, 250
PIECES_PER_LINE = 2
LINES = 2 * PIECES_PER_LINE * PRICE
TOTAL = LINES + POSTAGE
RECEIVED = 10_000_000
"""Pieces of each SKU that came before the first order."""


def _derived(name: str) -> str:
    """The id of that name of order `n`: spread over all values, as derived ids are."""
    return f"md5('{name} ' || n)::uuid"


def _timed(name: str) -> str:
    """Likewise, in the order of the numbers, as ids are that carry their time."""
    return (
        f"(lpad(to_hex(1780000000000 + n), 12, '0') || '7' || substr(md5('{name} ' || n), 1, 3)"
        f" || '8' || substr(md5('{name} ' || n), 4, 15))::uuid"
    )


CHECKOUT, CART = _timed("checkout"), _timed("cart")
ORDER, PAYMENT = _derived("order"), _derived("payment")
CHARGE, REFUND = _derived("charge"), _derived("refund")
CHARGE_KEY, REFUND_KEY = f"({PAYMENT} || ':1:charge')", f"({PAYMENT} || ':refund')"

DECLINED, REFUNDED, SOLD = "n % 10 = 0", "n % 10 = 1", "n % 10 > 1"
INVOICE, CREDIT_NOTE = "n - n / 10", "(n + 9) / 10"
"""The number of the last invoice, and credit note, up to order `n`."""
ORDERS = "generate_series($1::bigint, $2::bigint) AS n"
AT = "statement_timestamp() - ($2 - n) * interval '30 milliseconds'"
"""When everything happened to order `n`: a million of them in eight hours."""

_SKU = "'SKU-' || lpad({number}::text, 6, '0')"
_LINES = "LATERAL (VALUES (1, (n * 7) % $3), (2, (n * 7 + 3) % $3)) AS line (number, sku)"
"""The two SKUs of an order, of $3 in all."""


def _padding(size: int) -> str:
    """Text that does not compress away."""
    return " || ".join(f"md5('{number} ' || n)" for number in range(size // 32))


GOODS: Mapping[Source, tuple[str, ...]] = {
    Source.CATALOG: (
        "INSERT INTO catalogs VALUES ('main')",
        f"""
        INSERT INTO products (shop_id, code, name, status, attributes, version, created_at,
            updated_at)
        SELECT 'main', {_SKU.format(number="n")}, 'Thing ' || n, 'active', '{{}}', 1, now(), now()
        FROM generate_series(0, $1::bigint - 1) AS n
        """,
        """
        INSERT INTO base_prices (shop_id, product_code, currency, amount_minor)
        SELECT shop_id, code, 'GBP', 1250 FROM products
        """,
        """
        INSERT INTO variants (shop_id, product_code, sku, name, status, attributes, version,
            created_at, updated_at)
        SELECT shop_id, code, code, '', 'active', '{}', 1, now(), now() FROM products
        """,
        """
        INSERT INTO prices (shop_id, product_code, sku, currency, base_minor, additional_minor)
        SELECT shop_id, code, code, 'GBP', 1250, 0 FROM products
        """,
    ),
    Source.INVENTORY: (
        f"""
        INSERT INTO stock_items (shop_id, sku, event_seq, availability_version)
        SELECT 'main', {_SKU.format(number="n")}, 1, 1 FROM generate_series(0, $1::bigint - 1) AS n
        """,
        f"""
        INSERT INTO stock_levels (shop_id, sku, warehouse, on_hand, reserved)
        SELECT shop_id, sku, 'main', {RECEIVED}, 0 FROM stock_items
        """,
        f"""
        INSERT INTO movements (shop_id, sku, event_seq, warehouse, kind, quantity, on_hand,
            operation_id, round, line, moved_at)
        SELECT shop_id, sku, 1, 'main', 'receipt', {RECEIVED}, {RECEIVED},
            md5('receipt ' || sku)::uuid, 1, 1, now() FROM stock_items
        """,
    ),
    Source.CART: (
        f"""
        INSERT INTO catalog_items (shop_id, sku, name, active, prices, version)
        SELECT 'main', {_SKU.format(number="n")}, 'Thing ' || n, true, '{{"GBP": 1250}}', 1
        FROM generate_series(0, $1::bigint - 1) AS n
        """,
        f"""
        INSERT INTO stock_availability (shop_id, sku, available, version)
        SELECT shop_id, sku, {RECEIVED}, 1 FROM catalog_items
        """,
    ),
}
"""What is there before the first order; $1 is the number of SKUs."""

_MOVES = f"""
    SELECT 'main' AS shop_id, {_SKU.format(number="line.sku")} AS sku, n, line.number AS line,
        kind, quantity, {CHECKOUT} AS operation_id, {AT} AS moved_at
    FROM {ORDERS}, {_LINES}, (VALUES ('sale', -{PIECES_PER_LINE}), ('return', {PIECES_PER_LINE}))
        AS move (kind, quantity)
    WHERE NOT ({DECLINED}) AND (kind = 'sale' OR {REFUNDED})
"""

MADE: Mapping[Source, tuple[str, ...]] = {
    Source.CART: (
        f"""
        INSERT INTO carts (cart_id, shop_id, guest_token_hash, currency, status, version,
            event_seq, last_line_no, left_out, checkout_id, checkout_fingerprint, order_id,
            created_at, changed_at)
        SELECT {CART}, 'main', md5('guest ' || n), 'GBP', 'bought', 4, 4, 2, '[]', {CHECKOUT},
            md5('request ' || n), {ORDER}, {AT}, {AT}
        FROM {ORDERS}
        """,
        f"""
        INSERT INTO cart_lines (cart_id, line_no, sku, name, quantity, added_price_minor,
            seen_price_minor)
        SELECT {CART}, line.number, {_SKU.format(number="line.sku")}, 'Thing ' || line.sku,
            {PIECES_PER_LINE}, {PRICE}, {PRICE}
        FROM {ORDERS}, {_LINES}
        """,
        f"""
        INSERT INTO restorations (checkout_id, shop_id, cart_id, restored_at)
        SELECT {CHECKOUT}, 'main', {CART}, {AT} FROM {ORDERS} WHERE NOT ({SOLD})
        """,
        f"""
        UPDATE stock_availability a SET available = available - sold, version = version + 1
        FROM (
            SELECT {_SKU.format(number="line.sku")} AS sku, count(*) * {PIECES_PER_LINE} AS sold
            FROM {ORDERS}, {_LINES} WHERE {SOLD} GROUP BY line.sku
        ) AS line WHERE a.shop_id = 'main' AND a.sku = line.sku
        """,
    ),
    Source.INVENTORY: (
        f"""
        INSERT INTO reservations (shop_id, owner_id, round, id, owner, status, expires_at,
            questions, changed_at)
        SELECT 'main', {CHECKOUT}, 1, {_derived("reservation")}, 'checkout',
            CASE WHEN {DECLINED} THEN 'released' WHEN {REFUNDED} THEN 'booked_back'
                ELSE 'committed' END, {AT}, 0, {AT}
        FROM {ORDERS}
        """,
        f"""
        INSERT INTO reservation_lines (shop_id, owner_id, round, sku, warehouse, quantity)
        SELECT 'main', {CHECKOUT}, 1, {_SKU.format(number="line.sku")}, 'main', {PIECES_PER_LINE}
        FROM {ORDERS}, {_LINES}
        """,
        f"""
        INSERT INTO movements (shop_id, sku, event_seq, warehouse, kind, quantity, on_hand,
            operation_id, round, line, moved_at)
        SELECT shop_id, sku,
            event_seq + row_number() OVER (PARTITION BY sku ORDER BY n, kind DESC), 'main', kind,
            quantity, on_hand + sum(quantity) OVER (PARTITION BY sku ORDER BY n, kind DESC),
            operation_id, 1, line, moved_at
        FROM ({_MOVES}) AS move
        JOIN stock_items USING (shop_id, sku) JOIN stock_levels USING (shop_id, sku)
        """,
        """
        UPDATE stock_items i SET event_seq = last, availability_version = availability_version + 1
        FROM (SELECT sku, max(event_seq) AS last FROM movements GROUP BY sku) AS moved
        WHERE i.sku = moved.sku AND i.event_seq <> last
        """,
        """
        UPDATE stock_levels l SET on_hand = m.on_hand
        FROM stock_items i JOIN movements m USING (shop_id, sku, event_seq)
        WHERE l.sku = i.sku AND l.on_hand <> m.on_hand
        """,
        f"""
        INSERT INTO recorded_replies (checkout_id, step, round, reply_id, type, payload)
        SELECT {CHECKOUT}, step, 1, md5(step || n)::uuid, 'inventory.' || reply || '.v1',
            convert_to('{{"lines": "' || {_padding(128)} || '"}}', 'UTF8')
        FROM {ORDERS}, (VALUES ('reserve', 'stock_reserved'), ('commit', 'reservation_committed'),
            ('release', 'stock_released')) AS answer (step, reply)
        WHERE step = 'reserve' OR step = 'commit' AND NOT ({DECLINED})
            OR step = 'release' AND NOT ({SOLD})
        """,
    ),
    Source.PAYMENT: (
        f"""
        INSERT INTO payments (payment_id, shop_id, checkout_id, order_id, currency, status,
            authorized_minor, captured_minor, refund_pending_minor, refunded_minor, event_seq,
            created_at, updated_at)
        SELECT {PAYMENT}, 'main', {CHECKOUT}, {ORDER}, 'GBP', 'settled', paid, paid, 0,
            CASE WHEN {REFUNDED} THEN paid ELSE 0 END, 1, {AT}, {AT}
        FROM {ORDERS}, LATERAL (SELECT CASE WHEN {DECLINED} THEN 0 ELSE {TOTAL} END) AS p (paid)
        """,
        f"""
        INSERT INTO attempts (payment_id, attempt, status, details, provider, method_token, flow,
            amount_minor, charge_key, charge_round, created_at, updated_at)
        SELECT {PAYMENT}, 1, CASE WHEN {DECLINED} THEN 'declined' ELSE 'succeeded' END, '{{}}',
            'simulated', 'sim_ok', 'automatic', {TOTAL}, {CHARGE_KEY}, 1, {AT}, {AT}
        FROM {ORDERS}
        """,
        f"""
        INSERT INTO refunds (refund_id, payment_id, attempt, round, amount_minor, reason, status,
            details, created_at, updated_at)
        SELECT {REFUND}, {PAYMENT}, 1, 1, {TOTAL}, 'cancelled', 'refunded', '{{}}', {AT}, {AT}
        FROM {ORDERS} WHERE {REFUNDED}
        """,
        f"""
        INSERT INTO operations (operation_id, payment_id, attempt, refund_id, kind,
            idempotency_key, provider, amount_minor, status, next_call, claimable_at, makes, asks,
            answered, hinted, waited_for, reports, created_at, updated_at)
        SELECT CASE kind WHEN 'charge' THEN {CHARGE} ELSE md5('refunding ' || n)::uuid END,
            {PAYMENT}, 1, CASE kind WHEN 'refund' THEN {REFUND} END, kind,
            CASE kind WHEN 'charge' THEN {CHARGE_KEY} ELSE {REFUND_KEY} END, 'simulated', {TOTAL},
            'done', 'ask', {AT}, 1, 0, true, false, false, 1, {AT}, {AT}
        FROM {ORDERS}, (VALUES ('charge'), ('refund')) AS made (kind)
        WHERE kind = 'charge' OR {REFUNDED}
        """,
        f"""
        INSERT INTO ledger (payment_id, seq, attempt, kind, amount_minor, currency, operation_id,
            refund_id, provider, recorded_at)
        SELECT {PAYMENT}, seq, 1, kind, {TOTAL}, 'GBP',
            CASE WHEN seq < 3 THEN {CHARGE} ELSE md5('refunding ' || n)::uuid END,
            CASE WHEN seq > 2 THEN {REFUND} END, 'simulated', {AT}
        FROM {ORDERS}, (VALUES (1, 'authorized'), (2, 'captured'), (3, 'refund_requested'),
            (4, 'refunded')) AS fact (seq, kind)
        WHERE NOT ({DECLINED}) AND (seq < 3 OR {REFUNDED})
        """,
        f"""
        INSERT INTO recorded_replies (checkout_id, step, round, reply_id, type, payload)
        SELECT {CHECKOUT}, step, 1, md5(step || n)::uuid, 'payment.' || reply || '.v1',
            convert_to(json_build_object('payment_id', {PAYMENT}, 'attempt', 1,
                'more', {_padding(128)})::text, 'UTF8')
        FROM {ORDERS}, (VALUES ('charge', 'succeeded'), ('charge', 'declined'),
            ('close_payment', 'closed'), ('refund', 'refunded')) AS answer (step, reply)
        WHERE CASE reply WHEN 'succeeded' THEN NOT ({DECLINED}) WHEN 'refunded' THEN {REFUNDED}
            ELSE {DECLINED} END
        """,
    ),
    Source.SIMULATED_PROVIDER: (
        f"""
        INSERT INTO ledger (charge_key, payment_id, attempt, kind, amount_minor, currency,
            booked_at, refund_key)
        SELECT {CHARGE_KEY}, {PAYMENT}, 1, kind, {TOTAL}, 'GBP', {AT},
            CASE WHEN seq > 2 THEN {REFUND_KEY} END
        FROM {ORDERS}, (VALUES (1, 'authorized'), (2, 'captured'), (3, 'refund_requested'),
            (4, 'refunded')) AS fact (seq, kind)
        WHERE NOT ({DECLINED}) AND (seq < 3 OR {REFUNDED})
        ORDER BY n
        """,
    ),
    Source.ORDER: (
        f"""
        INSERT INTO checkouts (checkout_id, shop_id, guest_token_hash, state, cart_id, order_id,
            currency, total_minor, request, facts, final, captured_minor, refunded_minor,
            created_at, changed_at)
        SELECT {CHECKOUT}, 'main', md5('guest ' || n),
            CASE WHEN {SOLD} THEN 'paid' ELSE 'cancelled' END, {CART}, {ORDER}, 'GBP', {TOTAL},
            convert_to({_padding(768)}, 'UTF8'), json_build_object('lines', {_padding(768)}), true,
            CASE WHEN {DECLINED} THEN 0 ELSE {TOTAL} END,
            CASE WHEN {REFUNDED} THEN {TOTAL} ELSE 0 END, {AT}, {AT}
        FROM {ORDERS}
        """,
        f"""
        INSERT INTO orders (order_id, shop_id, checkout_id, number, guest_token_hash, email,
            shipping_address, currency, total_minor, payment_status, fulfilment_status,
            return_status, event_seq, placed_at, window_closes_at, changed_at)
        SELECT {ORDER}, 'main', {CHECKOUT}, 'B-' || n, md5('guest ' || n), n || '@example.com',
            jsonb_build_object('street', md5('street ' || n), 'town', md5('town ' || n)),
            'GBP', {TOTAL},
            CASE WHEN {DECLINED} THEN 'cancelled' WHEN {REFUNDED} THEN 'refunded' ELSE 'paid' END,
            CASE WHEN {SOLD} THEN 'ready' ELSE 'cancelled' END, 'none',
            CASE WHEN {DECLINED} THEN 3 WHEN {REFUNDED} THEN 4 ELSE 2 END, {AT}, {AT}, {AT}
        FROM {ORDERS}
        """,
        f"""
        INSERT INTO order_lines (order_id, line_no, sku, name, quantity, unit_price_minor,
            net_minor, gross_minor, discounts, taxes)
        SELECT {ORDER}, line.number, {_SKU.format(number="line.sku")}, 'Thing ' || line.sku,
            {PIECES_PER_LINE}, {PRICE}, {PIECES_PER_LINE * PRICE - 400}, {PIECES_PER_LINE * PRICE},
            '[]', '[{{"rate": "0.2", "inclusive": true, "amount_minor": 400}}]'
        FROM {ORDERS}, {_LINES}
        """,
        f"""
        INSERT INTO order_lines (order_id, line_no, method, name, quantity, unit_price_minor,
            net_minor, gross_minor, discounts, taxes)
        SELECT {ORDER}, 3, 'post', 'By post', 1, {POSTAGE}, {POSTAGE - 40}, {POSTAGE},
            '[]', '[{{"rate": "0.2", "inclusive": true, "amount_minor": 40}}]'
        FROM {ORDERS}
        """,
        f"""
        INSERT INTO documents (document_id, shop_id, order_id, kind, attempt, refund, invoice_id,
            series, year, sequence, currency, net_minor, gross_minor, content, issued_at)
        SELECT {_derived("' || kind || '")}, 'main', {ORDER}, kind, 1, refund,
            CASE WHEN kind <> 'invoice' THEN {_derived("invoice")} END, series,
            CASE WHEN series IS NOT NULL THEN 2026 END,
            CASE kind WHEN 'invoice' THEN {INVOICE} WHEN 'credit_note' THEN {CREDIT_NOTE} END,
            'GBP', {TOTAL - 2 * 400 - 40}, {TOTAL}, json_build_object('lines', {_padding(768)}),
            {AT}
        FROM {ORDERS}, (VALUES ('invoice', 'INV', 0), ('receipt', NULL, 0),
            ('credit_note', 'CN', 1)) AS document (kind, series, refund)
        WHERE NOT ({DECLINED}) AND (refund = 0 OR {REFUNDED})
        """,
        f"""
        INSERT INTO document_series (shop_id, series, year, last)
        SELECT 'main', series, 2026, last FROM (SELECT max(n) AS n FROM {ORDERS}) AS newest,
            LATERAL (VALUES ('INV', {INVOICE}), ('CN', {CREDIT_NOTE})) AS s (series, last)
        WHERE last > 0
        ON CONFLICT (shop_id, series, year) DO UPDATE SET last = excluded.last
        """,
    ),
}
"""What orders $1 to $2 leave behind, with $3 SKUs in all."""


_Event = tuple[Topic, str, str, str, int]

_BATCH_BYTES = 500_000
_BODY = b'{"total_minor": %d, "more": "%s"}' % (TOTAL, b"x" * 400)
_HEADERS = [
    ("ce_specversion", SPEC_VERSION.encode()),
    ("ce_source", b"/trolley/bench"),
    ("ce_time", b"2026-01-01T00:00:00+00:00"),
    ("content-type", b"application/json"),
    ("ce_shopid", b"main"),
]


def _became(n: int) -> tuple[type[OrderEvent], ...]:
    """The events of order `n`."""
    match n % 10:
        case 0:
            return OrderPlaced, OrderPaymentFailed, OrderCancelled
        case 1:
            return OrderPlaced, OrderPaid, OrderRefunded, OrderCancelled
        case _:
            return OrderPlaced, OrderPaid


class Shop:
    """The databases and topics of a shop that grows by ranges of orders."""

    def __init__(self, urls: Mapping[Source, str], kafka: KafkaSettings, *, skus: int) -> None:
        self._urls = urls
        self._kafka = kafka
        self._skus = skus
        self._orders = 0

    async def stock(self) -> None:
        """Put the goods on the shelves."""
        await asyncio.gather(*(self._run(one, GOODS[one], self._skus) for one in GOODS))

    async def sell(self, orders: int) -> None:
        """Take so many orders more, and publish nothing of them."""
        first, last = self._orders + 1, self._orders + orders
        await asyncio.gather(*(self._run(one, MADE[one], first, last, self._skus) for one in MADE))
        self._orders = last

    async def analyze(self) -> None:
        """What autovacuum does in its time."""
        for url in self._urls.values():
            async with _connected(url) as connection:
                await connection.execute("VACUUM ANALYZE")

    async def publish(self, first: int, last: int) -> int:
        """Publish what happened to these orders, counted from 1; returns the number of events."""
        events = [event async for event in self._events(first, last)]
        producer = AIOKafkaProducer(
            bootstrap_servers=self._kafka.bootstrap_servers, max_batch_size=_BATCH_BYTES
        )
        await producer.start()
        try:
            for topic in EVENT_TOPICS:
                await self._publish(producer, topic, [one for one in events if one[0] is topic])
        finally:
            await producer.stop()
        return len(events)

    async def forget(self) -> None:
        """Take from the topics whatever stands there, as retention does in its time."""
        producer = AIOKafkaProducer(bootstrap_servers=self._kafka.bootstrap_servers)
        ends = {}
        async with producer, admin_client(self._kafka) as admin:
            for topic in EVENT_TOPICS:
                name = self._kafka.topic_prefix + topic.name
                for partition in range(topic.partitions):
                    place = TopicPartition(name, partition)
                    sent = await producer.send_and_wait(name, b"gone", partition=partition)
                    ends[place] = RecordsToDelete(sent.offset + 1)
            await admin.delete_records(ends)

    async def _publish(
        self, producer: AIOKafkaProducer, topic: Topic, events: list[_Event]
    ) -> None:
        name = self._kafka.topic_prefix + topic.name
        builders: dict[int, Any] = {}
        for _, kind, key, story, number in events:
            coded, partition = key.encode(), partition_of(key.encode(), topic.partitions)
            builder = builders.get(partition) or producer.create_batch()
            builders[partition] = builder
            envelope = [*_HEADERS, ("ce_id", str(uuid4()).encode()), ("ce_type", kind.encode())]
            envelope += [("ce_subject", coded), ("ce_correlationid", story.encode())]
            envelope.append(("ce_eventseq", str(number).encode()))
            record = {"key": coded, "value": _BODY, "headers": envelope, "timestamp": None}
            if builder.append(**record) is None:
                await producer.send_batch(builder, name, partition=partition)
                builders[partition] = producer.create_batch()
                builders[partition].append(**record)
        for partition, builder in builders.items():
            await producer.send_batch(builder, name, partition=partition)

    async def _events(self, first: int, last: int) -> AsyncIterator[_Event]:
        """Type, key, correlation id and number of each event, in order per key."""
        async with _connected(self._urls[Source.INVENTORY]) as connection:
            ids = f"SELECT n, {CHECKOUT}::text, {ORDER}::text, {PAYMENT}::text, {CART}::text"
            for n, checkout, order, payment, cart in await connection.fetch(
                f"{ids} FROM {ORDERS}", first, last
            ):
                for number, happened in enumerate(_became(n), start=1):
                    yield ORDER_EVENTS, happened.type, order, checkout, number
                yield PAYMENT_EVENTS, PaymentChanged.type, payment, checkout, 1
                for number in range(1, 5):
                    yield CART_EVENTS, CartChanged.type, cart, cart, number
            moved = f"""
                SELECT shop_id || '/' || sku, event_seq FROM movements
                WHERE CASE kind WHEN 'receipt' THEN $1::bigint = 1 ELSE operation_id BETWEEN
                    (SELECT {CHECKOUT} FROM (VALUES ($1::bigint)) AS o (n)) AND
                    (SELECT {CHECKOUT} FROM (VALUES ($2::bigint)) AS o (n)) END
                ORDER BY sku, event_seq
            """
            for key, number in await connection.fetch(moved, first, last):
                yield INVENTORY_EVENTS, StockMoved.type, key, key, number

    async def _run(self, source: Source, statements: tuple[str, ...], *arguments: int) -> None:
        async with _connected(self._urls[source]) as connection, connection.transaction():
            for statement in statements:
                used = [one for at, one in enumerate(arguments, 1) if f"${at}" in statement]
                await connection.execute(statement, *used)


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that waits for no disk, and plays the replica: no triggers, no foreign keys."""
    connection = await asyncpg.connect(
        url,
        server_settings={"session_replication_role": "replica", "synchronous_commit": "off"},
    )
    try:
        yield connection
    finally:
        await connection.close()
