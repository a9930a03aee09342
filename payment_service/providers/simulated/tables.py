"""The simulated provider's books.

Nothing here is Trolley's: it stands for what a real provider knows. `ledger` has the same kinds
as the payment service's; `payment_service/tables.py` says on what the two agree.
"""

from datetime import datetime
from typing import Any
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
    MetaData,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from messaging.tables import changed_index

_registry = registry(metadata=MetaData(info={"service": "simulated_provider"}))


class Table(SQLModel, registry=_registry):
    """Base of the simulated provider's tables."""


class PaymentRecord(Table, table=True):
    """A payment, by the idempotency key of its charge; `unknown` ones are named, no more.

    `method_token` chose its behaviour, `due_at` is when it moves by itself.
    """

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint("captured_minor BETWEEN 0 AND amount_minor", name="payments_captured"),
        CheckConstraint(
            "status NOT IN ('authorized', 'processing', 'action_required') OR due_at IS NOT NULL",
            name="payments_due",
        ),
        Index("payments_payment", "payment_id"),
        Index(
            "payments_action",
            "action_secret",
            unique=True,
            postgresql_where=text("action_secret IS NOT NULL"),
        ),
    )

    charge_key: str = Field(sa_column=Column(Text, primary_key=True))
    status: str = Field(sa_column=Column(Text, nullable=False))
    payment_id: UUID | None
    attempt: int | None
    method_token: str = Field(sa_column=Column(Text, nullable=False))
    flow: str = Field(sa_column=Column(Text, nullable=False))
    amount_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    captured_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    released_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    currency: str = Field(sa_column=Column(Text, nullable=False))
    code: str | None = Field(sa_column=Column(Text))
    action_secret: str | None = Field(sa_column=Column(Text))
    due_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))


class RefundRecord(Table, table=True):
    """A refund, by its idempotency key."""

    __tablename__ = "refunds"
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="refunds_amount"),
        Index("refunds_payment", "charge_key"),
    )

    refund_key: str = Field(sa_column=Column(Text, primary_key=True))
    charge_key: str = Field(
        sa_column=Column(Text, ForeignKey("payments.charge_key"), nullable=False)
    )
    amount_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    status: str = Field(sa_column=Column(Text, nullable=False))
    code: str | None = Field(sa_column=Column(Text))
    due_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True)))
    is_ours: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("true")))


class DisputeRecord(Table, table=True):
    """Money that the shopper's bank has withdrawn: open, won or lost."""

    __tablename__ = "disputes"
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="disputes_amount"),
        Index("disputes_payment", "charge_key"),
    )

    dispute_key: str = Field(sa_column=Column(Text, primary_key=True))
    charge_key: str = Field(
        sa_column=Column(Text, ForeignKey("payments.charge_key"), nullable=False)
    )
    amount_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    status: str = Field(sa_column=Column(Text, nullable=False))


class AnswerRecord(Table, table=True):
    """The first answer under an idempotency key: given again, whatever came since."""

    __tablename__ = "answers"
    __table_args__ = (Index("answers_payment", "charge_key"),)

    idempotency_key: str = Field(sa_column=Column(Text, primary_key=True))
    charge_key: str = Field(
        sa_column=Column(Text, ForeignKey("payments.charge_key"), nullable=False)
    )
    call: str = Field(sa_column=Column(Text, nullable=False))
    fingerprint: str = Field(sa_column=Column(Text, nullable=False))
    outcome: str = Field(sa_column=Column(Text, nullable=False))
    facts: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))


class CallRecord(Table, table=True):
    """How often each call was made, repetitions and lost ones included."""

    __tablename__ = "calls"
    __table_args__ = (Index("calls_payment", "charge_key"),)

    call: str = Field(sa_column=Column(Text, primary_key=True))
    key: str = Field(sa_column=Column(Text, primary_key=True))
    charge_key: str = Field(sa_column=Column(Text, nullable=False))
    calls: int = Field(sa_column=Column(BigInteger, nullable=False))


class LedgerRecord(Table, table=True):
    """What happened to money here; append-only (a trigger refuses changes)."""

    __tablename__ = "ledger"
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="ledger_amount"),
        Index("ledger_payment", "payment_id", "attempt", "kind"),
        changed_index("ledger_booked", "booked_at"),
    )

    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    charge_key: str = Field(
        sa_column=Column(Text, ForeignKey("payments.charge_key"), nullable=False)
    )
    payment_id: UUID
    attempt: int
    kind: str = Field(sa_column=Column(Text, nullable=False))
    amount_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    currency: str = Field(sa_column=Column(Text, nullable=False))
    refund_key: str | None = Field(sa_column=Column(Text))
    booked_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
