"""Setup intents: methods that are made ready to be charged later."""

from typing import Any

import httpx
import pytest
import stripe
from stripe import SetupIntent, StripeClient

from tests.stripe_sandbox.shopping import dict_of, types_of_events

CARDS: Any = {"payment_method_types": ["card"]}


async def customer_of(client: StripeClient) -> str:
    """A customer's id."""
    return (await client.v1.customers.create_async({"name": "Ada Lovelace"})).id


async def set_up(client: StripeClient, method: str, **params: Any) -> SetupIntent:
    """A setup intent, confirmed with a method."""
    given: Any = {"payment_method": method, "confirm": True}
    return await client.v1.setup_intents.create_async(CARDS | given | params)


async def paid_off_session(client: StripeClient, customer: str, method: str) -> str:
    """The status of a payment that the customer does not see."""
    intent = await client.v1.payment_intents.create_async(
        {
            "amount": 500,
            "currency": "eur",
            "customer": customer,
            "payment_method": method,
            "payment_method_types": ["card"],
            "confirm": True,
            "off_session": True,
        }
    )
    return intent.status


async def test_a_card_is_set_up_step_by_step(client: StripeClient) -> None:
    customer = await customer_of(client)
    intent = await client.v1.setup_intents.create_async(
        CARDS | {"customer": customer, "metadata": {"of": "cart"}}
    )
    assert (intent.status, intent.usage) == ("requires_payment_method", "off_session")
    intent = await client.v1.setup_intents.update_async(
        intent.id, {"payment_method": "pm_card_visa", "metadata": {"of": "order"}}
    )
    assert intent.status == "requires_confirmation"
    intent = await client.v1.setup_intents.confirm_async(intent.id)
    assert (intent.status, dict_of(intent.metadata)) == ("succeeded", {"of": "order"})
    method = await client.v1.payment_methods.retrieve_async(str(intent.payment_method))
    assert method.customer == customer
    listed = await client.v1.setup_intents.list_async({"customer": customer})
    assert [one.id for one in listed.data] == [intent.id]
    assert await types_of_events(client) == [
        "customer.created",
        "setup_intent.created",
        "setup_intent.succeeded",
        "payment_method.attached",
    ]


async def test_a_decline_is_told_and_another_method_may_follow(client: StripeClient) -> None:
    with pytest.raises(stripe.CardError) as declined:
        await set_up(client, "pm_card_visa_chargeDeclinedInsufficientFunds")
    error = declined.value.error
    assert error is not None
    assert (error.code, error.decline_code) == ("card_declined", "insufficient_funds")
    assert error.setup_intent is not None
    intent = await client.v1.setup_intents.retrieve_async(error.setup_intent.id)
    assert (intent.status, intent.payment_method) == ("requires_payment_method", None)
    assert intent.last_setup_error is not None
    assert intent.last_setup_error.decline_code == "insufficient_funds"
    assert "setup_intent.setup_failed" in await types_of_events(client)
    intent = await client.v1.setup_intents.confirm_async(
        intent.id, {"payment_method": "pm_card_visa"}
    )
    assert (intent.status, intent.last_setup_error) == ("succeeded", None)


async def test_a_card_that_declines_payments_only_is_set_up(client: StripeClient) -> None:
    customer = await customer_of(client)
    intent = await set_up(client, "pm_card_chargeCustomerFail", customer=customer)
    assert intent.status == "succeeded"
    with pytest.raises(stripe.CardError):
        await paid_off_session(client, customer, str(intent.payment_method))


async def test_a_card_that_was_authenticated_once_pays_off_session(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    customer = await customer_of(client)
    intent = await set_up(
        client,
        "pm_card_authenticationRequiredOnSetup",
        customer=customer,
        return_url="https://shop.test/saved",
    )
    assert intent.status == "requires_action"
    assert intent.next_action is not None
    assert intent.next_action.redirect_to_url is not None
    bank = str(intent.next_action.redirect_to_url.url)
    assert "may be charged later" in (await browser.get(bank)).text
    back = await browser.post(bank, data={"outcome": "complete"})
    location = httpx.URL(back.headers["location"])
    assert (location.host, location.path) == ("shop.test", "/saved")
    assert dict(location.params) == {
        "setup_intent": intent.id,
        "setup_intent_client_secret": str(intent.client_secret),
        "redirect_status": "succeeded",
    }
    intent = await client.v1.setup_intents.retrieve_async(intent.id)
    assert intent.status == "succeeded"
    assert await paid_off_session(client, customer, str(intent.payment_method)) == "succeeded"


async def test_a_failed_authentication_is_told(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    intent = await set_up(
        client, "pm_card_authenticationRequired", return_url="https://shop.test/saved"
    )
    assert intent.next_action is not None
    assert intent.next_action.redirect_to_url is not None
    bank = str(intent.next_action.redirect_to_url.url)
    back = await browser.post(bank, data={"outcome": "fail"})
    assert "redirect_status=failed" in back.headers["location"]
    intent = await client.v1.setup_intents.retrieve_async(intent.id)
    assert intent.status == "requires_payment_method"
    assert intent.last_setup_error is not None
    assert intent.last_setup_error.code == "setup_intent_authentication_failure"
    assert (await browser.post(bank, data={"outcome": "complete"})).status_code == 409


async def test_cancelled_is_the_end(client: StripeClient) -> None:
    intent = await client.v1.setup_intents.create_async(CARDS)
    intent = await client.v1.setup_intents.cancel_async(
        intent.id, {"cancellation_reason": "abandoned"}
    )
    assert (intent.status, intent.cancellation_reason) == ("canceled", "abandoned")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.setup_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    assert refused.value.code == "setup_intent_unexpected_state"
    assert (await types_of_events(client))[-1] == "setup_intent.canceled"


@pytest.mark.parametrize(
    ("params", "param"),
    [
        (CARDS | {"customer": "cus_none"}, "customer"),
        (CARDS | {"return_url": "https://shop.test"}, "return_url"),
        ({"payment_method": "pm_card_visa", "confirm": True}, "return_url"),
        (CARDS | {"payment_method": "pm_none"}, "payment_method"),
        (CARDS | {"single_use": {"amount": 1, "currency": "eur"}}, "single_use"),
    ],
)
async def test_what_cannot_be_set_up_is_refused(
    client: StripeClient, params: Any, param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.setup_intents.create_async(params)
    assert refused.value.param == param


async def test_a_bank_account_is_set_up_at_once(client: StripeClient) -> None:
    customer = await customer_of(client)
    intent = await set_up(
        client,
        "pm_usBankAccount_success",
        customer=customer,
        payment_method_types=["us_bank_account"],
    )
    assert intent.status == "succeeded"
