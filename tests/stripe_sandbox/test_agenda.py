"""What happens by itself goes on, whatever becomes of one thing."""

from typing import Any

import pytest
import stripe

from stripe_sandbox import agenda
from stripe_sandbox.database import Transaction
from stripe_sandbox.errors import ResourceMissing
from tests.stripe_sandbox.conftest import Sandbox


def left(sandbox: Sandbox) -> list[tuple[str, str]]:
    """What is still to happen."""
    with sandbox.running.database.transaction() as transaction:
        rows = transaction.sql("SELECT what, id FROM agenda WHERE what NOT LIKE 'search.%'")
        return [(what, name) for what, name in rows.fetchall()]


async def test_an_entry_that_fails_stands_back_whole_and_alone(
    sandbox: Sandbox, client: stripe.StripeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    intents = [await sandbox.paid("pm_card_pendingRefund") for _ in range(2)]
    refunds = [
        await client.v1.refunds.create_async({"payment_intent": intent.id}) for intent in intents
    ]
    happen = agenda.HAPPENINGS["refund.pending"]

    def fails_for_the_first(transaction: Transaction, name: str) -> None:
        happen(transaction, name)
        if name == refunds[0].id:
            raise RuntimeError("a mistake of the sandbox")

    with monkeypatch.context() as patch:
        happenings: Any = {**agenda.HAPPENINGS, "refund.pending": fails_for_the_first}
        patch.setattr(agenda, "HAPPENINGS", happenings)
        await sandbox.forward(10)
    states = [(await client.v1.refunds.retrieve_async(refund.id)).status for refund in refunds]
    assert states == ["pending", "succeeded"]
    assert ("refund.pending", refunds[0].id) in left(sandbox)
    await sandbox.forward(agenda.AGAIN_AFTER_SECONDS)
    assert (await client.v1.refunds.retrieve_async(refunds[0].id)).status == "succeeded"
    updates = await client.v1.events.list_async({"type": "refund.updated"})
    assert len(updates.data) == 2


async def test_what_was_deleted_meanwhile_has_no_part_of_its_effect(
    sandbox: Sandbox, client: stripe.StripeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent = await sandbox.paid()

    def begins_and_misses(transaction: Transaction, name: str) -> None:
        transaction.save(transaction.get("charge", name) | {"description": "half done"})
        raise ResourceMissing("payment_method", "pm_gone", "payment_method")

    with monkeypatch.context() as patch:
        happenings: Any = {**agenda.HAPPENINGS, "charge.book": begins_and_misses}
        patch.setattr(agenda, "HAPPENINGS", happenings)
        await sandbox.forward(10)
    charge = await client.v1.charges.retrieve_async(str(intent.latest_charge))
    assert charge.description is None
    assert left(sandbox) == []


async def test_many_things_at_once_all_happen(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    with sandbox.running.database.transaction() as transaction:
        for number in range(3 * agenda.AT_ONCE):
            transaction.later(transaction.now, "charge.book", f"ch_{number}")
    intent = await sandbox.paid()
    await sandbox.forward(3)
    assert [what for what, _ in left(sandbox)] == ["balance_transaction.available"]
    charge = await client.v1.charges.retrieve_async(str(intent.latest_charge))
    assert charge.balance_transaction is not None


async def test_what_was_to_happen_while_it_was_off_happens_at_its_start(
    sandbox: Sandbox, wait_until: Any
) -> None:
    intent = await sandbox.paid(capture_method="manual")
    with sandbox.running.database.transaction() as transaction:
        transaction.sql("UPDATE agenda SET due = 0")
    await sandbox.restart()

    async def has_expired() -> bool:
        now = await sandbox.client.v1.payment_intents.retrieve_async(intent.id)
        return now.status == "canceled"

    await wait_until(has_expired, what="the hold has expired")
