"""Carts with what they hold: locked, loaded and saved, any number in one statement each."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, assert_never
from uuid import UUID

import orjson

from cart_service.domain.carts import (
    Active,
    Bought,
    Cart,
    CustomerOwner,
    FailedCheckout,
    GuestOwner,
    LeftOut,
    Line,
    Lines,
    Locked,
    Merged,
    Owner,
    PendingStart,
    State,
)
from cart_service.domain.pricing import Offer, Offers, rounded_minor, rounding_unit_minor
from contracts.messages.order import StartCheckout
from contracts.messages.parts import Shortage
from contracts.values import Struct, asdict
from messaging.database import Connection, Record, sql


class Contents(Struct, frozen=True):
    """What a cart holds, what is offered for it, and what of it is `stored` already.

    The offers are those of its lines and of the SKUs that a request wants to add.
    """

    cart_id: UUID
    lines: Lines
    offers: Offers
    stored: Lines

    @property
    def key(self) -> UUID:
        """What identifies the cart."""
        return self.cart_id


class ActiveCart(Struct, frozen=True):
    """Which cart is a customer's active one in a currency; derived from the carts."""

    shop_id: str
    customer_id: str
    currency: str
    cart_id: UUID

    @property
    def key(self) -> tuple[str, str, str]:
        """What there is one active cart of."""
        return (self.shop_id, self.customer_id, self.currency)


class StartToSend(Struct, frozen=True):
    """The StartCheckout that a cart sends until it is answered."""

    cart_id: UUID
    command: StartCheckout

    @property
    def key(self) -> UUID:
        """What identifies the cart."""
        return self.cart_id


class Restoration(Struct, frozen=True):
    """The lines of a checkout came back into `cart_id`."""

    checkout_id: UUID
    shop_id: str
    cart_id: UUID
    restored_at: datetime

    @property
    def key(self) -> UUID:
        """The checkout: its lines come back once."""
        return self.checkout_id


_LOCK = sql("""
    SELECT 1 FROM carts WHERE cart_id = ANY(CAST(:cart_ids AS uuid[]))
    ORDER BY cart_id FOR UPDATE
""")


async def lock_carts(connection: Connection, cart_ids: Collection[UUID]) -> None:
    """Lock these carts, in order of id, until the transaction ends."""
    if cart_ids:
        await connection.execute(_LOCK, {"cart_ids": sorted(cart_ids)})


SELECTED = """
    c.cart_id, c.shop_id, c.customer_id, c.guest_token_hash, c.currency, c.status, c.version,
    c.event_seq, c.last_line_no, c.checkout_id, c.checkout_fingerprint, c.order_id, c.merged_into,
    c.start_due_at, c.start_sends, c.failure, c.left_out, c.created_at, c.changed_at
"""

_LOAD_CARTS = sql(f"""
    SELECT {SELECTED} FROM carts c WHERE c.cart_id = ANY(CAST(:cart_ids AS uuid[]))
""")  # noqa: S608 - built from the constant above

# One row per cart: its lines, the SKUs wanted, and the read models' word on both, as arrays.
# The limits keep the look-ups at the primary key: as plain joins they read the whole shop, until
# there are statistics that say how large it is.
_LOAD_FILLED = sql(f"""
    SELECT {SELECTED}, held.*
    FROM carts c
    LEFT JOIN LATERAL (
        SELECT array_agg(s.sku) AS skus,
               array_agg(s.line_no) AS line_nos,
               array_agg(s.name) AS names,
               array_agg(s.quantity) AS quantities,
               array_agg(s.added_price_minor) AS added_prices,
               array_agg(s.seen_price_minor) AS seen_prices,
               array_agg(s.offer_name) AS offer_names,
               array_agg(s.offer_active) AS offer_active,
               array_agg(s.offer_price_minor) AS offer_prices,
               array_agg(s.available) AS available
        FROM (
            SELECT n.*, i.name AS offer_name, i.active AS offer_active,
                   CAST(i.prices ->> c.currency AS bigint) AS offer_price_minor, a.available
            FROM (
                SELECT coalesce(l.sku, w.sku) AS sku, l.line_no, l.name, l.quantity,
                       l.added_price_minor, l.seen_price_minor
                FROM (SELECT * FROM cart_lines WHERE cart_id = c.cart_id) l
                FULL JOIN (
                    SELECT DISTINCT sku
                    FROM unnest(CAST(:wanted_carts AS uuid[]), CAST(:wanted_skus AS text[]))
                         AS wanted (cart_id, sku)
                    WHERE cart_id = c.cart_id
                ) w ON w.sku = l.sku
            ) n
            LEFT JOIN LATERAL (
                SELECT * FROM catalog_items WHERE shop_id = c.shop_id AND sku = n.sku LIMIT 1
            ) i ON true
            LEFT JOIN LATERAL (
                SELECT * FROM stock_availability WHERE shop_id = c.shop_id AND sku = n.sku LIMIT 1
            ) a ON true
            ORDER BY n.line_no
        ) s
    ) held ON true
    WHERE c.cart_id = ANY(CAST(:cart_ids AS uuid[]))
""")  # noqa: S608 - built from the constant above


async def load_carts(connection: Connection, cart_ids: Collection[UUID]) -> list[Cart]:
    """These carts, without what they hold."""
    if not cart_ids:
        return []
    result = await connection.fetch(_LOAD_CARTS, {"cart_ids": list(cart_ids)})
    return [cart_of(row) for row in result]


async def load_filled(
    connection: Connection,
    cart_ids: Collection[UUID],
    providers: tuple[str, ...],
    wanted: Collection[tuple[UUID, str]] = (),
) -> list[tuple[Cart, Contents]]:
    """These carts with what they hold, and offers for it and for (cart id, SKU) wanted.

    Prices are rounded so that each of the providers can charge them.
    """
    if not cart_ids:
        return []
    result = await connection.fetch(
        _LOAD_FILLED,
        {
            "cart_ids": list(cart_ids),
            "wanted_carts": [cart_id for cart_id, _ in wanted],
            "wanted_skus": [sku for _, sku in wanted],
        },
    )
    filled = []
    for row in result:
        cart = cart_of(row)
        filled.append((cart, _contents(row, rounding_unit_minor(providers, cart.currency))))
    return filled


def _contents(row: Record, rounding_unit: int) -> Contents:
    lines: dict[str, Line] = {}
    offers: dict[str, Offer] = {}
    if row.skus is None:
        return Contents(row.cart_id, lines, offers, lines)
    for sku, line_no, name, quantity, added, seen, offer_name, active, price, available in zip(
        row.skus,
        row.line_nos,
        row.names,
        row.quantities,
        row.added_prices,
        row.seen_prices,
        row.offer_names,
        row.offer_active,
        row.offer_prices,
        row.available,
        strict=True,
    ):
        if line_no is not None:
            lines[sku] = Line(line_no, sku, name, quantity, added, seen)
        if offer_name is not None:
            unit_price = None if price is None else rounded_minor(price, rounding_unit)
            offers[sku] = Offer(sku, offer_name, active, unit_price, available)
    return Contents(row.cart_id, lines, offers, lines)


def cart_of(row: Record) -> Cart:
    """The cart in a row of the columns `SELECTED`."""
    owner: Owner = (
        GuestOwner(row.guest_token_hash)
        if row.customer_id is None
        else CustomerOwner(row.customer_id)
    )
    return Cart(
        cart_id=row.cart_id,
        shop_id=row.shop_id,
        owner=owner,
        currency=row.currency,
        state=_state(row),
        version=row.version,
        event_seq=row.event_seq,
        last_line_no=row.last_line_no,
        left_out=tuple(_left_out(each) for each in row.left_out),
        created_at=row.created_at,
        changed_at=row.changed_at,
    )


def _state(row: Record) -> State:
    match row.status:
        case "active":
            return Active(None if row.failure is None else _failure(row.failure))
        case "locked":
            pending = row.start_due_at is not None
            start = PendingStart(row.start_due_at, row.start_sends) if pending else None
            return Locked(row.checkout_id, row.checkout_fingerprint, start)
        case "bought":
            return Bought(row.checkout_id, row.checkout_fingerprint, row.order_id)
        case _:
            return Merged(row.merged_into)


def _failure(stored: Mapping[str, Any]) -> FailedCheckout:
    shortages = tuple(Shortage.model_validate(each) for each in stored["shortages"])
    return FailedCheckout(UUID(stored["checkout_id"]), stored["reason"], shortages)


def _failure_json(failure: FailedCheckout) -> str:
    return orjson.dumps(
        {
            "checkout_id": failure.checkout_id,
            "reason": failure.reason,
            "shortages": [each.model_dump() for each in failure.shortages],
        }
    ).decode()


def _left_out(stored: Mapping[str, Any]) -> LeftOut:
    return LeftOut(**{**stored, "checkout_id": UUID(stored["checkout_id"])})


_FIND_ACTIVE = sql("""
    SELECT DISTINCT a.shop_id, a.customer_id, a.currency, a.cart_id
    FROM carts c
    JOIN carts a ON a.shop_id = c.shop_id AND a.customer_id = c.customer_id
                AND a.currency = c.currency AND a.status = 'active'
    WHERE c.cart_id = ANY(CAST(:cart_ids AS uuid[]))
""")


async def find_active_carts(connection: Connection, cart_ids: Collection[UUID]) -> list[ActiveCart]:
    """The active carts, in the same currencies, of the customers whose carts these are."""
    if not cart_ids:
        return []
    result = await connection.fetch(_FIND_ACTIVE, {"cart_ids": list(cart_ids)})
    return [ActiveCart(*row) for row in result]


_FIND_RESTORATIONS = sql("""
    SELECT checkout_id, shop_id, cart_id, restored_at FROM restorations
    WHERE checkout_id = ANY(CAST(:checkout_ids AS uuid[]))
""")


async def load_restorations(
    connection: Connection, checkout_ids: Collection[UUID]
) -> list[Restoration]:
    """Which of these checkouts had their lines brought back already."""
    if not checkout_ids:
        return []
    result = await connection.fetch(_FIND_RESTORATIONS, {"checkout_ids": list(checkout_ids)})
    return [Restoration(*row) for row in result]


Columns = tuple[tuple[str, str], ...]
"""Columns with their PostgreSQL types."""

_MUTABLE: Columns = (
    ("status", "text"),
    ("version", "bigint"),
    ("event_seq", "bigint"),
    ("last_line_no", "int"),
    ("checkout_id", "uuid"),
    ("checkout_fingerprint", "text"),
    ("order_id", "uuid"),
    ("merged_into", "uuid"),
    ("start_command", "text"),
    ("start_due_at", "timestamptz"),
    ("start_sends", "int"),
    ("failure", "jsonb"),
    ("left_out", "jsonb"),
    ("changed_at", "timestamptz"),
)
_IDENTITY: Columns = (
    ("cart_id", "uuid"),
    ("shop_id", "text"),
    ("customer_id", "text"),
    ("guest_token_hash", "text"),
    ("currency", "text"),
    ("created_at", "timestamptz"),
)
CART_COLUMNS: Columns = (*_IDENTITY, *_MUTABLE)


def arrays(columns: Columns) -> str:
    """The array parameters of these columns, for `unnest`."""
    return ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in columns)


def names(columns: Columns) -> str:
    """The names of these columns, separated by commas."""
    return ", ".join(name for name, _ in columns)


_UPDATE_COLUMNS: Columns = (("cart_id", "uuid"), *_MUTABLE)
_UPDATE_CARTS = sql(f"""
    UPDATE carts c
    SET {", ".join(f"{name} = u.{name}" for name, _ in _MUTABLE)}
    FROM unnest({arrays(_UPDATE_COLUMNS)}) AS u ({names(_UPDATE_COLUMNS)})
    WHERE c.cart_id = u.cart_id
    RETURNING c.cart_id
""")  # noqa: S608 - built from the constants above

_INSERT_CARTS = sql(f"""
    INSERT INTO carts ({names(CART_COLUMNS)}) SELECT * FROM unnest({arrays(CART_COLUMNS)})
""")  # noqa: S608 - built from the constants above


async def save_carts(
    connection: Connection, carts: Sequence[Cart], starts: Sequence[StartToSend]
) -> None:
    """Write carts that changed or are new, and the commands that some begin to send.

    A command is written with the lock that it begins with, and every later change of the cart
    ends its sending.
    """
    if not carts:
        return
    commands = {start.cart_id: start.command.model_dump_json() for start in starts}
    rows = [{**values_of(cart), "start_command": commands.get(cart.cart_id)} for cart in carts]
    known = set(await connection.fetch_column(_UPDATE_CARTS, columns_of(_UPDATE_COLUMNS, rows)))
    if new := [row for row in rows if row["cart_id"] not in known]:
        await connection.execute(_INSERT_CARTS, columns_of(CART_COLUMNS, new))


def columns_of(columns: Columns, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The rows as one array per column."""
    return {name: [row[name] for row in rows] for name, _ in columns}


def values_of(cart: Cart) -> dict[str, Any]:
    """The columns of a cart, the command it sends apart."""
    values: dict[str, Any] = dict.fromkeys(name for name, _ in CART_COLUMNS)
    match cart.owner:
        case CustomerOwner(customer_id):
            values["customer_id"] = customer_id
        case GuestOwner(token_hash):
            values["guest_token_hash"] = token_hash
        case _:
            assert_never(cart.owner)
    match cart.state:
        case Active(failure):
            values["status"] = "active"
            values["failure"] = None if failure is None else _failure_json(failure)
        case Locked(checkout_id, fingerprint, start):
            values |= {"status": "locked", "checkout_id": checkout_id}
            values["checkout_fingerprint"] = fingerprint
            if start is not None:
                values |= {"start_due_at": start.due_at, "start_sends": start.sends}
        case Bought(checkout_id, fingerprint, order_id):
            values |= {"status": "bought", "checkout_id": checkout_id, "order_id": order_id}
            values["checkout_fingerprint"] = fingerprint
        case Merged(into_cart_id):
            values |= {"status": "merged", "merged_into": into_cart_id}
        case _:
            assert_never(cart.state)
    return values | {
        "cart_id": cart.cart_id,
        "shop_id": cart.shop_id,
        "currency": cart.currency,
        "version": cart.version,
        "event_seq": cart.event_seq,
        "last_line_no": cart.last_line_no,
        "left_out": orjson.dumps([asdict(each) for each in cart.left_out]).decode(),
        "created_at": cart.created_at,
        "changed_at": cart.changed_at,
    }


_DELETE_LINES = sql("""
    DELETE FROM cart_lines l
    USING unnest(CAST(:cart_ids AS uuid[]), CAST(:line_nos AS int[])) AS d (cart_id, line_no)
    WHERE l.cart_id = d.cart_id AND l.line_no = d.line_no
""")

_SAVE_LINES = sql("""
    INSERT INTO cart_lines
        (cart_id, line_no, sku, name, quantity, added_price_minor, seen_price_minor)
    SELECT * FROM unnest(
        CAST(:cart_ids AS uuid[]), CAST(:line_nos AS int[]), CAST(:skus AS text[]),
        CAST(:names AS text[]), CAST(:quantities AS int[]), CAST(:added_prices AS bigint[]),
        CAST(:seen_prices AS bigint[]))
    ON CONFLICT (cart_id, line_no) DO UPDATE
    SET quantity = excluded.quantity, seen_price_minor = excluded.seen_price_minor
""")


async def save_contents(connection: Connection, contents: Sequence[Contents]) -> None:
    """Write the lines that differ from what is stored; the carts are written before."""
    removed: list[tuple[UUID, int]] = []
    written: list[tuple[UUID, Line]] = []
    for held in contents:
        kept = {line.line_no for line in held.lines.values()}
        removed += [
            (held.cart_id, line.line_no)
            for line in held.stored.values()
            if line.line_no not in kept
        ]
        written += [
            (held.cart_id, line) for sku, line in held.lines.items() if held.stored.get(sku) != line
        ]
    if removed:
        await connection.execute(
            _DELETE_LINES,
            {
                "cart_ids": [cart_id for cart_id, _ in removed],
                "line_nos": [line_no for _, line_no in removed],
            },
        )
    if written:
        await connection.execute(
            _SAVE_LINES,
            {
                "cart_ids": [cart_id for cart_id, _ in written],
                "line_nos": [line.line_no for _, line in written],
                "skus": [line.sku for _, line in written],
                "names": [line.name for _, line in written],
                "quantities": [line.quantity for _, line in written],
                "added_prices": [line.added_price_minor for _, line in written],
                "seen_prices": [line.seen_price_minor for _, line in written],
            },
        )


_SAVE_RESTORATIONS = sql("""
    INSERT INTO restorations (checkout_id, shop_id, cart_id, restored_at)
    SELECT * FROM unnest(
        CAST(:checkout_ids AS uuid[]), CAST(:shop_ids AS text[]), CAST(:cart_ids AS uuid[]),
        CAST(:times AS timestamptz[]))
""")


async def save_restorations(connection: Connection, restorations: Sequence[Restoration]) -> None:
    """Note that the lines of these checkouts are back; a second time violates the key."""
    if not restorations:
        return
    await connection.execute(
        _SAVE_RESTORATIONS,
        {
            "checkout_ids": [each.checkout_id for each in restorations],
            "shop_ids": [each.shop_id for each in restorations],
            "cart_ids": [each.cart_id for each in restorations],
            "times": [each.restored_at for each in restorations],
        },
    )


async def save_changes(connection: Connection, changed: Sequence[object]) -> None:
    """Write what changed, in the order in which rows refer to one another."""
    await save_carts(
        connection,
        [row for row in changed if isinstance(row, Cart)],
        [row for row in changed if isinstance(row, StartToSend)],
    )
    await save_contents(connection, [row for row in changed if isinstance(row, Contents)])
    await save_restorations(connection, [row for row in changed if isinstance(row, Restoration)])
