"""Opening, filling and showing carts over REST."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from contracts.messages.cart import CartChanged
from messaging.http.pages import encode_cursor
from tests.cart_service.shop import CHECKOUT, Shop, done, problem, quantities

pytestmark = pytest.mark.integration


class TestOpening:
    async def test_a_guest_is_given_a_token_once_and_the_cart_answers_to_it(
        self, shop: Shop
    ) -> None:
        response = await shop.send("POST", "/carts", {"currency": "GBP"})

        assert response.status_code == 201
        cart = response.json()
        assert response.headers["location"] == f"/carts/{cart['cart_id']}"
        assert response.headers["etag"] == '"1"'
        assert (cart["status"], cart["currency"], cart["lines"]) == ("active", "GBP", [])
        shown = await shop.show(f"/carts/{cart['cart_id']}", shop.guest(cart["cart_token"]))
        assert "cart_token" not in shown
        stored = await shop.rows("SELECT guest_token_hash FROM carts")
        assert cart["cart_token"] not in str(stored)

    async def test_the_token_is_told_again_under_the_same_key(self, shop: Shop) -> None:
        first = await shop.send("POST", "/carts", {"currency": "GBP"}, key="k" * 30)
        again = await shop.send("POST", "/carts", {"currency": "GBP"}, key="k" * 30)

        assert again.content == first.content
        assert again.headers["idempotent-replayed"] == "true"
        assert await shop.rows("SELECT count(*) FROM carts") == [(1,)]

    async def test_a_guessable_key_is_refused_where_its_answer_holds_a_token(
        self, shop: Shop
    ) -> None:
        response = await shop.send("POST", "/carts", {"currency": "GBP"}, key="order-536365")

        assert problem(response) == (400, "idempotency-key-too-short")
        owner = shop.customer("ada")
        assert done(
            await shop.send("POST", "/carts", {"currency": "GBP"}, who=owner, key="order-536365")
        )

    async def test_a_guest_may_open_further_carts_under_a_token_that_is_known(
        self, shop: Shop
    ) -> None:
        first, owner = await shop.open()

        response = await shop.send(
            "POST", "/carts", {"currency": "EUR"}, who=owner, key="short-key"
        )

        second = response.json()
        assert second["cart_token"] == owner["Cart-Token"]
        for path in (first, f"/carts/{second['cart_id']}"):
            assert await shop.show(path, owner)

    async def test_a_token_that_we_never_gave_is_replaced(self, shop: Shop) -> None:
        response = await shop.send("POST", "/carts", {"currency": "EUR"}, who=shop.guest("mine"))

        assert response.json()["cart_token"] != "mine"
        assert len(response.json()["cart_token"]) >= 43

    async def test_a_customer_has_one_active_cart_per_shop_and_currency(self, shop: Shop) -> None:
        ada, bob = shop.customer("ada"), shop.customer("bob")

        first = await shop.send("POST", "/carts", {"currency": "GBP"}, who=ada)
        again = await shop.send("POST", "/carts", {"currency": "GBP"}, who=ada)

        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()
        assert first.json()["cart_token"] is None
        others = {
            (await shop.open(ada, "EUR"))[0],
            (await shop.open(bob))[0],
            (await shop.open(shop.customer("ada", "elsewhere")))[0],
        }
        assert len(others | {f"/carts/{first.json()['cart_id']}"}) == 4

    async def test_opening_at_once_makes_one_cart_and_tells_of_it_once(self, shop: Shop) -> None:
        ada = shop.customer("ada")

        responses = await asyncio.gather(
            *(shop.send("POST", "/carts", {"currency": "GBP"}, who=ada) for _ in range(20))
        )

        assert sorted(response.status_code for response in responses) == [200] * 19 + [201]
        (cart_id,) = {response.json()["cart_id"] for response in responses}
        (opened,) = await shop.sent(CartChanged)
        assert (opened.cart_id, opened.customer_id, opened.event_seq) == (UUID(cart_id), "ada", 1)

    async def test_a_customer_whose_cart_is_locked_gets_a_fresh_one(self, shop: Shop) -> None:
        await shop.offers({"a": 100})
        ada = shop.customer("ada")
        path, _ = await shop.filled({"a": 1}, ada)
        await shop.checked_out(path, ada)

        other, _ = await shop.open(ada)

        assert other != path
        assert (await shop.show(path, ada))["status"] == "locked"
        assert (await shop.show(other, ada))["lines"] == []


class TestLines:
    async def test_one_line_or_a_list_is_added_and_shown_with_totals(self, shop: Shop) -> None:
        await shop.offers({"a": 250, "b": 99}, available=5)
        path, owner = await shop.open()

        await shop.send("POST", f"{path}/lines", {"sku": "b", "quantity": 6}, who=owner)
        response = await shop.send(
            "POST", f"{path}/lines", {"lines": [{"sku": "a", "quantity": 2}]}, who=owner
        )

        cart = response.json()
        assert response.headers["etag"] == f'"{cart["version"]}"'
        assert cart["lines"] == [
            {
                "line_no": 1,
                "sku": "b",
                "name": "Name of b",
                "quantity": 6,
                "added_price_minor": 99,
                "unit_price_minor": 99,
                "price_moved": False,
                "total_minor": 594,
                "for_sale": True,
                "available": 5,
                "in_stock": False,
            },
            {
                "line_no": 2,
                "sku": "a",
                "name": "Name of a",
                "quantity": 2,
                "added_price_minor": 250,
                "unit_price_minor": 250,
                "price_moved": False,
                "total_minor": 500,
                "for_sale": True,
                "available": 5,
                "in_stock": True,
            },
        ]
        assert cart["totals"] == {"lines": 2, "pieces": 8, "total_minor": 1094}
        assert await shop.show(path, owner) == cart

    async def test_a_list_is_added_whole_or_not_at_all(self, shop: Shop) -> None:
        await shop.offers({"a": 1})
        path, owner = await shop.open()
        before = await shop.everything()

        response = await shop.send(
            "POST",
            f"{path}/lines",
            {"lines": [{"sku": "a", "quantity": 1}, {"sku": "nothing", "quantity": 1}]},
            who=owner,
        )

        assert problem(response) == (422, "unknown-sku")
        assert response.json()["skus"] == ["nothing"]
        assert await shop.everything() == before

    async def test_the_price_when_added_is_kept_and_a_move_is_shown(self, shop: Shop) -> None:
        await shop.offers({"a": 250, "b": 99, "c": 10})
        path, owner = await shop.filled({"a": 2, "b": 1, "c": 1})
        await shop.offers({"a": 300}, available=1)
        await shop.offers({"b": None})
        await shop.offers({"c": 10}, active=False)

        a, b, c = (await shop.show(path, owner))["lines"]

        assert (a["added_price_minor"], a["unit_price_minor"], a["price_moved"]) == (250, 300, True)
        assert (a["available"], a["in_stock"], a["total_minor"]) == (1, False, 600)
        for line in (b, c):
            assert (line["unit_price_minor"], line["for_sale"]) == (None, False)
            assert line["total_minor"] is None
        assert (await shop.show(path, owner))["totals"]["total_minor"] == 600

    async def test_quantity_is_changed_and_lines_are_removed_and_cleared(self, shop: Shop) -> None:
        await shop.offers({"a": 1, "b": 1, "c": 1})
        path, owner = await shop.filled({"a": 1, "b": 1, "c": 1})

        changed = await shop.send("PATCH", f"{path}/lines/1", {"quantity": 7}, who=owner)
        removed = await shop.send("DELETE", f"{path}/lines/2", who=owner)
        assert quantities(done(changed)) == {"a": 7, "b": 1, "c": 1}
        assert quantities(done(removed)) == {"a": 7, "c": 1}
        assert quantities(await shop.show(path, owner)) == {"a": 7, "c": 1}

        cleared = await shop.send("DELETE", f"{path}/lines", who=owner)
        assert quantities(done(cleared)) == {}
        assert await shop.show(path, owner) == done(cleared)

    async def test_a_removed_sku_can_be_added_again_under_a_new_number(self, shop: Shop) -> None:
        await shop.offers({"a": 1})
        path, owner = await shop.filled({"a": 1})
        await shop.send("DELETE", f"{path}/lines/1", who=owner)

        cart = await shop.add(path, owner, {"a": 2})

        assert [(line["line_no"], line["quantity"]) for line in cart["lines"]] == [(2, 2)]

    async def test_skus_are_taken_literally(self, shop: Shop) -> None:
        skus = ["a", "A", "a/b", "a b", " a", "%61", "é", "e\u0301", "'; --", "🎈"]
        await shop.offers({sku: price for price, sku in enumerate(skus, 1)})

        path, owner = await shop.filled(dict.fromkeys(skus, 1))

        lines = (await shop.show(path, owner))["lines"]
        assert [line["sku"] for line in lines] == skus
        assert [line["unit_price_minor"] for line in lines] == list(range(1, 11))

    async def test_prices_are_rounded_to_what_every_offered_provider_can_charge(
        self, cart_database: str
    ) -> None:
        shop = Shop(cart_database, payment_providers=("simulated", "stripe"))
        await shop.empty()
        await shop.offers({"a": 1234}, currency="KWD")
        path, owner = await shop.open(currency="KWD")

        cart = await shop.add(path, owner, {"a": 3})

        assert cart["lines"][0]["unit_price_minor"] == 1230
        assert cart["totals"]["total_minor"] == 3690
        await shop.close()

    async def test_a_read_model_of_another_shop_is_not_ours(self, shop: Shop) -> None:
        await shop.offers({"a": 1}, shop_id="elsewhere")
        path, owner = await shop.open()

        response = await shop.send("POST", f"{path}/lines", {"sku": "a", "quantity": 1}, who=owner)

        assert problem(response) == (422, "unknown-sku")


class TestVersions:
    async def test_a_change_goes_through_in_the_version_seen(self, shop: Shop) -> None:
        await shop.offers({"a": 1})
        path, owner = await shop.filled({"a": 1})
        etag = (await shop.http.get(path, headers=owner)).headers["etag"]

        response = await shop.send(
            "PATCH", f"{path}/lines/1", {"quantity": 2}, who=owner, If_Match=etag
        )

        assert response.status_code == 200
        assert response.headers["etag"] != etag

    @pytest.mark.parametrize(
        ("method", "below", "body"),
        [
            ("POST", "/lines", {"sku": "a", "quantity": 1}),
            ("PATCH", "/lines/1", {"quantity": 5}),
            ("DELETE", "/lines/1", None),
            ("DELETE", "/lines", None),
        ],
    )
    async def test_a_stale_version_is_refused(
        self, shop: Shop, method: str, below: str, body: Any
    ) -> None:
        await shop.offers({"a": 1})
        path, owner = await shop.filled({"a": 1})
        before = await shop.everything()

        response = await shop.send(method, path + below, body, who=owner, If_Match='"1"')

        assert problem(response) == (412, "stale-etag")
        assert response.headers["etag"] == '"2"'
        assert await shop.everything() == before

    async def test_of_changes_of_the_same_version_at_once_one_goes_through(
        self, shop: Shop
    ) -> None:
        await shop.offers({"a": 1})
        path, owner = await shop.filled({"a": 1})

        responses = await asyncio.gather(
            *(
                shop.send("PATCH", f"{path}/lines/1", {"quantity": n}, who=owner, If_Match='"2"')
                for n in range(2, 12)
            )
        )

        assert sorted(response.status_code for response in responses) == [200] + [412] * 9
        (changed,) = [response.json() for response in responses if response.is_success]
        assert await shop.show(path, owner) == changed

    async def test_no_change_is_lost_when_many_come_at_once(self, shop: Shop) -> None:
        await shop.offers({"a": 1, "b": 1})
        path, owner = await shop.open()

        await asyncio.gather(
            *(shop.add(path, owner, {"a": 1, "b": 2} if n % 2 else {"b": 1}) for n in range(20))
        )

        assert quantities(await shop.show(path, owner)) == {"a": 10, "b": 30}


class TestKeys:
    async def test_the_same_addition_under_the_same_key_is_made_once(self, shop: Shop) -> None:
        await shop.offers({"a": 1})
        path, owner = await shop.open()

        first, again = [
            await shop.send(
                "POST", f"{path}/lines", {"sku": "a", "quantity": 1}, who=owner, key="k" * 8
            )
            for _ in range(2)
        ]

        assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
        assert again.headers["idempotent-replayed"] == "true"
        assert quantities(await shop.show(path, owner)) == {"a": 1}

    async def test_another_addition_under_the_same_key_is_refused(self, shop: Shop) -> None:
        await shop.offers({"a": 1})
        path, owner = await shop.open()
        lines = f"{path}/lines"
        await shop.send("POST", lines, {"sku": "a", "quantity": 1}, who=owner, key="k" * 8)
        before = await shop.everything()

        other = await shop.send("POST", lines, {"sku": "a", "quantity": 2}, who=owner, key="k" * 8)

        assert problem(other) == (422, "idempotency-key-reused")
        assert await shop.everything() == before


class TestStrangers:
    @pytest.mark.parametrize(
        ("method", "below", "body"),
        [
            ("GET", "", None),
            ("POST", "/lines", {"sku": "a", "quantity": 1}),
            ("PATCH", "/lines/1", {"quantity": 5}),
            ("DELETE", "/lines/1", None),
            ("DELETE", "/lines", None),
            ("POST", "/checkout", "checkout"),
        ],
    )
    @pytest.mark.parametrize("owned_by", ["guest", "customer"])
    async def test_a_cart_does_not_exist_for_them(
        self, shop: Shop, method: str, below: str, body: Any, owned_by: str
    ) -> None:
        await shop.offers({"a": 1})
        path, _ = await shop.filled({"a": 1}, None if owned_by == "guest" else shop.customer("ada"))
        _, other_guest = await shop.open()
        before = await shop.everything()

        strangers: list[dict[str, str]] = [
            {},
            other_guest,
            shop.guest("ada"),
            shop.customer("bob"),
            shop.customer("ada", "elsewhere"),
        ]
        for who in strangers:
            sent = CHECKOUT if body == "checkout" else body
            response = await shop.send(method, path + below, sent, who=who)
            assert problem(response) == (404, "cart-not-found")

        assert await shop.everything() == before

    async def test_a_forged_or_expired_customer_token_is_no_token(self, shop: Shop) -> None:
        path, owner = await shop.open(shop.customer("ada"))

        response = await shop.http.get(
            path, headers={"Authorization": owner["Authorization"][:-4] + "AAAA"}
        )

        assert problem(response) == (401, "unauthenticated")


class TestList:
    async def test_a_shopper_finds_their_carts_the_newest_first(self, shop: Shop) -> None:
        first, owner = await shop.open()
        await shop.open()
        second, _ = await shop.open(owner, "EUR")

        page = done(await shop.http.get("/carts", headers=owner))

        assert [f"/carts/{cart['cart_id']}" for cart in page["items"]] == [second, first]
        assert page["next_cursor"] is None

    async def test_pages_are_complete_and_bounded(self, shop: Shop) -> None:
        ada = shop.customer("ada")
        opened = [(await shop.open(ada, c))[0] for c in ("GBP", "EUR", "USD", "JPY", "KWD")]

        found: list[str] = []
        cursor = ""
        for _ in range(3):
            page = done(await shop.http.get(f"/carts?limit=2{cursor}", headers=ada))
            found += [f"/carts/{cart['cart_id']}" for cart in page["items"]]
            cursor = f"&cursor={page['next_cursor']}"

        assert found == opened[::-1]
        assert page["next_cursor"] is None

    async def test_nobody_sees_what_is_not_theirs(self, shop: Shop) -> None:
        await shop.open(shop.customer("ada"))
        await shop.open()

        for stranger in (shop.customer("bob"), shop.customer("ada", "elsewhere"), shop.guest("x")):
            assert done(await shop.http.get("/carts", headers=stranger))["items"] == []
        assert problem(await shop.http.get("/carts")) == (401, "unauthenticated")

    @pytest.mark.parametrize(
        "cursor",
        [
            "x",
            "WyJhIiwiYiJd",
            "W10",
            encode_cursor("2026-01-01T00:00:00", str(UUID(int=0))),
            encode_cursor("9999-12-31T23:59:59-14:00", str(UUID(int=0))),
            encode_cursor("0001-01-01T00:00:00+14:00", str(UUID(int=0))),
        ],
    )
    async def test_a_cursor_that_is_not_ours_is_refused(self, shop: Shop, cursor: str) -> None:
        response = await shop.http.get(f"/carts?cursor={cursor}", headers=shop.guest("x"))

        assert problem(response) == (422, "invalid-cursor")


async def test_the_number_of_statements_does_not_depend_on_the_number_of_lines(
    shop: Shop,
) -> None:
    skus = [f"sku-{n}" for n in range(593)]
    await shop.offers({sku: n + 1 for n, sku in enumerate(skus)})

    async def statements_for(lines: int) -> list[list[str]]:
        path, owner = await shop.open()
        counted = []
        for act in (
            lambda: shop.add(path, owner, dict.fromkeys(skus[:lines], 1)),
            lambda: shop.add(path, owner, dict.fromkeys(skus[:lines], 2)),
            lambda: shop.show(path, owner),
            lambda: shop.checked_out(path, owner),
            lambda: shop.show(path, owner),
        ):
            shop.statements.clear()
            await act()
            counted.append(list(shop.statements))
        return counted

    one, all_of_them = await statements_for(1), await statements_for(593)

    assert one == all_of_them
    added, more, shown, bought, _ = (len(statements) for statements in one)
    assert (added, more, shown, bought) == (7, 7, 1, 7)
