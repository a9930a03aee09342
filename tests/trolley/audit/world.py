"""A small shop in real databases, as the services would have left it: what an audit is shown.

Seven checkouts went through it: one paid, one whose money is set aside until it is shipped, one
declined and given up, one paid and refunded, one refused for want of stock, one that is being paid
this very moment, and one that has only just been handed to the saga. All ids derive from names, so
a test can point at what it breaks.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import asyncpg
from aiokafka import AIOKafkaProducer

from contracts.envelope import Envelope
from contracts.ids import derived_id
from contracts.messages.cart import CartChanged
from contracts.messages.inventory import StockMoved
from contracts.messages.order import (
    OrderAuthorized,
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

T0 = datetime.now(UTC) - timedelta(minutes=10)
"""When everything happened; what is under way has deadlines in the future."""
SOON = datetime.now(UTC) + timedelta(hours=1)

SHOP, WAREHOUSE, CURRENCY = "main", "main", "GBP"
LINES = {"APPLE": (2, 150), "pear": (1, 99)}
"""Pieces and unit price by SKU of everybody's order; one SKU in lower case, as codes may be."""
PIECES = {sku: quantity for sku, (quantity, _) in LINES.items()}
POSTAGE = 250
TOTAL = POSTAGE + sum(quantity * price for quantity, price in LINES.values())
RECEIVED = 100
SERIES = {"invoice": "INV", "credit_note": "CN"}
"""What numbers of documents begin with."""

LIVE = {"paying": "requested", "authorized": "authorized"}
"""Where the live attempt stands of a checkout in this state."""

Row = dict[str, Any]


def named(name: str) -> UUID:
    """The id that a name stands for."""
    return uuid5(NAMESPACE_URL, f"trolley-audit-tests:{name}")


def order_of(checkout: str) -> UUID:
    return derived_id(named(checkout), "order")


def payment_of(checkout: str) -> UUID:
    return derived_id(named(checkout), "payment")


def reservation_of(checkout: str) -> UUID:
    return derived_id(named(checkout), "reservation:1")


def sku_key(sku: str) -> str:
    return f"{SHOP}/{sku}"


@dataclass(frozen=True)
class Published:
    """An event as it stands on its topic."""

    topic: Topic
    type: str
    key: str
    correlation_id: str
    event_seq: int | None
    body: Mapping[str, Any] = field(default_factory=dict)
    message_id: UUID | None = None

    @property
    def id(self) -> UUID:
        return self.message_id or named(f"{self.topic.name} {self.key} {self.event_seq}")


class Shop:
    """Rows and events in the making."""

    def __init__(self) -> None:
        self.rows: defaultdict[tuple[Source, str], list[Row]] = defaultdict(list)
        self.events: list[Published] = []
        self._movements = dict.fromkeys(LINES, 0)
        self._on_hand = dict.fromkeys(LINES, 0)
        self._reserved = dict.fromkeys(LINES, 0)
        self._numbers = dict.fromkeys(SERIES, 0)
        self._catalog()
        for sku in LINES:
            self._move(sku, "receipt", RECEIVED, named("receipt"))
        self._paid()
        self._set_aside()
        self._declined()
        self._refunded()
        self._rejected()
        self._paying()
        self._received()
        self._stock()
        for kind, last in self._numbers.items():
            self.add(
                Source.ORDER, "document_series", shop_id=SHOP, series=SERIES[kind], year=2026,
                last=last,
            )  # fmt: skip

    def add(self, source: Source, table: str, **columns: Any) -> None:
        self.rows[source, table].append(columns)

    # Seven stories.

    def _paid(self) -> None:
        self._reservation("paid", "committed")
        for sku, pieces in PIECES.items():
            self._move(sku, "sale", -pieces, named("paid"))
        self._payment("paid", "succeeded", ("authorized", "captured"))
        self._cart("paid", "bought")
        self._order("paid", "paid", (OrderPlaced, OrderPaid))
        self._replies("paid", reserve="stock_reserved", commit="reservation_committed")

    def _set_aside(self) -> None:
        self._reservation("set aside", "committed")
        for sku, pieces in PIECES.items():
            self._move(sku, "sale", -pieces, named("set aside"))
        self._payment("set aside", "authorized", ("authorized",))
        self._cart("set aside", "bought")
        self._order("set aside", "authorized", (OrderPlaced, OrderAuthorized))
        self._replies("set aside", reserve="stock_reserved", commit="reservation_committed")

    def _declined(self) -> None:
        self._reservation("declined", "released")
        self._payment("declined", "declined", ())
        self._cart("declined", "bought", restored=True)
        self._order("declined", "cancelled", (OrderPlaced, OrderPaymentFailed, OrderCancelled))
        self._replies("declined", reserve="stock_reserved", release="stock_released")

    def _refunded(self) -> None:
        self._reservation("refunded", "booked_back")
        for sku, pieces in PIECES.items():
            self._move(sku, "sale", -pieces, named("refunded"))
            self._move(sku, "return", pieces, named("refunded"))
        self._payment(
            "refunded", "succeeded", ("authorized", "captured", "refund_requested", "refunded")
        )
        self._cart("refunded", "bought", restored=True)
        self._order(
            "refunded", "cancelled", (OrderPlaced, OrderPaid, OrderRefunded, OrderCancelled)
        )
        self._replies("refunded", commit="reservation_committed", release="stock_released")

    def _rejected(self) -> None:
        self._reservation("rejected", "rejected")
        self._cart("rejected", "active")
        self._order("rejected", "rejected", ())
        self._replies("rejected", reserve="stock_rejected")

    def _paying(self) -> None:
        """The provider has taken the money, and we have not heard of it yet."""
        self._reservation("paying", "held")
        for sku, pieces in PIECES.items():
            self._reserved[sku] += pieces
        self._payment("paying", "requested", ())
        self._at_provider("paying", ("authorized", "captured"))
        self._cart("paying", "bought")
        self._order("paying", "paying", (OrderPlaced,))
        self._replies("paying", reserve="stock_reserved")

    def _received(self) -> None:
        self._cart("received", "locked", starting=True)

    # Catalog and stock.

    def _catalog(self) -> None:
        self.add(Source.CATALOG, "catalogs", shop_id=SHOP)
        for sku, (_, price) in LINES.items():
            code = f"P-{sku}"
            at = {"created_at": T0, "updated_at": T0}
            variant = {"shop_id": SHOP, "product_code": code, "sku": sku}
            self.add(
                Source.CATALOG, "products", shop_id=SHOP, code=code, name=f"A {sku}",
                status="active", attributes={}, version=3, **at,
            )  # fmt: skip
            self.add(
                Source.CATALOG, "base_prices", shop_id=SHOP, product_code=code,
                currency=CURRENCY, amount_minor=price,
            )  # fmt: skip
            self.add(
                Source.CATALOG, "variants", **variant, name="", status="active", attributes={},
                version=2, **at,
            )  # fmt: skip
            self.add(
                Source.CATALOG, "prices", **variant, currency=CURRENCY, base_minor=price,
                additional_minor=0,
            )  # fmt: skip
            self.add(
                Source.CART, "catalog_items", shop_id=SHOP, sku=sku, name=f"A {sku}",
                active=True, prices={CURRENCY: price}, version=2,
            )  # fmt: skip

    def _move(self, sku: str, kind: str, quantity: int, operation_id: UUID) -> None:
        self._movements[sku] += 1
        self._on_hand[sku] += quantity
        number = self._movements[sku]
        self.add(
            Source.INVENTORY, "movements", shop_id=SHOP, sku=sku, event_seq=number,
            round=1, line=len(self.rows[Source.INVENTORY, "movements"]), warehouse=WAREHOUSE,
            kind=kind, quantity=quantity, on_hand=self._on_hand[sku], operation_id=operation_id,
            moved_at=T0,
        )  # fmt: skip
        key = sku_key(sku)
        self.events.append(Published(INVENTORY_EVENTS, StockMoved.type, key, key, number))

    def _stock(self) -> None:
        for sku in LINES:
            place = {"shop_id": SHOP, "sku": sku}
            on_hand, reserved = self._on_hand[sku], self._reserved[sku]
            self.add(
                Source.INVENTORY, "stock_items", **place, event_seq=self._movements[sku],
                availability_version=9,
            )  # fmt: skip
            self.add(
                Source.INVENTORY, "stock_levels", **place, warehouse=WAREHOUSE, on_hand=on_hand,
                reserved=reserved,
            )  # fmt: skip
            self.add(
                Source.CART, "stock_availability", **place, available=on_hand - reserved, version=8
            )

    def _reservation(self, checkout: str, status: str) -> None:
        place = {"shop_id": SHOP, "owner_id": named(checkout), "round": 1}
        self.add(
            Source.INVENTORY, "reservations", **place, id=reservation_of(checkout),
            owner="checkout", status=status, expires_at=SOON, questions=0, changed_at=T0,
            next_question_at=SOON if status == "held" else None,
        )  # fmt: skip
        if status == "rejected":
            return
        for sku, pieces in PIECES.items():
            self.add(
                Source.INVENTORY, "reservation_lines", **place, sku=sku, warehouse=WAREHOUSE,
                quantity=pieces,
            )  # fmt: skip

    def _replies(self, checkout: str, **replies: str) -> None:
        for step, reply in replies.items():
            self.add(
                Source.INVENTORY, "recorded_replies", checkout_id=named(checkout), step=step,
                round=1, reply_id=named(f"{checkout} {step}"), type=f"inventory.{reply}.v1",
                payload=_bytes({}),
            )  # fmt: skip

    # Money.

    def _payment(self, checkout: str, status: str, kinds: Iterable[str]) -> None:
        payment_id, kinds = payment_of(checkout), tuple(kinds)
        at = {"created_at": T0, "updated_at": T0}
        amounts = {
            f"{name}_minor": TOTAL if kind in kinds else 0
            for name, kind in (
                ("authorized", "authorized"), ("captured", "captured"), ("refunded", "refunded")
            )
        }  # fmt: skip
        events = 0 if status == "requested" else 1
        self.add(
            Source.PAYMENT, "payments", payment_id=payment_id, shop_id=SHOP,
            checkout_id=named(checkout), order_id=order_of(checkout), currency=CURRENCY,
            status="pending", **amounts, refund_pending_minor=0, event_seq=events, **at,
        )  # fmt: skip
        attempt = {"payment_id": payment_id, "attempt": 1}
        charge_key = f"{payment_id}:1:charge"
        self.add(
            Source.PAYMENT, "attempts", **attempt, status=status, details={},
            provider="simulated", method_token="sim_ok", flow="automatic", amount_minor=TOTAL,
            charge_key=charge_key, charge_round=1, **at,
        )  # fmt: skip
        self._operation(checkout, "charge", charge_key, opened=status == "requested")
        if "refund_requested" in kinds:
            self.add(
                Source.PAYMENT, "refunds", refund_id=named(f"{checkout} refund"), **attempt,
                round=1, amount_minor=TOTAL, reason="cancelled", status="refunded", details={},
                **at,
            )  # fmt: skip
            self._operation(checkout, "refund", f"{payment_id}:refund", opened=False)
        for seq, kind in enumerate(kinds, start=1):
            refund = kind.startswith("refund")
            self.add(
                Source.PAYMENT, "ledger", **attempt, seq=seq, kind=kind, amount_minor=TOTAL,
                currency=CURRENCY, provider="simulated", recorded_at=T0,
                operation_id=named(f"{checkout} {'refund' if refund else 'charge'}"),
                refund_id=named(f"{checkout} refund") if refund else None,
            )  # fmt: skip
        self._at_provider(checkout, kinds)
        if events:
            self._event(PAYMENT_EVENTS, PaymentChanged.type, payment_id, checkout, 1)
            self.add(
                Source.PAYMENT, "recorded_replies", checkout_id=named(checkout), step="charge",
                round=1, reply_id=named(f"{checkout} charge"), type=f"payment.{status}.v1",
                payload=_bytes({"payment_id": str(payment_id), "attempt": 1}),
            )  # fmt: skip

    def _operation(self, checkout: str, kind: str, key: str, *, opened: bool) -> None:
        self.add(
            Source.PAYMENT, "operations", operation_id=named(f"{checkout} {kind}"),
            payment_id=payment_of(checkout), attempt=1, kind=kind, idempotency_key=key,
            refund_id=named(f"{checkout} refund") if kind == "refund" else None,
            provider="simulated", amount_minor=TOTAL, status="leased" if opened else "done",
            lease_token=named("lease") if opened else None,
            lease_instance="0" if opened else None, next_call="ask", claimable_at=SOON, makes=1,
            asks=0, answered=not opened, hinted=False, waited_for=False, reports=1,
            created_at=T0, updated_at=T0,
        )  # fmt: skip

    def _at_provider(self, checkout: str, kinds: Iterable[str]) -> None:
        payment_id = payment_of(checkout)
        for kind in kinds:
            self.add(
                Source.SIMULATED_PROVIDER, "ledger", charge_key=f"{payment_id}:1:charge",
                payment_id=payment_id, attempt=1, kind=kind, amount_minor=TOTAL,
                currency=CURRENCY, booked_at=T0,
                refund_key=f"{payment_id}:refund" if kind.startswith("refund") else None,
            )  # fmt: skip

    # Carts and orders.

    def _cart(
        self, checkout: str, status: str, *, starting: bool = False, restored: bool = False
    ) -> None:
        cart_id = named(f"{checkout} cart")
        holds = status in ("bought", "locked")
        self.add(
            Source.CART, "carts", cart_id=cart_id, shop_id=SHOP,
            guest_token_hash=f"hash of {checkout}", currency=CURRENCY, status=status, version=4,
            event_seq=2, last_line_no=2, left_out=[],
            checkout_id=named(checkout) if holds else None,
            checkout_fingerprint="same" if holds else None,
            order_id=order_of(checkout) if status == "bought" else None,
            start_command="{}" if starting else None, start_due_at=SOON if starting else None,
            start_sends=1 if starting else None, created_at=T0, changed_at=T0,
        )  # fmt: skip
        for number in (1, 2):
            self.events.append(
                Published(CART_EVENTS, CartChanged.type, str(cart_id), str(cart_id), number)
            )
        if restored:
            self.add(
                Source.CART, "restorations", checkout_id=named(checkout), shop_id=SHOP,
                cart_id=cart_id, restored_at=T0,
            )  # fmt: skip

    def _order(self, checkout: str, state: str, events: Iterable[type[OrderEvent]]) -> None:
        events, order_id = tuple(events), order_of(checkout)
        final = state in ("paid", "cancelled", "rejected")
        owner = {"shop_id": SHOP, "guest_token_hash": f"hash of {checkout}"}
        refunded = OrderRefunded in events
        self.add(
            Source.ORDER, "checkouts", checkout_id=named(checkout), **owner, state=state,
            cart_id=named(f"{checkout} cart"), order_id=order_id if events else None,
            currency=CURRENCY, total_minor=TOTAL, request=_bytes({}), facts={}, final=final,
            captured_minor=TOTAL if OrderPaid in events else 0, refund_pending_minor=0,
            refunded_minor=TOTAL if refunded else 0, late=False, blocked=False,
            live_attempt=1 if state in LIVE else None, live_attempt_status=LIVE.get(state),
            deadline_at=None if final else SOON, created_at=T0, changed_at=T0,
        )  # fmt: skip
        if not events:
            return
        cancelled = "refunded" if refunded else "cancelled"
        payment = {"paid": "paid", "authorized": "authorized", "cancelled": cancelled}
        fulfilment = {"paid": "ready", "authorized": "ready", "cancelled": "cancelled"}
        self.add(
            Source.ORDER, "orders", order_id=order_id, checkout_id=named(checkout), **owner,
            number=checkout, email="shopper@example.com", shipping_address={}, currency=CURRENCY,
            total_minor=TOTAL, payment_status=payment.get(state, "pending"),
            fulfilment_status=fulfilment.get(state, "pending"), return_status="none",
            event_seq=len(events), placed_at=T0, window_closes_at=SOON, changed_at=T0,
        )  # fmt: skip
        for number, (sku, (quantity, price)) in enumerate(LINES.items(), start=1):
            tax = quantity * price // 6
            self.add(
                Source.ORDER, "order_lines", order_id=order_id, line_no=number, sku=sku,
                method=None, name=f"A {sku}", quantity=quantity, unit_price_minor=price,
                net_minor=quantity * price - tax, gross_minor=quantity * price, discounts=[],
                taxes=[{"rate": "0.2", "inclusive": True, "amount_minor": tax}],
            )  # fmt: skip
        self.add(
            Source.ORDER, "order_lines", order_id=order_id, line_no=3, sku=None, method="post",
            name="By post", quantity=1, unit_price_minor=POSTAGE + 50, net_minor=POSTAGE - 10,
            gross_minor=POSTAGE, discounts=[{"source": "SPRING", "amount_minor": 60}],
            taxes=[{"rate": "0.1", "inclusive": False, "amount_minor": 10}],
        )  # fmt: skip
        for number, event in enumerate(events, start=1):
            self._event(ORDER_EVENTS, event.type, order_id, checkout, number)
        if OrderPaid in events:
            self._documents(checkout, *("credit_note",) * refunded)

    def _documents(self, checkout: str, *others: str) -> None:
        """An invoice and a receipt, and what follows them."""
        invoice_id = named(f"{checkout} invoice")
        for kind in ("invoice", "receipt", *others):
            numbers: Row = {}
            if kind != "receipt":
                self._numbers[kind] += 1
                numbers = {"series": SERIES[kind], "year": 2026, "sequence": self._numbers[kind]}
            self.add(
                Source.ORDER, "documents", **{"series": None, "year": None, "sequence": None}
                | numbers, document_id=named(f"{checkout} {kind}"), shop_id=SHOP,
                order_id=order_of(checkout), kind=kind, attempt=1,
                refund=int(kind == "credit_note"), currency=CURRENCY, net_minor=TOTAL - 50,
                invoice_id=None if kind == "invoice" else invoice_id, gross_minor=TOTAL,
                content={}, issued_at=T0,
            )  # fmt: skip

    def _event(self, topic: Topic, kind: str, key: UUID, checkout: str, number: int) -> None:
        body = {"total_minor": TOTAL} if topic is ORDER_EVENTS else {}
        self.events.append(Published(topic, kind, str(key), str(named(checkout)), number, body))


def _bytes(value: Any) -> str:
    return "\\x" + json.dumps(value).encode().hex()


class World:
    """The databases that an audit reads, open for building and for breaking.

    Connections play the replica: foreign keys and append-only triggers do not hold them up.
    """

    def __init__(self, connections: Mapping[Source, asyncpg.Connection]) -> None:
        self._connections = connections
        self._lifted: list[tuple[Source, str]] = []

    async def build(self, shop: Shop) -> None:
        """Put the databases into the state of this shop, whatever they held before."""
        await self.empty()
        for (source, table), rows in shop.rows.items():
            await self.insert(source, table, *rows)

    async def empty(self) -> None:
        """Nothing is left, and every constraint that was lifted stands again."""
        for connection in self._connections.values():
            await connection.execute(_EMPTY)
        for source, statement in self._lifted:
            await self.run(source, statement)
        self._lifted.clear()

    async def insert(self, source: Source, table: str, *rows: Row) -> None:
        """Insert rows; columns that a row leaves out have their defaults."""
        columns = ", ".join(sorted(rows[0]))
        statement = (
            f"INSERT INTO {table} ({columns}) "  # noqa: S608 - names of ours
            f"SELECT {columns} FROM jsonb_populate_recordset(NULL::{table}, $1)"
        )
        await self._connections[source].execute(statement, json.dumps(rows, default=str))

    async def run(self, source: Source, statement: str, *arguments: Any) -> None:
        """Run a statement; one that changes rows and changes none is a mistake of the test."""
        status = await self._connections[source].execute(statement, *arguments)
        assert not status.endswith(" 0"), f"{statement} changed nothing"

    async def lift(self, source: Source, table: str, constraint: str) -> None:
        """Take away a constraint that stands before what a test wants to break."""
        definition = await self._connections[source].fetchval(
            "SELECT 'CONSTRAINT ' || conname || ' ' || pg_get_constraintdef(oid) "
            "FROM pg_constraint WHERE conrelid = $1::regclass AND conname = $2",
            table,
            constraint,
        )
        self._lifted.append((source, f"ALTER TABLE {table} ADD {definition}"))
        await self.run(source, f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")

    async def lift_index(self, source: Source, index: str) -> None:
        """Likewise for a unique index."""
        definition = await self._connections[source].fetchval(
            "SELECT pg_get_indexdef($1::regclass)", index
        )
        self._lifted.append((source, definition))
        await self.run(source, f"DROP INDEX {index}")


_EMPTY = """
    SET session_replication_role = replica;
    DO $$
    DECLARE one text;
    BEGIN
        FOR one IN SELECT quote_ident(relname) FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
            AND relname NOT IN ('alembic_version', 'warehouses') AND NOT relispartition
        LOOP EXECUTE 'DELETE FROM ' || one; END LOOP;
    END $$
"""


async def in_outbox(
    world: World, source: Source, correlation_id: str, *, minutes_old: int = 0
) -> None:
    """A message that is committed and not published."""
    await world.run(
        source,
        "INSERT INTO outbox (message_id, topic, partition, key, time, correlation_id)"
        " VALUES (gen_random_uuid(), 'any', 0, 'any', now() - make_interval(mins => $2), $1)",
        correlation_id,
        minutes_old,
    )


async def publish(kafka: KafkaSettings, events: Iterable[Published]) -> None:
    """Put events onto their topics, as the relay does."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, linger_ms=5)
    await producer.start()
    try:
        for event in events:
            envelope = Envelope(
                id=event.id,
                type=event.type,
                source="/trolley/tests",
                time=T0,
                subject=event.key,
                shop_id=SHOP,
                correlation_id=event.correlation_id,
                event_seq=event.event_seq,
            )
            await producer.send(
                kafka.topic_prefix + event.topic.name,
                key=event.key.encode(),
                value=json.dumps(event.body).encode(),
                headers=envelope.headers(),
                partition=partition_of(event.key.encode(), event.topic.partitions),
            )
        await producer.flush()
    finally:
        await producer.stop()
