"""Checkouts and their orders: locked, loaded and saved, any number in one statement each."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from contracts.messages.order import StartCheckout
from contracts.messages.parts import OrderLine, PaymentMethod, ShippingLine, Shortage
from contracts.values import Struct, astuple
from messaging.database import Connection, Statement, sql
from order_service.checkout import Checkout, State, Tombstone
from order_service.checkout.facts import Asked, Attempt, Order, Reason, Refund, Stock, Wait
from order_service.store.columns import arrays, assigned, given
from order_service.store.facts import reader_of, written
from order_service.store.placeholders import TOMBSTONE, UNSEEN
from order_service.store.requests import KeptRequests

Known = Checkout | Tombstone


class Entry(Struct, frozen=True):
    """One line of a checkout's history.

    `message_id` is None for a request, which is decided as it is made. `sends` says how often the
    step was asked until then; None where no answer to it was awaited.
    """

    checkout_id: UUID
    at: datetime
    message_type: str
    step: str | None
    round: int | None
    outcome: str
    state: str
    note: str
    message_id: UUID | None = None
    sent_at: datetime | None = None
    sends: int | None = None


class NewHistory(Struct, frozen=True):
    """What a batch adds to the history of one checkout, in order."""

    checkout_id: UUID
    entries: tuple[Entry, ...] = ()

    @property
    def key(self) -> UUID:
        """The checkout."""
        return self.checkout_id


class Resolution(Struct, frozen=True):
    """What an operator decided about a checkout or its order, and why."""

    checkout_id: UUID
    at: datetime
    decision: str
    requested_by: str
    reason: str

    @property
    def key(self) -> tuple[UUID, datetime]:
        """The checkout, and when it was decided."""
        return self.checkout_id, self.at


class Begun(Struct, frozen=True):
    """This checkout begins in this batch: its row gets what never changes."""

    checkout_id: UUID

    @property
    def key(self) -> UUID:
        """The checkout."""
        return self.checkout_id


class Placed(Struct, frozen=True):
    """The order of this checkout is placed in this batch: it is to be inserted, with its lines."""

    checkout_id: UUID

    @property
    def key(self) -> UUID:
        """The checkout."""
        return self.checkout_id


class _Facts(Struct, frozen=True):
    """The facts of a checkout beside its request and state."""

    stock: Stock
    attempts: tuple[Attempt, ...]
    refunds: tuple[Refund, ...]
    waits: tuple[Wait, ...]
    asked: tuple[Asked, ...]
    giving_up: Reason | None
    shortages: tuple[Shortage, ...]
    next_method: PaymentMethod | None
    order: Order | None


_FACTS = reader_of(_Facts)

REQUESTS = KeptRequests()

_INSERT_MISSING = sql(f"""
    INSERT INTO checkouts (checkout_id, shop_id, state, created_at, changed_at)
    SELECT checkout_id, shop_id, '{UNSEEN}', now(), now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:shops AS text[])) AS m (checkout_id, shop_id)
    ON CONFLICT DO NOTHING
""")  # noqa: S608 - built from the constant above

_LOCK = sql("""
    SELECT 1 FROM checkouts WHERE checkout_id = ANY(CAST(:ids AS uuid[]))
    ORDER BY checkout_id FOR UPDATE
""")


async def lock(
    connection: Connection, ids: Collection[UUID], beginning: Collection[tuple[UUID, str]]
) -> None:
    """Lock these checkouts, those that may begin (id, shop) inserted first, sorted."""
    if beginning:
        ordered = sorted(beginning)
        await connection.execute(
            _INSERT_MISSING,
            {"ids": [id_ for id_, _ in ordered], "shops": [shop for _, shop in ordered]},
        )
    await connection.execute(_LOCK, {"ids": sorted(ids)})


_LOAD = sql("""
    SELECT checkout_id, shop_id, state, request, facts::text FROM checkouts
    WHERE checkout_id = ANY(CAST(:ids AS uuid[]))
""")


async def load(connection: Connection, ids: Collection[UUID]) -> list[Known]:
    """What is known of these checkouts; nothing of one that nobody has heard of."""
    result = await connection.fetch(_LOAD, {"ids": list(ids)})
    return [_known(row) for row in result if row.state != UNSEEN]


def _known(row: Any) -> Known:
    if row.state == TOMBSTONE:
        return Tombstone(row.checkout_id, row.shop_id)
    facts = _FACTS.decode(row.facts)
    return Checkout(
        id=row.checkout_id,
        request=REQUESTS.parsed(row.request),
        state=State(row.state),
        stock=facts.stock,
        attempts=facts.attempts,
        refunds=facts.refunds,
        waits=facts.waits,
        asked=frozenset(facts.asked),
        giving_up=facts.giving_up,
        shortages=facts.shortages,
        next_method=facts.next_method,
        order=facts.order,
    )


_DUE = sql("""
    SELECT checkout_id, shop_id, state, request, facts::text FROM checkouts
    WHERE deadline_at <= :now ORDER BY deadline_at LIMIT :most
    FOR UPDATE SKIP LOCKED
""")

_NOTE_AGAIN = sql("""
    UPDATE checkouts SET deadline_at = :again WHERE checkout_id = ANY(CAST(:ids AS uuid[]))
""")


async def take_due(
    connection: Connection, now: datetime, most: int, repeat_after: timedelta
) -> list[Checkout]:
    """Lock checkouts whose deadline has passed, and have them noted again after a while."""
    rows = await connection.fetch(_DUE, {"now": now, "most": most})
    due = [known for known in map(_known, rows) if isinstance(known, Checkout)]
    if due:
        again = {"again": now + repeat_after, "ids": [checkout.id for checkout in due]}
        await connection.execute(_NOTE_AGAIN, again)
    return due


_KEY = {"checkout_id": "uuid"}

_BEGINS_WITH = {
    "shop_id": "text",
    "customer_id": "text",
    "guest_token_hash": "text",
    "cart_id": "uuid",
    "currency": "text",
    "total_minor": "bigint",
    "request": "bytea",
}
"""What never changes of a checkout; written once, which spares the lines in every later save."""

_MOVES = {
    "state": "text",
    "order_id": "uuid",
    "facts": "json",
    "live_attempt": "int",
    "live_attempt_status": "text",
    "captured_minor": "bigint",
    "refund_pending_minor": "bigint",
    "refunded_minor": "bigint",
    "final": "boolean",
    "late": "boolean",
    "blocked": "boolean",
    "deadline_at": "timestamptz",
}


def _update_of(columns: dict[str, str]) -> Statement:
    return sql(f"""
        UPDATE checkouts c SET {assigned(columns)}, changed_at = now()
        FROM {given(_KEY | columns)} WHERE c.checkout_id = n.checkout_id
    """)  # noqa: S608 - built from the constants above


_BEGIN = _update_of(_BEGINS_WITH | _MOVES)
_MOVE = _update_of(_MOVES)

_BURY = sql(f"""
    UPDATE checkouts SET state = '{TOMBSTONE}', final = true, changed_at = now()
    WHERE checkout_id = ANY(CAST(:ids AS uuid[]))
""")  # noqa: S608 - built from the constant above


async def save_tombstones(connection: Connection, tombstones: Sequence[Tombstone]) -> None:
    """Write cancels that came before their checkouts."""
    if tombstones:
        await connection.execute(_BURY, {"ids": [tombstone.id for tombstone in tombstones]})


async def save_checkouts(
    connection: Connection, checkouts: Sequence[Checkout], begun: Collection[UUID]
) -> None:
    """Write checkouts; those in `begun` with what never changes."""
    beginning = [_moves(c) | _begins_with(c.request) for c in checkouts if c.id in begun]
    if beginning:
        await connection.execute(_BEGIN, arrays(beginning))
    moving = [_moves(checkout) for checkout in checkouts if checkout.id not in begun]
    if moving:
        await connection.execute(_MOVE, arrays(moving))


def _begins_with(request: StartCheckout) -> dict[str, Any]:
    return {
        "shop_id": request.shop_id,
        "customer_id": request.customer_id,
        "guest_token_hash": request.guest_token_hash,
        "cart_id": request.cart_id,
        "currency": request.currency,
        "total_minor": request.total_minor,
        "request": REQUESTS.stored(request),
    }


def _moves(checkout: Checkout) -> dict[str, Any]:
    live = checkout.live_attempt
    return {
        "checkout_id": checkout.id,
        "state": checkout.state.value,
        "order_id": checkout.order and checkout.order.id,
        "facts": written(_facts_of(checkout)),
        "live_attempt": live and live.number,
        "live_attempt_status": live and live.status.value,
        "captured_minor": checkout.captured_minor,
        "refund_pending_minor": checkout.refund_pending_minor,
        "refunded_minor": checkout.refunded_minor,
        "final": checkout.final,
        "late": checkout.late,
        "blocked": checkout.blocked,
        "deadline_at": checkout.deadline_at,
    }


def _facts_of(checkout: Checkout) -> _Facts:
    return _Facts(
        stock=checkout.stock,
        attempts=checkout.attempts,
        refunds=checkout.refunds,
        waits=checkout.waits,
        asked=tuple(sorted(checkout.asked)),
        giving_up=checkout.giving_up,
        shortages=checkout.shortages,
        next_method=checkout.next_method,
        order=checkout.order,
    )


_PLACED_WITH = {
    "order_id": "uuid",
    "shop_id": "text",
    "checkout_id": "uuid",
    "number": "text",
    "customer_id": "text",
    "guest_token_hash": "text",
    "email": "text",
    "shipping_address": "jsonb",
    "currency": "text",
    "total_minor": "bigint",
    "placed_at": "timestamptz",
    "window_closes_at": "timestamptz",
}

_AXES = {
    "payment_status": "text",
    "fulfilment_status": "text",
    "return_status": "text",
    "event_seq": "bigint",
}

_PLACE = sql(f"""
    INSERT INTO orders ({", ".join(_PLACED_WITH | _AXES)}, changed_at)
    SELECT n.*, now() FROM {given(_PLACED_WITH | _AXES)}
""")  # noqa: S608 - built from the constants above

_TURN = sql(f"""
    UPDATE orders o SET {assigned(_AXES)}, changed_at = now()
    FROM {given(_KEY | _AXES)} WHERE o.checkout_id = n.checkout_id
""")  # noqa: S608 - built from the constants above

_LINE = (
    *("order_id", "line_no", "sku", "method", "name", "quantity"),
    *("unit_price_minor", "net_minor", "gross_minor", "discounts", "taxes"),
)


async def save_orders(
    connection: Connection, checkouts: Sequence[Checkout], placed: Collection[UUID]
) -> None:
    """Write the orders of these checkouts, those in `placed` for the first time."""
    ordered = [(checkout, checkout.order) for checkout in checkouts if checkout.order is not None]
    new = [(checkout, order) for checkout, order in ordered if checkout.id in placed]
    if new:
        rows = [_placed_with(c, order) | _axes(c, order) for c, order in new]
        await connection.execute(_PLACE, arrays(rows))
        lines = [line for c, order in new for line in _line_rows(order.id, c.request)]
        await connection.append("order_lines", _LINE, lines)
    turning = [_axes(checkout, order) for checkout, order in ordered if checkout.id not in placed]
    if turning:
        await connection.execute(_TURN, arrays(turning))


def _placed_with(checkout: Checkout, order: Order) -> dict[str, Any]:
    request = checkout.request
    return {
        "order_id": order.id,
        "shop_id": request.shop_id,
        "number": order.number,
        "customer_id": request.customer_id,
        "guest_token_hash": request.guest_token_hash,
        "email": request.email,
        "shipping_address": request.shipping_address.model_dump_json(),
        "currency": request.currency,
        "total_minor": request.total_minor,
        "placed_at": order.placed_at,
        "window_closes_at": order.window_closes_at,
    }


def _axes(checkout: Checkout, order: Order) -> dict[str, Any]:
    return {
        "checkout_id": checkout.id,
        "payment_status": checkout.payment_status.value,
        "fulfilment_status": order.fulfilment.value,
        "return_status": order.returned.value,
        "event_seq": order.event_seq,
    }


def _line_rows(order_id: UUID, request: StartCheckout) -> Iterable[tuple[Any, ...]]:
    lines: tuple[OrderLine | ShippingLine, ...] = (*request.lines, *request.shipping)
    for line_no, line in enumerate(lines, start=1):
        yield (
            order_id,
            line_no,
            line.sku if isinstance(line, OrderLine) else None,
            line.method if isinstance(line, ShippingLine) else None,
            line.name,
            line.quantity,
            line.unit_price_minor,
            line.net_minor,
            line.gross_minor,
            _json(line.discounts),
            _json(line.taxes),
        )


def _json(values: Sequence[BaseModel]) -> str:
    # Most lines have neither discounts nor taxes.
    return f"[{','.join(value.model_dump_json() for value in values)}]" if values else "[]"


async def save_history(connection: Connection, added: Sequence[NewHistory]) -> None:
    """Append to the histories, in order."""
    entries = [astuple(entry) for history in added for entry in history.entries]
    await connection.append("checkout_history", Entry.__struct_fields__, entries)


async def save_resolutions(connection: Connection, made: Sequence[Resolution]) -> None:
    """Write operators' decisions down."""
    columns = Resolution.__struct_fields__
    await connection.append("resolutions", columns, [astuple(one) for one in made])
