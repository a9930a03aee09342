"""The tables of inventory; what a constraint can hold of the stock rules, a constraint holds.

`stock_items` is the lock root of a SKU: whoever changes one of its levels, or books a movement of
it, holds its row. SKUs are compared byte by byte.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from messaging.tables import changed_index, service_tables

if TYPE_CHECKING:
    from sqlmodel import SQLModel

    Table = SQLModel
else:
    Table = service_tables("inventory")

_MOMENT = DateTime(timezone=True)


def _code() -> Column[str]:
    return Column(Text(collation="C"), nullable=False)


def _count() -> Column[int]:
    return Column(BigInteger, nullable=False, server_default=text("0"))


class WarehouseRow(Table, table=True):
    """A place where stock lies. Among several that serve, the least `priority` goes first."""

    __tablename__ = "warehouses"
    __table_args__ = (PrimaryKeyConstraint("shop_id", "code"),)

    shop_id: str = Field(sa_column=_code())
    code: str = Field(sa_column=_code())
    name: str = Field(sa_column=Column(Text, nullable=False))
    priority: int = Field(sa_column=Column(Integer, nullable=False))
    created_at: datetime = Field(sa_column=Column(_MOMENT, nullable=False))


class StockItemRow(Table, table=True):
    """A SKU that was ever received: its counters, and the lock of all its levels."""

    __tablename__ = "stock_items"
    __table_args__ = (
        PrimaryKeyConstraint("shop_id", "sku"),
        CheckConstraint(
            "event_seq >= 0 AND availability_version >= 0", name="stock_items_counters"
        ),
    )

    shop_id: str = Field(sa_column=_code())
    sku: str = Field(sa_column=_code())
    event_seq: int = Field(sa_column=_count())
    availability_version: int = Field(sa_column=_count())


class StockLevelRow(Table, table=True):
    """The pieces of one SKU in one warehouse."""

    __tablename__ = "stock_levels"
    __table_args__ = (
        PrimaryKeyConstraint("shop_id", "sku", "warehouse"),
        ForeignKeyConstraint(["shop_id", "sku"], ["stock_items.shop_id", "stock_items.sku"]),
        ForeignKeyConstraint(["shop_id", "warehouse"], ["warehouses.shop_id", "warehouses.code"]),
        CheckConstraint("0 <= reserved AND reserved <= on_hand", name="stock_levels_possible"),
    )

    shop_id: str = Field(sa_column=_code())
    sku: str = Field(sa_column=_code())
    warehouse: str = Field(sa_column=_code())
    on_hand: int = Field(sa_column=_count())
    reserved: int = Field(sa_column=_count())


class MovementRow(Table, table=True):
    """An entry of the ledger. A trigger forbids to change or delete one."""

    __tablename__ = "movements"
    __table_args__ = (
        PrimaryKeyConstraint("shop_id", "sku", "event_seq"),
        UniqueConstraint("operation_id", "round", "kind", "line", name="movements_once"),
        CheckConstraint(
            "CASE kind WHEN 'receipt' THEN quantity > 0 WHEN 'return' THEN quantity > 0"
            " WHEN 'sale' THEN quantity < 0 WHEN 'adjustment' THEN quantity <> 0"
            " ELSE false END",
            name="movements_kind",
        ),
        CheckConstraint("on_hand >= 0 AND event_seq > 0", name="movements_counts"),
        changed_index("movements_moved", "moved_at"),
    )

    shop_id: str = Field(sa_column=_code())
    sku: str = Field(sa_column=_code())
    event_seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    warehouse: str = Field(sa_column=_code())
    kind: str = Field(sa_column=Column(Text, nullable=False))
    quantity: int = Field(sa_column=Column(BigInteger, nullable=False))
    on_hand: int = Field(sa_column=Column(BigInteger, nullable=False))
    operation_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    round: int = Field(sa_column=Column(Integer, nullable=False))
    line: int = Field(sa_column=Column(Integer, nullable=False))
    reason: str | None = Field(sa_column=Column(Text))
    moved_at: datetime = Field(sa_column=Column(_MOMENT, nullable=False))


class ReservationRow(Table, table=True):
    """What one round of an owner (a checkout, later also a cart) holds, has held or was refused.

    `id` derives from owner and round, so it is unique with them. A row of status `new` is only
    there to be locked: nothing is decided.
    """

    __tablename__ = "reservations"
    __table_args__ = (
        PrimaryKeyConstraint("shop_id", "owner_id", "round"),
        CheckConstraint("owner IN ('checkout', 'cart')", name="reservations_owner"),
        CheckConstraint(
            "status IN ('new', 'held', 'committed', 'released', 'booked_back', 'rejected',"
            " 'not_held')",
            name="reservations_status",
        ),
        CheckConstraint(
            "(status = 'held') = (next_question_at IS NOT NULL)"
            " AND (next_question_at IS NULL OR expires_at IS NOT NULL)",
            name="reservations_question",
        ),
        CheckConstraint("questions >= 0", name="reservations_questions"),
        changed_index("reservations_changed", "changed_at"),
        Index(
            "reservations_due",
            "next_question_at",
            postgresql_where=text("next_question_at IS NOT NULL"),
        ),
    )

    shop_id: str = Field(sa_column=_code())
    owner_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    round: int = Field(sa_column=Column(Integer, nullable=False))
    id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    owner: str = Field(sa_column=Column(Text, nullable=False))
    status: str = Field(sa_column=Column(Text, nullable=False))
    expires_at: datetime | None = Field(sa_column=Column(_MOMENT))
    next_question_at: datetime | None = Field(sa_column=Column(_MOMENT))
    questions: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    shortages: list[dict[str, Any]] | None = Field(sa_column=Column(JSONB(none_as_null=True)))
    reason: str | None = Field(sa_column=Column(Text))
    changed_at: datetime | None = Field(sa_column=Column(_MOMENT))


class ReservationLineRow(Table, table=True):
    """The pieces of one SKU that a reservation took from one warehouse; never changed."""

    __tablename__ = "reservation_lines"
    __table_args__ = (
        PrimaryKeyConstraint("shop_id", "owner_id", "round", "sku", "warehouse"),
        CheckConstraint("quantity > 0", name="reservation_lines_quantity"),
    )

    shop_id: str = Field(sa_column=_code())
    owner_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    round: int = Field(sa_column=Column(Integer, nullable=False))
    sku: str = Field(sa_column=_code())
    warehouse: str = Field(sa_column=_code())
    quantity: int = Field(sa_column=Column(BigInteger, nullable=False))
