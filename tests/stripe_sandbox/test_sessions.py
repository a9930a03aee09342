"""Checkout Sessions, through the SDK and through the page that shoppers see."""

import re
from typing import Any

import httpx
import pytest
import stripe
from stripe import StripeClient

from stripe_sandbox.pages.layout import money
from tests.stripe_sandbox.shopping import (
    SHOPPER,
    card,
    created,
    dict_of,
    order,
    put_forward,
    retrieved,
    types_of_events,
)

DAY = 24 * 3600
GENERIC_DECLINE = "4000000000000002"
INSUFFICIENT_FUNDS = "4000000000009995"
INCORRECT_CVC = "4000000000000127"
THREE_D_SECURE = "4000000000003220"
THREE_D_SECURE_THEN_DECLINED = "4000008400001629"
SEPA = "DE89370400440532013000"
SEPA_FAILS = "DE62370400440532013001"


# What a session is.


async def test_session_is_open_and_knows_its_total_and_has_no_intent_yet(
    client: StripeClient,
) -> None:
    session = await created(
        client, order(client_reference_id="order-7", metadata={"payment_id": "p-1"})
    )
    assert (session.status, session.payment_status) == ("open", "unpaid")
    assert (session.amount_subtotal, session.amount_total, session.currency) == (2000, 2000, "eur")
    assert session.payment_intent is None
    assert session.client_reference_id == "order-7"
    assert dict_of(session.metadata) == {"payment_id": "p-1"}
    assert session.expires_at == session.created + DAY
    assert session.id.startswith("cs_test_")
    assert session.url is not None
    assert session.url.endswith(f"/c/pay/{session.id}")


async def test_line_items_are_listed_and_there_when_asked_for(client: StripeClient) -> None:
    price = await client.v1.prices.create_async(
        {"currency": "eur", "unit_amount": 150, "product_data": {"name": "Bulb"}}
    )
    lines = [{"price": price.id, "quantity": place + 1} for place in range(12)]
    session = await created(
        client, order(line_items=lines, expand=["line_items", "line_items.data.price.product"])
    )
    assert session.amount_total == 150 * 78
    assert session.line_items is not None
    assert len(session.line_items.data) == 10
    assert session.line_items.has_more
    first = session.line_items.data[0]
    assert (first.description, first.quantity, first.amount_total) == ("Bulb", 1, 150)
    assert first.price is not None
    assert isinstance(first.price.product, stripe.Product)

    page = await client.v1.checkout.sessions.line_items.list_async(session.id, {"limit": 8})
    rest = await client.v1.checkout.sessions.line_items.list_async(
        session.id, {"limit": 8, "starting_after": page.data[-1].id}
    )
    assert [line.quantity for line in [*page.data, *rest.data]] == list(range(1, 13))
    assert (page.has_more, rest.has_more) == (True, False)
    assert "line_items" not in await retrieved(client, session)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"line_items": []}, "line_items"),
        ({"line_items": [{"price": "price_none", "quantity": 1}]}, "line_items[0][price]"),
        ({"line_items": [{"price": "price_none", "quantity": 1}] * 101}, "line_items"),
        ({"success_url": "shop.test"}, "success_url"),
        ({"return_url": "https://shop.test"}, "return_url"),
        ({"mode": "subscription"}, "mode: subscription"),
        ({"ui_mode": "embedded_page"}, "ui_mode: any other than hosted_page"),
        ({"expires_at": 1}, "expires_at"),
        ({"customer": "cus_none"}, "customer"),
        ({"payment_method_types": ["us_bank_account"]}, "payment_method_types[0]"),
        ({"payment_method_types": ["klarna"]}, "payment_method_types: klarna"),
        (
            {"excluded_payment_method_types": ["card", "sepa_debit"]},
            "excluded_payment_method_types",
        ),
        ({"allow_promotion_codes": True}, "allow_promotion_codes"),
        ({"currency": "usd"}, "currency"),
        (order(amount=40), "line_items"),
    ],
)
async def test_what_cannot_be_sold_is_refused(
    client: StripeClient, changes: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await created(client, order() | changes)
    assert refused.value.http_status == 400
    assert refused.value.param == param


async def test_a_field_of_a_line_that_is_not_simulated_is_refused(client: StripeClient) -> None:
    params = order()
    params["line_items"][0]["tax_rates"] = ["txr_1"]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await created(client, params)
    assert refused.value.code == "sandbox_unsupported"
    assert refused.value.param == "line_items[0][tax_rates]"


async def test_sessions_are_listed_by_what_they_are_about(client: StripeClient) -> None:
    customer = await client.v1.customers.create_async({"email": "ada@example.com"})
    theirs = await created(client, order(customer=customer.id))
    other = await created(client, order())
    await client.v1.checkout.sessions.expire_async(other.id)
    sessions = client.v1.checkout.sessions
    assert [one.id for one in (await sessions.list_async({"status": "open"})).data] == [theirs.id]
    assert [one.id for one in (await sessions.list_async({"customer": customer.id})).data] == [
        theirs.id
    ]
    assert [one.id for one in (await sessions.list_async({"status": "expired"})).data] == [other.id]


async def test_metadata_can_be_changed(client: StripeClient) -> None:
    session = await created(client, order(metadata={"a": "1", "b": "2"}))
    session = await client.v1.checkout.sessions.update_async(
        session.id, {"metadata": {"a": "", "c": "3"}}
    )
    assert dict_of(session.metadata) == {"b": "2", "c": "3"}


# Paying.


async def test_paying_by_card_completes_the_session_and_leads_back_to_the_shop(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    session = await created(
        client,
        order(
            metadata={"of": "session"},
            payment_intent_data={"metadata": {"payment_id": "p-1"}, "description": "Order 7"},
        ),
    )
    page = await browser.get(str(session.url))
    assert page.status_code == 200
    assert "Lamp &lt;b&gt;" in page.text
    assert "20.00 EUR" in page.text

    answer = await browser.post(str(session.url), data=card())
    assert answer.status_code == 303
    assert answer.headers["location"] == f"https://shop.test/thanks?session={session.id}"

    session = await retrieved(client, session)
    assert (session.status, session.payment_status) == ("complete", "paid")
    assert session.url is None
    assert session.customer is None
    assert session.customer_details is not None
    assert session.customer_details.email == SHOPPER["email"]
    intent = await client.v1.payment_intents.retrieve_async(str(session.payment_intent))
    assert (intent.status, intent.amount_received) == ("succeeded", 2000)
    assert dict_of(intent.metadata) == {"payment_id": "p-1"}
    assert intent.description == "Order 7"
    events = await types_of_events(client)
    assert events[-4:] == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]
    listed = await client.v1.checkout.sessions.list_async({"payment_intent": intent.id})
    assert [one.id for one in listed.data] == [session.id]


async def test_a_declined_card_may_be_followed_by_another_on_the_same_intent(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    session = await created(client, order())
    declined = await browser.post(str(session.url), data=card(INSUFFICIENT_FUNDS))
    assert declined.status_code == 402
    assert "Your card has insufficient funds." in declined.text
    assert INSUFFICIENT_FUNDS not in declined.text
    assert SHOPPER["email"] in declined.text
    session = await retrieved(client, session)
    assert (session.status, session.payment_status) == ("open", "unpaid")
    intent = session.payment_intent
    assert intent is not None

    assert (await browser.post(f"/c/pay/{session.id}", data=card())).status_code == 303
    session = await retrieved(client, session)
    assert session.payment_intent == intent
    assert session.payment_status == "paid"
    charges = await client.v1.charges.list_async({"payment_intent": str(intent)})
    assert [charge.status for charge in charges.data] == ["succeeded", "failed"]


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (card("4242424242424241"), "number"),
        (card("4111111111111111"), "number"),
        (card("no number"), "number"),
        (card(expiry="13/34"), "expiry"),
        (card(expiry="01/20"), "expiry"),
        (card(expiry=""), "expiry"),
        (card(cvc="12"), "cvc"),
        (card(email="ada"), "email"),
        (card(name=" "), "name"),
    ],
)
async def test_a_wrong_entry_is_told_at_its_field_and_tries_nothing(
    client: StripeClient, browser: httpx.AsyncClient, entry: dict[str, str], field: str
) -> None:
    session = await created(client, order())
    answer = await browser.post(str(session.url), data=entry)
    assert answer.status_code == 422
    assert f'<a href="#{field}">' in answer.text
    assert re.search(
        rf'<input id="{field}"[^>]* aria-invalid="true" aria-describedby="{field}-wrong">',
        answer.text,
    )
    assert f'id="{field}-wrong"' in answer.text
    assert entry["number"] not in answer.text
    assert (await retrieved(client, session)).payment_intent is None


async def test_a_decline_that_is_about_a_field_is_told_there(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    session = await created(client, order())
    answer = await browser.post(str(session.url), data=card(INCORRECT_CVC))
    assert answer.status_code == 402
    assert 'id="cvc-wrong"' in answer.text


async def test_three_d_secure_leads_over_the_bank_and_back(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    session = await created(client, order())
    to_bank = await browser.post(str(session.url), data=card(THREE_D_SECURE))
    assert to_bank.status_code == 303
    question = await browser.get(to_bank.headers["location"])
    assert "20.00 EUR" in question.text
    session = await retrieved(client, session)
    assert session.status == "open"
    intent = await client.v1.payment_intents.retrieve_async(str(session.payment_intent))
    assert intent.status == "requires_action"

    back = await browser.post(to_bank.headers["location"], data={"outcome": "complete"})
    assert back.status_code == 303
    onward = await browser.get(back.headers["location"])
    assert onward.headers["location"] == f"https://shop.test/thanks?session={session.id}"
    assert (await retrieved(client, session)).payment_status == "paid"


@pytest.mark.parametrize(
    ("number", "outcome", "message"),
    [
        (THREE_D_SECURE, "fail", "did not authenticate"),
        (THREE_D_SECURE_THEN_DECLINED, "complete", "Your card was declined."),
    ],
)
async def test_a_failed_three_d_secure_leaves_the_session_open(
    client: StripeClient, browser: httpx.AsyncClient, number: str, outcome: str, message: str
) -> None:
    session = await created(client, order())
    to_bank = await browser.post(str(session.url), data=card(number))
    back = await browser.post(to_bank.headers["location"], data={"outcome": outcome})
    page = await browser.get(back.headers["location"])
    assert page.status_code == 200
    assert message in page.text
    assert (await retrieved(client, session)).status == "open"
    assert (await browser.post(str(session.url), data=card())).status_code == 303
    assert (await retrieved(client, session)).payment_status == "paid"


async def test_what_is_held_completes_the_session_unpaid_and_is_captured_by_its_intent(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    session = await created(client, order(payment_intent_data={"capture_method": "manual"}))
    await browser.post(str(session.url), data=card())
    session = await retrieved(client, session)
    assert (session.status, session.payment_status) == ("complete", "unpaid")
    intent = await client.v1.payment_intents.capture_async(str(session.payment_intent))
    assert intent.status == "succeeded"


async def test_what_is_held_can_be_cancelled_once_the_session_is_complete(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    session = await created(client, order(payment_intent_data={"capture_method": "manual"}))
    await browser.post(str(session.url), data=card())
    name = str((await retrieved(client, session)).payment_intent)
    assert (await client.v1.payment_intents.cancel_async(name)).status == "canceled"


@pytest.mark.parametrize(
    ("iban", "payment_status", "event"),
    [
        (SEPA, "paid", "checkout.session.async_payment_succeeded"),
        (SEPA_FAILS, "unpaid", "checkout.session.async_payment_failed"),
    ],
)
async def test_a_bank_debit_completes_the_session_before_the_money_is_there(
    client: StripeClient,
    browser: httpx.AsyncClient,
    iban: str,
    payment_status: str,
    event: str,
) -> None:
    session = await created(client, order(payment_method_types=["card", "sepa_debit"]))
    page = await browser.get(str(session.url))
    assert 'type="radio"' in page.text
    entry = SHOPPER | {"method": "sepa_debit", "iban": iban}
    assert (await browser.post(str(session.url), data=entry)).status_code == 303
    complete = await retrieved(client, session)
    assert complete.status == "complete"
    await put_forward(browser, 5)
    assert (await retrieved(client, session)).payment_status == payment_status
    events = await types_of_events(client)
    assert events.index("checkout.session.completed") < events.index(event)


async def test_a_us_bank_account_pays_in_dollars(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    session = await created(client, order(currency="usd", payment_method_types=["us_bank_account"]))
    wrong = SHOPPER | {"routing": "1", "account": "000123456789"}
    assert (await browser.post(str(session.url), data=wrong)).status_code == 422
    right = wrong | {"routing": "110000000"}
    assert (await browser.post(str(session.url), data=right)).status_code == 303
    assert (await retrieved(client, session)).status == "complete"


async def test_paying_twice_takes_the_money_once(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    session = await created(client, order())
    for _ in range(2):
        answer = await browser.post(str(session.url), data=card())
        assert answer.headers["location"].endswith(session.id)
    assert len((await client.v1.charges.list_async()).data) == 1
    page = await browser.get(str(session.url))
    assert "this is done" in page.text


async def test_an_order_that_costs_nothing_asks_for_no_card(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    session = await created(client, order(amount=0))
    assert session.payment_status == "no_payment_required"
    assert 'id="number"' not in (await browser.get(str(session.url))).text
    assert (await browser.post(str(session.url), data=SHOPPER)).status_code == 303
    session = await retrieved(client, session)
    assert (session.status, session.payment_intent) == ("complete", None)
    assert session.payment_status == "no_payment_required"


# Customers.


async def test_a_customer_is_made_when_asked_for(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    session = await created(client, order(customer_creation="always"))
    assert session.customer is None
    await browser.post(str(session.url), data=card(GENERIC_DECLINE))
    await browser.post(str(session.url), data=card())
    session = await retrieved(client, session)
    customer = await client.v1.customers.retrieve_async(str(session.customer))
    assert (customer.email, customer.name) == (SHOPPER["email"], SHOPPER["name"])
    assert len((await client.v1.customers.list_async()).data) == 1


async def test_a_method_that_is_to_be_kept_is_attached_and_pays_again_off_session(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    customer = await client.v1.customers.create_async({"email": "ada@example.com"})
    session = await created(
        client,
        order(customer=customer.id, payment_intent_data={"setup_future_usage": "off_session"}),
    )
    entry = card()
    del entry["email"]  # it is the customer's
    assert (await browser.post(str(session.url), data=entry)).status_code == 303
    methods = await client.v1.customers.payment_methods.list_async(customer.id)
    again = await client.v1.payment_intents.create_async(
        {
            "amount": 500,
            "currency": "eur",
            "customer": customer.id,
            "payment_method": methods.data[0].id,
            "payment_method_types": ["card"],
            "confirm": True,
            "off_session": True,
        }
    )
    assert again.status == "succeeded"


async def test_a_method_that_is_to_be_kept_for_nobody_may_be_attached_later(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    session = await created(
        client, order(payment_intent_data={"setup_future_usage": "off_session"})
    )
    await browser.post(str(session.url), data=card())
    session = await retrieved(client, session)
    assert session.customer is None
    intent = await client.v1.payment_intents.retrieve_async(str(session.payment_intent))
    customer = await client.v1.customers.create_async({"name": "Ada"})
    method = await client.v1.payment_methods.attach_async(
        str(intent.payment_method), {"customer": customer.id}
    )
    assert method.customer == customer.id


async def test_a_customer_without_email_gets_the_one_that_was_entered(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    customer = await client.v1.customers.create_async({"name": "Ada"})
    session = await created(client, order(customer=customer.id))
    await browser.post(str(session.url), data=card())
    assert (await client.v1.customers.retrieve_async(customer.id)).email == SHOPPER["email"]


# Its end.


async def test_an_intent_of_an_open_session_is_left_alone(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    session = await created(client, order())
    await browser.post(str(session.url), data=card(GENERIC_DECLINE))
    intent = str((await retrieved(client, session)).payment_intent)
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.payment_intents.cancel_async(intent)
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.payment_intents.confirm_async(intent, {"payment_method": "pm_card_visa"})


async def test_an_expired_session_takes_no_money_and_cancels_its_intent(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    session = await created(client, order(cancel_url="https://shop.test/cart"))
    url = str(session.url)
    await browser.post(url, data=card(GENERIC_DECLINE))
    session = await client.v1.checkout.sessions.expire_async(session.id)
    assert (session.status, session.url) == ("expired", None)
    intent = await client.v1.payment_intents.retrieve_async(str(session.payment_intent))
    assert intent.status == "canceled"
    events = await types_of_events(client)
    assert events[-2:] == ["payment_intent.canceled", "checkout.session.expired"]
    for page in (await browser.get(url), await browser.post(url, data=card())):
        if page.is_redirect:
            page = await browser.get(page.headers["location"])
        assert page.status_code == 410
        assert "has expired" in page.text
        assert "https://shop.test/cart" in page.text
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.checkout.sessions.expire_async(session.id)


async def test_a_session_expires_by_itself(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    session = await created(client, order())
    session = await created(client, order(expires_at=session.created + 40 * 60))
    await put_forward(browser, 41 * 60)
    assert (await retrieved(client, session)).status == "expired"
    assert (await types_of_events(client))[-1] == "checkout.session.expired"


async def test_the_bank_answers_too_late(client: StripeClient, browser: httpx.AsyncClient) -> None:
    session = await created(client, order())
    to_bank = await browser.post(str(session.url), data=card(THREE_D_SECURE))
    await client.v1.checkout.sessions.expire_async(session.id)
    late = await browser.post(to_bank.headers["location"], data={"outcome": "complete"})
    assert late.status_code == 409
    assert (await client.v1.charges.list_async()).data == []


async def test_a_complete_session_cannot_be_expired(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    session = await created(client, order())
    await browser.post(str(session.url), data=card())
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.checkout.sessions.expire_async(session.id)
    await put_forward(browser, 2 * DAY)
    assert (await retrieved(client, session)).status == "complete"


# Setting up.


async def test_a_session_sets_a_method_up_without_taking_money(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    customer = await client.v1.customers.create_async({"email": "ada@example.com"})
    session = await created(
        client,
        {
            "mode": "setup",
            "currency": "eur",
            "customer": customer.id,
            "success_url": "https://shop.test/saved",
            "setup_intent_data": {"metadata": {"of": "intent"}},
        },
    )
    assert (session.amount_total, session.payment_status) == (None, "no_payment_required")
    declined = await browser.post(str(session.url), data=card(GENERIC_DECLINE))
    assert declined.status_code == 402
    to_bank = await browser.post(str(session.url), data=card(THREE_D_SECURE))
    back = await browser.post(to_bank.headers["location"], data={"outcome": "complete"})
    onward = await browser.get(back.headers["location"])
    assert onward.headers["location"] == "https://shop.test/saved"
    session = await retrieved(client, session)
    assert session.status == "complete"
    intent = await client.v1.setup_intents.retrieve_async(str(session.setup_intent))
    assert (intent.status, dict_of(intent.metadata)) == ("succeeded", {"of": "intent"})
    method = await client.v1.payment_methods.retrieve_async(str(intent.payment_method))
    assert method.customer == customer.id
    assert (await client.v1.charges.list_async()).data == []


# The page.


async def test_there_is_no_such_page(browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/c/pay/cs_test_none")).status_code == 404


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (123_450, "eur", "1,234.50 EUR"),
        (5, "usd", "0.05 USD"),
        (1_234, "jpy", "1,234 JPY"),
        (1_230, "kwd", "1.230 KWD"),
    ],
)
def test_money_is_shown_in_the_decimals_of_its_currency(
    amount: int, currency: str, shown: str
) -> None:
    assert money(amount, currency) == shown
