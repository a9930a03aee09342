"""The tables of orders; what a constraint can hold, a constraint holds.

`checkouts` is the lock root: its row is locked before anything of the checkout or its order is
changed. The facts of a checkout are one JSON value, written whole; what is searched or audited
stands in columns beside it.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from messaging.tables import service_tables
from order_service.checkout.facts import Fulfilment, PaymentStatus, Returned, State

if TYPE_CHECKING:
    from sqlmodel import SQLModel

    Table = SQLModel
else:
    Table = service_tables("order")

UNSEEN = "unseen"
"""A row that is locked for a checkout which has not begun."""

TOMBSTONE = "tombstone"
"""A cancel came before its checkout."""

_MOMENT = DateTime(timezone=True)


def one_of(column: str, *values: str) -> str:
    """The condition that a column holds one of these values."""
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


class CheckoutRow(Table, table=True):
    """A checkout. `request` is the StartCheckout as it came, `facts` all that the saga knows.

    `final`: ended, and every message acknowledged. `deadline_at`: when something must happen
    without a message, or when that is to be noted again.
    """

    __tablename__ = "checkouts"
    __table_args__ = (
        CheckConstraint(one_of("state", UNSEEN, TOMBSTONE, *State), name="checkouts_state"),
        CheckConstraint(
            f"state IN ('{UNSEEN}', '{TOMBSTONE}') OR (request IS NOT NULL AND facts IS NOT NULL "
            "AND (customer_id IS NULL) <> (guest_token_hash IS NULL))",
            name="checkouts_known",
        ),
        CheckConstraint(
            "NOT final OR (state IN ('paid', 'cancelled', 'rejected') AND deadline_at IS NULL)",
            name="checkouts_final",
        ),
        Index(
            "checkouts_deadline", "deadline_at", postgresql_where=text("deadline_at IS NOT NULL")
        ),
        Index("checkouts_open_states", "state", postgresql_where=text("NOT final")),
    )

    checkout_id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    shop_id: str = Field(sa_column=Column(Text, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False))
    customer_id: str | None = Field(sa_column=Column(Text))
    guest_token_hash: str | None = Field(sa_column=Column(Text))
    cart_id: UUID | None = Field(sa_column=Column(Uuid))
    order_id: UUID | None = Field(sa_column=Column(Uuid, unique=True))
    currency: str | None = Field(sa_column=Column(Text))
    total_minor: int | None = Field(sa_column=Column(BigInteger))
    request: bytes | None = Field(sa_column=Column(LargeBinary))
    facts: dict[str, Any] | None = Field(sa_column=Column(JSONB))
    final: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=false()))
    late: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=false()))
    blocked: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=false()))
    deadline_at: datetime | None = Field(sa_column=Column(_MOMENT))
    created_at: datetime = Field(sa_column=Column(_MOMENT, nullable=False))
    changed_at: datetime = Field(sa_column=Column(_MOMENT, nullable=False))


class HistoryRow(Table, table=True):
    """What came to a checkout and what became of it, in order of `entry_no`; append-only."""

    __tablename__ = "checkout_history"
    __table_args__ = (
        CheckConstraint(one_of("outcome", "moved", "stale"), name="checkout_history_outcome"),
        Index("checkout_history_checkout", "checkout_id", "entry_no"),
    )

    entry_no: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    checkout_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    at: datetime = Field(sa_column=Column(_MOMENT, nullable=False))
    message_type: str = Field(sa_column=Column(Text, nullable=False))
    step: str | None = Field(sa_column=Column(Text))
    round: int | None = Field(sa_column=Column(Integer))
    outcome: str = Field(sa_column=Column(Text, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False))
    note: str = Field(sa_column=Column(Text, nullable=False, server_default=text("''")))


class OrderRow(Table, table=True):
    """An order, on three axes: payment, fulfilment, return. `event_seq` counts its events."""

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("shop_id", "number", name="orders_number"),
        CheckConstraint("total_minor >= 0 AND event_seq >= 1", name="orders_amounts"),
        CheckConstraint(one_of("payment_status", *PaymentStatus), name="orders_payment_status"),
        CheckConstraint(one_of("fulfilment_status", *Fulfilment), name="orders_fulfilment_status"),
        CheckConstraint(one_of("return_status", *Returned), name="orders_return_status"),
        CheckConstraint(
            "(customer_id IS NULL) <> (guest_token_hash IS NULL)", name="orders_one_owner"
        ),
        Index("orders_of_customer", "shop_id", "customer_id", "placed_at", "order_id"),
    )

    order_id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    shop_id: str = Field(sa_column=Column(Text, nullable=False))
    checkout_id: UUID = Field(
        sa_column=Column(Uuid, ForeignKey("checkouts.checkout_id"), nullable=False, unique=True)
    )
    number: str = Field(sa_column=Column(Text, nullable=False))
    customer_id: str | None = Field(sa_column=Column(Text))
    guest_token_hash: str | None = Field(sa_column=Column(Text))
    email: str = Field(sa_column=Column(Text, nullable=False))
    shipping_address: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    currency: str = Field(sa_column=Column(Text, nullable=False))
    total_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    payment_status: str = Field(sa_column=Column(Text, nullable=False))
    fulfilment_status: str = Field(sa_column=Column(Text, nullable=False))
    return_status: str = Field(sa_column=Column(Text, nullable=False))
    event_seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    placed_at: datetime = Field(sa_column=Column(_MOMENT, nullable=False))
    window_closes_at: datetime = Field(sa_column=Column(_MOMENT, nullable=False))
    changed_at: datetime = Field(sa_column=Column(_MOMENT, nullable=False))


class OrderLineRow(Table, table=True):
    """A line of an order, or a shipping cost of it (`sku` is null then); never changed."""

    __tablename__ = "order_lines"
    __table_args__ = (
        PrimaryKeyConstraint("order_id", "line_no"),
        CheckConstraint(
            "quantity >= 1 AND unit_price_minor >= 0 AND net_minor >= 0 AND gross_minor >= 0",
            name="order_lines_amounts",
        ),
    )

    order_id: UUID = Field(sa_column=Column(Uuid, ForeignKey("orders.order_id"), nullable=False))
    line_no: int = Field(sa_column=Column(Integer, nullable=False))
    sku: str | None = Field(sa_column=Column(Text(collation="C")))
    method: str | None = Field(sa_column=Column(Text))
    name: str = Field(sa_column=Column(Text, nullable=False))
    quantity: int = Field(sa_column=Column(Integer, nullable=False))
    unit_price_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    net_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    gross_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    discounts: list[Any] = Field(sa_column=Column(JSONB, nullable=False))
    taxes: list[Any] = Field(sa_column=Column(JSONB, nullable=False))
