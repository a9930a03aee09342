"""Lists of products: filters, order, and pages that stay whole while products arrive."""

import asyncio
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.catalog_service.conftest import Shop

pytestmark = pytest.mark.integration


def row(code: str, sku: str, **said: Any) -> dict[str, Any]:
    return {"product_code": code, "sku": sku, **said}


def costs(currency: str, base: int, additional: int = 0) -> list[dict[str, Any]]:
    return [{"currency": currency, "base_minor": base, "additional_minor": additional}]


async def load(shop: Shop, rows: list[dict[str, Any]]) -> None:
    answer = await shop.send("POST", "/imports", json={"rows": rows}, params={"all_or_none": True})
    assert answer.status_code == 200, answer.text


@pytest.fixture
async def stocked(shop: Shop) -> Shop:
    """A shop with a few products of different prices, names and states."""
    await load(
        shop,
        [
            row("LAMP", "LAMP-1", product_name="Desk Lamp", prices=costs("GBP", 1500)),
            row("LAMP", "LAMP-2", prices=costs("GBP", 1500, 1000)),
            row("lamp", "lamp", product_name="desk lamp, small", prices=costs("GBP", 900)),
            row("MUG", "MUG", product_name="100 % Mug_", prices=costs("EUR", 700)),
            row("OLD", "OLD", product_name="Old Lamp", product_status="inactive",
                prices=costs("GBP", 100)),
            row("SALE", "SALE-1", product_name="Sale", prices=costs("GBP", 3000)),
            row("SALE", "SALE-2", status="inactive", prices=costs("GBP", 3000, -2999)),
            row("BARE", "BARE", product_name="Bare"),
        ],
    )  # fmt: skip
    return shop


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ({}, ["BARE", "LAMP", "MUG", "OLD", "SALE", "lamp"]),
        ({"sort": "name"}, ["MUG", "BARE", "LAMP", "lamp", "OLD", "SALE"]),
        ({"status": "active"}, ["BARE", "LAMP", "MUG", "SALE", "lamp"]),
        ({"status": "inactive"}, ["OLD"]),
        ({"name": "lamp"}, ["LAMP", "OLD", "lamp"]),
        ({"name": "LAMP", "status": "active"}, ["LAMP", "lamp"]),
        ({"name": "%"}, ["MUG"]),
        ({"name": "g_"}, ["MUG"]),
        ({"name": "\\"}, []),
        ({"currency": "EUR"}, ["MUG"]),
        ({"currency": "USD"}, []),
        ({"currency": "GBP", "min_price_minor": 1500}, ["LAMP", "SALE"]),
        ({"currency": "GBP", "min_price_minor": 1501, "max_price_minor": 2500}, ["LAMP"]),
        ({"currency": "GBP", "max_price_minor": 899}, ["OLD"]),
        ({"currency": "GBP", "max_price_minor": 900}, ["OLD", "lamp"]),
        ({"currency": "GBP", "min_price_minor": 2501, "max_price_minor": 2999}, []),
        ({"currency": "GBP", "max_price_minor": 1}, []),
        ({"currency": "EUR", "min_price_minor": 700, "max_price_minor": 700}, ["MUG"]),
    ],
)
async def test_filters(stocked: Shop, query: dict[str, Any], codes: list[str]) -> None:
    listed = await stocked.read("/products", **query)
    assert [product["code"] for product in listed["items"]] == codes
    assert listed["next_cursor"] is None
    one_by_one = [product["code"] async for product in walk(stocked, limit=1, **query)]
    assert one_by_one == codes


async def test_a_listed_product_shows_what_its_active_variants_cost(stocked: Shop) -> None:
    listed = {product["code"]: product for product in (await stocked.read("/products"))["items"]}
    assert listed["LAMP"] == {
        "code": "LAMP",
        "name": "Desk Lamp",
        "status": "active",
        "attributes": {},
        "prices": [{"currency": "GBP", "min_minor": 1500, "max_minor": 2500}],
        "variant_count": 2,
        "version": 1,
    }
    assert listed["SALE"]["prices"] == [{"currency": "GBP", "min_minor": 3000, "max_minor": 3000}]
    assert listed["SALE"]["variant_count"] == 2
    assert listed["BARE"]["prices"] == []


async def test_a_page_is_one_statement(stocked: Shop) -> None:
    with stocked.counted() as statements:
        await stocked.read("/products", name="lamp", currency="GBP", min_price_minor=1)
    assert len([s for s in statements if "SELECT" in s]) == 1


async def walk(shop: Shop, **query: Any) -> Any:
    """Every product of a list, page by page."""
    cursor: dict[str, str] = {}
    while True:
        listed = await shop.read("/products", **query, **cursor)
        for product in listed["items"]:
            yield product
        if listed["next_cursor"] is None:
            return
        assert len(listed["items"]) == query.get("limit", 50)
        cursor = {"cursor": listed["next_cursor"]}


@pytest.mark.parametrize("sort", ["code", "name"])
async def test_pages_are_complete_and_in_order_while_products_arrive(shop: Shop, sort: str) -> None:
    there = [f"K{n:03}" for n in range(0, 300, 3)]
    await load(shop, [row(code, code, product_name=f"N {code[::-1]}") for code in there])
    arriving = [f"K{n:03}" for n in range(300) if n % 3]
    pages = walk(shop, sort=sort, limit=7)
    seen: list[dict[str, Any]] = []

    async def arrive(codes: list[str]) -> None:
        await load(shop, [row(code, code, product_name=f"N {code[::-1]}") for code in codes])

    async for product in pages:
        seen.append(product)
        if len(seen) % 10 == 0 and arriving:
            batch, arriving = arriving[:20], arriving[20:]
            await asyncio.gather(arrive(batch[:10]), arrive(batch[10:]))

    codes = [product["code"] for product in seen]
    assert len(codes) == len(set(codes))
    assert set(codes) >= set(there)
    key = "code" if sort == "code" else "name"
    assert codes == [p["code"] for p in sorted(seen, key=lambda p: (p[key].lower(), p["code"]))]


@given(
    names=st.lists(st.text(max_size=4).map(str.strip).filter(str.isprintable), max_size=12),
    limit=st.integers(1, 5),
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_pages_of_any_size_show_every_product_once_in_the_same_order(
    shop: Shop, names: list[str], limit: int
) -> None:
    fresh = Shop(shop.service, shop.client, f"{shop.name}-{next(_examples)}")
    if names:
        await load(
            fresh,
            [row(f"P{n}", f"P{n}", product_name=name or None) for n, name in enumerate(names)],
        )
    for sort in ("code", "name"):
        whole = [product["code"] async for product in walk(fresh, sort=sort, limit=200)]
        paged = [product["code"] async for product in walk(fresh, sort=sort, limit=limit)]
        assert paged == whole
        assert sorted(paged) == sorted(f"P{n}" for n in range(len(names)))


_examples = count()


@pytest.mark.parametrize(
    ("query", "slug"),
    [
        ({"limit": 0}, "invalid-request"),
        ({"limit": 201}, "invalid-request"),
        ({"limit": "many"}, "invalid-request"),
        ({"status": "gone"}, "invalid-request"),
        ({"sort": "price"}, "invalid-request"),
        ({"name": ""}, "invalid-request"),
        ({"name": "a\x00b"}, "invalid-request"),
        ({"currency": "XXX"}, "invalid-request"),
        ({"shop": "a\x00b"}, "invalid-request"),
        ({"currency": "GBP", "min_price_minor": -1}, "invalid-request"),
        ({"currency": "GBP", "min_price_minor": "1.5"}, "invalid-request"),
        ({"currency": "GBP", "max_price_minor": 10**30}, "invalid-request"),
        ({"min_price_minor": 1}, "currency-missing"),
        ({"currency": "GBP", "min_price_minor": 2, "max_price_minor": 1}, "empty-price-range"),
        ({"cursor": "nonsense"}, "invalid-cursor"),
        ({"cursor": ""}, "invalid-cursor"),
        ({"cursor": "WyJjb2RlIiwxXQ"}, "invalid-cursor"),  # ["code", 1]
        ({"cursor": "WyJjb2RlIiwiXHUwMDAwIl0"}, "invalid-cursor"),  # ["code", NUL]
        ({"cursor": "WyJjb2RlIiwiYSJd", "sort": "name"}, "invalid-cursor"),  # ["code", "a"]
    ],
)
async def test_a_query_that_makes_no_sense_gets_a_problem_document(
    shop: Shop, query: dict[str, Any], slug: str
) -> None:
    answer = await shop.get("/products", **query)
    assert (answer.status_code, answer.headers["content-type"]) == (
        422,
        "application/problem+json",
    ), answer.text
    assert answer.json()["type"].endswith(f"/{slug}")


async def test_a_cursor_of_another_order_is_refused(stocked: Shop) -> None:
    first = await stocked.read("/products", limit=1, sort="name")
    answer = await stocked.get("/products", cursor=first["next_cursor"])
    assert answer.status_code == 422
    assert answer.json()["type"].endswith("/invalid-cursor")
