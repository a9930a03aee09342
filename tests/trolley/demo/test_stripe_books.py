"""What Stripe's lists say of money, held against what was done there."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
import stripe

from payment_service.providers.stripe.client import StripeConnection
from stripe_sandbox.app import running
from stripe_sandbox.settings import SandboxSettings
from trolley.demo import stripe_books
from trolley.demo.cards import EMPTY, VISA
from trolley.demo.ledgers import Entry
from trolley.demo.stripe_books import StripeBooks

ONE, OTHER = UUID(int=1), UUID(int=2)
KEY = "sk_test_sandbox"

pytestmark = pytest.mark.integration


@dataclass
class Account:
    """An account at the stand-in, and its books."""

    connection: StripeConnection
    books: StripeBooks

    async def intent(self, payment_id: UUID | None, amount_minor: int, currency: str) -> str:
        labels = {} if payment_id is None else {"payment_id": str(payment_id), "attempt": "1"}
        made = await self.connection.api.v1.payment_intents.create_async(
            params={
                "amount": amount_minor,
                "currency": currency,
                "automatic_payment_methods": {"enabled": True},
                "metadata": labels,
            }
        )
        return made.id

    async def confirm(self, intent: str, card: str = VISA) -> None:
        await self.connection.api.v1.payment_intents.confirm_async(
            intent, params={"payment_method": card, "return_url": "http://127.0.0.1/"}
        )

    async def refund(self, intent: str, amount_minor: int) -> None:
        await self.connection.api.v1.refunds.create_async(
            params={"payment_intent": intent, "amount": amount_minor}
        )


@pytest.fixture
async def account(tmp_path: Path) -> AsyncIterator[Account]:
    settings = SandboxSettings(http_port=0, state=tmp_path / "sandbox.sqlite3")
    async with running(settings) as sandbox, StripeBooks.opened(KEY, sandbox.url) as books:
        connection = StripeConnection(KEY, sandbox.url, call_seconds=30)
        try:
            yield Account(connection, books)
        finally:
            await connection.close()


async def test_what_was_taken_and_given_back_stands_under_our_name(account: Account) -> None:
    yen = await account.intent(ONE, 1_980, "jpy")
    await account.confirm(yen)
    dinar = await account.intent(OTHER, 6_500, "kwd")
    await account.confirm(dinar)
    await account.refund(dinar, 3_250)
    await account.refund(dinar, 10)

    assert await account.books.ledger() == {
        Entry(ONE, 1, "captured", "JPY"): 1_980,
        Entry(OTHER, 1, "captured", "KWD"): 6_500,
        Entry(OTHER, 1, "refunded", "KWD"): 3_260,
    }


async def test_what_took_no_money_or_is_not_ours_is_not_in_the_books(account: Account) -> None:
    await account.intent(ONE, 1_000, "gbp")
    await account.confirm(await account.intent(None, 1_000, "gbp"))
    declined = await account.intent(OTHER, 1_000, "gbp")
    with pytest.raises(stripe.CardError):
        await account.confirm(declined, EMPTY)

    assert await account.books.ledger() == {}


async def test_the_books_are_read_to_their_last_page(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_books, "PAGE", 2)
    for number in range(5):
        await account.confirm(await account.intent(UUID(int=number), 100 + number, "gbp"))

    assert sorted((await account.books.ledger()).values()) == [100, 101, 102, 103, 104]
