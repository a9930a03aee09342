"""The rules of prices are held by constraints as well, whatever the code does."""

import pytest
from asyncpg import IntegrityConstraintViolationError

from catalog_service.tables import Table
from messaging.database import sql
from tests.catalog_service.conftest import Shop
from tests.migrations import differences

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE prices SET additional_minor = -101 WHERE shop_id = :shop",
        # The base price of a variant is that of its product, on both sides.
        "UPDATE prices SET base_minor = 99 WHERE shop_id = :shop",
        "UPDATE base_prices SET amount_minor = 99 WHERE shop_id = :shop",
        "DELETE FROM base_prices WHERE shop_id = :shop",
        "UPDATE base_prices SET amount_minor = -1 WHERE shop_id = :shop",
        "INSERT INTO prices (shop_id, sku, currency, product_code, base_minor, additional_minor)"
        " VALUES (:shop, 'A', 'EUR', 'P', 100, 0)",
        "INSERT INTO prices (shop_id, sku, currency, product_code, base_minor, additional_minor)"
        " VALUES (:shop, 'A', 'GBP', 'P', 100, 0)",
        # A SKU belongs to one product of one shop.
        "UPDATE variants SET product_code = 'Q' WHERE shop_id = :shop",
        "INSERT INTO variants SELECT * FROM variants WHERE shop_id = :shop",
        "UPDATE variants SET shop_id = 'nowhere' WHERE shop_id = :shop",
        "DELETE FROM products WHERE shop_id = :shop",
        "UPDATE products SET status = 'gone' WHERE shop_id = :shop",
        "UPDATE variants SET status = 'gone' WHERE shop_id = :shop",
        "UPDATE products SET version = 0 WHERE shop_id = :shop",
        "UPDATE variants SET version = 0 WHERE shop_id = :shop",
    ],
)
async def test_the_database_itself_refuses_what_cannot_be(shop: Shop, statement: str) -> None:
    price = {"currency": "GBP", "amount_minor": 100}
    created = await shop.create("P", variants=[{"sku": "A"}], base_prices=[price])
    with pytest.raises(IntegrityConstraintViolationError):
        await _execute(shop, statement)
    assert await shop.read("/products/P") == created


async def _execute(shop: Shop, statement: str) -> None:
    async with shop.service.database.transaction() as connection:
        await connection.execute(sql(statement), {"shop": shop.name})


async def test_the_migrated_database_is_what_the_tables_declare(shop: Shop) -> None:
    assert (
        await differences(shop.service.settings.database_url.get_secret_value(), Table.metadata)
        == []
    )
