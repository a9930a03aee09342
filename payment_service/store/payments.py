"""Payments with all their parts: locked, loaded and saved in sets."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import orjson

from contracts.messages.parts import PaymentMethod
from contracts.values import astuple
from messaging.clock import utc_now
from messaging.database import Connection, Statement, sql
from payment_service.domain.ledger import Fact, FactKind
from payment_service.domain.outcomes import (
    NAMES,
    AttemptState,
    RefundProgress,
    State,
    facts_of,
    state_from,
)
from payment_service.domain.payment import (
    Attempt,
    NextCall,
    Operation,
    OperationKind,
    OperationStatus,
    Payment,
    Refund,
)
from payment_service.store.columns import Columns, arrays, names, unnested
from payment_service.store.lines import lines_from, stored_lines


@dataclass(frozen=True, slots=True)
class Opening:
    """A payment that a message names, perhaps for the first time."""

    payment_id: UUID
    shop_id: str
    checkout_id: UUID


_OPENED: Columns = (("payment_id", "uuid"), ("shop_id", "text"), ("checkout_id", "uuid"))

_OPEN = sql(f"""
    INSERT INTO payments (payment_id, shop_id, checkout_id, status, authorized_minor,
                          captured_minor, refund_pending_minor, refunded_minor, event_seq,
                          created_at, updated_at)
    SELECT payment_id, shop_id, checkout_id, 'pending', 0, 0, 0, 0, 0, :now, :now
    FROM {unnested(_OPENED)} AS o ({names(_OPENED)})
    ON CONFLICT DO NOTHING
""")  # noqa: S608 - built from the constants above

_LOCK = sql("""
    SELECT payment_id FROM payments WHERE payment_id = ANY(CAST(:ids AS uuid[]))
    ORDER BY payment_id FOR UPDATE
""")

_LOCK_OPERATIONS = sql("""
    SELECT operation_id FROM operations
    WHERE payment_id = ANY(CAST(:ids AS uuid[])) AND status IN ('due', 'leased', 'reported')
    ORDER BY operation_id FOR UPDATE
""")


async def open_payments(connection: Connection, openings: Collection[Opening]) -> None:
    """Insert payments that are not there yet, empty."""
    rows = sorted({(o.payment_id, o.shop_id, o.checkout_id) for o in openings})
    if rows:
        await connection.execute(_OPEN, {**arrays(_OPENED, rows), "now": utc_now()})


async def lock_payments(connection: Connection, payment_ids: Collection[UUID]) -> None:
    """Lock payments, then their open operations: workers take and record those meanwhile."""
    ids = sorted(set(payment_ids))
    await connection.execute(_LOCK, {"ids": ids})
    await connection.execute(_LOCK_OPERATIONS, {"ids": ids})


_PAYMENTS = sql("SELECT * FROM payments WHERE payment_id = ANY(CAST(:ids AS uuid[]))")
_ATTEMPTS = sql("""
    SELECT * FROM attempts WHERE payment_id = ANY(CAST(:ids AS uuid[]))
    ORDER BY payment_id, attempt
""")
_REFUNDS = sql("""
    SELECT * FROM refunds WHERE payment_id = ANY(CAST(:ids AS uuid[]))
    ORDER BY payment_id, round, refund_id
""")
_OPERATIONS = sql("""
    SELECT * FROM operations WHERE payment_id = ANY(CAST(:ids AS uuid[]))
    ORDER BY payment_id, created_at, operation_id
""")
_LEDGER = sql("""
    SELECT * FROM ledger WHERE payment_id = ANY(CAST(:ids AS uuid[]))
    ORDER BY payment_id, seq
""")


async def load_payments(connection: Connection, payment_ids: Collection[UUID]) -> list[Payment]:
    """The payments that there are, with all their parts."""
    if not payment_ids:
        return []
    ids = {"ids": sorted(set(payment_ids))}
    attempts: dict[UUID, list[Attempt]] = defaultdict(list)
    for row in await connection.fetch(_ATTEMPTS, ids):
        attempts[row.payment_id].append(_attempt(row))
    refunds: dict[UUID, list[Refund]] = defaultdict(list)
    for row in await connection.fetch(_REFUNDS, ids):
        refunds[row.payment_id].append(_refund(row))
    operations: dict[UUID, list[Operation]] = defaultdict(list)
    for row in await connection.fetch(_OPERATIONS, ids):
        operations[row.payment_id].append(_operation(row))
    ledger: dict[UUID, list[Fact]] = defaultdict(list)
    for row in await connection.fetch(_LEDGER, ids):
        ledger[row.payment_id].append(_fact(row))
    return [
        Payment(
            payment_id=row.payment_id,
            shop_id=row.shop_id,
            checkout_id=row.checkout_id,
            created_at=row.created_at,
            order_id=row.order_id,
            customer_id=row.customer_id,
            currency=row.currency,
            order_number=row.order_number,
            event_seq=row.event_seq,
            attempts=tuple(attempts[row.payment_id]),
            refunds=tuple(refunds[row.payment_id]),
            operations=tuple(operations[row.payment_id]),
            ledger=tuple(ledger[row.payment_id]),
        )
        for row in await connection.fetch(_PAYMENTS, ids)
    ]


_OF_ORDER = sql("""
    SELECT payment_id FROM payments WHERE shop_id = :shop AND order_id = :order ORDER BY payment_id
""")


async def payments_of_order(connection: Connection, shop_id: str, order_id: UUID) -> list[UUID]:
    """The ids of an order's payments: one, as long as an order has one checkout."""
    return await connection.fetch_column(_OF_ORDER, {"shop": shop_id, "order": order_id})


def _attempt(row: Any) -> Attempt:
    method = None
    if row.provider is not None:
        method = PaymentMethod.model_construct(
            provider=row.provider,
            token=row.method_token,
            flow=row.flow,
            hosted=row.hosted,
            save=row.save,
            saved_method_id=row.saved_method_id,
        )
    return Attempt(
        payment_id=row.payment_id,
        number=row.attempt,
        state=cast("AttemptState", state_from(row.status, row.details)),
        method=method,
        amount_minor=row.amount_minor,
        charge_round=row.charge_round,
        window_closes_at=row.window_closes_at,
        created_at=row.created_at,
        provider_payment_id=row.provider_payment_id,
        close_round=row.close_round,
        close_reason=row.close_reason,
        lines=lines_from(row.lines),
    )


def _refund(row: Any) -> Refund:
    return Refund(
        refund_id=row.refund_id,
        payment_id=row.payment_id,
        attempt=row.attempt,
        round=row.round,
        amount_minor=row.amount_minor,
        reason=row.reason,
        state=cast("RefundProgress", state_from(row.status, row.details)),
        created_at=row.created_at,
    )


def _operation(row: Any) -> Operation:
    return Operation(
        operation_id=row.operation_id,
        payment_id=row.payment_id,
        attempt=row.attempt,
        kind=OperationKind(row.kind),
        idempotency_key=row.idempotency_key,
        provider=row.provider,
        amount_minor=row.amount_minor,
        round=row.round,
        claimable_at=row.claimable_at,
        created_at=row.created_at,
        refund_id=row.refund_id,
        status=OperationStatus(row.status),
        next_call=NextCall(row.next_call),
        makes=row.makes,
        asks=row.asks,
        answered=row.answered,
        hinted=row.hinted,
        waited_for=row.waited_for,
        reports=row.reports,
    )


def _fact(row: Any) -> Fact:
    return Fact(
        payment_id=row.payment_id,
        seq=row.seq,
        attempt=row.attempt,
        kind=FactKind(row.kind),
        amount_minor=row.amount_minor,
        currency=row.currency,
        operation_id=row.operation_id,
        refund_id=row.refund_id,
        provider=row.provider,
        provider_reference=row.provider_reference,
        recorded_at=row.recorded_at,
    )


def _details(state: State) -> str:
    return orjson.dumps(facts_of(state)).decode()


_PAYMENT_COLUMNS: Columns = (
    ("payment_id", "uuid"),
    ("order_id", "uuid"),
    ("order_number", "text"),
    ("customer_id", "text"),
    ("currency", "text"),
    ("status", "text"),
    ("authorized_minor", "bigint"),
    ("captured_minor", "bigint"),
    ("refund_pending_minor", "bigint"),
    ("refunded_minor", "bigint"),
    ("disputed_minor", "bigint"),
    ("dispute_lost_minor", "bigint"),
    ("over_refunded_minor", "bigint"),
    ("event_seq", "bigint"),
)

_SAVE_PAYMENTS = sql(f"""
    UPDATE payments p SET
        order_id = n.order_id, order_number = n.order_number, customer_id = n.customer_id,
        currency = n.currency, status = n.status, authorized_minor = n.authorized_minor,
        captured_minor = n.captured_minor, refund_pending_minor = n.refund_pending_minor,
        refunded_minor = n.refunded_minor, disputed_minor = n.disputed_minor,
        dispute_lost_minor = n.dispute_lost_minor, over_refunded_minor = n.over_refunded_minor,
        event_seq = n.event_seq, updated_at = :now
    FROM {unnested(_PAYMENT_COLUMNS)} AS n ({names(_PAYMENT_COLUMNS)})
    WHERE p.payment_id = n.payment_id
""")  # noqa: S608 - built from the constants above

_ATTEMPT_COLUMNS: Columns = (
    ("payment_id", "uuid"),
    ("attempt", "int"),
    ("status", "text"),
    ("details", "jsonb"),
    ("provider", "text"),
    ("method_token", "text"),
    ("flow", "text"),
    ("hosted", "boolean"),
    ("save", "boolean"),
    ("saved_method_id", "uuid"),
    ("amount_minor", "bigint"),
    ("charge_key", "text"),
    ("provider_payment_id", "text"),
    ("charge_round", "int"),
    ("window_closes_at", "timestamptz"),
    ("close_round", "int"),
    ("close_reason", "text"),
    ("lines", "jsonb"),
    ("created_at", "timestamptz"),
)

_REFUND_COLUMNS: Columns = (
    ("refund_id", "uuid"),
    ("payment_id", "uuid"),
    ("attempt", "int"),
    ("round", "int"),
    ("amount_minor", "bigint"),
    ("reason", "text"),
    ("status", "text"),
    ("details", "jsonb"),
    ("created_at", "timestamptz"),
)

_OPERATION_COLUMNS: Columns = (
    ("operation_id", "uuid"),
    ("payment_id", "uuid"),
    ("attempt", "int"),
    ("refund_id", "uuid"),
    ("kind", "text"),
    ("idempotency_key", "text"),
    ("provider", "text"),
    ("amount_minor", "bigint"),
    ("round", "int"),
    ("status", "text"),
    ("next_call", "text"),
    ("claimable_at", "timestamptz"),
    ("makes", "int"),
    ("asks", "int"),
    ("answered", "boolean"),
    ("hinted", "boolean"),
    ("waited_for", "boolean"),
    ("reports", "int"),
    ("created_at", "timestamptz"),
)

_SAVE_ATTEMPTS = sql(f"""
    INSERT INTO attempts ({names(_ATTEMPT_COLUMNS)}, updated_at)
    SELECT {names(_ATTEMPT_COLUMNS)}, :now
    FROM {unnested(_ATTEMPT_COLUMNS)} AS n ({names(_ATTEMPT_COLUMNS)})
    ON CONFLICT (payment_id, attempt) DO UPDATE SET
        status = excluded.status, details = excluded.details,
        provider_payment_id = excluded.provider_payment_id,
        close_round = excluded.close_round, close_reason = excluded.close_reason,
        updated_at = excluded.updated_at
""")  # noqa: S608 - built from the constants above

_SAVE_REFUNDS = sql(f"""
    INSERT INTO refunds ({names(_REFUND_COLUMNS)}, updated_at)
    SELECT {names(_REFUND_COLUMNS)}, :now
    FROM {unnested(_REFUND_COLUMNS)} AS n ({names(_REFUND_COLUMNS)})
    ON CONFLICT (refund_id) DO UPDATE SET
        status = excluded.status, details = excluded.details, updated_at = excluded.updated_at
""")  # noqa: S608 - built from the constants above

_SAVE_OPERATIONS = sql(f"""
    INSERT INTO operations ({names(_OPERATION_COLUMNS)}, updated_at)
    SELECT {names(_OPERATION_COLUMNS)}, :now
    FROM {unnested(_OPERATION_COLUMNS)} AS n ({names(_OPERATION_COLUMNS)})
    ON CONFLICT (operation_id) DO UPDATE SET
        status = excluded.status, next_call = excluded.next_call,
        claimable_at = excluded.claimable_at, hinted = excluded.hinted,
        waited_for = excluded.waited_for, updated_at = excluded.updated_at
""")  # noqa: S608 - built from the constants above

_NOTED_COLUMNS: Columns = (
    ("operation_id", "uuid"),
    ("hinted", "boolean"),
    ("waited_for", "boolean"),
)

_NOTE = sql(f"""
    UPDATE operations o SET hinted = n.hinted, waited_for = n.waited_for, updated_at = :now
    FROM {unnested(_NOTED_COLUMNS)} AS n ({names(_NOTED_COLUMNS)})
    WHERE o.operation_id = n.operation_id
""")  # noqa: S608 - built from the constants above


async def _save(
    connection: Connection, statement: Statement, columns: Columns, rows: Sequence[Any]
) -> None:
    await connection.execute(statement, {**arrays(columns, rows), "now": utc_now()})


async def save_payments(connection: Connection, payments: Sequence[Payment]) -> None:
    """Write the payments' own columns: who, what status, which amounts."""
    rows = [
        (
            payment.payment_id,
            payment.order_id,
            payment.order_number,
            payment.customer_id,
            payment.currency,
            payment.status,
            payment.amounts.authorized_minor,
            payment.amounts.captured_minor,
            payment.amounts.refund_pending_minor,
            payment.amounts.refunded_minor,
            payment.amounts.disputed_minor,
            payment.amounts.dispute_lost_minor,
            payment.amounts.over_refunded_minor,
            payment.event_seq,
        )
        for payment in payments
    ]
    if rows:
        await _save(connection, _SAVE_PAYMENTS, _PAYMENT_COLUMNS, rows)


async def save_attempts(connection: Connection, attempts: Sequence[Attempt]) -> None:
    """Write attempts. Those that ended come first: at most one of a payment is live at any row."""
    rows = [
        (
            attempt.payment_id,
            attempt.number,
            NAMES[type(attempt.state)],
            _details(attempt.state),
            attempt.method and attempt.method.provider,
            attempt.method and attempt.method.token,
            attempt.method and attempt.method.flow,
            attempt.method is not None and attempt.method.hosted,
            attempt.method is not None and attempt.method.save,
            attempt.method and attempt.method.saved_method_id,
            attempt.amount_minor,
            attempt.charge_key,
            attempt.provider_payment_id,
            attempt.charge_round,
            attempt.window_closes_at,
            attempt.close_round,
            attempt.close_reason,
            stored_lines(attempt.lines),
            attempt.created_at,
        )
        for attempt in sorted(attempts, key=lambda attempt: attempt.is_live)
    ]
    if rows:
        await _save(connection, _SAVE_ATTEMPTS, _ATTEMPT_COLUMNS, rows)


async def save_refunds(connection: Connection, refunds: Sequence[Refund]) -> None:
    """Write refunds."""
    rows = [
        (
            refund.refund_id,
            refund.payment_id,
            refund.attempt,
            refund.round,
            refund.amount_minor,
            refund.reason,
            NAMES[type(refund.state)],
            _details(refund.state),
            refund.created_at,
        )
        for refund in refunds
    ]
    if rows:
        await _save(connection, _SAVE_REFUNDS, _REFUND_COLUMNS, rows)


async def save_operations(connection: Connection, operations: Sequence[Operation]) -> None:
    """Write operations, those that ended first: at most one of an attempt is open at any row.

    One under lease is its worker's; of it is only noted whether there is news, or somebody waits.
    """
    leased = [one for one in operations if one.status is OperationStatus.LEASED]
    if leased:
        noted = [(one.operation_id, one.hinted, one.waited_for) for one in leased]
        await _save(connection, _NOTE, _NOTED_COLUMNS, noted)
    rows = [
        (
            operation.operation_id,
            operation.payment_id,
            operation.attempt,
            operation.refund_id,
            operation.kind,
            operation.idempotency_key,
            operation.provider,
            operation.amount_minor,
            operation.round,
            operation.status,
            operation.next_call,
            operation.claimable_at,
            operation.makes,
            operation.asks,
            operation.answered,
            operation.hinted,
            operation.waited_for,
            operation.reports,
            operation.created_at,
        )
        for operation in sorted(operations, key=lambda operation: operation.is_open)
        if operation.status is not OperationStatus.LEASED
    ]
    if rows:
        await _save(connection, _SAVE_OPERATIONS, _OPERATION_COLUMNS, rows)


async def save_facts(connection: Connection, facts: Sequence[Fact]) -> None:
    """Append facts to the ledger."""
    await connection.append("ledger", Fact.__struct_fields__, [astuple(one) for one in facts])
