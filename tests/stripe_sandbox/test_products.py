"""Products and prices, as far as sessions need them."""

from decimal import Decimal
from typing import Any

import httpx
import pytest
import stripe
from stripe import StripeClient

from tests.stripe_sandbox.shopping import dict_of, put_forward, types_of_events


async def test_a_product_is_made_changed_and_deleted(client: StripeClient) -> None:
    product = await client.v1.products.create_async(
        {"id": "lamp", "name": "Lamp", "metadata": {"sku": "L-1"}, "url": "https://shop.test/lamp"}
    )
    assert (product.id, product.active, product.name) == ("lamp", True, "Lamp")
    product = await client.v1.products.update_async(
        "lamp", {"name": "Red lamp", "description": "Red", "metadata": {"sku": ""}}
    )
    assert (product.name, product.description) == ("Red lamp", "Red")
    assert dict_of(product.metadata) == {}
    assert (await client.v1.products.delete_async("lamp")).deleted
    with pytest.raises(stripe.InvalidRequestError) as gone:
        await client.v1.products.retrieve_async("lamp")
    assert gone.value.code == "resource_missing"
    assert await types_of_events(client) == [
        "product.created",
        "product.updated",
        "product.deleted",
    ]


async def test_a_product_with_a_price_stays(client: StripeClient) -> None:
    product = await client.v1.products.create_async({"name": "Lamp"})
    price = await client.v1.prices.create_async(
        {"product": product.id, "currency": "EUR", "unit_amount": 1250}
    )
    assert (price.unit_amount, price.unit_amount_decimal) == (1250, Decimal(1250))
    assert (price.currency, price.type, price.product) == ("eur", "one_time", product.id)
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.products.delete_async(product.id)
    product = await client.v1.products.update_async(
        product.id, {"default_price": price.id, "expand": ["default_price"]}
    )
    assert isinstance(product.default_price, stripe.Price)


async def test_products_and_prices_are_listed_by_what_they_are(client: StripeClient) -> None:
    lamp = await client.v1.products.create_async({"name": "Lamp"})
    bulb = await client.v1.products.create_async({"name": "Bulb", "active": False})
    active = await client.v1.products.list_async({"active": True})
    assert [one.id for one in active.data] == [lamp.id]
    named = await client.v1.products.list_async({"ids": [bulb.id]})
    assert [one.id for one in named.data] == [bulb.id]
    for currency in ("eur", "jpy"):
        await client.v1.prices.create_async(
            {"product": lamp.id, "currency": currency, "unit_amount": 500, "lookup_key": currency}
        )
    in_yen = await client.v1.prices.list_async({"product": lamp.id, "currency": "jpy"})
    assert [one.currency for one in in_yen.data] == ["jpy"]
    by_key = await client.v1.prices.list_async({"lookup_keys": ["eur", "usd"]})
    assert [one.lookup_key for one in by_key.data] == ["eur"]


async def test_a_lookup_key_is_of_one_price_and_may_be_taken_over(client: StripeClient) -> None:
    product = await client.v1.products.create_async({"name": "Lamp"})
    params: Any = {
        "product": product.id,
        "currency": "eur",
        "unit_amount": 500,
        "lookup_key": "lamp",
    }
    first = await client.v1.prices.create_async(params)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.prices.create_async(params)
    assert refused.value.param == "lookup_key"
    second = await client.v1.prices.create_async(params | {"transfer_lookup_key": True})
    assert second.lookup_key == "lamp"
    assert (await client.v1.prices.retrieve_async(first.id)).lookup_key is None


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"unit_amount": -1}, "unit_amount"),
        ({"currency": "zzz"}, "currency"),
        ({"product": "prod_none"}, "product"),
        ({"recurring": {"interval": "month"}}, "recurring[interval]"),
        ({"tax_behavior": "inclusive"}, "tax_behavior"),
    ],
)
async def test_a_price_that_cannot_be_is_refused(
    client: StripeClient, changes: dict[str, Any], param: str
) -> None:
    product = await client.v1.products.create_async({"name": "Lamp"})
    params: Any = {"product": product.id, "currency": "eur", "unit_amount": 500} | changes
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.prices.create_async(params)
    assert refused.value.param == param.partition("[")[0]


async def test_search_finds_products_after_a_while(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    product = await client.v1.products.create_async({"name": "Lamp", "metadata": {"sku": "L-1"}})
    await client.v1.prices.create_async(
        {"product": product.id, "currency": "eur", "unit_amount": 500}
    )
    query: Any = {"query": "metadata['sku']:'L-1' AND active:'true'"}
    assert (await client.v1.products.search_async(query)).data == []
    await put_forward(browser, 5)
    assert [one.id for one in (await client.v1.products.search_async(query)).data] == [product.id]
    prices = await client.v1.prices.search_async({"query": f"product:'{product.id}'"})
    assert len(prices.data) == 1
