"""The contract on Stripe itself, in test mode: only where `TROLLEY_STRIPE_TEST_KEY` has a key.

What needs a browser is skipped, and says so; so is what Stripe cannot be made to do.
`TROLLEY_STRIPE_TEST_BASE_URL` sends the same to what answers in its place: so it is known to run.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from messaging.clock import utc_now
from payment_service.domain.outcomes import PaymentOutcome, RefundOutcome, ReviewOutcome
from payment_service.providers.port import (
    Capture,
    Charge,
    Close,
    NotTaken,
    PaymentQuestion,
    Refund,
    RefundQuestion,
    Review,
)
from payment_service.providers.stripe.client import StripeConnection
from payment_service.providers.stripe.keys import TEST_KEYS
from payment_service.providers.stripe.provider import StripeProvider
from stripe_sandbox.app import Running
from tests.payment_service.provider_contract import Bench, ProviderContract, WaitUntil
from tests.payment_service.stripe_bench import METHODS, captured, disputed, give_back

KEY = "TROLLEY_STRIPE_TEST_KEY"
BASE_URL = "TROLLEY_STRIPE_TEST_BASE_URL"
RETURN_URL = "https://shop.example/return"
NEEDS_BROWSER = "needs a browser: a shopper acts on a page of Stripe's"

ROOT = Path(__file__).parents[2]

T = TypeVar("T")


class Patient(StripeProvider):
    """Makes a call again that Stripe did not look at for now, as the worker does."""

    def __init__(self, connection: StripeConnection, wait_until: WaitUntil) -> None:
        super().__init__(connection, RETURN_URL, utc_now, slow_methods=["us_bank_account"])
        self._wait_until = wait_until

    async def _taken(self, call: Callable[[], Awaitable[T]]) -> T:
        answers: list[T] = []

        async def taken() -> bool:
            try:
                answers.append(await call())
            except NotTaken:
                return False
            return True

        await self._wait_until(taken, what="room among the requests that Stripe takes")
        return answers[0]

    async def charge(self, request: Charge) -> PaymentOutcome:
        """As `StripeProvider.charge`, and so on."""
        return await self._taken(partial(super().charge, request))

    async def capture(self, request: Capture) -> PaymentOutcome:
        return await self._taken(partial(super().capture, request))

    async def close(self, request: Close) -> PaymentOutcome:
        return await self._taken(partial(super().close, request))

    async def retrieve(self, question: PaymentQuestion) -> PaymentOutcome:
        return await self._taken(partial(super().retrieve, question))

    async def refund(self, request: Refund) -> RefundOutcome:
        return await self._taken(partial(super().refund, request))

    async def retrieve_refund(self, question: RefundQuestion) -> RefundOutcome:
        return await self._taken(partial(super().retrieve_refund, question))

    async def review(self, question: Review) -> ReviewOutcome:
        return await self._taken(partial(super().review, question))


@pytest.fixture
async def bench(wait_until: WaitUntil) -> AsyncIterator[Bench]:
    key = os.environ[KEY]
    if not key.startswith(TEST_KEYS):
        pytest.fail(f"{KEY} must be a test key of Stripe: these tests pay", pytrace=False)

    async def act(charge_key: str, completed: bool) -> None:
        pytest.skip(NEEDS_BROWSER)

    connection = StripeConnection(key, os.environ.get(BASE_URL), call_seconds=30)
    yield Bench(
        Patient(connection, wait_until),
        METHODS,
        act,
        partial(captured, connection.api),
        partial(give_back, connection.api),
        disputed,
    )
    await connection.close()


class TestStripeItself(ProviderContract):
    """The contract; without a key there is nothing to collect."""

    __test__ = bool(os.environ.get(KEY))


async def suite(key: str, base_url: str, *chosen: str) -> tuple[int | None, str]:
    """Run these tests of the contract in a process of their own; its status and what it says."""
    tests = [f"{Path(__file__).relative_to(ROOT)}::TestStripeItself::{name}" for name in chosen]
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests),
        cwd=ROOT,
        env={**os.environ, KEY: key, BASE_URL: base_url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await program.communicate()
    return program.returncode, said.decode()


async def test_with_a_test_key_it_runs_but_for_what_needs_a_browser(sandbox: Running) -> None:
    status, said = await suite(
        "sk_test_sandbox",
        sandbox.url,
        "test_a_charge_takes_the_money",
        "test_a_refund_that_somebody_made_there_has_no_name_of_ours",
        "test_an_action_completed_brings_the_money",
        "test_a_lost_answer_can_be_asked_for",
    )

    assert status == 0, said
    assert "2 passed, 2 skipped" in said
    assert NEEDS_BROWSER in said


async def test_with_a_live_key_nothing_is_sent(sandbox: Running) -> None:
    status, said = await suite("sk_live_secret", sandbox.url, "test_a_charge_takes_the_money")

    assert status == 1, said
    assert "must be a test key" in said
    assert "sk_live_secret" not in said
    with sandbox.database.transaction() as transaction:
        assert list(transaction.sql("SELECT key FROM answers")) == []
