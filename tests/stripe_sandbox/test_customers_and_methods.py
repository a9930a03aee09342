"""Customers and what they pay by."""

from typing import Any

import pytest
import stripe

from tests.stripe_sandbox.conftest import Sandbox


@pytest.fixture
async def customer(client: stripe.StripeClient) -> stripe.Customer:
    """A customer with no method yet."""
    return await client.v1.customers.create_async(
        {
            "name": "Ada",
            "email": "ada@shop.test",
            "address": {"city": "Delft"},
            "metadata": {"a": "1", "b": "2"},
        }
    )


async def attached(
    client: stripe.StripeClient, customer: stripe.Customer, name: str = "pm_card_visa"
) -> stripe.PaymentMethod:
    """A method of the customer."""
    return await client.v1.payment_methods.attach_async(name, {"customer": customer.id})


async def test_a_customer_changes_field_by_field(
    sandbox: Sandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    customer = await client.v1.customers.update_async(
        customer.id, {"address": "", "phone": "1", "metadata": {"a": "", "c": "3"}}
    )
    assert (customer.address, customer.name, customer.phone) == (None, "Ada", "1")
    assert customer.metadata is not None
    assert customer.metadata.to_dict() == {"b": "2", "c": "3"}
    event = (await sandbox.event("customer.updated")).to_dict()
    assert event["data"]["previous_attributes"] == {
        "address": {"city": "Delft"},
        "metadata": {"a": "1", "b": "2"},
        "phone": None,
    }
    for prefix in "xy":
        more: Any = {"metadata": {f"{prefix}{number}": "1" for number in range(40)}}
        if prefix == "x":
            await client.v1.customers.update_async(customer.id, more)
            continue
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await client.v1.customers.update_async(customer.id, more)
        assert caught.value.param == "metadata"
    customer = await client.v1.customers.update_async(customer.id, {"metadata": ""})
    assert customer.metadata is not None
    assert customer.metadata.to_dict() == {}


async def test_a_deleted_customer_is_known_to_be_deleted(
    sandbox: Sandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    method = await attached(client, customer)
    intent = await sandbox.paid(method.id, customer=customer.id)
    await client.v1.customers.delete_async(customer.id)
    assert (await client.v1.customers.list_async()).data == []
    gone = await client.v1.customers.retrieve_async(customer.id)
    assert gone.deleted
    intent = await client.v1.payment_intents.retrieve_async(intent.id, {"expand": ["customer"]})
    assert isinstance(intent.customer, stripe.Customer)
    assert intent.customer.deleted
    with pytest.raises(stripe.InvalidRequestError):
        await sandbox.paid(method.id)
    for call in (
        client.v1.customers.update_async(customer.id, {"name": "x"}),
        client.v1.customers.delete_async(customer.id),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await call
        assert (caught.value.http_status, caught.value.param) == (404, "id")
    error = await refused(sandbox, customer=customer.id)
    assert (error.http_status, error.param) == (400, "customer")


async def refused(
    sandbox: Sandbox, method: str = "pm_card_visa", **params: Any
) -> stripe.InvalidRequestError:
    """Why a payment was refused."""
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sandbox.paid(method, **params)
    return caught.value


async def test_a_saved_method_pays_again_and_again(
    sandbox: Sandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    method = await attached(client, customer)
    assert method.customer == customer.id
    for _ in range(2):
        intent = await sandbox.paid(method.id, customer=customer.id, off_session=True)
        assert (intent.status, intent.payment_method) == ("succeeded", method.id)
    error = await refused(sandbox, method.id)
    assert error.param == "payment_method"
    again = await attached(client, customer, method.id)
    assert again.id == method.id
    other = await client.v1.customers.create_async({})
    with pytest.raises(stripe.InvalidRequestError):
        await attached(client, other, method.id)


async def test_a_detached_method_never_pays_again(
    sandbox: Sandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    method = await attached(client, customer)
    default: Any = {"invoice_settings": {"default_payment_method": method.id}}
    changed = await client.v1.customers.update_async(customer.id, default)
    assert changed.invoice_settings is not None
    assert changed.invoice_settings.default_payment_method == method.id
    assert (await client.v1.payment_methods.detach_async(method.id)).customer is None
    changed = await client.v1.customers.retrieve_async(customer.id)
    assert changed.invoice_settings is not None
    assert changed.invoice_settings.default_payment_method is None
    await refused(sandbox, method.id, customer=customer.id)
    for call in (
        attached(client, customer, method.id),
        client.v1.payment_methods.detach_async(method.id),
        client.v1.customers.update_async(customer.id, default),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await call
        assert caught.value.http_status == 400


async def test_a_method_that_nobody_keeps_pays_once(
    sandbox: Sandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    method = await client.v1.payment_methods.create_async(
        {"type": "card", "card": {"token": "tok_visa"}}
    )
    assert (await sandbox.paid(method.id)).status == "succeeded"
    assert (await refused(sandbox, method.id)).param == "payment_method"
    with pytest.raises(stripe.InvalidRequestError):
        await attached(client, customer, method.id)


async def test_a_method_that_was_used_up_meanwhile_does_not_pay(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    method = await client.v1.payment_methods.create_async(
        {"type": "card", "card": {"token": "tok_visa"}}
    )
    first, second = [await sandbox.paid(method.id, confirm=False) for _ in range(2)]
    assert (await client.v1.payment_intents.confirm_async(first.id)).status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.payment_intents.confirm_async(second.id)


async def test_a_payment_may_keep_its_method(
    sandbox: Sandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    intent = await sandbox.paid(customer=customer.id, setup_future_usage="off_session")
    methods = await client.v1.customers.payment_methods.list_async(customer.id)
    assert [method.id for method in methods.data] == [intent.payment_method]
    again = await sandbox.paid(str(intent.payment_method), customer=customer.id, off_session=True)
    assert again.status == "succeeded"


async def test_a_card_that_was_set_up_on_session_pays_off_session(
    sandbox: Sandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    method = await attached(client, customer, "pm_card_authenticationRequiredOnSetup")
    with pytest.raises(stripe.CardError):
        await sandbox.paid(method.id, customer=customer.id, off_session=True)
    intent = await sandbox.paid(
        method.id,
        customer=customer.id,
        return_url="https://shop.test/",
        setup_future_usage="off_session",
    )
    assert intent.next_action is not None
    assert intent.next_action.redirect_to_url is not None
    await sandbox.page(str(intent.next_action.redirect_to_url.url), "complete")
    paid = await sandbox.paid(method.id, customer=customer.id, off_session=True)
    assert paid.status == "succeeded"


@pytest.mark.parametrize(
    ("card", "code"),
    [
        ("visa_chargeDeclined", "card_declined"),
        ("chargeDeclinedExpiredCard", "expired_card"),
        ("chargeDeclinedIncorrectCvc", "incorrect_cvc"),
        ("chargeDeclinedProcessingError", "processing_error"),
    ],
)
async def test_a_card_that_declines_is_not_attached(
    client: stripe.StripeClient, customer: stripe.Customer, card: str, code: str
) -> None:
    with pytest.raises(stripe.CardError) as caught:
        await attached(client, customer, f"pm_card_{card}")
    assert caught.value.code == code
    assert (await client.v1.customers.payment_methods.list_async(customer.id)).data == []


async def test_a_customer_whose_card_declines_is_none(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.CardError):
        await client.v1.customers.create_async({"payment_method": "pm_card_visa_chargeDeclined"})
    assert (await client.v1.customers.list_async()).data == []
    assert (await client.v1.payment_methods.list_async()).data == []


async def test_a_card_that_fails_later_is_attached(
    sandbox: Sandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    method = await attached(client, customer, "pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError):
        await sandbox.paid(method.id, customer=customer.id)
    kept = await client.v1.customers.payment_methods.retrieve_async(customer.id, method.id)
    assert kept.customer == customer.id


async def test_the_api_takes_no_card_numbers(sandbox: Sandbox) -> None:
    number = "4242424242424242"
    answer = await sandbox.raw(
        "POST",
        "/v1/payment_methods",
        data={"type": "card", "card[number]": number, "card[exp_month]": 1, "card[exp_year]": 2050},
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error.get("code")) == (
        402,
        "invalid_request_error",
        None,
    )
    assert number not in answer.text


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"type": "card", "card": {"token": "tok_none"}}, "card"),
        ({"type": "card", "card": {"token": "pm_card_visa"}}, "card"),
        ({"type": "sepa_debit", "sepa_debit": {"iban": "DE00"}}, "sepa_debit"),
        ({"type": "us_bank_account", "us_bank_account": {}}, "us_bank_account"),
        ({"type": "klarna"}, "type"),
        ({}, "type"),
    ],
)
async def test_a_method_is_one_of_the_test_accounts(
    client: stripe.StripeClient, params: Any, param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.payment_methods.create_async(params)
    assert (caught.value.http_status, caught.value.param) == (400, param)


async def test_missing_methods_and_customers_are_told_apart(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    for call, status, param in (
        (client.v1.payment_methods.retrieve_async("pm_none"), 404, "payment_method"),
        (attached(client, customer, "pm_none"), 404, "payment_method"),
        (
            client.v1.payment_methods.attach_async("pm_card_visa", {"customer": "cus_none"}),
            400,
            "customer",
        ),
        (client.v1.customers.retrieve_async("cus_none"), 404, "id"),
        (client.v1.customers.payment_methods.list_async("cus_none"), 404, "customer"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await call
        assert (caught.value.http_status, caught.value.param) == (status, param)
        assert caught.value.code == "resource_missing"


async def test_a_method_is_attached_to_somebody(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.payment_methods.attach_async("pm_card_visa")
    assert (caught.value.code, caught.value.param) == ("parameter_missing", "customer")


async def test_a_method_changes_its_owner_s_address_not_its_number(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    method = await attached(client, customer, "pm_card_mastercard")
    method = await client.v1.payment_methods.update_async(
        method.id, {"billing_details": {"name": "Ada"}, "metadata": {"k": "v"}}
    )
    assert (method.billing_details.name, method.billing_details.email) == ("Ada", None)
    assert method.card is not None
    assert (method.card.brand, method.card.last4) == ("mastercard", "4444")
