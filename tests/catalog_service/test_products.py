"""Products and variants over HTTP, on a real database."""

import asyncio
from typing import Any

import pytest

from tests.catalog_service.conftest import Shop

pytestmark = pytest.mark.integration

SHIRT = {
    "code": "SHIRT",
    "name": "Shirt",
    "attributes": {"cloth": "linen"},
    "base_prices": [
        {"currency": "GBP", "amount_minor": 2000},
        {"currency": "EUR", "amount_minor": 2400},
    ],
    "variants": [
        {"sku": "SHIRT-S"},
        {
            "sku": "SHIRT-XL",
            "name": "Shirt, extra large",
            "attributes": {"size": "XL"},
            "additional_prices": [{"currency": "GBP", "amount_minor": 350}],
        },
    ],
}


def prices(*amounts: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"currency": currency, "amount_minor": minor} for currency, minor in amounts]


async def test_a_created_product_is_there_for_everybody_to_read(shop: Shop) -> None:
    created = await shop.send("POST", "/products", json=SHIRT)
    assert created.status_code == 201
    assert created.headers["location"] == "/products/SHIRT"
    read = await shop.get("/products/SHIRT")
    assert read.headers["etag"] == created.headers["etag"] == '"1"'
    assert (
        read.json()
        == created.json()
        == {
            "code": "SHIRT",
            "name": "Shirt",
            "status": "active",
            "attributes": {"cloth": "linen"},
            "base_prices": prices(("EUR", 2400), ("GBP", 2000)),
            "variants": [
                {
                    "sku": "SHIRT-S",
                    "name": "",
                    "status": "active",
                    "attributes": {},
                    "additional_prices": [],
                    "prices": prices(("EUR", 2400), ("GBP", 2000)),
                },
                {
                    "sku": "SHIRT-XL",
                    "name": "Shirt, extra large",
                    "status": "active",
                    "attributes": {"size": "XL"},
                    "additional_prices": prices(("GBP", 350)),
                    "prices": prices(("EUR", 2400), ("GBP", 2350)),
                },
            ],
            "version": 1,
        }
    )


async def test_every_new_variant_is_announced_as_an_item(shop: Shop) -> None:
    await shop.send("POST", "/products", json=SHIRT)
    small, large = await shop.announced()
    assert (small.sku, small.name, small.version) == ("SHIRT-S", "Shirt", 1)
    assert (large.sku, large.name, large.product_code) == (
        "SHIRT-XL",
        "Shirt, extra large",
        "SHIRT",
    )
    assert [(p.currency, p.amount_minor) for p in large.prices] == [("EUR", 2400), ("GBP", 2350)]
    item = await shop.get("/items/SHIRT-XL")
    assert item.headers["etag"] == '"1"'
    assert item.json() == large.model_dump(mode="json", exclude={"shop_id"})


async def test_a_new_base_price_moves_every_variant_of_the_product(shop: Shop) -> None:
    await shop.send("POST", "/products", json=SHIRT)
    change = {"base_prices": prices(("GBP", 1900))}
    changed = await shop.send("PATCH", "/products/SHIRT", json=change, if_match=1)
    assert changed.status_code == 200
    assert changed.headers["etag"] == '"2"'
    assert [v["prices"] for v in changed.json()["variants"]] == [
        prices(("GBP", 1900)),
        prices(("GBP", 2250)),
    ]
    assert changed.json() == await shop.read("/products/SHIRT")
    announced = (await shop.announced())[2:]
    assert [(i.sku, i.version, i.prices[0].amount_minor) for i in announced] == [
        ("SHIRT-S", 2, 1900),
        ("SHIRT-XL", 2, 2250),
    ]


async def test_only_what_changed_for_others_is_announced(shop: Shop) -> None:
    await shop.send("POST", "/products", json=SHIRT)
    changes: list[tuple[str, dict[str, Any], list[tuple[str, int]]]] = [
        ("/products/SHIRT", {"attributes": {"cloth": "wool"}}, []),
        ("/products/SHIRT", {"name": "Tunic"}, [("SHIRT-S", 2)]),
        ("/products/SHIRT/variants/SHIRT-S", {"attributes": {"size": "S"}}, []),
        ("/products/SHIRT/variants/SHIRT-XL", {"name": ""}, [("SHIRT-XL", 2)]),
        (
            "/products/SHIRT/variants/SHIRT-XL",
            {"additional_prices": prices(("EUR", 400))},
            [("SHIRT-XL", 3)],
        ),
        ("/products/SHIRT/variants/SHIRT-XL", {"status": "inactive"}, [("SHIRT-XL", 4)]),
        ("/products/SHIRT", {"status": "inactive"}, [("SHIRT-S", 3)]),
    ]
    seen = 2
    for version, (path, body, announced) in enumerate(changes, start=1):
        answer = await shop.send("PATCH", path, json=body, if_match=version)
        assert (answer.status_code, answer.json()["version"]) == (200, version + 1)
        items = await shop.announced()
        assert [(item.sku, item.version) for item in items[seen:]] == announced
        seen = len(items)
    item = await shop.read("/items/SHIRT-XL")
    assert (item["name"], item["status"], item["prices"]) == (
        "Tunic",
        "inactive",
        prices(("EUR", 2800), ("GBP", 2000)),
    )


@pytest.mark.parametrize("body", [{}, {"name": "Shirt"}, {"status": None}])
async def test_a_change_of_nothing_changes_nothing(shop: Shop, body: dict[str, Any]) -> None:
    await shop.send("POST", "/products", json=SHIRT)
    answer = await shop.send("PATCH", "/products/SHIRT", json=body, if_match=1)
    assert (answer.status_code, answer.headers["etag"]) == (200, '"1"')
    assert len(await shop.announced()) == 2


async def test_variants_are_added_all_or_none(shop: Shop) -> None:
    await shop.send("POST", "/products", json=SHIRT)
    await shop.create("CAP", variants=[{"sku": "CAP-1"}])
    wrong = {"variants": [{"sku": "SHIRT-M"}, {"sku": "CAP-1"}]}
    refused = await shop.send("POST", "/products/SHIRT/variants", json=wrong)
    assert refused.status_code == 409
    assert refused.json()["type"].endswith("/sku-taken")
    assert (refused.json()["sku"], refused.json()["product_code"]) == ("CAP-1", "CAP")
    assert (await shop.read("/products/SHIRT"))["version"] == 1

    right = {"variants": [{"sku": "SHIRT-M"}, {"sku": "cap-1"}]}
    added = await shop.send("POST", "/products/SHIRT/variants", json=right)
    assert added.status_code == 201
    skus = [variant["sku"] for variant in added.json()["variants"]]
    assert skus == ["SHIRT-M", "SHIRT-S", "SHIRT-XL", "cap-1"]
    assert [item.sku for item in await shop.announced()][3:] == ["SHIRT-M", "cap-1"]


async def test_skus_and_codes_are_case_sensitive_and_belong_to_their_shop(shop: Shop) -> None:
    await shop.create("Cap", variants=[{"sku": "cap"}, {"sku": "CAP"}])
    await shop.create("cap")
    other = Shop(shop.service, shop.client, f"{shop.name}-other")
    await other.create("cap", variants=[{"sku": "CAP"}])
    assert (await shop.read("/items/CAP"))["product_code"] == "Cap"
    assert (await other.read("/items/CAP"))["product_code"] == "cap"
    assert (await other.get("/items/cap")).status_code == 404
    assert (await shop.get("/items/Cap")).status_code == 404


@pytest.mark.parametrize("code", ["85123A", "gift 0001_20", "a+b&c=d?#%", "ß½€", "x" * 64, "..."])
async def test_codes_of_all_kinds_are_found_by_their_url(shop: Shop, code: str) -> None:
    created = await shop.send(
        "POST", "/products", json={"code": code, "name": "n", "variants": [{"sku": code}]}
    )
    assert created.status_code == 201
    path = created.headers["location"]
    assert (await shop.read(path))["code"] == code
    assert (await shop.read(path.replace("products", "items")))["sku"] == code


async def test_a_repeated_request_takes_effect_once(shop: Shop) -> None:
    answers = [
        await shop.send("POST", "/products", json=SHIRT, key="create-the-shirt") for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.text for answer in answers}) == 1
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [
        None,
        "true",
        "true",
    ]
    assert answers[2].headers["etag"] == '"1"'
    assert len(await shop.announced()) == 2

    changed = [
        await shop.send("PATCH", "/products/SHIRT", json={"name": "T"}, if_match=1, key="rename-it")
        for _ in range(2)
    ]
    assert [answer.status_code for answer in changed] == [200, 200]
    assert (await shop.read("/products/SHIRT"))["version"] == 2

    reused = await shop.send(
        "POST", "/products", json={**SHIRT, "name": "x"}, key="create-the-shirt"
    )
    assert reused.status_code == 422
    assert reused.json()["type"].endswith("/idempotency-key-reused")


async def test_of_concurrent_changes_of_one_version_one_wins(shop: Shop) -> None:
    await shop.send("POST", "/products", json=SHIRT)
    answers = await asyncio.gather(
        *(
            shop.send("PATCH", "/products/SHIRT", json={"name": f"Shirt {n}"}, if_match=1)
            for n in range(8)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    assert (await shop.read("/products/SHIRT"))["version"] == 2
    (item,) = (await shop.announced())[2:]
    assert (item.sku, item.version) == ("SHIRT-S", 2)


async def test_of_concurrent_claims_of_one_sku_one_wins(shop: Shop) -> None:
    answers = await asyncio.gather(
        *(
            shop.send(
                "POST",
                "/products",
                json={"code": f"P{n}", "name": "n", "variants": [{"sku": "THE-ONE"}]},
            )
            for n in range(6)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
    assert len(await shop.announced()) == 1
    assert len((await shop.read("/products"))["items"]) == 1


async def test_what_is_announced_rises_by_one_for_each_sku_whatever_runs_at_once(
    shop: Shop,
) -> None:
    await shop.create("P", variants=[{"sku": "A"}, {"sku": "B"}], base_prices=prices(("GBP", 1)))
    await asyncio.gather(
        *(
            shop.send(
                "PATCH",
                f"/products/P/variants/{'AB'[n % 2]}",
                json={"additional_prices": prices(("GBP", n + 1))},
                if_match="*",
            )
            for n in range(20)
        )
    )
    items = await shop.announced()
    for sku in "AB":
        versions = [item.version for item in items if item.sku == sku]
        assert versions == list(range(1, 12))
        last = [item for item in items if item.sku == sku][-1]
        assert (await shop.read(f"/items/{sku}")) == last.model_dump(
            mode="json", exclude={"shop_id"}
        )


ROLES_THAT_WRITE = ["catalog_admin", "operator"]


@pytest.mark.parametrize("role", ROLES_THAT_WRITE)
async def test_these_roles_may_write(shop: Shop, role: str) -> None:
    answer = await shop.send("POST", "/products", json=SHIRT, headers=shop.token(role))
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/products"),
        ("PATCH", "/products/SHIRT"),
        ("POST", "/products/SHIRT/variants"),
        ("PATCH", "/products/SHIRT/variants/SHIRT-S"),
        ("POST", "/imports"),
    ],
)
async def test_nobody_else_may_write(shop: Shop, method: str, path: str) -> None:
    await shop.send("POST", "/products", json=SHIRT)
    bodies: dict[str, dict[str, Any]] = {
        "/products": {"code": "X", "name": "X"},
        "/products/SHIRT/variants": {"variants": [{"sku": "X"}]},
        "/imports": {"rows": [{"product_code": "X", "sku": "X"}]},
    }
    body = bodies.get(path, {"name": "X"})
    before = await shop.read("/products/SHIRT")
    for headers, status in (
        ({"Authorization": "Bearer nonsense"}, 401),
        (shop.token(), 403),
        (shop.token("shopper"), 403),
    ):
        answer = await shop.send(method, path, json=body, if_match=1, headers=headers)
        assert answer.status_code == status, answer.text
    anonymous = await shop.client.request(
        method, path, json=body, headers={"Idempotency-Key": "anonymous-1", "If-Match": '"1"'}
    )
    assert anonymous.status_code == 401
    assert await shop.read("/products/SHIRT") == before
    assert len((await shop.read("/products"))["items"]) == 1


PRODUCT = {"code": "NEW", "name": "New"}

Case = tuple[str, str, dict[str, Any], int, str]
"""Method, path, request, and the status and slug that answer it."""


def post(status: int, slug: str, path: str = "/products", **request: Any) -> Case:
    return ("POST", path, request, status, slug)


def patch(status: int, slug: str, path: str = "/products/SHIRT", **request: Any) -> Case:
    return ("PATCH", path, {"json": {"name": "T"}, **request}, status, slug)


def invalid(**fields: Any) -> Case:
    return post(422, "invalid-request", json={**PRODUCT, **fields})


BODIES = [
    post(400, "malformed-json", content=b"{"),
    post(400, "malformed-json", content=b"\xff{}"),
    post(413, "body-too-large", content=b" " * 1024 * 1024 + b"{}"),
    post(415, "unsupported-media-type", content=b"code=x", type="text/plain"),
    post(415, "unsupported-media-type", content=b"code", type="text/csv"),
    post(422, "invalid-request", content=b""),
    post(422, "invalid-request", content=b"[]"),
    post(422, "invalid-request", json={"name": "without a code"}),
]
FIELDS = [
    invalid(colour="red"),
    invalid(code=""),
    invalid(code="a/b"),
    invalid(code=" a"),
    invalid(code=".."),
    invalid(code="a\nb"),
    invalid(code="a\u0000b"),
    invalid(code="x" * 65),
    invalid(code=7),
    invalid(name="  "),
    invalid(name="x" * 256),
    invalid(status="gone"),
    invalid(attributes={"a": 1}),
    invalid(attributes={"a": "x" * 501}),
    invalid(attributes={f"a{n}": "" for n in range(51)}),
    invalid(base_prices=prices(("GBP", -1))),
    invalid(base_prices=prices(("XXX", 1))),
    invalid(base_prices=prices(("gbp", 1))),
    invalid(base_prices=prices(("GBP", 1), ("GBP", 1))),
    invalid(base_prices=prices(("GBP", 10**11 + 1))),
    invalid(base_prices=[{"currency": "GBP", "amount_minor": 1.0}]),
    invalid(base_prices=[{"currency": "GBP", "amount_minor": "1"}]),
    invalid(base_prices=[{"currency": "GBP", "amount_minor": True}]),
    invalid(base_prices=[{"currency": "GBP"}]),
    invalid(variants=[{"name": "without a SKU"}]),
    post(422, "invalid-request", "/products/SHIRT/variants", json={"variants": []}),
]
RULES = [
    post(409, "product-exists", json=SHIRT),
    post(409, "sku-taken", json={**PRODUCT, "variants": [{"sku": "A"}, {"sku": "A"}]}),
    post(409, "sku-taken", json={**PRODUCT, "variants": [{"sku": "SHIRT-S"}]}),
    post(
        422,
        "too-many-variants",
        json={**PRODUCT, "variants": [{"sku": f"V{n}"} for n in range(51)]},
    ),
    post(
        422,
        "base-price-missing",
        json={
            **PRODUCT,
            "variants": [{"sku": "A", "additional_prices": prices(("GBP", 1))}],
        },
    ),
    post(
        422,
        "price-out-of-range",
        json={
            **PRODUCT,
            "base_prices": prices(("GBP", 5)),
            "variants": [{"sku": "A", "additional_prices": prices(("GBP", -6))}],
        },
    ),
    patch(
        422,
        "price-out-of-range",
        "/products/SHIRT/variants/SHIRT-S",
        json={"additional_prices": prices(("GBP", -2001))},
        if_match=1,
    ),
    patch(404, "unknown-product", "/products/NONE", if_match=1),
    patch(404, "unknown-product", "/products/a%00b", if_match=1),
    patch(404, "unknown-variant", "/products/SHIRT/variants/shirt-s", if_match=1),
    post(404, "unknown-product", "/products/NONE/variants", json={"variants": [{"sku": "A"}]}),
]
VERSIONS_AND_KEYS = [
    patch(428, "if-match-missing"),
    patch(412, "stale-etag", if_match=2),
    patch(412, "stale-etag", if_match="1"),
    patch(412, "stale-etag", if_match='W/"1"'),
    post(
        412, "stale-etag", "/products/SHIRT/variants", json={"variants": [{"sku": "A"}]}, if_match=9
    ),
    post(400, "idempotency-key-invalid", json=PRODUCT, key="short"),
    ("DELETE", "/products/SHIRT", {}, 405, "method-not-allowed"),
]


@pytest.mark.parametrize(
    ("method", "path", "request_", "status", "slug"),
    [*BODIES, *FIELDS, *RULES, *VERSIONS_AND_KEYS],
)
async def test_bad_input_gets_a_problem_document_and_changes_nothing(
    shop: Shop, method: str, path: str, request_: dict[str, Any], status: int, slug: str
) -> None:
    await shop.send("POST", "/products", json=SHIRT)
    before = await shop.read("/products/SHIRT")
    request = dict(request_)
    if "content" in request:
        request["headers"] = {"Content-Type": request.pop("type", "application/json")}

    answer = await shop.send(method, path, **request)

    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    ), answer.text
    problem = answer.json()
    assert problem["type"].endswith(f"/{slug}")
    assert (problem["status"], bool(problem["title"])) == (status, True)
    assert await shop.read("/products/SHIRT") == before
    assert len((await shop.read("/products"))["items"]) == 1
    assert len(await shop.announced()) == 2


async def test_a_stale_change_is_told_the_current_version(shop: Shop) -> None:
    await shop.send("POST", "/products", json=SHIRT)
    answer = await shop.send("PATCH", "/products/SHIRT", json={"name": "T"}, if_match=7)
    assert answer.headers["etag"] == '"1"'


async def test_a_request_without_an_idempotency_key_is_refused(shop: Shop) -> None:
    headers = shop.token("catalog_admin")
    answer = await shop.client.post("/products", json=PRODUCT, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["type"].endswith("/idempotency-key-missing")


@pytest.mark.parametrize(
    ("path", "slug"),
    [
        ("/products/NONE", "unknown-product"),
        ("/products/a%00b", "unknown-product"),
        ("/products/%FF", "unknown-product"),
        ("/items/NONE", "unknown-sku"),
        ("/items/a%00b", "unknown-sku"),
        ("/nothing", "not-found"),
    ],
)
async def test_what_is_not_there_is_not_found(shop: Shop, path: str, slug: str) -> None:
    answer = await shop.get(path)
    assert answer.status_code == 404
    assert answer.json()["type"].endswith(f"/{slug}")
