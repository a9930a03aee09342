"""Checkouts and their orders: locked, loaded and saved, any number in one statement each."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.messages.order import StartCheckout
from contracts.messages.parts import OrderLine, PaymentMethod, ShippingLine, Shortage
from order_service.checkout import Checkout, State, Tombstone
from order_service.checkout.facts import Asked, Attempt, Order, Reason, Refund, Stock, Wait
from order_service.tables import TOMBSTONE, UNSEEN

Known = Checkout | Tombstone


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a checkout's history."""

    checkout_id: UUID
    at: datetime
    message_type: str
    step: str | None
    round: int | None
    outcome: str
    state: str
    note: str


@dataclass(frozen=True, slots=True)
class NewHistory:
    """What a batch adds to the history of one checkout, in order."""

    checkout_id: UUID
    entries: tuple[Entry, ...] = ()

    @property
    def key(self) -> UUID:
        """The checkout."""
        return self.checkout_id


class _Facts(BaseModel):
    """The facts of a checkout beside its request and state, as they are stored."""

    model_config = ConfigDict(frozen=True)

    stock: Stock
    attempts: tuple[Attempt, ...]
    refunds: tuple[Refund, ...]
    waits: tuple[Wait, ...]
    asked: frozenset[Asked]
    giving_up: Reason | None
    shortages: tuple[Shortage, ...]
    next_method: PaymentMethod | None
    order: Order | None


_FACTS = tuple(_Facts.model_fields)

_INSERT_MISSING = text(f"""
    INSERT INTO checkouts (checkout_id, shop_id, state, created_at, changed_at)
    SELECT checkout_id, shop_id, '{UNSEEN}', now(), now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:shops AS text[])) AS m (checkout_id, shop_id)
    ON CONFLICT DO NOTHING
""")  # noqa: S608 - built from the constant above

_LOCK = text("""
    SELECT 1 FROM checkouts WHERE checkout_id = ANY(CAST(:ids AS uuid[]))
    ORDER BY checkout_id FOR UPDATE
""")


async def lock(
    connection: AsyncConnection, ids: Collection[UUID], beginning: Collection[tuple[UUID, str]]
) -> None:
    """Lock these checkouts, those that may begin (id, shop) inserted first, sorted."""
    if beginning:
        ordered = sorted(beginning)
        await connection.execute(
            _INSERT_MISSING,
            {"ids": [id_ for id_, _ in ordered], "shops": [shop for _, shop in ordered]},
        )
    await connection.execute(_LOCK, {"ids": sorted(ids)})


_LOAD = text("""
    SELECT checkout_id, shop_id, state, request, facts FROM checkouts
    WHERE checkout_id = ANY(CAST(:ids AS uuid[]))
""")


async def load(connection: AsyncConnection, ids: Collection[UUID]) -> list[Known]:
    """What is known of these checkouts; nothing of one that nobody has heard of."""
    result = await connection.execute(_LOAD, {"ids": list(ids)})
    return [_known(row) for row in result if row.state != UNSEEN]


def _known(row: Any) -> Known:
    if row.state == TOMBSTONE:
        return Tombstone(row.checkout_id, row.shop_id)
    facts = _Facts.model_validate(row.facts)
    return Checkout(
        id=row.checkout_id,
        request=StartCheckout.model_validate_json(row.request),
        state=State(row.state),
        **{name: getattr(facts, name) for name in _FACTS},
    )


_DUE = text("""
    SELECT checkout_id, shop_id, state, request, facts FROM checkouts
    WHERE deadline_at <= :now ORDER BY deadline_at LIMIT :most
    FOR UPDATE SKIP LOCKED
""")

_NOTE_AGAIN = text("""
    UPDATE checkouts SET deadline_at = :again WHERE checkout_id = ANY(CAST(:ids AS uuid[]))
""")


async def take_due(
    connection: AsyncConnection, now: datetime, most: int, repeat_after: timedelta
) -> list[Checkout]:
    """Lock checkouts whose deadline has passed, and have them noted again after a while."""
    rows = await connection.execute(_DUE, {"now": now, "most": most})
    due = [known for known in map(_known, rows) if isinstance(known, Checkout)]
    if due:
        again = {"again": now + repeat_after, "ids": [checkout.id for checkout in due]}
        await connection.execute(_NOTE_AGAIN, again)
    return due


_SAVE = text("""
    UPDATE checkouts c SET
        shop_id = n.shop_id, state = n.state, customer_id = n.customer_id,
        guest_token_hash = n.guest_token_hash, cart_id = n.cart_id, order_id = n.order_id,
        currency = n.currency, total_minor = n.total_minor,
        request = coalesce(c.request, n.request), facts = n.facts, final = n.final,
        late = n.late, blocked = n.blocked, deadline_at = n.deadline_at, changed_at = now()
    FROM unnest(
        CAST(:checkout_id AS uuid[]), CAST(:shop_id AS text[]), CAST(:state AS text[]),
        CAST(:customer_id AS text[]), CAST(:guest_token_hash AS text[]), CAST(:cart_id AS uuid[]),
        CAST(:order_id AS uuid[]), CAST(:currency AS text[]), CAST(:total_minor AS bigint[]),
        CAST(:request AS bytea[]), CAST(:facts AS jsonb[]), CAST(:final AS boolean[]),
        CAST(:late AS boolean[]), CAST(:blocked AS boolean[]), CAST(:deadline_at AS timestamptz[])
    ) AS n (checkout_id, shop_id, state, customer_id, guest_token_hash, cart_id, order_id,
            currency, total_minor, request, facts, final, late, blocked, deadline_at)
    WHERE c.checkout_id = n.checkout_id
""")


async def save(connection: AsyncConnection, known: Sequence[Known]) -> None:
    """Write checkouts and tombstones, and of checkouts that have one the order."""
    if not known:
        return
    rows = [_tombstone_row(one) if isinstance(one, Tombstone) else _row(one) for one in known]
    await connection.execute(_SAVE, _columns(rows))
    placed = [one for one in known if isinstance(one, Checkout) and one.order is not None]
    await _save_orders(connection, placed)


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _row(checkout: Checkout) -> dict[str, Any]:
    request = checkout.request
    facts = _Facts.model_construct(**{name: getattr(checkout, name) for name in _FACTS})
    # Only the first save brings the request: it never changes.
    return {
        "checkout_id": checkout.id,
        "shop_id": request.shop_id,
        "state": checkout.state.value,
        "customer_id": request.customer_id,
        "guest_token_hash": request.guest_token_hash,
        "cart_id": request.cart_id,
        "order_id": checkout.order and checkout.order.id,
        "currency": request.currency,
        "total_minor": request.total_minor,
        "request": request.model_dump_json().encode(),
        "facts": facts.model_dump_json(),
        "final": checkout.final,
        "late": checkout.late,
        "blocked": checkout.blocked,
        "deadline_at": checkout.deadline_at,
    }


def _tombstone_row(tombstone: Tombstone) -> dict[str, Any]:
    unknown = dict.fromkeys(
        (
            "customer_id",
            "guest_token_hash",
            "cart_id",
            "order_id",
            "currency",
            "total_minor",
            "request",
            "facts",
            "deadline_at",
        )
    )
    return {
        "checkout_id": tombstone.id,
        "shop_id": tombstone.shop_id,
        "state": TOMBSTONE,
        "final": False,
        "late": False,
        "blocked": False,
        **unknown,
    }


_SAVE_ORDERS = text("""
    INSERT INTO orders (
        order_id, shop_id, checkout_id, number, customer_id, guest_token_hash, email,
        shipping_address, currency, total_minor, payment_status, fulfilment_status, return_status,
        event_seq, placed_at, window_closes_at, changed_at)
    SELECT n.*, now() FROM unnest(
        CAST(:order_id AS uuid[]), CAST(:shop_id AS text[]), CAST(:checkout_id AS uuid[]),
        CAST(:number AS text[]), CAST(:customer_id AS text[]), CAST(:guest_token_hash AS text[]),
        CAST(:email AS text[]), CAST(:shipping_address AS jsonb[]), CAST(:currency AS text[]),
        CAST(:total_minor AS bigint[]), CAST(:payment_status AS text[]),
        CAST(:fulfilment_status AS text[]), CAST(:return_status AS text[]),
        CAST(:event_seq AS bigint[]), CAST(:placed_at AS timestamptz[]),
        CAST(:window_closes_at AS timestamptz[])) AS n
    ON CONFLICT (order_id) DO UPDATE SET
        payment_status = excluded.payment_status, fulfilment_status = excluded.fulfilment_status,
        return_status = excluded.return_status, event_seq = excluded.event_seq,
        changed_at = excluded.changed_at
    RETURNING order_id, (xmax = 0) AS is_new
""")

_SAVE_LINES = text("""
    INSERT INTO order_lines (order_id, line_no, sku, method, name, quantity, unit_price_minor,
                             net_minor, gross_minor, discounts, taxes)
    SELECT * FROM unnest(
        CAST(:order_id AS uuid[]), CAST(:line_no AS int[]), CAST(:sku AS text[]),
        CAST(:method AS text[]), CAST(:name AS text[]), CAST(:quantity AS int[]),
        CAST(:unit_price_minor AS bigint[]), CAST(:net_minor AS bigint[]),
        CAST(:gross_minor AS bigint[]), CAST(:discounts AS jsonb[]), CAST(:taxes AS jsonb[]))
""")


async def _save_orders(connection: AsyncConnection, placed: Sequence[Checkout]) -> None:
    if not placed:
        return
    orders = [_order_row(checkout, checkout.order) for checkout in placed if checkout.order]
    saved = await connection.execute(_SAVE_ORDERS, _columns(orders))
    new = {row.order_id for row in saved if row.is_new}
    lines = [
        row
        for checkout in placed
        if checkout.order and checkout.order.id in new
        for row in _line_rows(checkout.order.id, checkout.request)
    ]
    if lines:
        await connection.execute(_SAVE_LINES, _columns(lines))


def _order_row(checkout: Checkout, order: Order) -> dict[str, Any]:
    request = checkout.request
    return {
        "order_id": order.id,
        "shop_id": request.shop_id,
        "checkout_id": checkout.id,
        "number": order.number,
        "customer_id": request.customer_id,
        "guest_token_hash": request.guest_token_hash,
        "email": request.email,
        "shipping_address": request.shipping_address.model_dump_json(),
        "currency": request.currency,
        "total_minor": request.total_minor,
        "payment_status": checkout.payment_status.value,
        "fulfilment_status": order.fulfilment.value,
        "return_status": order.returned.value,
        "event_seq": order.event_seq,
        "placed_at": order.placed_at,
        "window_closes_at": order.window_closes_at,
    }


def _line_rows(order_id: UUID, request: StartCheckout) -> Iterable[dict[str, Any]]:
    lines: tuple[OrderLine | ShippingLine, ...] = (*request.lines, *request.shipping)
    for line_no, line in enumerate(lines, start=1):
        yield {
            "order_id": order_id,
            "line_no": line_no,
            "sku": line.sku if isinstance(line, OrderLine) else None,
            "method": line.method if isinstance(line, ShippingLine) else None,
            "name": line.name,
            "quantity": line.quantity,
            "unit_price_minor": line.unit_price_minor,
            "net_minor": line.net_minor,
            "gross_minor": line.gross_minor,
            "discounts": _json(line.discounts),
            "taxes": _json(line.taxes),
        }


def _json(values: Sequence[BaseModel]) -> str:
    return orjson.dumps([value.model_dump(mode="json") for value in values]).decode()


_SAVE_HISTORY = text("""
    INSERT INTO checkout_history (checkout_id, at, message_type, step, round, outcome, state, note)
    SELECT checkout_id, at, message_type, step, round, outcome, state, note
    FROM unnest(
        CAST(:checkout_id AS uuid[]), CAST(:at AS timestamptz[]), CAST(:message_type AS text[]),
        CAST(:step AS text[]), CAST(:round AS int[]), CAST(:outcome AS text[]),
        CAST(:state AS text[]), CAST(:note AS text[]))
        WITH ORDINALITY AS e (checkout_id, at, message_type, step, round, outcome, state, note,
                              position)
    ORDER BY position
""")


async def save_history(connection: AsyncConnection, added: Sequence[NewHistory]) -> None:
    """Append to the histories, in order."""
    entries = [entry for history in added for entry in history.entries]
    if entries:
        names = Entry.__slots__
        columns = {name: [getattr(entry, name) for entry in entries] for name in names}
        await connection.execute(_SAVE_HISTORY, columns)
