"""Checking carts out over REST: quotes, locks, repetitions."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from contracts.messages.cart import CartChanged, CheckoutAccepted, CloseCart, UnlockCart
from contracts.messages.order import StartCheckout
from contracts.messages.parts import Shortage
from messaging.clock import utc_now
from messaging.http.tokens import hash_token
from messaging.signing import sign, verify
from tests.cart_service.shop import CHECKOUT, KEY, Shop, problem

pytestmark = pytest.mark.integration

ELSEWHERE = {**CHECKOUT, "address": {**CHECKOUT["address"], "city": "Bath"}}  # type: ignore[dict-item]
OTHERWISE_PAID = {**CHECKOUT, "payment": {"token": "pm_other"}}


class TestStarting:
    async def test_answers_202_with_a_signed_status_url_and_tells_the_saga(
        self, shop: Shop
    ) -> None:
        await shop.offers({"a": 250, "b": 99})
        path, owner = await shop.filled({"a": 2, "b": 1})

        response = await shop.send("POST", f"{path}/checkout", CHECKOUT, who=owner)

        assert response.status_code == 202
        answer = response.json()
        assert (answer["total_minor"], answer["currency"]) == (599, "GBP")
        assert response.headers["location"] == answer["status_url"]
        url = urlsplit(answer["status_url"])
        assert f"{url.scheme}://{url.netloc}" == shop.settings.order_base_url
        assert url.path == f"/checkouts/{answer['checkout_id']}"
        signed = verify(KEY, "checkout", parse_qs(url.query)["signature"][0])
        assert signed is not None
        assert (signed["shop"], signed["checkout_id"]) == ("main", answer["checkout_id"])

        (command,) = await shop.sent(StartCheckout)
        assert str(command.checkout_id) == answer["checkout_id"]
        assert f"/carts/{command.cart_id}" == path
        assert command.guest_token_hash == hash_token(owner["Cart-Token"])
        assert command.total_minor == sum(line.gross_minor for line in command.lines) == 599
        assert command.payment_window_seconds == shop.settings.payment_window_seconds
        assert command.payment.provider == "simulated"
        events = await shop.sent(CartChanged)
        assert [(each.status, each.event_seq) for each in events] == [("active", 1), ("locked", 2)]

    async def test_shows_the_checkout_in_the_cart(self, shop: Shop) -> None:
        await shop.offers({"a": 250})
        path, owner = await shop.filled({"a": 2})
        checkout_id = await shop.checked_out(path, owner)

        cart = await shop.show(path, owner)

        assert cart["status"] == "locked"
        assert cart["checkout"]["checkout_id"] == str(checkout_id)
        assert cart["checkout"]["status"] == "in_progress"
        assert str(checkout_id) in cart["checkout"]["status_url"]

    async def test_payment_and_window_may_be_chosen(self, shop: Shop) -> None:
        await shop.offers({"a": 250})
        path, owner = await shop.filled({"a": 2}, shop.customer("ada"))
        body: dict[str, Any] = {**CHECKOUT, "payment": None, "payment_window_seconds": 3}

        await shop.checked_out(path, owner, body)

        (command,) = await shop.sent(StartCheckout)
        assert (command.payment, command.payment_window_seconds) == (None, 3)
        assert (command.customer_id, command.guest_token_hash) == ("ada", None)

    async def test_prices_of_now_are_charged_and_a_better_one_needs_no_consent(
        self, shop: Shop
    ) -> None:
        await shop.offers({"a": 250})
        path, owner = await shop.filled({"a": 2})
        await shop.offers({"a": 200})

        await shop.checked_out(path, owner)

        (command,) = await shop.sent(StartCheckout)
        assert command.total_minor == 400
        cart = await shop.show(path, owner)
        assert cart["totals"]["total_minor"] == 400
        assert cart["lines"][0]["added_price_minor"] == 250

    async def test_a_locked_cart_keeps_its_prices_whatever_the_catalog_says(
        self, shop: Shop
    ) -> None:
        await shop.offers({"a": 250})
        path, owner = await shop.filled({"a": 2})
        await shop.checked_out(path, owner)
        await shop.offers({"a": 999})

        assert (await shop.show(path, owner))["totals"]["total_minor"] == 500


class TestConsent:
    async def test_a_dearer_line_is_told_and_nothing_changes_until_it_is_accepted(
        self, shop: Shop
    ) -> None:
        await shop.offers({"a": 250, "b": 99})
        path, owner = await shop.filled({"a": 2, "b": 1})
        await shop.offers({"a": 260}, available=1)
        before = await shop.everything()
        key = "one-key-for-both"

        refused = await shop.send("POST", f"{path}/checkout", CHECKOUT, who=owner, key=key)

        assert problem(refused) == (409, "quote-changed")
        told = refused.json()
        assert told["differences"] == [
            {
                "line_no": 1,
                "sku": "a",
                "name": "Name of a",
                "quantity": 2,
                "seen_price_minor": 250,
                "unit_price_minor": 260,
                "available": 1,
                "reasons": ["price", "stock"],
            }
        ]
        assert told["total_minor"] == 619
        assert await shop.everything() == before

        accepting = {**CHECKOUT, "accept_token": told["accept_token"]}
        accepted = await shop.send("POST", f"{path}/checkout", accepting, who=owner, key=key)

        assert accepted.status_code == 202
        assert accepted.json()["total_minor"] == 619

    async def test_a_price_that_got_worse_again_asks_again(self, shop: Shop) -> None:
        await shop.offers({"a": 250})
        path, owner = await shop.filled({"a": 1})
        await shop.offers({"a": 260})
        first = await shop.send("POST", f"{path}/checkout", CHECKOUT, who=owner)
        await shop.offers({"a": 261})
        accepting = {**CHECKOUT, "accept_token": first.json()["accept_token"]}

        second = await shop.send("POST", f"{path}/checkout", accepting, who=owner)

        assert problem(second) == (409, "quote-changed")
        (difference,) = second.json()["differences"]
        assert (difference["seen_price_minor"], difference["unit_price_minor"]) == (260, 261)

    async def test_a_token_for_an_older_version_of_the_cart_is_not_enough(self, shop: Shop) -> None:
        await shop.offers({"a": 250})
        path, owner = await shop.filled({"a": 1})
        await shop.offers({"a": 260})
        refused = await shop.send("POST", f"{path}/checkout", CHECKOUT, who=owner)
        await shop.send("PATCH", f"{path}/lines/1", {"quantity": 2}, who=owner)
        accepting = {**CHECKOUT, "accept_token": refused.json()["accept_token"]}

        again = await shop.send("POST", f"{path}/checkout", accepting, who=owner)

        assert problem(again) == (409, "quote-changed")

    async def test_an_accept_token_is_good_for_ten_minutes(self, shop: Shop) -> None:
        await shop.offers({"a": 250})
        path, owner = await shop.filled({"a": 1})
        await shop.offers({"a": 260})

        before = utc_now()
        refused = await shop.send("POST", f"{path}/checkout", CHECKOUT, who=owner)

        until = datetime.fromisoformat(refused.json()["accept_until"])
        assert before <= until - timedelta(minutes=10) <= utc_now()

    @pytest.mark.parametrize("kind", ["garbage", "another purpose", "another key"])
    async def test_a_token_that_we_did_not_make_is_refused(self, shop: Shop, kind: str) -> None:
        await shop.offers({"a": 250})
        path, owner = await shop.filled({"a": 1})
        token = {
            "garbage": "garbage",
            "another purpose": sign(KEY, "checkout", {"cart": path}),
            "another key": sign(type(KEY)("b" * 32), "accept", {"cart": path}),
        }[kind]
        before = await shop.everything()

        response = await shop.send(
            "POST", f"{path}/checkout", {**CHECKOUT, "accept_token": token}, who=owner
        )

        assert problem(response) == (422, "invalid-accept-token")
        assert await shop.everything() == before

    async def test_a_cart_of_a_thousand_dear_lines_can_be_accepted(self, shop: Shop) -> None:
        prices = {f"sku-{n}": 10**11 + n for n in range(1000)}
        await shop.offers(prices)
        path, owner = await shop.filled(dict.fromkeys(prices, 1))
        await shop.offers({sku: price + 1 for sku, price in prices.items()})
        refused = await shop.send("POST", f"{path}/checkout", CHECKOUT, who=owner)
        assert len(refused.json()["differences"]) == 1000

        accepting = {**CHECKOUT, "accept_token": refused.json()["accept_token"]}

        assert await shop.checked_out(path, owner, accepting)


class TestRepetition:
    async def test_twenty_identical_requests_at_once_are_one_checkout(self, shop: Shop) -> None:
        await shop.offers({"a": 250})
        path, owner = await shop.filled({"a": 1})

        responses = await asyncio.gather(
            *(shop.send("POST", f"{path}/checkout", CHECKOUT, who=owner) for _ in range(20))
        )

        assert {response.status_code for response in responses} == {202}
        assert len({response.content for response in responses}) == 1
        (command,) = await shop.sent(StartCheckout)
        assert str(command.checkout_id) == responses[0].json()["checkout_id"]

    async def test_identical_requests_with_the_same_etag_are_one_checkout(self, shop: Shop) -> None:
        await shop.offers({"a": 250})
        path, owner = await shop.filled({"a": 1})

        responses = [
            await shop.send("POST", f"{path}/checkout", CHECKOUT, who=owner, If_Match='"2"')
            for _ in range(2)
        ]

        assert responses[0].json() == responses[1].json()
        assert len(await shop.sent(StartCheckout)) == 1

    @pytest.mark.parametrize("other", [ELSEWHERE, OTHERWISE_PAID], ids=["address", "payment"])
    async def test_of_two_different_requests_at_once_one_is_told_of_the_other(
        self, shop: Shop, other: dict[str, Any]
    ) -> None:
        await shop.offers({"a": 250})
        path, owner = await shop.filled({"a": 1})

        responses = await asyncio.gather(
            shop.send("POST", f"{path}/checkout", CHECKOUT, who=owner),
            shop.send("POST", f"{path}/checkout", other, who=owner),
        )

        started, refused = sorted(responses, key=lambda response: response.status_code)
        assert started.status_code == 202
        assert problem(refused) == (409, "checkout_in_progress")
        assert refused.json()["status_url"] == started.json()["status_url"]
        assert refused.headers["location"] == started.headers["location"]
        assert len(await shop.sent(StartCheckout)) == 1

    @pytest.mark.parametrize(
        ("method", "below", "body"),
        [
            ("POST", "/lines", {"sku": "a", "quantity": 1}),
            ("PATCH", "/lines/1", {"quantity": 5}),
            ("DELETE", "/lines/1", None),
            ("DELETE", "/lines", None),
        ],
    )
    async def test_a_locked_cart_cannot_be_changed(
        self, shop: Shop, method: str, below: str, body: Any
    ) -> None:
        await shop.offers({"a": 250})
        path, owner = await shop.filled({"a": 1})
        checkout_id = await shop.checked_out(path, owner)
        before = await shop.everything()

        response = await shop.send(method, path + below, body, who=owner)

        assert problem(response) == (409, "checkout_in_progress")
        assert response.json()["checkout_id"] == str(checkout_id)
        assert await shop.everything() == before


class TestAfterwards:
    async def test_a_failed_checkout_shows_its_reasons_and_can_be_tried_again(
        self, shop: Shop
    ) -> None:
        await shop.offers({"a": 250})
        path, owner = await shop.filled({"a": 2})
        checkout_id = await shop.checked_out(path, owner)
        shortage = Shortage(sku="a", requested=2, available=1)
        await shop.receive(
            UnlockCart(
                checkout_id=checkout_id,
                cart_id=UUID(path.split("/")[-1]),
                reason="out_of_stock",
                shortages=(shortage,),
            )
        )

        cart = await shop.show(path, owner)

        assert cart["status"] == "active"
        assert cart["checkout"]["status"] == "failed"
        assert cart["checkout"]["checkout_id"] == str(checkout_id)
        assert cart["checkout"]["reason"] == "out_of_stock"
        assert cart["checkout"]["shortages"] == [{"sku": "a", "requested": 2, "available": 1}]
        assert await shop.checked_out(path, owner) != checkout_id

    async def test_what_was_accepted_need_not_be_accepted_again(self, shop: Shop) -> None:
        await shop.offers({"a": 250})
        path, owner = await shop.filled({"a": 2})
        await shop.offers({"a": 260})
        refused = await shop.send("POST", f"{path}/checkout", CHECKOUT, who=owner)
        accepting = {**CHECKOUT, "accept_token": refused.json()["accept_token"]}
        checkout_id = await shop.checked_out(path, owner, accepting)
        cart_id = UUID(path.split("/")[-1])
        await shop.receive(
            UnlockCart(checkout_id=checkout_id, cart_id=cart_id, reason="out_of_stock")
        )

        assert await shop.checked_out(path, owner)

    async def test_a_cart_that_was_bought_is_closed_but_still_answers_its_checkout(
        self, shop: Shop
    ) -> None:
        await shop.offers({"a": 250})
        path, owner = await shop.filled({"a": 2})
        checkout_id = await shop.checked_out(path, owner)
        cart_id = UUID(path.split("/")[-1])
        await shop.receive(
            CheckoutAccepted(checkout_id=checkout_id, cart_id=cart_id),
            CloseCart(checkout_id=checkout_id, cart_id=cart_id, order_id=checkout_id),
        )

        cart = await shop.show(path, owner)
        added = await shop.send("POST", f"{path}/lines", {"sku": "a", "quantity": 1}, who=owner)
        other = await shop.send("POST", f"{path}/checkout", ELSEWHERE, who=owner)

        assert (cart["status"], cart["checkout"]["status"]) == ("closed", "completed")
        assert cart["totals"]["total_minor"] == 500
        assert problem(added) == problem(other) == (409, "cart-closed")
        for refused in (added, other):
            assert refused.json()["status_url"] == refused.headers["location"]
            assert f"/checkouts/{checkout_id}?signature=" in refused.headers["location"]
        assert await shop.checked_out(path, owner) == checkout_id
