"""What is shown of checkouts and orders, each view in one or two statements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from messaging.database import Connection, sql
from order_service.checkout import Checkout, Tombstone
from order_service.store.checkouts import Known, load

_HISTORY = sql("""
    SELECT at, message_type, step, round, outcome, state, note FROM (
        SELECT * FROM checkout_history WHERE checkout_id = :checkout_id
        ORDER BY entry_no DESC LIMIT :most
    ) AS newest ORDER BY entry_no
""")


async def read_checkout(connection: Connection, checkout_id: UUID) -> Known | None:
    """What is known of a checkout."""
    found = await load(connection, [checkout_id])
    return found[0] if found else None


async def read_history(connection: Connection, checkout_id: UUID, most: int) -> Sequence[Any]:
    """The newest entries of a checkout's history, oldest first."""
    return await connection.fetch(_HISTORY, {"checkout_id": checkout_id, "most": most})


OVERDUE_SECONDS = 10
"""A deadline that passed longer ago is nobody's turn: the sweeper looks every second."""

STUCK = sql("""
    SELECT checkout_id, state, late, blocked, deadline_at, changed_at, facts->>'waits' AS waits
    FROM checkouts
    WHERE NOT final AND state NOT IN ('unseen', 'tombstone')
      AND (CAST(:shop_id AS text) IS NULL OR shop_id = :shop_id)
      AND (late OR blocked OR state = 'needs_attention'
           OR deadline_at < now() - make_interval(secs => :overdue_seconds))
    ORDER BY changed_at LIMIT :most
""")
"""Checkouts that are late, blocked, overdue, or wait for somebody's decision, the oldest first."""


@dataclass(frozen=True, slots=True)
class Price:
    """What an order costs."""

    total_minor: int
    currency: str


_PRICE = sql("SELECT total_minor, currency FROM orders WHERE order_id = :order_id")


async def read_price(connection: Connection, order_id: UUID) -> Price:
    """What an order costs; it never changes."""
    row = await connection.fetch_one(_PRICE, {"order_id": order_id})
    assert row is not None  # noqa: S101 - its caller found the order, and orders are kept
    return Price(*row)


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose an order is, and which checkout it came from."""

    checkout_id: UUID
    shop_id: str
    customer_id: str | None
    guest_token_hash: str | None


_HOLDER = sql("""
    SELECT checkout_id, shop_id, customer_id, guest_token_hash
    FROM orders WHERE order_id = :order_id
""")


async def find_order(connection: Connection, order_id: UUID) -> Holder | None:
    """The holder of an order, without locking anything."""
    row = await connection.fetch_one(_HOLDER, {"order_id": order_id})
    return None if row is None else Holder(*row)


def holder_of(known: Known) -> Holder | None:
    """Whose a checkout is; nobody knows of a tombstone."""
    if isinstance(known, Tombstone):
        return None
    request = known.request
    return Holder(known.id, request.shop_id, request.customer_id, request.guest_token_hash)


_LINES = sql("""
    SELECT line_no, sku, method, name, quantity, unit_price_minor, net_minor, gross_minor,
           discounts, taxes
    FROM order_lines WHERE order_id = :order_id ORDER BY line_no
""")


async def read_lines(connection: Connection, order_id: UUID) -> Sequence[Any]:
    """The lines of an order and then its shipping lines, in the order of the request."""
    return await connection.fetch(_LINES, {"order_id": order_id})


_LIST = sql("""
    SELECT order_id, checkout_id, number, currency, total_minor, payment_status,
           fulfilment_status, return_status, placed_at
    FROM orders
    WHERE shop_id = :shop_id AND customer_id = :customer_id
      AND (CAST(:placed_before AS timestamptz) IS NULL
           OR (placed_at, order_id) < (CAST(:placed_before AS timestamptz),
                                       CAST(:before_id AS uuid)))
    ORDER BY placed_at DESC, order_id DESC LIMIT :most
""")


async def list_orders(
    connection: Connection,
    shop_id: str,
    customer_id: str,
    most: int,
    before: tuple[datetime, UUID] | None,
) -> Sequence[Any]:
    """A customer's orders, newest first, at most so many, before the given position."""
    placed_before, before_id = before or (None, None)
    parameters = {
        "shop_id": shop_id,
        "customer_id": customer_id,
        "placed_before": placed_before,
        "before_id": before_id,
        "most": most,
    }
    return await connection.fetch(_LIST, parameters)


def order_of(known: Known | None) -> Checkout | None:
    """The checkout of an order, if it has become one."""
    return known if isinstance(known, Checkout) and known.order is not None else None
