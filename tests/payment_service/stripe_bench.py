"""What the contract needs of Stripe, be it Stripe itself or what stands in for it."""

from datetime import timedelta

import stripe

from contracts.ids import new_id
from messaging.clock import utc_now
from payment_service.providers.stripe.labels import label
from tests.payment_service.provider_contract import Bench, Methods

METHODS = Methods(
    ok="pm_card_visa",
    declined="pm_card_chargeDeclinedInsufficientFunds",
    declined_code="insufficient_funds",
    action_required="pm_card_threeDSecure2Required",
    always_asks="pm_card_authenticationRequired",
    processing="pm_usBankAccount_success",
    processing_then_declined="pm_usBankAccount_insufficientFunds",
    capture_fails=None,
    refund_pending="pm_card_pendingRefund",
    refund_fails=None,
    refund_returns="pm_card_refundFail",
    times_out_before_effect=None,
    times_out_after_effect=None,
    slow_after_effect=None,
    debit_currency="USD",
)
"""Names of Stripe's own; nothing here makes trouble."""

RECENT = timedelta(minutes=30)
"""How far back an account that others use too is searched: longer than a test takes."""


async def intents_of(client: stripe.StripeClient, charge_key: str) -> list[stripe.PaymentIntent]:
    """All that Stripe has under a key of ours."""
    since = int((utc_now() - RECENT).timestamp())
    listed = await client.v1.payment_intents.list_async(
        params={"created": {"gte": since}, "limit": 100}
    )
    return [
        one
        async for one in listed.auto_paging_iter()
        if label(one.metadata, "charge_key") == charge_key
    ]


async def captured(client: stripe.StripeClient, charge_key: str) -> int:
    """What Stripe's own books say was captured under a key of ours."""
    return sum(one.amount_received or 0 for one in await intents_of(client, charge_key))


async def give_back(client: stripe.StripeClient, charge_key: str, amount_minor: int) -> None:
    """Refund some of it as somebody at Stripe would, without us."""
    (intent,) = await intents_of(client, charge_key)
    await client.v1.refunds.create_async(
        params={"payment_intent": intent.id, "amount": amount_minor},
        options={"idempotency_key": str(new_id())},
    )


async def disputed(bench: Bench) -> str:
    """Pay with a card whose owner disputes all of it; gives the charge key."""
    key, _ = await bench.charged("pm_card_createDispute")
    return key
