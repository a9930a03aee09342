"""What a checkout and an order may be is held by constraints as well, whatever the code does."""

import asyncpg
import pytest

from order_service.exploration import start
from order_service.tables import CHECKOUT_RULES, Table
from tests.migrations import differences
from tests.order_service.office import Office
from tests.order_service.story import declined, reserved, succeeded

pytestmark = pytest.mark.integration

CHECKOUT = {
    "in no state": "state = 'lost', live_attempt = NULL, live_attempt_status = NULL",
    "unseen with contents": "state = 'unseen'",
    "of nobody": "customer_id = NULL",
    "of two": "guest_token_hash = 'x'",
    "without its request": "request = NULL",
    "without its facts": "facts = NULL",
    "final while paying": "final = true",
    "final with a deadline": "state = 'cancelled', live_attempt = NULL,"
    " live_attempt_status = NULL, final = true",
    "standing still unseen": "deadline_at = NULL",
    "paying without an attempt": "live_attempt = NULL, live_attempt_status = NULL",
    "with half an attempt": "live_attempt = NULL",
    "with a declined live attempt": "live_attempt_status = 'declined'",
    "released while paying": "state = 'releasing'",
    "cancelled while paying": "state = 'cancelled'",
    "refunded without money": "refund_pending_minor = 1",
    "paid for nothing": "state = 'paid', live_attempt = NULL, live_attempt_status = NULL",
    "cancelled with money": "state = 'cancelled', live_attempt = NULL,"
    " live_attempt_status = NULL, captured_minor = 2500",
    "paying without an order": "order_id = NULL",
    "rejected with an order": "state = 'rejected', live_attempt = NULL, live_attempt_status = NULL",
}


@pytest.mark.parametrize("change", CHECKOUT.values(), ids=CHECKOUT.keys())
async def test_a_checkout_cannot_be(office: Office, change: str) -> None:
    await office.tell(start(), reserved())
    with pytest.raises(asyncpg.CheckViolationError):
        await office.query(f"UPDATE checkouts SET {change}")  # noqa: S608 - examples above


async def test_every_rule_of_a_checkout_has_an_example(office: Office) -> None:
    await office.tell(start(), reserved())
    broken = set()
    for change in CHECKOUT.values():
        try:
            await office.query(f"UPDATE checkouts SET {change}")  # noqa: S608 - examples above
        except asyncpg.CheckViolationError as refused:
            broken.add(refused.constraint_name)
    assert broken == set(CHECKOUT_RULES)


ORDER = {
    "of nobody": "customer_id = NULL",
    "in an unknown payment status": "payment_status = 'lost'",
    "in an unknown fulfilment status": "fulfilment_status = 'lost'",
    "in an unknown return status": "return_status = 'lost'",
    "without an event": "event_seq = 0",
    "for less than nothing": "total_minor = -1",
}


@pytest.mark.parametrize("change", ORDER.values(), ids=ORDER.keys())
async def test_an_order_cannot_be(office: Office, change: str) -> None:
    await office.tell(start(), reserved())
    with pytest.raises(asyncpg.CheckViolationError):
        await office.query(f"UPDATE orders SET {change}")  # noqa: S608 - examples above


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO orders SELECT * FROM orders",
        "INSERT INTO order_lines SELECT * FROM order_lines",
        "UPDATE order_lines SET quantity = 0",
        "UPDATE order_lines SET gross_minor = -1",
        "UPDATE checkout_history SET outcome = 'guessed'",
        "DELETE FROM checkouts",
    ],
)
async def test_the_database_refuses(office: Office, statement: str) -> None:
    await office.tell(start(), reserved())
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await office.query(statement)


async def test_a_number_belongs_to_one_order_of_a_shop(office: Office) -> None:
    await office.tell(start(), reserved(), declined(), succeeded())
    copy = (
        "INSERT INTO orders SELECT gen_random_uuid(), shop_id, checkout_id, number, customer_id,"
        " guest_token_hash, email, shipping_address, currency, total_minor, payment_status,"
        " fulfilment_status, return_status, event_seq, placed_at, window_closes_at, changed_at"
        " FROM orders"
    )
    with pytest.raises(asyncpg.UniqueViolationError):
        await office.query(copy)


async def test_the_migrated_database_is_what_the_tables_declare(office: Office) -> None:
    assert await differences(office.database_url, Table.metadata) == []


async def test_the_migrated_rules_are_the_declared_ones(office: Office) -> None:
    """Alembic does not compare check constraints: build the declared ones beside, and compare."""
    migrated = await rules(office, "checkouts")
    assert set(migrated) == set(CHECKOUT_RULES)
    conditions = [f"CONSTRAINT {name} CHECK ({rule})" for name, rule in CHECKOUT_RULES.items()]
    columns = "LIKE checkouts INCLUDING DEFAULTS"
    await office.query(f"CREATE TABLE declared ({columns}, {', '.join(conditions)})")
    try:
        assert migrated == await rules(office, "declared")
    finally:
        await office.query("DROP TABLE declared")


async def rules(office: Office, table: str) -> dict[str, str]:
    rows = await office.query(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = $1::text::regclass AND contype = 'c'",
        table,
    )
    return {row[0]: row[1] for row in rows}
