"""Disputes: the shopper's bank takes the money, and evidence may bring it back."""

from typing import Any

import pytest
import stripe

from tests.stripe_sandbox.conftest import Sandbox

DAY = 24 * 3600


async def disputed(
    sandbox: Sandbox, card: str = "pm_card_createDispute", **params: Any
) -> stripe.Dispute:
    """The dispute of a charge that the card's owner does not recognize."""
    intent = await sandbox.paid(card, **params)
    await sandbox.forward(3)
    disputes = await sandbox.client.v1.disputes.list_async({"payment_intent": intent.id})
    return disputes.data[0]


async def answered(sandbox: Sandbox, dispute: stripe.Dispute, text: str) -> stripe.Dispute:
    """What becomes of a dispute that is answered so."""
    answer = await sandbox.client.v1.disputes.update_async(
        dispute.id, {"evidence": {"uncategorized_text": text}}
    )
    assert answer.status in ("under_review", "warning_under_review")
    assert answer.evidence_details.submission_count == 1
    await sandbox.forward(3)
    return await sandbox.client.v1.disputes.retrieve_async(dispute.id)


async def test_a_dispute_takes_the_money_at_once(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    dispute = await disputed(sandbox)
    assert (dispute.status, dispute.amount, dispute.reason, dispute.is_charge_refundable) == (
        "needs_response",
        2000,
        "fraudulent",
        False,
    )
    [entry] = dispute.balance_transactions
    assert (entry.type, entry.reporting_category, entry.net, entry.status) == (
        "adjustment",
        "dispute",
        -2000,
        "available",
    )
    assert (await client.v1.charges.retrieve_async(str(dispute.charge))).disputed
    assert {"charge.dispute.created", "charge.dispute.funds_withdrawn"} <= set(
        await sandbox.event_types()
    )
    assert await sandbox.ledger() == 0


async def test_winning_evidence_brings_it_back(sandbox: Sandbox) -> None:
    dispute = await answered(sandbox, await disputed(sandbox), "winning_evidence")
    assert (dispute.status, dispute.is_charge_refundable) == ("won", True)
    assert [entry.reporting_category for entry in dispute.balance_transactions] == [
        "dispute",
        "dispute_reversal",
    ]
    assert (await sandbox.event_types())[-3:] == [
        "charge.dispute.updated",
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    ]
    assert await sandbox.ledger() == 2000
    await sandbox.client.v1.refunds.create_async({"charge": str(dispute.charge)})
    assert await sandbox.ledger() == 0


@pytest.mark.parametrize("text", ["losing_evidence", "a letter"])
async def test_other_evidence_loses(
    sandbox: Sandbox, client: stripe.StripeClient, text: str
) -> None:
    dispute = await answered(sandbox, await disputed(sandbox), text)
    assert dispute.status == "lost"
    assert await sandbox.ledger() == 0
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.disputes.update_async(
            dispute.id, {"evidence": {"uncategorized_text": "winning_evidence"}}
        )


async def test_staged_evidence_is_submitted_later(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    dispute = await disputed(sandbox)
    staged = await client.v1.disputes.update_async(
        dispute.id, {"evidence": {"uncategorized_text": "winning_evidence"}, "submit": False}
    )
    assert (staged.status, staged.evidence_details.has_evidence) == ("needs_response", True)
    await client.v1.disputes.update_async(dispute.id, {"metadata": {"case": "5"}})
    await sandbox.forward(3)
    assert (await client.v1.disputes.retrieve_async(dispute.id)).status == "needs_response"
    await client.v1.disputes.update_async(dispute.id, {"submit": True})
    await sandbox.forward(3)
    assert (await client.v1.disputes.retrieve_async(dispute.id)).status == "won"


async def test_silence_loses(sandbox: Sandbox, client: stripe.StripeClient) -> None:
    dispute = await disputed(sandbox)
    await sandbox.forward(10 * DAY)
    dispute = await client.v1.disputes.retrieve_async(dispute.id)
    assert (dispute.status, dispute.evidence_details.past_due) == ("lost", True)


async def test_who_accepts_a_dispute_loses_it(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    dispute = await disputed(sandbox)
    assert (await client.v1.disputes.close_async(dispute.id)).status == "lost"
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.disputes.close_async(dispute.id)
    assert await sandbox.ledger() == 0


async def test_an_inquiry_takes_no_money_and_closes(sandbox: Sandbox) -> None:
    dispute = await disputed(sandbox, "pm_card_createDisputeInquiry")
    assert (dispute.status, dispute.is_charge_refundable, dispute.balance_transactions) == (
        "warning_needs_response",
        True,
        [],
    )
    dispute = await answered(sandbox, dispute, "losing_evidence")
    assert dispute.status == "warning_closed"
    assert await sandbox.ledger() == 2000


async def test_an_inquiry_becomes_a_dispute_of_what_is_left(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    dispute = await disputed(sandbox, "pm_card_createDisputeInquiry")
    await client.v1.refunds.create_async({"charge": str(dispute.charge), "amount": 500})
    dispute = await answered(sandbox, dispute, "escalate_inquiry_evidence")
    assert (dispute.status, dispute.amount, dispute.is_charge_refundable) == (
        "needs_response",
        1500,
        False,
    )
    assert await sandbox.ledger() == 0
    await sandbox.forward(8 * DAY)
    assert (await client.v1.disputes.retrieve_async(dispute.id)).status == "needs_response"
    await sandbox.forward(2 * DAY)
    assert (await client.v1.disputes.retrieve_async(dispute.id)).status == "lost"


async def test_a_whole_refund_ends_an_inquiry(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    dispute = await disputed(sandbox, "pm_card_createDisputeInquiry")
    await client.v1.refunds.create_async({"charge": str(dispute.charge)})
    assert (await client.v1.disputes.retrieve_async(dispute.id)).status == "warning_closed"
    assert await sandbox.ledger() == 0


async def test_what_was_refunded_is_not_disputed(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent = await sandbox.paid("pm_card_createDispute")
    await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 600})
    await sandbox.forward(3)
    [dispute] = (await client.v1.disputes.list_async({"payment_intent": intent.id})).data
    assert dispute.amount == 1400
    whole = await sandbox.paid("pm_card_createDispute")
    await client.v1.refunds.create_async({"payment_intent": whole.id})
    await sandbox.forward(3)
    assert (await client.v1.disputes.list_async({"payment_intent": whole.id})).data == []
    assert await sandbox.ledger() == 0


async def test_several_disputes_share_a_charge(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    dispute = await disputed(sandbox, "pm_card_createMultipleDisputes", amount=2001)
    disputes = await client.v1.disputes.list_async({"charge": str(dispute.charge)})
    assert sum(one.amount for one in disputes.data) == 2001
    assert len(disputes.data) == 2
    assert await sandbox.ledger() == 0


async def test_a_hold_is_disputed_after_its_capture(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent = await sandbox.paid("pm_card_createDispute", capture_method="manual")
    await sandbox.forward(DAY)
    assert (await client.v1.disputes.list_async()).data == []
    await client.v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 700})
    await sandbox.forward(3)
    [dispute] = (await client.v1.disputes.list_async()).data
    assert dispute.amount == 700
    assert await sandbox.ledger() == 0


async def test_a_bank_debit_is_disputed_for_good(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent = await sandbox.paid(
        "pm_usBankAccount_dispute", payment_method_types=["us_bank_account"]
    )
    await sandbox.forward(10)
    await sandbox.forward(10)
    [dispute] = (await client.v1.disputes.list_async({"payment_intent": intent.id})).data
    assert dispute.status == "lost"
    assert "charge.dispute.closed" in await sandbox.event_types()
    assert await sandbox.ledger() == 0


async def test_an_unknown_dispute_is_not_found(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.disputes.retrieve_async("du_none")
    assert (caught.value.http_status, caught.value.param) == (404, "dispute")
