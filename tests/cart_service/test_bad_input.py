"""Bad input gets a clear problem document, and changes nothing."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from contracts.ids import new_id
from messaging.settings import HttpSettings
from tests.cart_service.shop import CHECKOUT, Shop, problem

pytestmark = pytest.mark.integration

LINES, LINE, BUY = "/lines", "/lines/1", "/checkout"
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Bad:
    """A request below a cart of one line, and what is said to it."""

    method: str
    below: str
    body: Any
    status: int
    slug: str
    says: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def line(sku: Any = "a", quantity: Any = 1, **more: Any) -> dict[str, Any]:
    return {"sku": sku, "quantity": quantity, **more}


def buy(**changes: Any) -> dict[str, Any]:
    return {**CHECKOUT, **changes}


def at(**changes: Any) -> dict[str, Any]:
    return buy(address={**CHECKOUT["address"], **changes})  # type: ignore[dict-item]


def invalid(method: str, below: str, body: Any) -> Bad:
    return Bad(method, below, body, 422, "invalid-request")


BAD = {
    "unknown SKU": Bad("POST", LINES, line("x"), 422, "unknown-sku", {"skus": ["x"]}),
    "SKU in another case": Bad("POST", LINES, line("A"), 422, "unknown-sku", {"skus": ["A"]}),
    "SKU that is not sold": Bad("POST", LINES, line("old"), 409, "not-for-sale"),
    "SKU priced in another currency": Bad(
        "POST", LINES, line("euro"), 422, "other-currency", {"currency": "GBP", "skus": ["euro"]}
    ),
    "no SKU": invalid("POST", LINES, {"quantity": 1}),
    "empty SKU": invalid("POST", LINES, line("")),
    "SKU that is a number": invalid("POST", LINES, line(1)),
    "SKU with NUL": invalid("POST", LINES, line("a\x00")),
    "endless SKU": invalid("POST", LINES, line("a" * 256)),
    "quantity 0": invalid("POST", LINES, line(quantity=0)),
    "negative quantity": invalid("POST", LINES, line(quantity=-1)),
    "fractional quantity": invalid("POST", LINES, line(quantity=1.5)),
    "whole quantity written as a fraction": invalid("POST", LINES, line(quantity=1.0)),
    "quantity as text": invalid("POST", LINES, line(quantity="1")),
    "quantity as truth": invalid("POST", LINES, line(quantity=True)),
    "no quantity": invalid("POST", LINES, {"sku": "a"}),
    "quantity over the limit": Bad(
        "POST",
        LINES,
        line(quantity=10_001),
        422,
        "quantity-too-large",
        {"largest_quantity": 10_000},
    ),
    "quantity over the limit together with what is there": Bad(
        "POST", LINES, line(quantity=9_999), 422, "quantity-too-large", {"sku": "a"}
    ),
    "quantity beyond all machine words": invalid("POST", LINES, line(quantity=10**40)),
    "largest quantity of a machine word": Bad(
        "POST", LINES, line(quantity=2**63 - 1), 422, "quantity-too-large"
    ),
    "price from the client": invalid("POST", LINES, line(unit_price_minor=1)),
    "currency from the client": invalid("POST", LINES, line(currency="USD")),
    "unknown field beside a list": invalid("POST", LINES, {"lines": [line()], "x": 1}),
    "empty list": invalid("POST", LINES, {"lines": []}),
    "list of nothing": invalid("POST", LINES, {"lines": [None]}),
    "lines that are no list": invalid("POST", LINES, {"lines": {"sku": "a"}}),
    "bare list": invalid("POST", LINES, [line()]),
    "bare text": invalid("POST", LINES, "a"),
    "more lines than a cart holds": Bad(
        "POST",
        LINES,
        {"lines": [line(f"sku-{n}") for n in range(1000)]},
        422,
        "too-many-lines",
        {"largest_lines": 1000},
    ),
    "more than an order can cost": Bad("POST", LINES, line("gold", 2), 422, "amount-too-large"),
    "quantity set to 0": invalid("PATCH", LINE, {"quantity": 0}),
    "quantity set to a fraction": invalid("PATCH", LINE, {"quantity": 0.5}),
    "quantity set over the limit": Bad(
        "PATCH", LINE, {"quantity": 10_001}, 422, "quantity-too-large"
    ),
    "unknown field of a change": invalid("PATCH", LINE, {"quantity": 1, "sku": "b"}),
    "line that is not there": Bad(
        "PATCH", "/lines/2", {"quantity": 1}, 404, "line-not-found", {"line_no": 2}
    ),
    "line 0": invalid("PATCH", "/lines/0", {"quantity": 1}),
    "line beyond all numbers": invalid("DELETE", f"/lines/{10**30}", None),
    "line by SKU": invalid("DELETE", "/lines/a", None),
    "removing a line that is not there": Bad("DELETE", "/lines/2", None, 404, "line-not-found"),
    "stale ETag": Bad("PATCH", LINE, {"quantity": 1}, 412, "stale-etag", {}, {"If-Match": '"1"'}),
    "ETag that is none": Bad(
        "PATCH", LINE, {"quantity": 1}, 412, "stale-etag", {}, {"If-Match": "abc"}
    ),
    "stale ETag at checkout": Bad(
        "POST", BUY, CHECKOUT, 412, "stale-etag", {}, {"If-Match": '"1"'}
    ),
    "no address": invalid("POST", BUY, {"email": "a@b.co"}),
    "no e-mail": invalid("POST", BUY, {"address": CHECKOUT["address"]}),
    "e-mail that is none": invalid("POST", BUY, buy(email="ada")),
    "e-mail with a space": invalid("POST", BUY, buy(email="a da@b.co")),
    "e-mail with a line break": invalid("POST", BUY, buy(email="ada@b.co\n")),
    "endless e-mail": invalid("POST", BUY, buy(email=f"{'a' * 250}@b.co")),
    "country of one letter": invalid("POST", BUY, at(country="G")),
    "empty city": invalid("POST", BUY, at(city="")),
    "city with NUL": invalid("POST", BUY, at(city="Lon\x00don")),
    "unknown part of an address": invalid("POST", BUY, at(planet="Mars")),
    "unknown field of a checkout": invalid("POST", BUY, buy(customer_id="bob")),
    "total from the client": invalid("POST", BUY, buy(total_minor=1)),
    "empty payment token": invalid("POST", BUY, buy(payment={"token": ""})),
    "a guest who saves a method": Bad(
        "POST", BUY, buy(payment={"token": "t", "save": True}), 422, "guests-save-nothing"
    ),
    "a page and a token": invalid("POST", BUY, buy(payment={"token": "t", "hosted": True})),
    "unknown payment flow": invalid("POST", BUY, buy(payment={"token": "t", "flow": "later"})),
    "provider that is not offered": Bad(
        "POST",
        BUY,
        buy(payment={"token": "t", "provider": "stripe"}),
        422,
        "provider-not-offered",
        {"providers": ["simulated"]},
    ),
    "too short a payment window": Bad(
        "POST",
        BUY,
        buy(payment_window_seconds=1),
        422,
        "payment-window-out-of-bounds",
        {"least_seconds": 2, "most_seconds": 86_400},
    ),
    "too long a payment window": Bad(
        "POST", BUY, buy(payment_window_seconds=86_401), 422, "payment-window-out-of-bounds"
    ),
    "fraction of a payment window": invalid("POST", BUY, buy(payment_window_seconds=2.5)),
    "accept token that is no text": invalid("POST", BUY, buy(accept_token=1)),
    "endless accept token": invalid("POST", BUY, buy(accept_token="a" * 40_000)),
    "method that is not there": Bad("PUT", LINES, line(), 405, "method-not-allowed"),
    "place that is not there": Bad("POST", "/elsewhere", line(), 404, "not-found"),
}


@pytest.fixture(scope="module")
async def shop(one_shop: Shop) -> Shop:
    """One shop for all: what is refused changes nothing, so nobody is in anybody's way."""
    await one_shop.empty()
    return one_shop


@pytest.fixture(scope="module")
async def cart(shop: Shop) -> tuple[str, dict[str, str]]:
    """A guest's cart with two pieces of one SKU."""
    await shop.offers({"a": 250, "gold": 10**15, **{f"sku-{n}": 1 for n in range(1000)}})
    await shop.offers({"old": 100}, active=False)
    await shop.offers({"euro": 100}, currency="EUR")
    return await shop.filled({"a": 2})


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_it_is_refused_with_the_facts_and_nothing_changes(
    shop: Shop, cart: tuple[str, dict[str, str]], bad: Bad
) -> None:
    path, owner = cart
    before = await shop.everything()

    response = await shop.send(bad.method, path + bad.below, bad.body, who=owner, **bad.headers)

    assert problem(response) == (bad.status, bad.slug)
    document = response.json()
    assert {name: document[name] for name in bad.says} == bad.says
    if bad.slug == "invalid-request":
        assert document.get("errors") or "NUL" in document["title"]
    assert await shop.everything() == before


CARD = "4242 4242 4242 4242"
WITH_A_CARD = {
    "e-mail": buy(email="4242424242424242@b.co"),
    "name": at(name=CARD),
    "address": at(line2=f"card {CARD}, 12/27, 123"),
    "payment token": buy(payment={"token": "4242424242424242"}),
    "provider": buy(payment={"token": "pm_ok", "provider": CARD}),
    "field that there is not": buy(card={"number": 4242424242424242}),
}


@pytest.mark.parametrize("where", WITH_A_CARD)
async def test_a_checkout_with_a_card_number_is_refused_and_leaves_no_trace(
    shop: Shop, where: str
) -> None:
    await shop.offers({"mug": 250})
    path, owner = await shop.filled({"mug": 2})
    before, key = await shop.everything(), str(new_id())

    with capture_logs() as logs:
        for _ in range(2):
            response = await shop.send("POST", path + BUY, WITH_A_CARD[where], who=owner, key=key)
            assert problem(response) == (422, "card-number-refused")
            assert "4242" not in response.text

    assert logs == []
    assert await shop.everything() == before
    # The key is free: nothing is known of the request.
    bought = await shop.send("POST", path + BUY, CHECKOUT, who=owner, key=key)
    assert bought.status_code == 202


async def test_a_sku_may_have_the_digits_of_a_card(shop: Shop) -> None:
    await shop.offers({"4242424242424242": 100})
    path, owner = await shop.open()

    unknown = await shop.send("POST", path + LINES, line("4000000000000002"), who=owner)
    assert problem(unknown) == (422, "unknown-sku")
    assert "4000000000000002" not in unknown.text

    added = await shop.send("POST", path + LINES, line("4242424242424242"), who=owner)
    assert added.json()["lines"][0]["sku"] == "4242424242424242"


RAW = {
    "malformed JSON": (b'{"sku": "a"', JSON, 400, "malformed-json"),
    "two documents": (b"{} {}", JSON, 400, "malformed-json"),
    "no number": (b'{"sku": "a", "quantity": NaN}', JSON, 400, "malformed-json"),
    "bytes that are no text": (b'{"sku": "\xff"}', JSON, 400, "malformed-json"),
    "half a surrogate": (b'{"sku": "\\ud800", "quantity": 1}', JSON, 400, "malformed-json"),
    "endless nesting": (b"[" * 100_000, JSON, 400, "malformed-json"),
    "null": (b"null", JSON, 422, "invalid-request"),
    "no body": (b"", JSON, 422, "invalid-request"),
    "form": (b"sku=a", {"Content-Type": "application/x-www-form-urlencoded"}, 415, None),
    "no media type": (b"{}", {}, 415, None),
    "body over the limit": (b" " * 1_048_577, JSON, 413, "body-too-large"),
}


@pytest.mark.parametrize(("content", "headers", "status", "slug"), RAW.values(), ids=RAW.keys())
async def test_bytes_that_are_no_request_are_refused(
    shop: Shop,
    cart: tuple[str, dict[str, str]],
    content: bytes,
    headers: dict[str, str],
    status: int,
    slug: str | None,
) -> None:
    path, owner = cart
    before = await shop.everything()

    response = await shop.http.post(
        path + LINES,
        content=content,
        headers={"Idempotency-Key": "key-00001", **owner, **headers},
    )

    assert problem(response) == (status, slug or "unsupported-media-type")
    assert await shop.everything() == before


async def test_a_body_without_a_length_is_bounded_as_well(
    shop: Shop, cart: tuple[str, dict[str, str]]
) -> None:
    path, owner = cart

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(10_000):
            yield b" " * 1024

    response = await shop.http.post(
        path + LINES, content=endless(), headers={"Idempotency-Key": "key-00001", **owner, **JSON}
    )

    assert problem(response) == (413, "body-too-large")
    assert response.json()["largest_bytes"] == HttpSettings().body_bytes


@pytest.mark.parametrize(
    ("key", "slug"),
    [
        (None, "idempotency-key-missing"),
        ("short", "idempotency-key-invalid"),
        ("k" * 256, "idempotency-key-invalid"),
        ("with a space", "idempotency-key-invalid"),
    ],
)
async def test_a_change_needs_a_key(
    shop: Shop, cart: tuple[str, dict[str, str]], key: str | None, slug: str
) -> None:
    path, owner = cart
    headers = owner if key is None else {**owner, "Idempotency-Key": key}
    before = await shop.everything()

    response = await shop.http.post(path + LINES, json=line(), headers=headers)

    assert problem(response) == (400, slug)
    assert await shop.everything() == before


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        ({"currency": "XXX"}, "unknown-currency"),
        ({"currency": "gbp"}, "invalid-request"),
        ({"currency": "GBP", "customer_id": "ada"}, "invalid-request"),
        ({}, "invalid-request"),
        ({"currency": 826}, "invalid-request"),
    ],
)
async def test_a_cart_needs_a_currency_and_takes_nothing_else(
    shop: Shop, body: dict[str, Any], slug: str
) -> None:
    before = await shop.everything()

    assert problem(await shop.send("POST", "/carts", body)) == (422, slug)
    assert await shop.everything() == before


async def test_an_empty_cart_cannot_be_checked_out(shop: Shop) -> None:
    path, owner = await shop.open()
    before = await shop.everything()

    response = await shop.send("POST", f"{path}/checkout", CHECKOUT, who=owner)

    assert problem(response) == (409, "cart-empty")
    assert await shop.everything() == before


async def test_what_is_no_longer_sold_cannot_be_checked_out(
    shop: Shop, cart: tuple[str, dict[str, str]]
) -> None:
    path, owner = cart
    await shop.offers({"a": 250}, active=False)
    before = await shop.everything()

    response = await shop.send("POST", f"{path}/checkout", CHECKOUT, who=owner)

    assert problem(response) == (409, "not-for-sale")
    assert response.json()["skus"] == ["a"]
    assert await shop.everything() == before
    await shop.offers({"a": 250})


async def test_less_than_the_provider_can_charge_cannot_be_checked_out(
    cart_database: str, shop: Shop
) -> None:
    stripe = Shop(cart_database, payment_providers=("stripe",))
    await stripe.offers({"cheap": 29})
    path, owner = await stripe.filled({"cheap": 1})
    before = await stripe.everything()

    response = await stripe.send("POST", f"{path}/checkout", CHECKOUT, who=owner)

    assert problem(response) == (422, "total-below-minimum")
    assert (response.json()["total_minor"], response.json()["minimum_minor"]) == (29, 30)
    assert await stripe.everything() == before
    await stripe.close()


async def test_a_cart_id_that_is_none_is_refused(shop: Shop) -> None:
    assert problem(await shop.http.get("/carts/1")) == (422, "invalid-request")


ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 2**31, 2**63, -(2**63), 10**30, "", " ", "a", "\x00", "\n", "é" * 300,
    "💥", "' OR 1=1", "{}", [], [None], {}, {"a": 1}, [[[]]],
)  # fmt: skip


def distorted(value: Any, chance: Random) -> Any:
    """The value with parts left out, added or replaced by odd ones."""
    if chance.random() < 0.15:
        return chance.choice(ODD)
    if isinstance(value, dict):
        kept = {name: distorted(part, chance) for name, part in value.items()}
        for name in list(kept):
            if chance.random() < 0.1:
                del kept[name]
        if chance.random() < 0.1:
            kept[str(chance.choice(ODD))] = chance.choice(ODD)
        return kept
    if isinstance(value, list):
        return [distorted(part, chance) for part in value * chance.choice((1, 1, 2))]
    return value


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_sent_is_done_or_refused_but_never_breaks_anything(
    shop: Shop, cart: tuple[str, dict[str, str]], seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - repeatable, and its seed is in the test's name
    whole: list[tuple[str, str, Any]] = [
        ("POST", LINES, line()),
        ("POST", LINES, {"lines": [line(), line("sku-1", 3)]}),
        ("PATCH", LINE, {"quantity": 2}),
        ("POST", BUY, buy(payment_window_seconds=5, accept_token="x")),
    ]
    path, owner = await shop.filled({"a": 1}, cart[1])
    refused = 0
    for _ in range(60):
        method, below, body = chance.choice(whole)
        body = distorted(body, chance)
        before = await shop.everything()
        response = await shop.send(method, path + below, body, who=owner)
        if response.is_success:
            continue
        status, _ = problem(response)
        assert status < 500, (method, below, body, response.text)
        assert await shop.everything() == before
        refused += 1
    assert refused > 20
