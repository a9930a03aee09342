"""What a cart may be is held by constraints as well, whatever the code does."""

from typing import Any

import pytest
from asyncpg import IntegrityConstraintViolationError

from cart_service.tables import Table
from messaging.database import sql
from tests.cart_service.shop import Shop
from tests.migrations import differences

pytestmark = pytest.mark.integration

ILLEGAL = {
    "owned by nobody": "customer_id = NULL, guest_token_hash = NULL",
    "owned by two": "customer_id = 'ada', guest_token_hash = 'x'",
    "in no state": "status = 'lost'",
    "locked by nothing": "status = 'locked'",
    "active with a checkout": "checkout_id = gen_random_uuid()",
    "bought without an order": "status = 'bought', checkout_id = gen_random_uuid(),"
    " checkout_fingerprint = 'x'",
    "merged into nothing": "status = 'merged'",
    "merged into itself": "status = 'merged', merged_into = cart_id",
    "merged into what is not there": "status = 'merged', merged_into = gen_random_uuid()",
    "sending while active": "start_command = '{}', start_due_at = now(), start_sends = 1",
    "sending without a deadline": "status = 'locked', checkout_id = gen_random_uuid(),"
    " checkout_fingerprint = 'x', start_command = '{}'",
    "failed while closed": "status = 'bought', checkout_id = gen_random_uuid(),"
    " checkout_fingerprint = 'x', order_id = gen_random_uuid(), failure = '{}'",
    "of version 0": "version = 0",
    "without an opening event": "event_seq = 0",
}


async def attempt(shop: Shop, statement: str, **values: Any) -> None:
    async with shop.service.database.transaction() as connection:
        await connection.execute(sql(statement), values)


@pytest.mark.parametrize("change", ILLEGAL.values(), ids=ILLEGAL.keys())
async def test_a_cart_cannot_be(shop: Shop, change: str) -> None:
    await shop.open()

    with pytest.raises(IntegrityConstraintViolationError):
        await attempt(shop, f"UPDATE carts SET {change}")  # noqa: S608 - examples above


@pytest.mark.parametrize(
    "change", ["quantity = 0", "line_no = 0", "added_price_minor = -1", "seen_price_minor = -1"]
)
async def test_a_line_cannot_have(shop: Shop, change: str) -> None:
    await shop.offers({"a": 1})
    await shop.filled({"a": 1})

    with pytest.raises(IntegrityConstraintViolationError):
        await attempt(shop, f"UPDATE cart_lines SET {change}")  # noqa: S608 - examples above


async def test_a_sku_stands_once_in_a_cart(shop: Shop) -> None:
    await shop.offers({"a": 1})
    await shop.filled({"a": 1})

    with pytest.raises(IntegrityConstraintViolationError):
        await attempt(
            shop,
            "INSERT INTO cart_lines SELECT cart_id, 2, sku, name, quantity, added_price_minor,"
            " seen_price_minor FROM cart_lines",
        )


async def test_a_customer_has_one_active_cart_in_a_currency(shop: Shop) -> None:
    await shop.open(shop.customer("ada"))
    await shop.open(shop.customer("bob"))

    with pytest.raises(IntegrityConstraintViolationError):
        await attempt(shop, "UPDATE carts SET customer_id = 'ada'")


async def test_lines_come_back_once_per_checkout(shop: Shop) -> None:
    await shop.open()
    statement = (
        "INSERT INTO restorations SELECT '01900000-0000-7000-8000-000000000001', shop_id, cart_id,"
        " now() FROM carts"
    )
    await attempt(shop, statement)

    with pytest.raises(IntegrityConstraintViolationError):
        await attempt(shop, statement)


async def test_the_migrated_database_is_what_the_tables_declare(shop: Shop) -> None:
    assert await differences(shop.settings.database_url.get_secret_value(), Table.metadata) == []
