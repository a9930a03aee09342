"""The bulk import over HTTP, on a real database."""

import asyncio
import csv
import io
from collections.abc import Iterable
from typing import Any

import pytest
from structlog.testing import capture_logs

from messaging.http.problems import TYPE_BASE
from tests.catalog_service.conftest import Shop

pytestmark = pytest.mark.integration

CSV = {"Content-Type": "text/csv; charset=utf-8"}


def csv_of(rows: Iterable[dict[str, Any]]) -> str:
    rows = list(rows)
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def many(count: int, *, pence: int = 0) -> list[dict[str, Any]]:
    """Rows of products with five variants each, at prices that differ by row."""
    return [
        {
            "product_code": f"P{n // 5:05}",
            "sku": f"P{n // 5:05}-{n % 5}",
            "product_name": f"Product {n // 5}",
            "currency": "GBP",
            "base_price": f"{n // 5}.{pence:02}",
            "additional_price": f"0.0{n % 5}",
        }
        for n in range(count)
    ]


def additional(currency: str, minor: int) -> dict[str, Any]:
    return {"currency": currency, "additional_minor": minor}


async def test_thousands_of_rows_take_a_constant_number_of_statements_for_each_chunk(
    shop: Shop,
) -> None:
    chunk_rows = shop.service.settings.save_chunk_rows  # type: ignore[attr-defined]
    taken: dict[int, int] = {}
    for rows in (500, 5000):
        other = Shop(shop.service, shop.client, f"{shop.name}-{rows}")
        with other.counted() as statements:
            answer = await other.send("POST", "/imports", content=csv_of(many(rows)), headers=CSV)
        assert answer.json() == {
            "rows": rows,
            "applied": rows,
            "refused": 0,
            "products_changed": rows // 5,
            "items_changed": rows,
            "refusals": [],
        }
        items = await other.announced()
        assert len({item.sku for item in items}) == len(items) == rows
        assert sum(item.prices[0].amount_minor for item in items) == sum(
            100 * (n // 5) + n % 5 for n in range(rows)
        )
        taken[rows] = len(statements)
    # Variants, prices and outbox, once for each chunk; everything else once.
    extra_chunks = 5000 // chunk_rows - 1
    assert taken[5000] - taken[500] == 3 * extra_chunks
    assert taken[500] < 20


async def test_an_import_announces_only_what_it_changed(shop: Shop) -> None:
    first = many(50)
    await shop.send("POST", "/imports", content=csv_of(first), headers=CSV)
    before = len(await shop.announced())

    again = await shop.send("POST", "/imports", content=csv_of(first), headers=CSV)
    assert (again.json()["applied"], again.json()["items_changed"]) == (50, 0)
    assert len(await shop.announced()) == before

    changed = [
        {**row, "additional_price": "9.99"} if n == 7 else row for n, row in enumerate(first)
    ]
    answer = await shop.send("POST", "/imports", content=csv_of(changed), headers=CSV)
    assert (answer.json()["products_changed"], answer.json()["items_changed"]) == (1, 1)
    (item,) = (await shop.announced())[before:]
    assert (item.sku, item.version, item.prices[0].amount_minor) == ("P00001-2", 2, 1099)


async def test_a_base_price_of_an_import_moves_the_variants_that_it_does_not_name(
    shop: Shop,
) -> None:
    await shop.send("POST", "/imports", content=csv_of(many(5)), headers=CSV)
    row = {"product_code": "P00000", "sku": "NEW", "currency": "GBP", "base_price": "7"}
    answer = await shop.send("POST", "/imports", content=csv_of([row]), headers=CSV)
    assert answer.json()["items_changed"] == 6
    assert sorted(
        (item.sku, item.version, item.prices[0].amount_minor)
        for item in (await shop.announced())[5:]
    ) == [("NEW", 1, 700), *((f"P00000-{n}", 2, 700 + n) for n in range(5))]


async def test_every_good_row_is_applied_and_every_bad_one_says_why(shop: Shop) -> None:
    await shop.create("CAP", variants=[{"sku": "CAP-1"}])
    rows: list[Any] = [
        {"product_code": "P", "sku": "A", "prices": [{"currency": "GBP", "base_minor": 500}]},
        {"product_code": "P", "sku": "CAP-1"},
        {"product_code": "P"},
        {
            "product_code": "P",
            "sku": "B",
            "prices": [{"currency": "GBP", "additional_minor": -501}],
        },
        {"product_code": "P", "sku": "C", "prices": [{"currency": "EUR", "additional_minor": 1}]},
        {"product_code": "P", "sku": "D", "prices": [{"currency": "GBP", "base_minor": 600}]},
        "nonsense",
        {"product_code": "P", "sku": "E"},
    ]
    answer = await shop.send("POST", "/imports", json={"rows": rows})
    assert answer.status_code == 200
    report = answer.json()
    assert (report["rows"], report["applied"], report["refused"]) == (8, 2, 6)
    facts = [
        {key: value for key, value in refusal.items() if key not in ("title", "errors")}
        for refusal in report["refusals"]
    ]
    assert facts == [
        {"row": 2, "reason": "sku-taken", "sku": "CAP-1", "product_code": "CAP"},
        {"row": 3, "reason": "invalid-row"},
        {
            "row": 4,
            "reason": "price-out-of-range",
            "sku": "B",
            "currency": "GBP",
            "amount_minor": -1,
        },
        {"row": 5, "reason": "base-price-missing", "sku": "C", "currency": "EUR"},
        {"row": 6, "reason": "contradiction", "about": "price GBP", "first_row": 1},
        {"row": 7, "reason": "invalid-row"},
    ]
    assert report["refusals"][1]["errors"] == [{"location": "sku", "reason": "Field required"}]
    product = await shop.read("/products/P")
    assert [variant["sku"] for variant in product["variants"]] == ["A", "E"]
    assert [item.sku for item in await shop.announced()] == ["CAP-1", "A", "E"]


async def test_all_or_none_changes_nothing_when_any_row_is_refused(shop: Shop) -> None:
    good = {"product_code": "P", "sku": "A"}
    for bad in ({"product_code": "P"}, {"product_code": "Q", "sku": "A"}):
        answer = await shop.send(
            "POST", "/imports", params={"all_or_none": True}, json={"rows": [good, bad]}
        )
        assert answer.status_code == 422
        problem = answer.json()
        assert problem["type"].endswith("/import-refused")
        assert (problem["rows"], problem["refused"]) == (2, 1)
        assert [refusal["row"] for refusal in problem["refusals"]] == [2]
        assert (await shop.read("/products"))["items"] == []
    answer = await shop.send("POST", "/imports", params={"all_or_none": 1}, json={"rows": [good]})
    assert answer.json()["applied"] == 1


async def test_a_repeated_import_takes_effect_once(shop: Shop) -> None:
    content = csv_of(many(200))
    answers = [
        await shop.send("POST", "/imports", content=content, headers=CSV, key="nightly-import")
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].text == answers[1].text
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert len(await shop.announced()) == 200

    other = csv_of(many(201))
    reused = await shop.send("POST", "/imports", content=other, headers=CSV, key="nightly-import")
    assert reused.status_code == 422


async def test_imports_at_once_leave_every_version_counted_and_every_price_whole(
    shop: Shop,
) -> None:
    answers = await asyncio.gather(
        *(
            shop.send("POST", "/imports", content=csv_of(many(100, pence=n)), headers=CSV)
            for n in range(5)
        )
    )
    assert [answer.status_code for answer in answers] == [200] * 5
    items = await shop.announced()
    by_sku: dict[str, list[int]] = {}
    for item in items:
        by_sku.setdefault(item.sku, []).append(item.version)
    assert len(by_sku) == 100
    assert all(versions == [1, 2, 3, 4, 5] for versions in by_sku.values())
    rows = await shop.rows(
        "SELECT DISTINCT base_minor % 100 AS pence FROM prices WHERE shop_id = :shop"
    )
    assert [row.pence for row in rows] == [items[-1].prices[0].amount_minor % 100 - 4]


async def test_the_list_of_refusals_is_bounded(shop: Shop) -> None:
    rows = [{"product_code": "P"}] * 1500
    report = (await shop.send("POST", "/imports", json={"rows": rows})).json()
    assert (report["refused"], len(report["refusals"])) == (1500, 1000)


@pytest.mark.parametrize(
    ("content", "media_type", "status", "slug"),
    [
        (b"", "text/csv", 422, "unreadable-import"),
        (b"sku\nA\n", "text/csv", 422, "unreadable-import"),
        (b"product_code,sku\nP,\xff\n", "text/csv", 422, "unreadable-import"),
        (b"product_code,sku\nP,S\n", "text/csv; charset=iso-8859-1", 415, "unsupported-media-type"),
        (b"product_code,sku\nP,S\n", "text/plain", 415, "unsupported-media-type"),
        (b"{}", "application/json", 422, "unreadable-import"),
        (b'{"rows": []}', "application/json", 422, "unreadable-import"),
        (b'{"rows": [', "application/json", 400, "malformed-json"),
        (b'{"rows": [{"sku": "\\u0000"}]}', "application/json", 422, "invalid-request"),
        (b"product_code,sku\n" + b"P,S\n" * 6001, "text/csv", 413, "too-many-rows"),
        (b"x" * (2 * 1024 * 1024 + 1), "text/csv", 413, "body-too-large"),
    ],
)
async def test_an_import_that_cannot_be_read_changes_nothing(
    shop: Shop, content: bytes, media_type: str, status: int, slug: str
) -> None:
    answer = await shop.send(
        "POST", "/imports", content=content, headers={"Content-Type": media_type}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    ), answer.text
    assert answer.json()["type"].endswith(f"/{slug}")
    assert (await shop.read("/products"))["items"] == []


async def test_an_import_may_be_larger_than_any_other_body(shop: Shop) -> None:
    row = {"product_code": "P", "sku": "S", "attributes": {f"a{n}": "x" * 500 for n in range(50)}}
    rows = [{**row, "sku": f"S{n}", "product_code": f"P{n}"} for n in range(50)]
    answer = await shop.send("POST", "/imports", json={"rows": rows})
    assert len(answer.request.content) > shop.service.settings.http.body_bytes
    assert answer.json()["applied"] == 50


async def test_a_large_body_is_not_even_read_from_somebody_who_may_not_write(shop: Shop) -> None:
    sent = 0

    async def body() -> Any:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 1024

    headers = {"Idempotency-Key": "endless-one", "Content-Type": "text/csv"}
    answer = await shop.client.post("/imports", content=body(), headers=headers)
    assert answer.status_code == 401
    assert sent == 0


CARD = "4242424242424242"
GOODS = {"product_code": CARD, "sku": CARD, "product_name": "Mug", "attribute.EAN": CARD}


@pytest.mark.parametrize("column", ["product_name", "name", "attribute.color", "base_price"])
async def test_a_card_number_refuses_the_whole_import(shop: Shop, column: str) -> None:
    rows = csv_of([{**GOODS, column: ""}, {**GOODS, column: f"say {CARD}"}])
    with capture_logs() as logs:
        for _ in range(2):
            answer = await shop.send(
                "POST", "/imports", content=rows, headers=CSV, key=f"key-{shop.name}"
            )
            assert answer.status_code == 422
            assert answer.json()["type"] == TYPE_BASE + "card-number-refused"
            assert answer.json()["errors"][0]["location"] == f"body.2.{column}"
            assert CARD not in answer.text
    assert logs == []
    assert await shop.announced() == []


async def test_codes_and_barcodes_may_have_the_digits_of_a_card(shop: Shop) -> None:
    answer = await shop.send("POST", "/imports", content=csv_of([GOODS]), headers=CSV)
    assert answer.json()["applied"] == 1
    product = {"code": "P", "name": "P", "attributes": {"gtin": CARD}}
    assert (await shop.send("POST", "/products", json=product)).status_code == 201
    product["attributes"] = {"color": CARD}
    assert (await shop.send("POST", "/products", json=product)).status_code == 422
