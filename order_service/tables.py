"""The tables of orders; what a constraint can hold, a constraint holds.

`checkouts` is the lock root: its row is locked before anything of the checkout or its order is
changed. The facts of a checkout are one JSON value, written whole and read whole; what is
searched, audited or held by a constraint stands in columns beside it.
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
from sqlalchemy.dialects.postgresql import JSON, JSONB
from sqlmodel import Field

from messaging.tables import changed_index, service_tables
from order_service.checkout.compass import STATE_OF_LIVE
from order_service.checkout.facts import (
    ENDED,
    LIVE,
    AttemptStatus,
    Fulfilment,
    PaymentStatus,
    Returned,
    State,
)
from order_service.documents.domain import Kind
from order_service.store.placeholders import TOMBSTONE, UNSEEN

if TYPE_CHECKING:
    from sqlmodel import SQLModel

    Table = SQLModel
else:
    Table = service_tables("order")

_MOMENT = DateTime(timezone=True)


def one_of(column: str, *values: str) -> str:
    """The condition that a column holds one of these values."""
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


def _amount() -> Column[int]:
    return Column(BigInteger, nullable=False, server_default=text("0"))


_WITHOUT_ORDER = one_of(
    "state", State.RESERVING, State.RELEASING, State.CANCELLED, State.NEEDS_ATTENTION
)
_NOT_BEGUN = one_of("state", UNSEEN, TOMBSTONE)

CHECKOUT_RULES = {
    "checkouts_state": one_of("state", UNSEEN, TOMBSTONE, *State),
    "checkouts_begun": f"""
        {_NOT_BEGUN} AND num_nonnulls(request, facts, cart_id, currency, total_minor) = 0
        OR NOT {_NOT_BEGUN} AND num_nulls(request, facts, cart_id, currency, total_minor) = 0
            AND num_nonnulls(customer_id, guest_token_hash) = 1
    """,
    # Final: over, and nothing is waited for. Anything else moves by a deadline, or is seen.
    "checkouts_final": f"""
        NOT final OR {one_of("state", TOMBSTONE, *sorted(ENDED))}
            AND deadline_at IS NULL AND NOT late AND NOT blocked
    """,
    "checkouts_moves_or_is_seen": f"""
        final OR blocked OR deadline_at IS NOT NULL
            OR {one_of("state", UNSEEN, State.NEEDS_ATTENTION)}
    """,
    # The one live attempt, and no stock given back while there is one.
    "checkouts_live_attempt": f"""
        num_nulls(live_attempt, live_attempt_status) IN (0, 2)
        AND (live_attempt_status IS NULL OR {one_of("live_attempt_status", *sorted(LIVE))})
    """,
    "checkouts_live_state": f"""
        CASE WHEN {one_of("state", *STATE_OF_LIVE.values(), State.AUTHORIZED)}
            THEN live_attempt IS NOT NULL
        ELSE live_attempt IS NULL
            OR state = '{State.COMMITTING}'
                AND live_attempt_status = '{AttemptStatus.AUTHORIZED}'
            OR {one_of("state", State.CLOSING_PAYMENT, State.NEEDS_ATTENTION)} END
    """,
    # Nothing goes back that did not come; what is kept is the total or nothing.
    "checkouts_money": """
        captured_minor >= 0 AND refunded_minor >= 0 AND refund_pending_minor >= 0
        AND refunded_minor + refund_pending_minor <= captured_minor
    """,
    "checkouts_money_kept": f"""
        CASE state
        WHEN '{State.PAID}' THEN
            captured_minor - refunded_minor - refund_pending_minor = total_minor
        WHEN '{State.CANCELLED}' THEN captured_minor = refunded_minor
        WHEN '{State.REJECTED}' THEN captured_minor = 0
        ELSE true END
    """,
    "checkouts_order": f"""
        CASE WHEN {one_of("state", UNSEEN, TOMBSTONE, State.REJECTED)} THEN order_id IS NULL
        WHEN {_WITHOUT_ORDER} THEN order_id IS NOT NULL OR captured_minor = 0
        ELSE order_id IS NOT NULL END
    """,
}
"""The rules of `order_service.checkout` that one row can show, by name."""


class CheckoutRow(Table, table=True):
    """A checkout. `request` is the StartCheckout as it came, `facts` all that the saga knows.

    `final`: ended, and every message acknowledged. `deadline_at`: when something must happen
    without a message, or when that is to be noted again.
    """

    __tablename__ = "checkouts"
    __table_args__ = (
        *(CheckConstraint(rule, name=name) for name, rule in CHECKOUT_RULES.items()),
        Index(
            "checkouts_deadline", "deadline_at", postgresql_where=text("deadline_at IS NOT NULL")
        ),
        changed_index("checkouts_changed", "changed_at"),
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
    facts: dict[str, Any] | None = Field(sa_column=Column(JSON))
    live_attempt: int | None = Field(sa_column=Column(Integer))
    live_attempt_status: str | None = Field(sa_column=Column(Text))
    captured_minor: int = Field(sa_column=_amount())
    refund_pending_minor: int = Field(sa_column=_amount())
    refunded_minor: int = Field(sa_column=_amount())
    final: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=false()))
    late: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=false()))
    blocked: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=false()))
    deadline_at: datetime | None = Field(sa_column=Column(_MOMENT))
    created_at: datetime = Field(sa_column=Column(_MOMENT, nullable=False))
    changed_at: datetime = Field(sa_column=Column(_MOMENT, nullable=False))


class HistoryRow(Table, table=True):
    """What came to a checkout and what became of it, in order of `entry_no`; append-only.

    What was written before version 10 of this schema has no `sent_at`.
    """

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
    message_id: UUID | None = Field(sa_column=Column(Uuid))
    sent_at: datetime | None = Field(sa_column=Column(_MOMENT))
    sends: int | None = Field(sa_column=Column(Integer))


class ResolutionRow(Table, table=True):
    """What an operator decided about a checkout or its order, and why; append-only."""

    __tablename__ = "resolutions"

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    checkout_id: UUID = Field(
        sa_column=Column(Uuid, ForeignKey("checkouts.checkout_id"), nullable=False, index=True)
    )
    at: datetime = Field(sa_column=Column(_MOMENT, nullable=False))
    decision: str = Field(sa_column=Column(Text, nullable=False))
    requested_by: str = Field(sa_column=Column(Text, nullable=False))
    reason: str = Field(sa_column=Column(Text, nullable=False))


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
        changed_index("orders_changed", "changed_at"),
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


class AfterSaleRow(Table, table=True):
    """What happened to an order after it was paid for: refunds, returns and disputes in `facts`.

    The amounts are sums of those. `deadline_at`: when an open question is to be asked again, or
    that is to be noted again.
    """

    __tablename__ = "after_sales"
    __table_args__ = (
        CheckConstraint(
            "least(refunded_minor, refund_pending_minor, disputed_minor, dispute_lost_minor) >= 0",
            name="after_sales_amounts",
        ),
        Index(
            "after_sales_deadline", "deadline_at", postgresql_where=text("deadline_at IS NOT NULL")
        ),
        Index("after_sales_attention", "changed_at", postgresql_where=text("needs_attention")),
        changed_index("after_sales_changed", "changed_at"),
    )

    checkout_id: UUID = Field(
        sa_column=Column(Uuid, ForeignKey("checkouts.checkout_id"), primary_key=True)
    )
    facts: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    refunded_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    credited_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    refund_pending_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    disputed_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    dispute_lost_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    blocked: bool = Field(sa_column=Column(Boolean, nullable=False))
    needs_attention: bool = Field(sa_column=Column(Boolean, nullable=False))
    deadline_at: datetime | None = Field(sa_column=Column(_MOMENT))
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


class DocumentSeriesRow(Table, table=True):
    """How far a series of a shop is numbered in a year: 1 to `last`, without a gap."""

    __tablename__ = "document_series"
    __table_args__ = (
        PrimaryKeyConstraint("shop_id", "series", "year"),
        CheckConstraint("last >= 1", name="document_series_last"),
    )

    shop_id: str = Field(sa_column=Column(Text, nullable=False))
    series: str = Field(sa_column=Column(Text, nullable=False))
    year: int = Field(sa_column=Column(Integer, nullable=False))
    last: int = Field(sa_column=Column(BigInteger, nullable=False))


class DocumentRow(Table, table=True):
    """A document as it was issued; a trigger refuses every change.

    Of capture or payment `attempt` (0: nothing was due), or of refund `refund` of that attempt's
    money. `invoice_id` is the invoice that a receipt or a credit note belongs to.
    """

    __tablename__ = "documents"
    __table_args__ = (
        UniqueConstraint("shop_id", "series", "year", "sequence", name="documents_number"),
        UniqueConstraint("order_id", "kind", "attempt", "refund", name="documents_of_order"),
        CheckConstraint(one_of("kind", *Kind), name="documents_kind"),
        CheckConstraint("net_minor >= 0 AND gross_minor >= net_minor", name="documents_amounts"),
        CheckConstraint(
            "attempt >= 0 AND refund >= 0 AND (kind = 'credit_note') = (refund > 0)"
            " AND (kind = 'invoice') = (invoice_id IS NULL)",
            name="documents_about",
        ),
        CheckConstraint(
            "num_nonnulls(series, year, sequence) = CASE kind WHEN 'receipt' THEN 0 ELSE 3 END"
            " AND sequence >= 1",
            name="documents_numbered",
        ),
    )

    document_id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    shop_id: str = Field(sa_column=Column(Text, nullable=False))
    order_id: UUID = Field(sa_column=Column(Uuid, ForeignKey("orders.order_id"), nullable=False))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    attempt: int = Field(sa_column=Column(Integer, nullable=False))
    refund: int = Field(sa_column=Column(Integer, nullable=False))
    invoice_id: UUID | None = Field(sa_column=Column(Uuid, ForeignKey("documents.document_id")))
    series: str | None = Field(sa_column=Column(Text))
    year: int | None = Field(sa_column=Column(Integer))
    sequence: int | None = Field(sa_column=Column(BigInteger))
    currency: str = Field(sa_column=Column(Text, nullable=False))
    net_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    gross_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    content: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    issued_at: datetime = Field(sa_column=Column(_MOMENT, nullable=False))
