"""Objects of every kind have the shape that Stripe publishes."""

from typing import Any

import httpx
import stripe
from stripe import StripeClient

from tests.stripe_sandbox.shopping import put_forward

METHODS = {
    "pm_card_visa": "eur",
    "pm_card_createDispute": "eur",
    "pm_card_createDisputeInquiry": "eur",
    "pm_card_chargeDeclined": "eur",
    "pm_card_threeDSecure2Required": "eur",
    "pm_card_refundFail": "eur",
    "pm_sepaDebit_failed_de": "eur",
    "pm_usBankAccount_dispute": "usd",
}


async def test_whatever_becomes_of_payments_has_its_shape(
    client: StripeClient, browser: httpx.AsyncClient
) -> None:
    await client.v1.customers.create_async({"email": "ada@example.com"})
    for method, currency in METHODS.items():
        params: Any = {
            "amount": 1_000,
            "currency": currency,
            "payment_method": method,
            "payment_method_types": ["card", "sepa_debit", "us_bank_account"],
            "confirm": True,
        }
        try:
            intent = await client.v1.payment_intents.create_async(params)
        except stripe.CardError:
            continue
        if intent.status == "succeeded":
            await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 300})
    await put_forward(browser, 600)
    v1 = client.v1
    pages: list[Any] = [
        await v1.payment_intents.list_async({"limit": 100}),
        await v1.charges.list_async({"limit": 100}),
        await v1.refunds.list_async({"limit": 100}),
        await v1.disputes.list_async({"limit": 100}),
        await v1.balance_transactions.list_async({"limit": 100}),
        await v1.events.list_async({"limit": 100}),
    ]
    assert all(page.data for page in pages)  # the client has checked each object
