"""The REST API: who may see and do what, and every refusal with its facts."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from structlog.testing import capture_logs

from contracts.ids import first_id_at, new_id
from contracts.messages.order import StartCheckout
from contracts.messages.payment import ChargePayment, ClosePayment
from messaging.clock import utc_now
from messaging.http.pages import encode_cursor
from messaging.http.problems import TYPE_BASE
from messaging.http.tokens import hash_token
from messaging.signing import sign
from order_service.checkout import Checkout
from order_service.checkout.facts import Tombstone
from order_service.exploration import CHECKOUT_ID, start
from tests.order_service.office import (
    KEY,
    ORDER_ID,
    Office,
    of,
    placed_at,
    some_checkouts,
    start_of,
)
from tests.order_service.story import (
    action_required,
    cart_closed,
    closed,
    committed,
    declined,
    refund_failed,
    refunded,
    rejected,
    released,
    reserved,
    restored,
    succeeded,
    unlocked,
)

pytestmark = pytest.mark.integration

STATUS = f"/checkouts/{CHECKOUT_ID}"
ORDER = f"/orders/{ORDER_ID}"
CARD = {"payment": {"token": "card"}}
TOKEN = "a-cart-token"


def problem(response: httpx.Response) -> tuple[int, str]:
    """Status and slug of a problem document."""
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == response.status_code
    return response.status_code, document["type"].removeprefix(TYPE_BASE)


def of_guest() -> StartCheckout:
    return start().model_copy(update={"customer_id": None, "guest_token_hash": hash_token(TOKEN)})


class TestStatus:
    async def test_a_checkout_the_saga_has_not_seen_is_received(self, office: Office) -> None:
        response = await office.get(f"{STATUS}?signature={office.signature()}", {})
        assert response.status_code == 200
        assert response.json()["state"] == "received"
        assert response.json()["final"] is False

    async def test_a_checkout_that_nobody_takes_over_is_late(
        self, office: Office, order_database: str
    ) -> None:
        patience = timedelta(seconds=office.settings.unseen_late_seconds)
        issued = {
            first_id_at(utc_now() - patience - timedelta(seconds=1)): True,
            first_id_at(utc_now() - patience / 2): False,
        }
        for checkout_id, late in issued.items():
            path = f"/checkouts/{checkout_id}?signature={office.signature(checkout_id)}"
            shown = (await office.get(path, {})).json()
            assert (shown["state"], shown["late"], shown["final"]) == ("received", late, False)

    async def test_what_was_cancelled_before_it_came_is_never_late(self, office: Office) -> None:
        signed = f"?signature={office.signature()}"
        await office.post(f"{STATUS}/cancel{signed}", {}, {})
        shown = (await office.get(STATUS + signed, {})).json()
        assert (shown["final"], shown["late"]) == (True, False)

    @pytest.mark.parametrize(
        "signature",
        [
            "",
            "x",
            sign(KEY, "accept", {"shop": "main", "checkout_id": str(CHECKOUT_ID)}),
            sign(KEY, "checkout", {"shop": "main", "checkout_id": str(ORDER_ID)}),
        ],
        ids=["none", "nonsense", "another purpose", "another checkout"],
    )
    async def test_without_a_signature_of_the_cart_there_is_nothing(
        self, office: Office, signature: str
    ) -> None:
        response = await office.get(f"{STATUS}?signature={signature}", {})
        assert problem(response) == (404, "checkout-not-found")

    async def test_the_signed_link_shows_the_state_and_its_history(self, office: Office) -> None:
        await office.tell(start(), reserved(), action_required())
        response = await office.get(f"{STATUS}?signature={office.signature()}", {})
        shown = response.json()
        assert shown["state"] == "action_required"
        assert shown["order_id"] == str(ORDER_ID)
        assert shown["attempts"][0]["next_action"]["url"] == "https://bank.example/3ds"
        assert shown["attempts"][0]["next_action"]["client_secret"] == "pi_1_secret_1"
        assert [entry["state"] for entry in shown["history"]] == [
            "reserving",
            "paying",
            "action_required",
        ]
        assert shown["final"] is shown["late"] is shown["blocked"] is False
        assert "card" not in response.text.replace("card_declined", "")

    async def test_what_is_left_is_shown_when_stock_is_short(self, office: Office) -> None:
        await office.tell(start(), rejected(), unlocked())
        shown = (await office.get(STATUS)).json()
        assert (shown["state"], shown["final"], shown["reason"]) == (
            "rejected",
            True,
            "out_of_stock",
        )
        assert shown["shortages"] == [{"sku": "TEAPOT", "requested": 1, "available": 0}]

    async def test_a_stale_message_shows_in_the_history(self, office: Office) -> None:
        await office.tell(start(), reserved(), reserved())
        shown = (await office.get(STATUS)).json()
        assert shown["history"][-1]["outcome"] == "stale"
        assert shown["history"][-1]["note"] == "known already"

    @pytest.mark.parametrize(
        ("who", "status"),
        [
            (("ada", "main"), 200),
            (("bob", "main"), 404),
            (("ada", "other"), 404),
            (("op", "main", "operator"), 200),
            (("op", "other", "operator"), 404),
            (("op", "main", "viewer"), 404),
        ],
    )
    async def test_it_answers_to_its_customer_and_to_operators_of_its_shop(
        self, office: Office, who: tuple[str, ...], status: int
    ) -> None:
        await office.tell(start())
        sub, shop, *roles = who
        response = await office.get(STATUS, office.customer(sub, *roles, shop=shop))
        assert response.status_code == status

    async def test_a_guests_answers_to_the_carts_token(self, office: Office) -> None:
        await office.tell(of_guest())
        assert (await office.get(STATUS, {"Cart-Token": TOKEN})).status_code == 200
        assert (await office.get(STATUS, {"Cart-Token": "another"})).status_code == 404
        assert (await office.get(STATUS, office.customer())).status_code == 404

    async def test_only_the_newest_entries_of_a_long_history_are_shown(
        self, office: Office, order_database: str
    ) -> None:
        short = Office(order_database, history_entries=2)
        await office.tell(start(), reserved(), declined())
        shown = (await short.get(STATUS)).json()
        await short.close()
        assert [entry["state"] for entry in shown["history"]] == ["paying", "payment_failed"]


class TestCancelOfACheckout:
    path = f"{STATUS}/cancel"

    async def test_needs_no_body(self, office: Office) -> None:
        headers = {"Idempotency-Key": "a-key-without-body"}
        signed = f"?signature={office.signature()}"
        response = await office.http.post(self.path + signed, headers=headers)
        assert (response.status_code, response.json()["state"]) == (202, "cancelled")

    async def test_before_the_saga_has_seen_it(self, office: Office) -> None:
        signed = f"?signature={office.signature()}"
        response = await office.post(self.path + signed, {"reason": "oh no"}, {})
        assert response.status_code == 202
        assert response.json()["state"] == "cancelled"
        assert isinstance(await office.known(), Tombstone)
        shown = (await office.get(STATUS + signed, {})).json()
        assert (shown["state"], shown["final"]) == ("cancelled", True)
        await office.tell(start())
        assert (await office.checkout()).state == "cancelled"

    async def test_before_the_order_exists(self, office: Office) -> None:
        await office.tell(start())
        response = await office.post(self.path, {})
        assert response.status_code == 202
        assert response.json()["state"] == "releasing"

    async def test_the_link_alone_cancels_no_order(self, office: Office) -> None:
        await office.tell(start(), reserved())
        signed = f"{self.path}?signature={office.signature()}"
        assert problem(await office.post(signed, {}, {})) == (404, "checkout-not-found")
        assert (await office.post(self.path, {})).status_code == 202

    async def test_by_the_link_is_no_operators_whoever_else_it_is(self, office: Office) -> None:
        signed = f"{self.path}?signature={office.signature()}"
        stranger = office.customer("olga", "operator", shop="other")
        assert (await office.post(signed, {"reason": "mine"}, stranger)).status_code == 202
        assert isinstance(await office.known(), Tombstone)
        assert await office.query("SELECT 1 FROM resolutions") == []

    async def test_of_somebody_else(self, office: Office) -> None:
        await office.tell(start())
        response = await office.post(self.path, {}, office.customer("bob"))
        assert problem(response) == (404, "checkout-not-found")


class TestOrders:
    async def test_an_order_with_all_that_belongs_to_it(self, office: Office) -> None:
        await office.tell(start(), reserved(), declined())
        shown = (await office.get(ORDER)).json()
        assert shown["order_id"] == str(ORDER_ID)
        assert shown["checkout_id"] == str(CHECKOUT_ID)
        assert shown["state"] == "payment_failed"
        assert (shown["payment_status"], shown["fulfilment_status"], shown["return_status"]) == (
            "failed",
            "pending",
            "none",
        )
        assert (shown["currency"], shown["total_minor"]) == ("GBP", 2500)
        assert shown["lines"] == [
            {
                "sku": "TEAPOT",
                "name": "Teapot",
                "quantity": 1,
                "unit_price_minor": 2500,
                "net_minor": 2500,
                "gross_minor": 2500,
                "discounts": [],
                "taxes": [],
            }
        ]
        assert shown["shipping_address"]["city"] == "Leeds"
        assert shown["attempts"][0]["code"] == "card_declined"
        assert shown["window_closes_at"] is not None
        assert [entry["message"] for entry in shown["timeline"]] == [
            "order.start_checkout.v1",
            "inventory.stock_reserved.v1",
            "payment.declined.v1",
        ]

    async def test_there_is_none_before_the_stock_is_held(self, office: Office) -> None:
        await office.tell(start())
        assert problem(await office.get(ORDER)) == (404, "order-not-found")

    @pytest.mark.parametrize(
        "who", [("bob", "main"), ("ada", "other"), ("op", "other", "operator")]
    )
    async def test_a_strangers_order_is_not_there(
        self, office: Office, who: tuple[str, ...]
    ) -> None:
        await office.tell(start(), reserved())
        sub, shop, *roles = who
        headers = office.customer(sub, *roles, shop=shop)
        for response in (
            await office.get(ORDER, headers),
            await office.post(f"{ORDER}/payments", CARD, headers),
            await office.post(f"{ORDER}/cancel", {}, headers),
            await office.get(ORDER, {}),
        ):
            assert problem(response) == (404, "order-not-found")

    async def test_an_operator_may_see_and_cancel_it(self, office: Office) -> None:
        await office.tell(start(), reserved())
        operator = office.customer("op", "operator")
        assert (await office.get(ORDER, operator)).status_code == 200
        assert (await office.post(f"{ORDER}/cancel", {}, operator)).status_code == 202

    async def test_a_guest_has_the_carts_token(self, office: Office) -> None:
        await office.tell(of_guest(), reserved(), declined())
        guest = {"Cart-Token": TOKEN}
        assert (await office.get(ORDER, guest)).status_code == 200
        assert (await office.post(f"{ORDER}/payments", CARD, guest)).status_code == 202

    async def test_an_id_that_is_none(self, office: Office) -> None:
        assert problem(await office.get("/orders/seven")) == (422, "invalid-request")


class TestListing:
    async def placed(self, office: Office, many: int, customer: str = "ada") -> list[UUID]:
        """Orders placed one minute after the other, the newest first."""
        checkouts = some_checkouts(many)
        await office.send(*(start_of(one, customer) for one in checkouts))
        await office.send(*(of(one, reserved()) for one in checkouts))
        first = datetime(2026, 1, 1, tzinfo=UTC)
        for minute, one in enumerate(checkouts):
            await placed_at(office, one, first + timedelta(minutes=minute))
        return checkouts[::-1]

    async def test_pages_newest_first_without_gaps_or_repeats(self, office: Office) -> None:
        newest_first = await self.placed(office, 7)
        await self.placed(office, 2, "bob")
        found: list[str] = []
        path = "/orders?limit=3"
        sizes = []
        while path:
            shown = (await office.get(path)).json()
            sizes.append(len(shown["items"]))
            found += [item["checkout_id"] for item in shown["items"]]
            cursor = shown["next_cursor"]
            path = f"/orders?limit=3&cursor={cursor}" if cursor else ""
        assert found == [str(one) for one in newest_first]
        assert sizes == [3, 3, 1]

    async def test_orders_of_the_same_moment_are_all_listed(self, office: Office) -> None:
        checkouts = await self.placed(office, 4)
        for one in checkouts:
            await placed_at(office, one, datetime(2026, 1, 1, tzinfo=UTC))
        first = (await office.get("/orders?limit=2")).json()
        second = (await office.get(f"/orders?limit=2&cursor={first['next_cursor']}")).json()
        shown = {item["checkout_id"] for item in first["items"] + second["items"]}
        assert shown == {str(one) for one in checkouts}
        assert second["next_cursor"] is None

    async def test_of_nobody_needs_a_token(self, office: Office) -> None:
        assert problem(await office.get("/orders", {})) == (401, "unauthenticated")

    @pytest.mark.parametrize(
        "query",
        [
            "cursor=nonsense",
            f"cursor={encode_cursor('2026-01-01', 'x')}",
            f"cursor={encode_cursor('2026-01-01T00:00:00', str(CHECKOUT_ID))}",
            f"cursor={encode_cursor('9999-12-31T23:59:59-14:00', str(CHECKOUT_ID))}",
            f"cursor={encode_cursor('0001-01-01T00:00:00+14:00', str(CHECKOUT_ID))}",
            "limit=0",
            "limit=100000",
        ],
    )
    async def test_a_page_that_cannot_be(self, office: Office, query: str) -> None:
        response = await office.get(f"/orders?{query}")
        assert response.status_code == 422


class TestPaying:
    path = f"{ORDER}/payments"

    async def test_again_after_a_decline(self, office: Office) -> None:
        await office.tell(start(), reserved(), declined())
        response = await office.post(self.path, {"payment": {"token": "other"}})
        assert response.status_code == 202
        assert response.json()["state"] == "paying"
        charges = await office.sent(ChargePayment)
        assert [(one.attempt, one.method.token) for one in charges] == [(1, "card"), (2, "other")]
        assert (await office.history())[-1] == ("pay_order", "moved", "paying")

    async def test_the_first_time(self, office: Office) -> None:
        await office.tell(start(paid=False), reserved())
        response = await office.post(self.path, CARD)
        assert response.status_code == 202

    async def test_on_the_providers_page_with_the_orders_number(self, office: Office) -> None:
        await office.tell(start(paid=False), reserved())
        shown = (await office.post(self.path, {"payment": {"hosted": True}})).json()
        (charge,) = await office.sent(ChargePayment)
        assert (charge.method.hosted, charge.order_number) == (True, shown["number"])

    async def test_the_page_may_be_tried_again_whatever_the_method_was(
        self, office: Office
    ) -> None:
        await office.tell(start(paid=False), reserved())
        for _ in range(2):
            response = await office.post(self.path, {"payment": {"hosted": True}})
            assert response.status_code == 202
            number = len(await office.sent(ChargePayment))
            await office.tell(declined(number, same_method_allowed=False))

    async def test_a_customer_saves_a_method_and_pays_with_it_later(self, office: Office) -> None:
        await office.tell(start(paid=False), reserved())
        asked = {"payment": {"token": "card", "save": True}}
        assert (await office.post(self.path, asked)).status_code == 202
        await office.tell(declined())
        saved = {"payment": {"saved_method_id": str(ORDER_ID)}}
        assert (await office.post(self.path, saved)).status_code == 202
        first, second = await office.sent(ChargePayment)
        assert (first.method.save, first.method.saved_method_id) == (True, None)
        assert (second.method.save, second.method.saved_method_id) == (False, ORDER_ID)

    async def test_where_the_bank_wants_the_shopper_the_saved_method_is_not_tried_again(
        self, office: Office
    ) -> None:
        await office.tell(start(paid=False), reserved())
        saved = {"payment": {"saved_method_id": str(ORDER_ID)}}
        await office.post(self.path, saved)
        absent = declined().model_copy(update={"code": "authentication_required"})
        await office.tell(absent)

        (attempt,) = (await office.get(ORDER)).json()["attempts"]
        assert (attempt["code"], attempt["needs_shopper"]) == ("authentication_required", True)
        assert problem(await office.post(self.path, saved)) == (409, "method-refused")
        assert (await office.post(f"{ORDER}/payment-link", None)).status_code == 200
        assert (await office.post(self.path, {"payment": {"hosted": True}})).status_code == 202

    @pytest.mark.parametrize(
        "payment", [{"token": "card", "save": True}, {"saved_method_id": str(ORDER_ID)}]
    )
    async def test_a_guest_saves_nothing(self, office: Office, payment: dict[str, Any]) -> None:
        of_guest = {"customer_id": None, "guest_token_hash": hash_token(TOKEN)}
        await office.tell(start(paid=False).model_copy(update=of_guest), reserved())
        refused = await office.post(self.path, {"payment": payment}, {"Cart-Token": TOKEN})
        assert problem(refused) == (422, "guests-save-nothing")
        assert await office.sent(ChargePayment) == []

    async def test_a_live_attempt_is_shown_to_who_would_pay_again(self, office: Office) -> None:
        await office.tell(start(), reserved(), action_required())
        response = await office.post(self.path, CARD)
        assert problem(response) == (409, "payment-in-progress")
        attempt = response.json()["attempt"]
        assert (attempt["attempt"], attempt["status"]) == (1, "action_required")
        assert attempt["next_action"]["url"] == "https://bank.example/3ds"
        assert len(await office.sent(ChargePayment)) == 1

    async def test_replace_closes_it_first(self, office: Office) -> None:
        await office.tell(start(), reserved(), action_required())
        response = await office.post(self.path, {"payment": {"token": "b"}, "replace": True})
        assert response.status_code == 202
        assert response.json()["state"] == "closing_payment"
        assert len(await office.sent(ClosePayment)) == 1
        await office.tell(closed())
        assert [one.method.token for one in await office.sent(ChargePayment)] == ["card", "b"]

    async def test_two_at_once_make_one_attempt(self, office: Office) -> None:
        await office.tell(start(), reserved(), declined())
        answers = await asyncio.gather(*(office.post(self.path, CARD) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
        assert len(await office.sent(ChargePayment)) == 2

    async def test_under_the_same_key_is_once(self, office: Office) -> None:
        await office.tell(start(), reserved(), declined())
        first = await office.post(self.path, CARD, key="the-same-key")
        again = await office.post(self.path, CARD, key="the-same-key")
        assert again.status_code == 202
        assert again.json() == first.json()
        assert again.headers["idempotent-replayed"] == "true"
        other = await office.post(self.path, {"payment": {"token": "b"}}, key="the-same-key")
        assert problem(other) == (422, "idempotency-key-reused")
        assert len(await office.sent(ChargePayment)) == 2

    async def test_after_the_window(self, office: Office) -> None:
        await office.tell(start(), reserved(), declined())
        await office.time_passes()
        response = await office.post(self.path, CARD)
        assert problem(response) == (409, "payment-window-closed")
        assert "closed_at" in response.json()

    async def test_what_is_paid(self, office: Office) -> None:
        await office.tell(start(), reserved(), succeeded(), committed())
        response = await office.post(self.path, CARD)
        assert problem(response) == (409, "payment-not-wanted")
        assert response.json()["state"] == "paid"

    async def test_after_its_provider_was_away_with_the_same_method(self, office: Office) -> None:
        await office.tell(start(), reserved(), declined(code="provider_unavailable"))

        order = (await office.get(ORDER)).json()
        assert (order["state"], order["attempts"][0]["code"]) == (
            "payment_failed",
            "provider_unavailable",
        )
        assert order["attempts"][0]["same_method_allowed"]
        assert order["window_closes_at"] is not None
        assert (await office.post(self.path, CARD)).status_code == 202

    async def test_with_a_method_that_was_refused_for_good(self, office: Office) -> None:
        await office.tell(start(), reserved(), declined(same_method_allowed=False))
        response = await office.post(self.path, CARD)
        assert problem(response) == (409, "method-refused")
        assert response.json()["code"] == "card_declined"

    async def test_too_often(self, office: Office, order_database: str) -> None:
        strict = Office(order_database, attempts_per_order=1)
        await office.tell(start(), reserved(), declined())
        response = await strict.post(self.path, CARD)
        await strict.close()
        assert problem(response) == (409, "attempts-exhausted")
        assert response.json()["attempts_limit"] == 1

    async def test_through_a_provider_that_is_not_offered(self, office: Office) -> None:
        await office.tell(start(), reserved(), declined())
        body = {"payment": {"token": "card", "provider": "stripe"}}
        response = await office.post(self.path, body)
        assert problem(response) == (422, "provider-not-offered")
        assert response.json()["providers"] == ["simulated"]
        assert len(await office.sent(ChargePayment)) == 1
        assert (await office.post(self.path, CARD)).status_code == 202

    async def test_less_than_the_provider_can_charge(
        self, office: Office, order_database: str
    ) -> None:
        stripe = Office(order_database, payment_providers=("stripe", "simulated"))
        await office.tell(start(total_minor=29), reserved(), declined())
        response = await stripe.post(self.path, CARD)
        await stripe.close()
        assert problem(response) == (422, "total-below-minimum")
        said = response.json()
        assert (said["total_minor"], said["minimum_minor"], said["currency"]) == (29, 30, "GBP")
        assert len(await office.sent(ChargePayment)) == 1

    async def test_a_refusal_leaves_the_key_free(self, office: Office) -> None:
        await office.tell(start(), reserved())
        refused = await office.post(self.path, CARD, key="my-only-key")
        assert refused.status_code == 409
        assert len(await office.history()) == 2
        await office.tell(declined())
        assert (await office.post(self.path, CARD, key="my-only-key")).status_code == 202

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"payment": {}},
            {"payment": {"token": ""}},
            {"payment": {"token": "x" * 256}},
            {"payment": {"token": 7}},
            {"payment": {"token": "card", "number": "4242"}},
            {"payment": {"token": "card", "flow": "later"}},
            {"payment": {"token": "card", "hosted": True}},
            {"payment": {"hosted": "yes"}},
            {"payment": {"saved_method_id": "mine"}},
            {"payment": {"saved_method_id": str(ORDER_ID), "save": True}},
            {"payment": {"token": "card"}, "replace": "yes"},
            {"payment": {"token": "card"}, "amount_minor": 1},
            [],
            "card",
        ],
        ids=str,
    )
    async def test_a_body_that_cannot_be(self, office: Office, body: Any) -> None:
        await office.tell(start(), reserved(), declined())
        assert problem(await office.post(self.path, body)) == (422, "invalid-request")
        assert len(await office.sent(ChargePayment)) == 1

    async def test_a_card_number_is_no_token(self, office: Office) -> None:
        await office.tell(start(), reserved(), declined())
        body = {"payment": {"token": "4242 4242 4242 4242"}}
        with capture_logs() as logs:
            for _ in range(2):
                refused = await office.post(self.path, body, key="my-only-key")
                assert problem(refused) == (422, "card-number-refused")
                assert refused.json()["errors"][0]["location"] == "body.payment.token"
                assert "4242" not in refused.text
        assert logs == []
        assert await office.value("SELECT count(*) FROM http_idempotency") == 0
        assert len(await office.sent(ChargePayment)) == 1
        assert (await office.post(self.path, CARD, key="my-only-key")).status_code == 202

    @pytest.mark.parametrize("path", [f"{ORDER}/cancel", f"{STATUS}/cancel", f"{STATUS}/resolve"])
    async def test_a_reason_has_no_card_number(self, office: Office, path: str) -> None:
        await office.tell(start(), reserved(), declined())
        before = await office.history()
        body = {"reason": "paid with 4242-4242-4242-4242", "decision": "retry"}
        refused = await office.post(path, body, office.customer("olga", "operator"))
        assert problem(refused) == (422, "card-number-refused")
        assert await office.history() == before
        assert await office.value("SELECT count(*) FROM http_idempotency") == 0

    async def test_without_a_key(self, office: Office) -> None:
        await office.tell(start(), reserved(), declined())
        response = await office.http.post(self.path, json=CARD, headers=office.customer())
        assert problem(response) == (400, "idempotency-key-missing")


class TestCancelling:
    path = f"{ORDER}/cancel"

    async def test_while_paying_asks_the_provider_first(self, office: Office) -> None:
        await office.tell(start(), reserved())
        response = await office.post(self.path, {"reason": "too slow"})
        assert response.status_code == 202
        assert response.json()["state"] == "closing_payment"

    async def test_after_paid_refunds(self, office: Office) -> None:
        await office.tell(start(), reserved(), succeeded(), committed())
        response = await office.post(self.path, {})
        assert response.json()["state"] == "refunding"
        assert response.json()["refunds"] == [
            {"refund": 1, "amount_minor": 2500, "status": "requested"}
        ]

    async def test_twice_is_answered_with_the_state(self, office: Office) -> None:
        await office.tell(start(), reserved())
        await office.post(self.path, {})
        assert (await office.post(self.path, {})).status_code == 202
        assert len(await office.sent(ClosePayment)) == 1

    async def test_of_what_is_cancelled(self, office: Office) -> None:
        await office.tell(start(), reserved(), cart_closed(), succeeded(), committed())
        await office.post(self.path, {})
        await office.tell(refunded(), released(), restored())
        response = await office.post(self.path, {})
        assert problem(response) == (409, "order-finished")
        assert response.json()["state"] == "cancelled"

    @pytest.mark.parametrize("path", [f"{ORDER}/cancel", f"{STATUS}/cancel"])
    async def test_of_an_operator_is_kept_and_not_told_to_the_shopper(
        self, office: Office, path: str
    ) -> None:
        await office.tell(start(), reserved())
        olga = office.customer("olga", "operator")
        answer = await office.post(path, {"reason": "looks stolen"}, olga)
        assert answer.status_code == 202
        (row,) = await office.query("SELECT decision, requested_by, reason FROM resolutions")
        assert tuple(row) == ("cancelled", "olga", "looks stolen")
        for shown in (answer, await office.get(ORDER), await office.get(STATUS)):
            assert "cancel_checkout" in shown.text
            assert "looks stolen" not in shown.text
            assert "olga" not in shown.text

    @pytest.mark.parametrize("path", [f"{ORDER}/cancel", f"{STATUS}/cancel"])
    async def test_of_the_shopper_is_no_operators_decision(self, office: Office, path: str) -> None:
        await office.tell(start(), reserved())
        assert (await office.post(path, {"reason": "too slow"})).status_code == 202
        assert await office.query("SELECT 1 FROM resolutions") == []

    async def test_with_a_body_that_cannot_be(self, office: Office) -> None:
        await office.tell(start(), reserved())
        for body in ({"reason": ""}, {"reason": "x" * 256}, {"why": "x"}, {"reason": None}):
            assert problem(await office.post(self.path, body)) == (422, "invalid-request")

    async def test_crossing_a_reply_waits_for_its_turn(self, office: Office) -> None:
        await office.tell(start(), reserved())
        response, _ = await asyncio.gather(office.post(self.path, {}), office.send(succeeded()))
        assert response.status_code == 202
        known = await office.checkout()
        assert isinstance(known, Checkout)
        assert known.state == "refunding"


class TestResolving:
    path = f"/checkouts/{CHECKOUT_ID}/resolve"

    async def needs_attention(self, office: Office) -> dict[str, str]:
        """An order whose refund failed; the headers of an operator."""
        await office.tell(start(), reserved(), cart_closed(), succeeded(), committed())
        await office.post(f"{ORDER}/cancel", {})
        await office.tell(refund_failed())
        assert await office.states() == {CHECKOUT_ID: "needs_attention"}
        return office.customer("olga", "operator")

    async def test_it_goes_on_and_who_decided_is_kept(self, office: Office) -> None:
        olga = await self.needs_attention(office)
        body = {"decision": "refunded_by_hand", "reason": "paid by bank transfer 4711"}
        response = await office.post(self.path, body, olga)
        assert response.status_code == 202
        assert response.json()["state"] == "refunding"
        (row,) = await office.query("SELECT decision, requested_by, reason FROM resolutions")
        assert tuple(row) == ("refunded_by_hand", "olga", "paid by bank transfer 4711")
        assert "4711" not in (await office.get(f"/checkouts/{CHECKOUT_ID}", olga)).text

    async def test_what_needs_no_decision_gets_none(self, office: Office) -> None:
        await office.tell(start(), reserved())
        olga = office.customer("olga", "operator")
        response = await office.post(self.path, {"decision": "retry", "reason": "hm"}, olga)
        assert problem(response) == (409, "nothing-to-resolve")
        assert await office.query("SELECT 1 FROM resolutions") == []

    async def test_others_do_not_decide(self, office: Office) -> None:
        await self.needs_attention(office)
        body = {"decision": "retry", "reason": "mine"}
        assert problem(await office.post(self.path, body))[0] == 403
        stranger = office.customer("olga", "operator", shop="other")
        assert problem(await office.post(self.path, body, stranger))[0] == 404

    async def test_what_is_stuck_is_listed_for_its_shop(self, office: Office) -> None:
        olga = await self.needs_attention(office)
        (stuck,) = (await office.get("/checkouts/stuck", olga)).json()["items"]
        assert stuck["checkout_id"] == str(CHECKOUT_ID)
        assert stuck["state"] == "needs_attention"
        stranger = office.customer("olga", "operator", shop="other")
        assert (await office.get("/checkouts/stuck", stranger)).json()["items"] == []
        assert problem(await office.get("/checkouts/stuck"))[0] == 403


async def test_the_number_of_an_order_says_nothing_of_others(office: Office) -> None:
    one, two = some_checkouts(2)
    await office.send(start_of(one), start_of(two))
    await office.send(of(one, reserved()), of(two, reserved()))
    numbers = [row[0] for row in await office.query("SELECT number FROM orders ORDER BY placed_at")]
    assert len(set(numbers)) == 2
    assert all(len(number) == 14 for number in numbers)


async def test_nothing_of_nobody(office: Office) -> None:
    assert problem(await office.get(f"/orders/{new_id()}")) == (404, "order-not-found")
