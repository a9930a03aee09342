"""What a payment may be is held by constraints as well, whatever the code does."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from sqlalchemy import CheckConstraint

from contracts.ids import derived_id, new_id
from payment_service.providers.simulated.tables import Table as BankTable
from payment_service.tables import Table
from tests.migrations import differences
from tests.payment_service.cashdesk import CashDesk, soon

pytestmark = pytest.mark.integration

WaitUntil = Callable[..., Awaitable[None]]


@pytest.fixture
async def paid(desk: CashDesk, wait_until: WaitUntil) -> CashDesk:
    """A desk with one paid payment in its books."""
    desk.worker().start()
    await desk.tell(soon(new_id()))

    async def settled() -> bool:
        await desk.pump()
        return await desk.statuses() == ["done"]

    await wait_until(settled, what="the payment")
    return desk


IMPOSSIBLE = {
    "captured beyond authorized": "UPDATE payments SET captured_minor = 1001",
    "refunded beyond captured": "UPDATE payments SET refunded_minor = 1001",
    "refunds pending beyond captured": "UPDATE payments SET refund_pending_minor = 600,"
    " refunded_minor = 500",
    "a negative refund": "UPDATE payments SET refunded_minor = -1",
    "a negative pending refund": "UPDATE payments SET refund_pending_minor = -1",
    "less than nothing given back twice": "UPDATE payments SET over_refunded_minor = -1",
    "money without a currency": "UPDATE payments SET currency = NULL",
    "a second payment of a checkout": "INSERT INTO payments SELECT gen_random_uuid(), shop_id,"
    " checkout_id, order_id, customer_id, currency, status, 0, 0, 0, 0, 0, created_at, updated_at"
    " FROM payments",
    "an attempt without method": "UPDATE attempts SET provider = NULL",
    "an attempt of less than nothing": "UPDATE attempts SET amount_minor = -1",
    "a lease without token": "UPDATE operations SET status = 'leased'",
    "a token without lease": "UPDATE operations SET lease_token = gen_random_uuid()",
    "an unknown status": "UPDATE operations SET status = 'lost'",
    "an unknown call": "UPDATE operations SET next_call = 'guess'",
    "an unknown kind": "UPDATE operations SET kind = 'gift'",
    "a refund without its id": "UPDATE operations SET kind = 'refund'",
    "the ledger changed": "UPDATE ledger SET amount_minor = 1",
    "the ledger shortened": "DELETE FROM ledger",
    "a fact twice": "INSERT INTO ledger SELECT payment_id, seq + 10, attempt, kind, amount_minor,"
    " currency, operation_id, refund_id, provider, provider_reference, recorded_at FROM ledger",
    "a fact of nothing": "INSERT INTO ledger SELECT payment_id, 10, attempt, 'voided', 0,"
    " currency, operation_id, refund_id, provider, provider_reference, recorded_at"
    " FROM ledger WHERE seq = 1",
    "an unknown fact": "INSERT INTO ledger SELECT payment_id, 10, attempt, 'gift', 1,"
    " currency, operation_id, refund_id, provider, provider_reference, recorded_at"
    " FROM ledger WHERE seq = 1",
}


@pytest.mark.parametrize("statement", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
async def test_there_cannot_be(paid: CashDesk, statement: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await paid.query(statement)


async def test_there_cannot_be_two_live_attempts(desk: CashDesk) -> None:
    await desk.tell(soon(new_id()))

    with pytest.raises(asyncpg.UniqueViolationError):
        await desk.query(
            "INSERT INTO attempts SELECT payment_id, 2, 'unknown', details, provider,"
            " method_token, flow, amount_minor, charge_key || '2', NULL, 2, window_closes_at,"
            " NULL, NULL, created_at, updated_at FROM attempts"
        )


async def test_an_attempt_cannot_have_two_open_operations(desk: CashDesk) -> None:
    checkout = new_id()
    await desk.tell(soon(checkout))

    with pytest.raises(asyncpg.UniqueViolationError):
        await desk.query(
            "INSERT INTO operations SELECT gen_random_uuid(), payment_id, attempt, refund_id,"
            " 'close', idempotency_key || '2', provider, amount_minor, round, status, next_call,"
            " claimable_at, makes, asks, answered, hinted, waited_for, reports, outcome, facts,"
            " reported_at, lease_token, lease_instance, created_at, updated_at FROM operations"
            " WHERE payment_id = $1",
            derived_id(checkout, "payment"),
        )


async def test_the_migrated_databases_are_what_the_tables_declare(desk: CashDesk) -> None:
    assert await differences(desk.database_url, Table.metadata) == []
    assert await differences(desk.bank_url, BankTable.metadata) == []


async def test_the_migrated_rules_are_the_declared_ones(desk: CashDesk) -> None:
    """Alembic does not compare check constraints: build the declared ones beside, and compare."""
    for name, table in Table.metadata.tables.items():
        declared = [
            f"CONSTRAINT {rule.name} CHECK ({rule.sqltext})"
            for rule in table.constraints
            if isinstance(rule, CheckConstraint)
        ]
        if not declared:
            continue
        await desk.query("DROP TABLE IF EXISTS declared")
        await desk.query(
            f"CREATE TABLE declared (LIKE {name} INCLUDING DEFAULTS, {', '.join(declared)})"
        )
        try:
            assert await _rules(desk, name) == await _rules(desk, "declared"), name
        finally:
            await desk.query("DROP TABLE declared")


async def _rules(desk: CashDesk, table: str) -> dict[str, str]:
    rows = await desk.query(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = $1::text::regclass AND contype = 'c'",
        table,
    )
    return {row[0]: row[1] for row in rows}
