"""Tables of the cart service. `domain/carts.py` says what a cart may be; these hold it to that."""

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from messaging.tables import changed_index, service_tables

if TYPE_CHECKING:
    from sqlmodel import SQLModel

    Table = SQLModel
else:
    Table = service_tables("cart")

_STATE = """
    CASE status
    WHEN 'active' THEN num_nonnulls(checkout_id, checkout_fingerprint, order_id, merged_into) = 0
    WHEN 'locked' THEN num_nulls(checkout_id, checkout_fingerprint) = 0
        AND num_nonnulls(order_id, merged_into) = 0
    WHEN 'bought' THEN num_nulls(checkout_id, checkout_fingerprint, order_id) = 0
        AND merged_into IS NULL
    WHEN 'merged' THEN num_nonnulls(checkout_id, checkout_fingerprint, order_id) = 0
        AND merged_into <> cart_id AND merged_into IS NOT NULL
    ELSE false END
"""


class CartRow(Table, table=True):
    """A cart: whose it is, what state it is in, and what is still to be said to the saga."""

    __tablename__ = "carts"
    __table_args__ = (
        CheckConstraint("num_nonnulls(customer_id, guest_token_hash) = 1", name="carts_owner"),
        CheckConstraint(_STATE, name="carts_state"),
        CheckConstraint(
            "num_nulls(start_command, start_due_at, start_sends) IN (0, 3)"
            " AND (start_due_at IS NULL OR status = 'locked')",
            name="carts_start",
        ),
        CheckConstraint("failure IS NULL OR status = 'active'", name="carts_failure"),
        CheckConstraint("version >= 1 AND event_seq >= 1", name="carts_counts"),
        CheckConstraint("last_line_no >= 0", name="carts_last_line_no"),
        Index(
            "carts_one_active",
            "shop_id",
            "customer_id",
            "currency",
            unique=True,
            postgresql_where=text("status = 'active' AND customer_id IS NOT NULL"),
        ),
        Index(
            "carts_checkout",
            "checkout_id",
            unique=True,
            postgresql_where=text("checkout_id IS NOT NULL"),
        ),
        Index(
            "carts_of_customer",
            "shop_id",
            "customer_id",
            "created_at",
            "cart_id",
            postgresql_where=text("customer_id IS NOT NULL"),
        ),
        Index(
            "carts_of_guest",
            "guest_token_hash",
            "created_at",
            "cart_id",
            postgresql_where=text("guest_token_hash IS NOT NULL"),
        ),
        changed_index("carts_changed", "changed_at"),
        Index("carts_start_due", "start_due_at", postgresql_where=text("start_due_at IS NOT NULL")),
    )

    cart_id: UUID = Field(primary_key=True)
    shop_id: str = Field(sa_type=Text)
    customer_id: str | None = Field(sa_type=Text)
    guest_token_hash: str | None = Field(sa_type=Text)
    currency: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    version: int = Field(sa_type=BigInteger)
    event_seq: int = Field(sa_type=BigInteger)
    last_line_no: int
    checkout_id: UUID | None
    checkout_fingerprint: str | None = Field(sa_type=Text)
    order_id: UUID | None
    merged_into: UUID | None = Field(
        sa_column=Column(ForeignKey("carts.cart_id", deferrable=True, initially="DEFERRED"))
    )
    start_command: str | None = Field(sa_type=Text)
    start_due_at: datetime | None = Field(sa_type=DateTime(timezone=True))
    start_sends: int | None
    failure: dict[str, Any] | None = Field(sa_type=JSONB)
    left_out: list[dict[str, Any]] = Field(
        sa_column=Column(JSONB, nullable=False, server_default=text("'[]'"))
    )
    created_at: datetime = Field(sa_type=DateTime(timezone=True))
    changed_at: datetime = Field(sa_type=DateTime(timezone=True))


class LineRow(Table, table=True):
    """A line of a cart: one SKU, in so many pieces."""

    __tablename__ = "cart_lines"
    __table_args__ = (
        UniqueConstraint("cart_id", "sku", name="cart_lines_sku"),
        CheckConstraint("line_no >= 1", name="cart_lines_line_no"),
        CheckConstraint("quantity >= 1", name="cart_lines_quantity"),
        CheckConstraint(
            "seen_price_minor >= 0 AND added_price_minor >= 0", name="cart_lines_prices"
        ),
    )

    cart_id: UUID = Field(primary_key=True, foreign_key="carts.cart_id")
    line_no: int = Field(primary_key=True)
    sku: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    quantity: int
    added_price_minor: int = Field(sa_type=BigInteger)
    seen_price_minor: int = Field(sa_type=BigInteger)


class RestorationRow(Table, table=True):
    """The lines of a cancelled checkout came back into `cart_id`: once per checkout."""

    __tablename__ = "restorations"
    __table_args__ = (changed_index("restorations_restored", "restored_at"),)

    checkout_id: UUID = Field(primary_key=True)
    shop_id: str = Field(sa_type=Text)
    cart_id: UUID = Field(foreign_key="carts.cart_id")
    restored_at: datetime = Field(sa_type=DateTime(timezone=True))


class CatalogItemRow(Table, table=True):
    """The cart's own copy of the catalog: the newest version of each SKU heard of."""

    __tablename__ = "catalog_items"

    shop_id: str = Field(primary_key=True, sa_type=Text)
    sku: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(sa_type=Text)
    active: bool
    prices: dict[str, int] = Field(
        sa_column=Column(JSONB, nullable=False, comment="Minor units by currency.")
    )
    version: int = Field(sa_type=BigInteger)


class AvailabilityRow(Table, table=True):
    """The cart's own copy of what is in stock: advisory, inventory decides."""

    __tablename__ = "stock_availability"

    shop_id: str = Field(primary_key=True, sa_type=Text)
    sku: str = Field(primary_key=True, sa_type=Text)
    available: int = Field(sa_type=BigInteger)
    version: int = Field(sa_type=BigInteger)
