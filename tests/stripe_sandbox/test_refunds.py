"""Refunds: never more than was taken, and not always for good."""

import asyncio
from typing import Any

import pytest
import stripe

from tests.stripe_sandbox.conftest import Sandbox


async def refunded(sandbox: Sandbox, intent: stripe.PaymentIntent, **params: Any) -> stripe.Refund:
    """A refund of an intent."""
    wanted: Any = {"payment_intent": intent.id, **params}
    return await sandbox.client.v1.refunds.create_async(wanted)


async def refused(sandbox: Sandbox, **params: Any) -> stripe.InvalidRequestError:
    """Why there is no refund."""
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sandbox.client.v1.refunds.create_async(params)  # type: ignore[arg-type]  # wrong ones, too
    assert caught.value.http_status == 400
    return caught.value


async def charge_of(sandbox: Sandbox, intent: stripe.PaymentIntent) -> stripe.Charge:
    """The charge of an intent, with its refunds."""
    return await sandbox.client.v1.charges.retrieve_async(
        str(intent.latest_charge), {"expand": ["refunds.data.balance_transaction"]}
    )


async def test_a_refund_gives_everything_back(sandbox: Sandbox) -> None:
    intent = await sandbox.paid(capture_method="automatic")
    refund = await refunded(sandbox, intent, reason="requested_by_customer", metadata={"a": "b"})
    assert (refund.amount, refund.status, refund.currency) == (2000, "succeeded", "usd")
    assert refund.charge == intent.latest_charge
    charge = await charge_of(sandbox, intent)
    assert (charge.refunded, charge.amount_refunded, charge.status) == (True, 2000, "succeeded")
    assert (await sandbox.event_types())[-2:] == ["refund.created", "charge.refunded"]
    assert await sandbox.ledger() == 0
    error = await refused(sandbox, payment_intent=intent.id)
    assert error.code == "charge_already_refunded"


async def test_refunds_in_parts_end_at_what_was_taken(sandbox: Sandbox) -> None:
    intent = await sandbox.paid(capture_method="automatic")
    for amount in (700, 300):
        await refunded(sandbox, intent, amount=amount)
    charge = await charge_of(sandbox, intent)
    assert (charge.refunded, charge.amount_refunded) == (False, 1000)
    assert charge.refunds is not None
    assert [refund.amount for refund in charge.refunds.data] == [300, 700]
    error = await refused(sandbox, payment_intent=intent.id, amount=1001)
    assert (error.code, error.param) == (None, "amount")
    assert (await refunded(sandbox, intent)).amount == 1000
    assert (await charge_of(sandbox, intent)).refunded
    assert await sandbox.ledger() == 0


async def test_what_a_hold_let_go_is_not_refunded_again(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent = await sandbox.paid(capture_method="manual")
    await client.v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 700})
    await refused(sandbox, payment_intent=intent.id, amount=701)
    await refunded(sandbox, intent, amount=200)
    assert (await refunded(sandbox, intent)).amount == 500
    assert (await charge_of(sandbox, intent)).refunded
    assert await sandbox.ledger() == 0


async def test_many_refunds_at_once_give_back_no_more_than_was_taken(sandbox: Sandbox) -> None:
    intent = await sandbox.paid(capture_method="automatic")
    tries = [refunded(sandbox, intent, amount=300) for _ in range(20)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    done = [one for one in results if isinstance(one, stripe.Refund)]
    assert len(done) == 6
    assert all(isinstance(one, stripe.Refund | stripe.InvalidRequestError) for one in results), (
        results
    )
    assert (await charge_of(sandbox, intent)).amount_refunded == 1800
    assert await sandbox.ledger() == 200


async def test_a_pending_refund_arrives(sandbox: Sandbox, client: stripe.StripeClient) -> None:
    intent = await sandbox.paid("pm_card_pendingRefund")
    refund = await refunded(sandbox, intent)
    assert (refund.status, refund.pending_reason) == ("pending", "processing")
    await sandbox.forward(4)
    refund = await client.v1.refunds.retrieve_async(refund.id)
    assert refund.status == "succeeded"
    assert {"refund.updated", "charge.refund.updated"} <= set(await sandbox.event_types())
    assert await sandbox.ledger() == 0


async def test_a_refund_that_fails_later_leaves_the_money_with_us(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent = await sandbox.paid("pm_card_refundFail", capture_method="automatic")
    refund = await refunded(sandbox, intent, amount=500)
    assert refund.status == "succeeded"
    await sandbox.forward(4)
    refund = await client.v1.refunds.retrieve_async(
        refund.id, {"expand": ["failure_balance_transaction"]}
    )
    assert (refund.status, refund.failure_reason) == ("failed", "expired_or_canceled_card")
    assert isinstance(refund.failure_balance_transaction, stripe.BalanceTransaction)
    assert refund.failure_balance_transaction.type == "refund_failure"
    charge = await charge_of(sandbox, intent)
    assert (charge.refunded, charge.amount_refunded) == (False, 0)
    event = await sandbox.event("refund.updated")
    assert event.to_dict()["data"]["previous_attributes"] == {
        "failure_balance_transaction": None,
        "failure_reason": None,
        "status": "succeeded",
    }
    assert "refund.failed" in await sandbox.event_types()
    assert await sandbox.ledger() == 2000
    assert (await refunded(sandbox, intent)).amount == 2000


async def test_a_disputed_charge_is_not_refunded(sandbox: Sandbox) -> None:
    intent = await sandbox.paid("pm_card_createDispute")
    await sandbox.forward(3)
    error = await refused(sandbox, payment_intent=intent.id)
    assert error.code == "charge_disputed"


async def test_a_bank_debit_is_refunded(sandbox: Sandbox) -> None:
    intent = await sandbox.paid(
        "pm_usBankAccount_success", payment_method_types=["us_bank_account"]
    )
    error = await refused(sandbox, payment_intent=intent.id)
    assert error.param == "payment_intent"
    await sandbox.forward(10)
    refund = await refunded(sandbox, intent)
    assert refund.id.startswith("pyr_")
    charge = await charge_of(sandbox, intent)
    assert charge.refunds is not None
    [entry] = [one.balance_transaction for one in charge.refunds.data]
    assert isinstance(entry, stripe.BalanceTransaction)
    assert (entry.type, entry.amount) == ("payment_refund", -2000)


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({}, "parameter_missing", None),
        ({"charge": "ch_none"}, "resource_missing", "charge"),
        ({"payment_intent": "pi_none"}, "resource_missing", "payment_intent"),
        ({"payment_intent": "pi_none", "amount": 0}, "parameter_invalid_integer", "amount"),
        ({"payment_intent": "pi_none", "amount": -5}, "parameter_invalid_integer", "amount"),
        ({"payment_intent": "pi_none", "amount": "1.5"}, "parameter_invalid_integer", "amount"),
    ],
)
async def test_a_refund_is_of_something(
    sandbox: Sandbox, params: dict[str, Any], code: str, param: str | None
) -> None:
    error = await refused(sandbox, **params)
    assert (error.code, error.param) == (code, param)


@pytest.mark.parametrize("capture_method", ["manual", "automatic"])
async def test_what_was_not_taken_is_not_refunded(sandbox: Sandbox, capture_method: str) -> None:
    intent = await sandbox.paid(capture_method="manual")
    if capture_method == "automatic":
        intent = await sandbox.client.v1.payment_intents.create_async(
            {"amount": 2000, "currency": "usd"}
        )
    error = await refused(sandbox, payment_intent=intent.id)
    assert (error.code, error.param) == (None, "payment_intent")


async def test_a_charge_is_of_one_intent(sandbox: Sandbox) -> None:
    one, other = await sandbox.paid(), await sandbox.paid()
    error = await refused(sandbox, charge=one.latest_charge, payment_intent=other.id)
    assert error.param == "payment_intent"


async def test_a_refund_has_metadata_and_is_not_cancelled(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    refund = await refunded(sandbox, await sandbox.paid(), metadata={"a": "1", "b": "2"})
    refund = await client.v1.refunds.update_async(refund.id, {"metadata": {"a": "", "c": "3"}})
    assert refund.metadata is not None
    assert refund.metadata.to_dict() == {"b": "2", "c": "3"}
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.refunds.cancel_async(refund.id)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.refunds.retrieve_async("re_none")
    assert (caught.value.http_status, caught.value.param) == (404, "id")
