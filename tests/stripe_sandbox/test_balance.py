"""The balance is what was taken, less what went back, whatever happens in whatever order."""

import random
from typing import Any

import pytest
import stripe

from tests.stripe_sandbox.conftest import Sandbox

SEEDS = range(4)
STEPS = 25

CARDS = (
    "pm_card_visa",
    "pm_card_refundFail",
    "pm_card_pendingRefund",
    "pm_card_createDispute",
    "pm_card_createDisputeInquiry",
    "pm_card_createMultipleDisputes",
    "pm_card_visa_chargeDeclined",
    "pm_usBankAccount_success",
    "pm_usBankAccount_insufficientFunds",
    "pm_usBankAccount_dispute",
)
TEXTS = ("winning_evidence", "losing_evidence", "escalate_inquiry_evidence")


class Shop:
    """Somebody who does things at random, right ones and wrong ones."""

    def __init__(self, sandbox: Sandbox, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - for what is tried, not for secrets
        self.sandbox = sandbox
        self.api = sandbox.client.v1
        self.intents: list[str] = []

    async def step(self) -> None:
        """One thing; the sandbox may refuse it."""
        actions = [self.pay]
        if self.intents:
            actions += [self.pay, self.capture, self.refund, self.refund, self.cancel]
            actions += [self.answer, self.wait]
        action = self.random.choice(actions)
        try:
            await action()
        except (stripe.InvalidRequestError, stripe.CardError):
            return

    async def pay(self) -> None:
        """Begin a payment."""
        card = self.random.choice(CARDS)
        kind = "card" if card.startswith("pm_card") else "us_bank_account"
        params: Any = {
            "amount": self.random.randint(50, 5000),
            "currency": "usd",
            "payment_method_types": [kind],
            "capture_method": self.random.choice(("automatic", "automatic_async", "manual")),
        }
        intent = await self.api.payment_intents.create_async(params)
        self.intents.append(intent.id)
        await self.api.payment_intents.confirm_async(intent.id, {"payment_method": card})

    async def capture(self) -> None:
        """Take some of a hold."""
        intent = await self.api.payment_intents.retrieve_async(self.random.choice(self.intents))
        amount = self.random.randint(1, intent.amount + 5)
        await self.api.payment_intents.capture_async(intent.id, {"amount_to_capture": amount})

    async def refund(self) -> None:
        """Give something back."""
        wanted: Any = {"payment_intent": self.random.choice(self.intents)}
        if self.random.random() < 0.8:
            wanted["amount"] = self.random.randint(1, 3000)
        await self.api.refunds.create_async(wanted)

    async def cancel(self) -> None:
        """Give up."""
        await self.api.payment_intents.cancel_async(self.random.choice(self.intents))

    async def answer(self) -> None:
        """Answer a dispute, or accept it."""
        disputes = (await self.api.disputes.list_async({"limit": 100})).data
        if disputes:
            name = self.random.choice(disputes).id
            text = self.random.choice(TEXTS)
            if self.random.random() < 0.8:
                evidence: Any = {"evidence": {"uncategorized_text": text}}
                await self.api.disputes.update_async(name, evidence)
            else:
                await self.api.disputes.close_async(name)

    async def wait(self) -> None:
        """Let time pass: seconds, hours, or more than a week."""
        await self.sandbox.forward(self.random.choice((1, 3, 10, 3600, 10 * 24 * 3600)))


async def everything(service: Any, **params: Any) -> list[Any]:
    """All objects of a list."""
    page = await service.list_async({"limit": 100, **params})
    return [one async for one in page.auto_paging_iter()]


async def come_to_rest(sandbox: Sandbox) -> None:
    """Time passes until nothing is to happen by itself within the next minutes."""
    while True:
        await sandbox.forward(5)
        with sandbox.running.database.transaction() as transaction:
            [due] = transaction.sql("SELECT min(due) FROM agenda").fetchone()
        if due is None or due > transaction.now + 300:
            return


async def assert_the_books_agree(sandbox: Sandbox) -> None:
    """Balance transactions, charges, refunds and disputes tell one story."""
    api = sandbox.client.v1
    entries = await everything(api.balance_transactions)
    charges = await everything(api.charges)
    refunds = await everything(api.refunds)
    disputes = await everything(api.disputes)
    booked = [one for one in charges if one.captured and one.balance_transaction]
    captured = sum(one.amount_captured for one in booked)
    moved = [one for one in refunds if one.balance_transaction and one.status != "failed"]
    given_back = sum(one.amount for one in moved)
    taken_away = sum(
        one.amount for one in disputes if one.status in ("needs_response", "under_review", "lost")
    )
    assert sum(one.net for one in entries) == captured - given_back - taken_away
    assert len({one.id for one in entries}) == len(entries)
    sources = {one.id for one in [*charges, *refunds, *disputes]}
    assert {one.source for one in entries} <= sources
    for charge in charges:
        of_it = [one for one in refunds if one.charge == charge.id and one.status != "failed"]
        assert charge.amount_refunded == sum(one.amount for one in of_it)
        assert charge.amount_refunded <= charge.amount
        assert charge.amount_captured <= charge.amount
    intents = {one.id: one for one in await everything(api.payment_intents)}
    for intent in intents.values():
        of_it = [one for one in charges if one.payment_intent == intent.id]
        assert intent.amount_received == sum(one.amount_captured for one in of_it)
    balance = await api.balance.retrieve_async()
    parts = [part.amount for part in balance.available] + [part.amount for part in balance.pending]
    assert sum(parts) == sum(one.net for one in entries)


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_books_agree_after_anything(sandbox: Sandbox, seed: int) -> None:
    print(f"seed {seed}")
    shop = Shop(sandbox, seed)
    while not shop.intents:
        await shop.step()
    for _ in range(STEPS):
        await shop.step()
    await come_to_rest(sandbox)
    await assert_the_books_agree(sandbox)
    for _ in range(4):
        await sandbox.forward(10 * 24 * 3600)
    await come_to_rest(sandbox)
    await assert_the_books_agree(sandbox)


async def test_money_is_available_two_days_later(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    await sandbox.paid(capture_method="automatic")
    await sandbox.paid("pm_card_bypassPending", capture_method="automatic", amount=500)
    balance = await client.v1.balance.retrieve_async()
    assert (balance.available[0].amount, balance.pending[0].amount) == (500, 2000)
    await sandbox.forward(2 * 24 * 3600)
    balance = await client.v1.balance.retrieve_async()
    assert (balance.available[0].amount, balance.pending[0].amount) == (2500, 0)
    entries = (await client.v1.balance_transactions.list_async()).data
    assert [one.status for one in entries] == ["available", "available"]


async def test_each_currency_has_its_own_balance(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    for currency, amount in (("usd", 2000), ("jpy", 300), ("kwd", 2000)):
        await sandbox.paid(capture_method="automatic", currency=currency, amount=amount)
    balance = await client.v1.balance.retrieve_async()
    assert {part.currency: part.amount for part in balance.pending} == {
        "jpy": 300,
        "kwd": 2000,
        "usd": 2000,
    }


async def test_a_movement_is_found_by_its_source(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent = await sandbox.paid(capture_method="automatic")
    await sandbox.paid(capture_method="automatic")
    [entry] = (
        await client.v1.balance_transactions.list_async({"source": str(intent.latest_charge)})
    ).data
    found = await client.v1.balance_transactions.retrieve_async(entry.id, {"expand": ["source"]})
    assert isinstance(found.source, stripe.Charge)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.balance_transactions.retrieve_async("txn_none")
    assert (caught.value.http_status, caught.value.param) == (404, "id")
