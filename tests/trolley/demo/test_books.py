"""What the accountant sees: calls in doubt, and both ledgers unit by unit."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from contracts.ids import derived_id
from contracts.messages.parts import PaymentMethod
from contracts.messages.payment import ChargePayment
from messaging.clock import utc_now
from messaging.database import Database
from messaging.fold import apply
from messaging.migrations import upgrade
from payment_service.domain.calls import LeasedCall
from payment_service.domain.outcomes import Outcome
from payment_service.domain.payment import NextCall
from payment_service.domain.rules import Rules
from payment_service.handlers import PaymentHandler
from payment_service.providers.simulated.bank import Bank
from payment_service.providers.simulated.provider import SimulatedProvider
from payment_service.store import operations
from payment_service.worker import charge_of
from trolley.demo.books import Books
from trolley.demo.ledgers import (
    Comparison,
    Entry,
    captured_minor,
    captures,
    payment_of,
    refunded_minor,
)

ONE, OTHER = UUID(int=1), UUID(int=2)


def entry(payment_id: UUID, kind: str = "captured", attempt: int = 1) -> Entry:
    return Entry(payment_id, attempt, kind, "GBP")


def test_ledgers_that_say_the_same_do_not_differ() -> None:
    same = {entry(ONE, "authorized"): 500, entry(ONE): 500}

    comparison = Comparison(dict(same), dict(same))

    assert (comparison.alike, comparison.differing) == (2, ())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({entry(ONE): 500}, {entry(ONE): 499}),
        ({entry(ONE): 500}, {}),
        ({}, {entry(ONE): 500}),
    ],
)
def test_every_unit_that_differs_is_seen(ours: dict[Entry, int], theirs: dict[Entry, int]) -> None:
    comparison = Comparison(ours, theirs)

    assert (comparison.alike, comparison.differing) == (0, (entry(ONE),))


def test_the_same_amount_for_another_payment_is_a_difference() -> None:
    comparison = Comparison({entry(ONE): 500}, {entry(OTHER): 500})

    assert comparison.differing == (entry(ONE), entry(OTHER))
    assert captured_minor(comparison.ours) == captured_minor(comparison.theirs)


def test_the_money_of_one_currency_is_compared_by_itself() -> None:
    yen = Entry(OTHER, 1, "captured", "JPY")
    comparison = Comparison({entry(ONE): 500, yen: 20}, {entry(ONE): 499, yen: 20})

    assert comparison.currencies == ("GBP", "JPY")
    assert comparison.in_currency("JPY").differing == ()
    assert comparison.in_currency("GBP").differing == (entry(ONE),)


def test_what_was_given_back_is_no_capture() -> None:
    ledger = {entry(ONE): 500, entry(ONE, "refunded"): 20}

    assert (captured_minor(ledger), refunded_minor(ledger), captures(ledger)) == (500, 20, 1)


def test_captures_of_some_payments_are_counted() -> None:
    ledger = {entry(ONE, "authorized"): 5, entry(ONE): 5, entry(OTHER): 7}

    mine = Comparison({}, ledger).of([ONE])

    assert (captures(mine.theirs), captured_minor(mine.theirs)) == (1, 5)
    assert captures(ledger) == 2


def test_everybody_derives_the_same_payment_of_a_checkout() -> None:
    checkout_id = uuid4()

    assert payment_of(str(checkout_id)) == derived_id(checkout_id, "payment")


CHECKOUT = UUID("01940000-0000-7000-8000-000000000001")
LEASE = timedelta(seconds=30)
PRICE_MINOR = 1_299


@dataclass
class Till:
    """The payment service's database and the provider's, with one charge to be made."""

    payments: Database
    provider: SimulatedProvider
    books: Books

    async def lease(self) -> LeasedCall:
        async with self.payments.transaction() as connection:
            (call,) = await operations.claim(
                connection,
                instance="payment-0",
                rooms={"simulated": 9},
                lease=LEASE,
                now=utc_now(),
            )
            return call

    async def charge(self, call: LeasedCall) -> Outcome:
        return await self.provider.charge(charge_of(call))

    async def die_and_take_back(self) -> None:
        async with self.payments.transaction() as connection:
            taken = await operations.take_back(connection, instance="payment-0", now=utc_now())
            assert taken == 1

    async def record(self, call: LeasedCall, outcome: Outcome) -> None:
        result = operations.Result(call, outcome, timedelta(seconds=1))
        async with self.payments.transaction() as connection:
            await operations.record(connection, [result], resend_after=LEASE, now=utc_now())


@pytest.fixture
async def till(database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Till]:
    ours, theirs = await database("payment"), await database("simulated_provider")
    await asyncio.to_thread(upgrade, "payment_service", ours)
    await asyncio.to_thread(upgrade, "payment_service.providers.simulated", theirs)
    payments = Database(ours, pool_connections=2, application_name="till")
    bank = Bank(
        Database(theirs, pool_connections=2, application_name="bank"),
        SecretStr("k" * 32),
    )
    rules = Rules(
        frozenset({"simulated"}), timedelta(seconds=1), timedelta(seconds=60), timedelta(hours=1)
    )
    charge = ChargePayment(
        checkout_id=CHECKOUT,
        payment_id=payment_of(str(CHECKOUT)),
        attempt=1,
        order_id=derived_id(CHECKOUT, "order"),
        amount_minor=PRICE_MINOR,
        currency="GBP",
        method=PaymentMethod(token="pm_ok"),
        window_closes_at=utc_now() + timedelta(hours=1),
    )
    async with payments.transaction() as connection:
        handler = PaymentHandler(rules, lambda: None)
        await apply(connection, handler, charge, utc_now(), source="payment")
    async with Books(ours, theirs) as books:
        yield Till(payments, SimulatedProvider(bank, "http://bank.example"), books)
    await bank.close()
    await payments.close()


@pytest.mark.integration
async def test_a_call_is_in_doubt_from_its_effect_to_our_record_of_it(till: Till) -> None:
    assert await till.books.in_doubt() == frozenset()
    call = await till.lease()
    assert await till.books.calls_in_flight() == 1
    assert await till.books.in_doubt() == frozenset()

    outcome = await till.charge(call)

    assert await till.books.in_doubt() == {call.charge_key}
    await till.die_and_take_back()
    assert await till.books.calls_in_flight() == 0
    assert await till.books.in_doubt() == {call.charge_key}
    asked = await till.lease()
    assert asked.call is NextCall.ASK
    await till.record(asked, outcome)
    assert await till.books.in_doubt() == frozenset()
    assert await till.books.open_operations() == 1  # reported, not decided upon


@pytest.mark.integration
async def test_money_at_the_provider_alone_is_a_difference(till: Till) -> None:
    call = await till.lease()
    await till.charge(call)

    comparison = await till.books.compare()

    assert captured_minor(comparison.theirs) == PRICE_MINOR
    assert comparison.ours == {}
    assert {entry.kind for entry in comparison.differing} == {"captured"}
