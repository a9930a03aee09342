"""The payment service's tables, and what each column means to somebody who reads them by SQL.

Money is in minor units. `payments` carries the sums of `ledger`, so that constraints can hold
them; per payment:

    authorized_minor     = sum(authorized) - sum(voided)
    captured_minor       = sum(captured)
    refunded_minor       = sum(refunded) - sum(refund_returned) - over_refunded_minor
    refund_pending_minor = sum(refund_requested) - sum(refunded) - sum(refund_failed)
    disputed_minor       = sum(disputed) - sum(dispute_won) - sum(dispute_lost)
    dispute_lost_minor   = sum(dispute_lost)
    over_refunded_minor  = what went back beyond what was taken, because it went back by hand, too

The simulated provider's `ledger` has the same kinds: sums per (payment_id, attempt, kind) agree
once no row of `operations` is open (status due, leased or reported).
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
    ForeignKeyConstraint,
    Index,
    Integer,
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
    Table = service_tables("payment")

LIVE_STATUSES = "('requested', 'processing', 'action_required', 'authorized', 'unknown')"
OPEN_STATUSES = "('due', 'leased', 'reported')"


def _text(*, nullable: bool = False) -> Any:
    return Field(sa_column=Column(Text, nullable=nullable))


def _minor() -> Any:
    return Field(sa_column=Column(BigInteger, nullable=False))


def _counted() -> Any:
    """Minor units of a column that came later: zero for who does not know it."""
    return Field(sa_column=Column(BigInteger, nullable=False, server_default=text("0")))


def _time(*, nullable: bool = False) -> Any:
    return Field(sa_column=Column(DateTime(timezone=True), nullable=nullable))


class PaymentRow(Table, table=True):
    """The one payment of a checkout's order: the lock root of everything below.

    `order_id`, `order_number`, `customer_id` and `currency` are null until the first charge is
    known (a close may come first). `status` and the amounts are projections. `event_seq` counts
    the events published.
    """

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint(
            "0 <= refund_pending_minor AND 0 <= refunded_minor "
            "AND refunded_minor + refund_pending_minor <= captured_minor "
            "AND captured_minor <= authorized_minor",
            name="payments_amounts",
        ),
        CheckConstraint(
            "0 <= disputed_minor AND 0 <= dispute_lost_minor", name="payments_disputed"
        ),
        CheckConstraint("0 <= over_refunded_minor", name="payments_over_refunded"),
        CheckConstraint("authorized_minor = 0 OR currency IS NOT NULL", name="payments_currency"),
        UniqueConstraint("shop_id", "checkout_id", name="payments_checkout"),
        Index("payments_order", "order_id"),
        Index("payments_under_dispute", "payment_id", postgresql_where=text("disputed_minor > 0")),
        Index(
            "payments_given_back_twice",
            "payment_id",
            postgresql_where=text("over_refunded_minor > 0"),
        ),
        changed_index("payments_updated", "updated_at"),
    )

    payment_id: UUID = Field(primary_key=True)
    shop_id: str = _text()
    checkout_id: UUID
    order_id: UUID | None
    order_number: str | None = _text(nullable=True)
    customer_id: str | None = _text(nullable=True)
    currency: str | None = _text(nullable=True)
    status: str = _text()
    authorized_minor: int = _minor()
    captured_minor: int = _minor()
    refund_pending_minor: int = _minor()
    refunded_minor: int = _minor()
    disputed_minor: int = _counted()
    dispute_lost_minor: int = _counted()
    over_refunded_minor: int = _counted()
    event_seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    created_at: datetime = _time()
    updated_at: datetime = _time()


class AttemptRow(Table, table=True):
    """One try to get the money; attempts of a payment are counted from 1 by the order service.

    `status`: requested, processing, action_required, authorized, unknown (these are live: money
    may still come of it); succeeded, declined, cancelled, never_created, capture_failed, not_due.
    `details` are the facts of that status. `charge_key` is the idempotency key of its charge and
    its name at the provider. Without provider it is a tombstone: closed before it was known.
    `hosted`: it is paid on a page of the provider's; `provider_payment_id` names that page until
    somebody has paid there, then the payment. `save`: the customer agreed that the method is kept;
    `saved_method_id`: it is paid with one that was, without the customer.
    `lines` is what its page shows as bought ({name, quantity, amount_minor}), null without a page.
    `close_reason` is set once it is to be closed, `close_round` when the saga asked for it.
    """

    __tablename__ = "attempts"
    __table_args__ = (
        CheckConstraint(
            "provider IS NOT NULL OR status = 'never_created'", name="attempts_tombstone"
        ),
        CheckConstraint("amount_minor >= 0", name="attempts_amount"),
        Index(
            "attempts_one_live",
            "payment_id",
            unique=True,
            postgresql_where=text(f"status IN {LIVE_STATUSES}"),
        ),
        UniqueConstraint("charge_key", name="attempts_charge_key"),
        Index(
            "attempts_provider_payment",
            "provider",
            "provider_payment_id",
            postgresql_where=text("provider_payment_id IS NOT NULL"),
        ),
    )

    payment_id: UUID = Field(sa_column=Column(ForeignKey("payments.payment_id"), primary_key=True))
    attempt: int = Field(primary_key=True)
    status: str = _text()
    details: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    provider: str | None = _text(nullable=True)
    method_token: str | None = _text(nullable=True)
    flow: str | None = _text(nullable=True)
    hosted: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    save: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    saved_method_id: UUID | None
    amount_minor: int = _minor()
    charge_key: str = _text()
    provider_payment_id: str | None = _text(nullable=True)
    charge_round: int
    window_closes_at: datetime | None = _time(nullable=True)
    close_round: int | None
    close_reason: str | None = _text(nullable=True)
    lines: list[dict[str, Any]] | None = Field(sa_column=Column(JSONB(none_as_null=True)))
    created_at: datetime = _time()
    updated_at: datetime = _time()


class RefundRow(Table, table=True):
    """Money to be given back. Its amount counts as pending from the row's first commit on.

    `status`: requested, unknown, refund_pending; refunded, refund_failed (final). A refund that
    was refused at once (more than the rest, nothing captured) has no operation and no facts. Round
    0 is one that nobody here asked for: it was made at the provider.
    """

    __tablename__ = "refunds"
    __table_args__ = (
        ForeignKeyConstraint(
            ["payment_id", "attempt"], ["attempts.payment_id", "attempts.attempt"]
        ),
        Index("refunds_payment", "payment_id"),
    )

    refund_id: UUID = Field(primary_key=True)
    payment_id: UUID
    attempt: int
    round: int
    amount_minor: int = _minor()
    reason: str = _text()
    status: str = _text()
    details: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = _time()
    updated_at: datetime = _time()


class OperationRow(Table, table=True):
    """Something wanted of a provider, under one idempotency key for ever.

    A review is never called, only asked about, and due again whenever something may have happened.
    `status`: due (a worker may take it from `claimable_at` on), leased (a worker is at it, until
    `claimable_at`), reported (its answer is committed here and on its way to the decision);
    done, superseded (a close took over), withdrawn (never called). `next_call`: make the call,
    or ask what became of it; a lease turns it to ask, because from then on the call may have
    been made. `outcome`, `facts`: the latest reported answer since the call was last begun;
    `reports` counts all that were reported.
    `hinted`: news arrived since it was last asked about; `waited_for`: a close waits for what
    comes of the call in flight.
    Between the provider's effect and our record of it stands a row with status leased.
    """

    __tablename__ = "operations"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('charge', 'capture', 'close', 'refund', 'review')", name="operations_kind"
        ),
        CheckConstraint(
            "status IN ('due', 'leased', 'reported', 'done', 'superseded', 'withdrawn')",
            name="operations_status",
        ),
        CheckConstraint("next_call IN ('make', 'ask')", name="operations_next_call"),
        CheckConstraint(
            "(status = 'leased') = (lease_token IS NOT NULL) "
            "AND (status = 'leased') = (lease_instance IS NOT NULL)",
            name="operations_lease",
        ),
        CheckConstraint("(kind = 'refund') = (refund_id IS NOT NULL)", name="operations_refund"),
        UniqueConstraint("idempotency_key", name="operations_idempotency_key"),
        ForeignKeyConstraint(
            ["payment_id", "attempt"], ["attempts.payment_id", "attempts.attempt"]
        ),
        Index(
            "operations_one_open",
            "payment_id",
            "attempt",
            unique=True,
            postgresql_where=text(
                f"kind NOT IN ('refund', 'review') AND status IN {OPEN_STATUSES}"
            ),
        ),
        Index(
            "operations_claimable",
            "provider",
            "claimable_at",
            postgresql_where=text("status IN ('due', 'leased')"),
        ),
        Index("operations_reported", "claimable_at", postgresql_where=text("status = 'reported'")),
        Index("operations_payment", "payment_id"),
        changed_index("operations_updated", "updated_at"),
    )

    operation_id: UUID = Field(primary_key=True)
    payment_id: UUID
    attempt: int
    refund_id: UUID | None = Field(sa_column=Column(ForeignKey("refunds.refund_id")))
    kind: str = _text()
    idempotency_key: str = _text()
    provider: str = _text()
    amount_minor: int = _minor()
    round: int | None
    status: str = _text()
    next_call: str = _text()
    claimable_at: datetime = _time()
    makes: int
    asks: int
    answered: bool
    hinted: bool
    waited_for: bool
    reports: int
    outcome: str | None = _text(nullable=True)
    facts: dict[str, Any] | None = Field(sa_column=Column(JSONB(none_as_null=True)))
    reported_at: datetime | None = _time(nullable=True)
    lease_token: UUID | None
    lease_instance: str | None = _text(nullable=True)
    created_at: datetime = _time()
    updated_at: datetime = _time()


class LedgerRow(Table, table=True):
    """A fact about money; append-only (a trigger refuses changes). `seq` has no gaps.

    `kind`: authorized, voided, captured, refund_requested (our intent), refunded, refund_failed,
    refund_returned (the bank sent it back), disputed (withdrawn), dispute_won, dispute_lost.
    `provider_reference` is the provider's id of payment, refund or dispute, where it gave one.
    """

    __tablename__ = "ledger"
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="ledger_amount"),
        CheckConstraint(
            "kind IN ('authorized', 'voided', 'captured', "
            "'refund_requested', 'refunded', 'refund_failed', 'refund_returned', "
            "'disputed', 'dispute_won', 'dispute_lost')",
            name="ledger_kind",
        ),
        UniqueConstraint(
            "operation_id",
            "kind",
            "provider_reference",
            name="ledger_once_per_operation",
            postgresql_nulls_not_distinct=True,
        ),
        Index(
            "ledger_one_capture",
            "payment_id",
            "attempt",
            unique=True,
            postgresql_where=text("kind = 'captured'"),
        ),
    )

    payment_id: UUID = Field(sa_column=Column(ForeignKey("payments.payment_id"), primary_key=True))
    seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    attempt: int
    kind: str = _text()
    amount_minor: int = _minor()
    currency: str = _text()
    operation_id: UUID = Field(
        sa_column=Column(ForeignKey("operations.operation_id"), nullable=False)
    )
    refund_id: UUID | None
    provider: str = _text()
    provider_reference: str | None = _text(nullable=True)
    recorded_at: datetime = _time()


class ProviderCustomerRow(Table, table=True):
    """The name by which a provider knows a customer of a shop; committed before it is used."""

    __tablename__ = "provider_customers"

    shop_id: str = Field(sa_column=Column(Text, primary_key=True))
    customer_id: str = Field(sa_column=Column(Text, primary_key=True))
    provider: str = Field(sa_column=Column(Text, primary_key=True))
    provider_customer_id: str = _text()
    created_at: datetime = _time()


class SavedMethodRow(Table, table=True):
    """A payment method that a customer agreed to have kept, at `consented_at`.

    `token` is the provider's name of it; brand, last digits and expiry are for its owner to see.
    From `deleted_at` on no payment begins with it; from `forgotten_at` on its provider does not
    keep it any more.
    """

    __tablename__ = "saved_methods"
    __table_args__ = (
        UniqueConstraint("shop_id", "customer_id", "provider", "token", name="saved_methods_token"),
        CheckConstraint(
            "forgotten_at IS NULL OR deleted_at IS NOT NULL", name="saved_methods_forgotten"
        ),
        Index(
            "saved_methods_to_forget",
            "deleted_at",
            postgresql_where=text("deleted_at IS NOT NULL AND forgotten_at IS NULL"),
        ),
    )

    saved_method_id: UUID = Field(primary_key=True)
    shop_id: str = _text()
    customer_id: str = _text()
    provider: str = _text()
    provider_customer_id: str = _text()
    token: str = _text()
    brand: str | None = _text(nullable=True)
    last4: str | None = _text(nullable=True)
    exp_month: int | None
    exp_year: int | None
    consented_at: datetime = _time()
    deleted_at: datetime | None = _time(nullable=True)
    forgotten_at: datetime | None = _time(nullable=True)


class WebhookRow(Table, table=True):
    """A webhook of a provider, by its id there; what it says is not kept, only what it is about.

    `state`: heeded (about an attempt here, of which whatever is open was made due), waiting (it
    bears our `charge_key`, or `payment_id` alone, of a payment that is not here yet; looked at
    again from `due_at` on), foreign (about nothing of ours), given_up (its payment never came).
    """

    __tablename__ = "webhooks"
    __table_args__ = (
        CheckConstraint(
            "state IN ('heeded', 'waiting', 'foreign', 'given_up')", name="webhooks_state"
        ),
        Index("webhooks_waiting", "due_at", postgresql_where=text("state = 'waiting'")),
        Index("webhooks_received", "received_at"),
    )

    provider: str = Field(sa_column=Column(Text, primary_key=True))
    event_id: str = Field(sa_column=Column(Text, primary_key=True))
    type: str = _text()
    provider_payment_id: str | None = _text(nullable=True)
    charge_key: str | None = _text(nullable=True)
    payment_id: UUID | None
    state: str = _text()
    received_at: datetime = _time()
    due_at: datetime = _time()


class ReconciliationRow(Table, table=True):
    """A run of the reconciliation: due, running (until `leased_until` its process's), done, failed.

    It compares what moved since `since`; the counts grow while it runs.
    """

    __tablename__ = "reconciliations"
    __table_args__ = (
        CheckConstraint(
            "state IN ('due', 'running', 'done', 'failed')", name="reconciliations_state"
        ),
        Index("reconciliations_asked", "provider", "requested_at"),
    )

    run_id: UUID = Field(primary_key=True)
    provider: str = _text()
    since: datetime = _time()
    requested_by: str = _text()
    state: str = _text()
    compared: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    under_way: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    foreign_payments: int = Field(
        sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )
    error: str | None = _text(nullable=True)
    requested_at: datetime = _time()
    started_at: datetime | None = _time(nullable=True)
    leased_until: datetime | None = _time(nullable=True)
    finished_at: datetime | None = _time(nullable=True)


class DifferenceRow(Table, table=True):
    """Where our ledger and the provider's books of one payment differ, as a run has found it.

    `state`: under_review, repaired (a review has booked what was missing), or reported: no payment
    of ours has that name.
    """

    __tablename__ = "differences"
    __table_args__ = (
        CheckConstraint(
            "state IN ('under_review', 'repaired', 'reported')", name="differences_state"
        ),
    )

    run_id: UUID = Field(sa_column=Column(ForeignKey("reconciliations.run_id"), primary_key=True))
    name: str = Field(sa_column=Column(Text, primary_key=True))
    kind: str = _text()
    payment_id: UUID | None
    attempt: int | None
    ours: dict[str, Any] | None = Field(sa_column=Column(JSONB(none_as_null=True)))
    theirs: dict[str, Any] | None = Field(sa_column=Column(JSONB(none_as_null=True)))
    state: str = _text()
    noted_at: datetime = _time()
