"""The cart's own copies of catalog and stock: only what is newer is taken over."""

import pytest

from contracts.messages.catalog import CatalogItem, Price
from contracts.messages.inventory import StockAvailability
from contracts.money import LARGEST_AMOUNT_MINOR
from tests.cart_service.shop import Shop

pytestmark = pytest.mark.integration


def item(sku: str, price: int, version: int, shop_id: str = "main") -> CatalogItem:
    return CatalogItem(
        shop_id=shop_id,
        sku=sku,
        name=f"{sku} at {price}",
        product_code=sku,
        status="active",
        prices=(Price(currency="GBP", amount_minor=price),),
        version=version,
    )


def stock(sku: str, available: int, version: int) -> StockAvailability:
    return StockAvailability(sku=sku, available=available, version=version)


async def items(shop: Shop) -> list[tuple[str, dict[str, int], int]]:
    return [
        (sku, prices, version)
        for sku, prices, version in await shop.rows(
            "SELECT sku, prices, version FROM catalog_items ORDER BY shop_id, sku"
        )
    ]


async def levels(shop: Shop) -> list[tuple[object, ...]]:
    return await shop.rows("SELECT sku, available, version FROM stock_availability ORDER BY sku")


async def test_newer_items_replace_older_ones_in_whatever_order_they_come(shop: Shop) -> None:
    await shop.receive(item("a", 100, 2), item("b", 10, 1))
    await shop.receive(item("a", 300, 4), item("a", 200, 3), item("a", 50, 1), item("b", 11, 1))
    await shop.receive(item("a", 200, 3))

    assert await items(shop) == [("a", {"GBP": 300}, 4), ("b", {"GBP": 10}, 1)]


async def test_newer_stock_replaces_older_stock_in_whatever_order_it_comes(shop: Shop) -> None:
    await shop.receive(stock("a", 10, 2), stock("b", 5, 1))
    await shop.receive(stock("a", 30, 4), stock("a", 20, 3), stock("a", 9, 1), stock("b", 6, 1))
    await shop.receive(stock("a", 20, 3))

    assert await levels(shop) == [("a", 30, 4), ("b", 5, 1)]


async def test_a_topic_read_again_from_its_start_changes_nothing(shop: Shop) -> None:
    history = [item("a", 100 + version, version) for version in range(1, 6)]
    levels_told = [stock("a", version, version) for version in range(1, 6)]
    for _ in range(2):
        for message in history:
            await shop.receive(message)
        await shop.receive(*levels_told)

        assert await items(shop) == [("a", {"GBP": 105}, 5)]
        assert await levels(shop) == [("a", 5, 5)]


async def test_stock_is_never_shown_below_nothing(shop: Shop) -> None:
    await shop.receive(stock("a", 7, 1))
    await shop.receive(stock("a", -3, 2), stock("b", 1, 1))

    assert await levels(shop) == [("a", 0, 2), ("b", 1, 1)]


async def test_the_same_sku_of_two_shops_is_two(shop: Shop) -> None:
    await shop.receive(item("a", 1, 1), item("a", 2, 1, shop_id="other"))

    assert [prices for _, prices, _ in await items(shop)] == [{"GBP": 1}, {"GBP": 2}]


@pytest.mark.parametrize("price", [-1, LARGEST_AMOUNT_MINOR + 1])
async def test_a_price_that_no_order_could_carry_is_dead_lettered_alone(
    shop: Shop, price: int
) -> None:
    await shop.receive(item("a", 1, 1), item("b", price, 1), item("c", 3, 1))

    assert [sku for sku, _, _ in await items(shop)] == ["a", "c"]
    assert await shop.rows("SELECT error_type FROM dead_letters") == [("UnusablePrice",)]


async def test_a_batch_is_one_statement_however_large(shop: Shop) -> None:
    async def statements_for(count: int) -> list[str]:
        shop.statements.clear()
        await shop.receive(*(item(f"sku-{n}", n, 1) for n in range(count)))
        return list(shop.statements)

    one, many = await statements_for(1), await statements_for(1000)

    assert one == many
    assert len([statement for statement in many if "catalog_items" in statement]) == 1
