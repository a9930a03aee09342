"""The Stripe adapter, through the SDK, on the sandbox."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
import stripe
from pydantic import SecretStr

from messaging.clock import utc_now
from payment_service.domain.outcomes import (
    ActionRequired,
    Cancelled,
    Declined,
    NotFound,
    PaymentOutcome,
    Refunded,
    Succeeded,
    Unknown,
)
from payment_service.providers.port import Charge, PaymentQuestion, RefundQuestion
from payment_service.providers.stripe.client import StripeConnection
from payment_service.providers.stripe.keys import WrongKey, checked_key
from payment_service.providers.stripe.provider import StripeProvider
from stripe_sandbox.app import Running, running
from stripe_sandbox.faults import RequestFault, Rule
from stripe_sandbox.settings import SandboxSettings
from tests.payment_service.provider_contract import Bench, Methods, ProviderContract

KEY = "sk_test_sandbox"
CONFIRM = "POST /v1/payment_intents/{intent}/confirm"
CREATE = "POST /v1/payment_intents"
REFUND = "POST /v1/refunds"

METHODS = Methods(
    ok="pm_card_visa",
    declined="pm_card_chargeDeclinedInsufficientFunds",
    declined_code="insufficient_funds",
    action_required="pm_card_threeDSecure2Required",
    processing="pm_usBankAccount_success",
    processing_then_declined="pm_usBankAccount_insufficientFunds",
    capture_fails=None,
    refund_pending="pm_card_pendingRefund",
    refund_fails=None,
    times_out_before_effect="pm_card_visa/timeout_before_effect",
    times_out_after_effect="pm_card_visa/timeout_after_effect",
    slow_after_effect="pm_card_visa/slow_after_effect",
    debit_currency="USD",
)
"""Names of Stripe's own; behind a stroke what the sandbox is to do to the confirmation."""


class Troubled(StripeProvider):
    """Has the sandbox trouble the first confirmation of a charge, where its method says so."""

    def __init__(self, connection: StripeConnection, sandbox: Running) -> None:
        super().__init__(connection, "https://shop.example/return", utc_now)
        self._sandbox = sandbox
        self._had: set[str] = set()

    async def charge(self, request: Charge) -> PaymentOutcome:
        """As `StripeProvider.charge`."""
        method, _, fault = request.method_token.partition("/")
        if fault and request.charge_key not in self._had:
            self._had.add(request.charge_key)
            milliseconds = 60_000 if fault.startswith("slow") else 50
            self._sandbox.faults.add(
                Rule(
                    fault=RequestFault(fault),
                    operation=CONFIRM,
                    contains=request.charge_key,
                    milliseconds=milliseconds,
                )
            )
        return await super().charge(replace(request, method_token=method))


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(SandboxSettings(http_port=0, state=tmp_path / "sandbox.sqlite3")) as sandbox:
        yield sandbox


@pytest.fixture
async def connection(sandbox: Running) -> AsyncIterator[StripeConnection]:
    connection = StripeConnection(KEY, sandbox.url, call_seconds=30)
    yield connection
    await connection.close()


@pytest.fixture
def client(connection: StripeConnection) -> stripe.StripeClient:
    return connection.api


def a_day_later(connection: StripeConnection) -> StripeProvider:
    """The adapter, by a clock for which every key is too old."""
    return StripeProvider(connection, "https://shop.example", lambda: utc_now() + timedelta(days=1))


async def intents_of(client: stripe.StripeClient, charge_key: str) -> list[stripe.PaymentIntent]:
    """All that Stripe has under a key of ours."""
    listed = await client.v1.payment_intents.list_async(params={"limit": 100})
    return [one for one in listed.data if one.metadata and one.metadata["charge_key"] == charge_key]


@pytest.fixture
def bench(connection: StripeConnection, client: stripe.StripeClient, sandbox: Running) -> Bench:
    async def act(charge_key: str, completed: bool) -> None:
        (intent,) = await intents_of(client, charge_key)
        url = f"{sandbox.url}/authenticate/{intent.client_secret}"
        async with aiohttp.ClientSession() as browser:
            data = {"outcome": "complete" if completed else "fail"}
            async with browser.post(url, data=data, allow_redirects=False) as answer:
                assert answer.status in (303, 409)

    async def captured(charge_key: str) -> int:
        intents = await intents_of(client, charge_key)
        return sum(intent.amount_received or 0 for intent in intents)

    return Bench(Troubled(connection, sandbox), METHODS, act, captured)


class TestStripeProvider(ProviderContract):
    """The contract."""


@contextmanager
def rule(sandbox: Running, **facts: object) -> Iterator[None]:
    """Trouble that has been had by the end."""
    sandbox.faults.add(Rule.model_validate(facts))
    yield
    assert sandbox.faults.left() == []


async def test_an_intent_whose_making_was_not_answered_is_made_once(
    bench: Bench, sandbox: Running, client: stripe.StripeClient
) -> None:
    request = bench.charge(METHODS.ok)

    with rule(sandbox, fault="timeout_after_effect", operation=CREATE, milliseconds=50):
        assert isinstance(await bench.provider.charge(request), Unknown)
    assert await bench.state(request.idempotency_key) == NotFound()
    assert isinstance(await bench.provider.charge(request), Succeeded)

    assert len(await intents_of(client, request.idempotency_key)) == 1


async def test_a_day_later_an_intent_is_looked_for_instead_of_made_again(
    bench: Bench, connection: StripeConnection, client: stripe.StripeClient
) -> None:
    request = bench.charge(METHODS.ok)
    await bench.provider.prepare(request)

    outcome = await a_day_later(connection).charge(request)

    assert isinstance(outcome, Succeeded)
    assert len(await intents_of(client, request.idempotency_key)) == 1


async def test_a_day_later_a_refund_is_looked_for_before_it_is_made_again(
    bench: Bench, connection: StripeConnection, client: stripe.StripeClient
) -> None:
    key, _ = await bench.charged(METHODS.ok)
    made = await bench.refund(key, 1000)
    later = replace(bench, provider=a_day_later(connection))

    assert await later.refund(key, 1000) == made
    assert isinstance(await later.refund(key, 500, key="another"), Refunded)
    assert await bench.refund_state(key) == made

    (intent,) = await intents_of(client, key)
    refunds = await client.v1.refunds.list_async(params={"payment_intent": intent.id})
    assert sorted(refund.amount for refund in refunds.data) == [500, 1000]


async def test_a_refund_that_was_not_answered_is_found(bench: Bench, sandbox: Running) -> None:
    key, _ = await bench.charged(METHODS.ok)

    with rule(sandbox, fault="reset_after_effect", operation=REFUND):
        assert isinstance(await bench.refund(key), Unknown)

    assert isinstance(await bench.refund_state(key), Refunded)
    assert isinstance(await bench.refund(key), Refunded)
    assert isinstance(await bench.refund(key, 1, key="more"), type(await bench.refund(key, 1, "x")))


@pytest.mark.parametrize("fault", ["error_before_effect", "error_after_effect", "rate_limit"])
async def test_trouble_of_stripes_own_leaves_the_outcome_unknown(
    bench: Bench, sandbox: Running, fault: str
) -> None:
    request = bench.charge(METHODS.ok)

    with rule(sandbox, fault=fault, operation=CONFIRM):
        assert isinstance(await bench.provider.charge(request), Unknown)

    took = isinstance(await bench.state(request.idempotency_key), Succeeded)
    assert took == (fault == "error_after_effect")


async def test_what_was_declined_cannot_be_paid_on_another_page(
    bench: Bench, client: stripe.StripeClient
) -> None:
    key, outcome = await bench.charged(METHODS.declined)
    assert isinstance(outcome, Declined)

    (intent,) = await intents_of(client, key)
    assert intent.status == "canceled"
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.payment_intents.confirm_async(
            intent.id, params={"payment_method": METHODS.ok, "return_url": "https://x.example"}
        )


async def test_a_decline_whose_cancelling_is_not_answered_is_asked_about(
    bench: Bench, sandbox: Running
) -> None:
    request = bench.charge(METHODS.declined)
    cancel = "POST /v1/payment_intents/{intent}/cancel"

    with rule(sandbox, fault="reset_before_effect", operation=cancel):
        assert isinstance(await bench.provider.charge(request), Unknown)

    outcome = await bench.state(request.idempotency_key)
    assert isinstance(outcome, Declined)
    assert outcome.code == METHODS.declined_code


async def test_a_payment_method_that_is_none_is_declined_for_good(bench: Bench) -> None:
    key, outcome = await bench.charged("pm_nothing_of_the_kind")

    assert isinstance(outcome, Declined)
    assert outcome.code == "resource_missing"
    assert isinstance(await bench.state(key), Declined | Cancelled)


async def test_an_amount_that_stripe_does_not_take_is_declined(bench: Bench) -> None:
    request = bench.charge(METHODS.ok, amount=1)

    outcome = await bench.provider.charge(request)

    assert isinstance(outcome, Declined)
    assert outcome.code == "amount_too_small"


async def test_the_shopper_is_sent_to_the_bank_and_back(bench: Bench, sandbox: Running) -> None:
    _, outcome = await bench.charged(str(METHODS.action_required))
    assert isinstance(outcome, ActionRequired)
    assert outcome.url is not None

    async with aiohttp.ClientSession() as browser:
        async with browser.get(outcome.url) as page:
            assert "Complete" in await page.text()
        data = {"outcome": "complete"}
        async with browser.post(outcome.url, data=data, allow_redirects=False) as back:
            assert back.headers["Location"].startswith("https://shop.example/return?payment_intent")


async def test_every_call_that_does_something_has_a_key_of_ours(
    bench: Bench, sandbox: Running
) -> None:
    key, _ = await bench.charged(METHODS.ok, "authorize")
    await bench.capture(key)
    await bench.refund(key)
    await bench.close((await bench.charged(METHODS.ok, "authorize"))[0])
    await bench.charged(METHODS.declined)

    with sandbox.database.transaction() as transaction:
        keys = [key for (key,) in transaction.sql("SELECT key FROM answers")]
    # Three charges with their intents; a capture, a refund, a close, and the decline's cancelling.
    assert len(keys) == 10
    assert all(":charge" in key for key in keys)


async def test_a_question_about_what_was_never_charged_moves_no_money(
    bench: Bench, client: stripe.StripeClient
) -> None:
    request = bench.charge(METHODS.ok)

    await bench.provider.retrieve(PaymentQuestion(request))
    await bench.provider.retrieve_refund(RefundQuestion(request, "refund", None))

    (intent,) = await intents_of(client, request.idempotency_key)
    assert intent.status == "requires_payment_method"


@pytest.mark.parametrize(
    ("key", "base_url", "production"),
    [
        ("sk_live_1", "http://127.0.0.1:1", False),
        ("sk_test_1", None, True),
        ("pk_test_1", None, False),
        ("", None, False),
    ],
)
def test_a_key_goes_only_where_it_belongs(key: str, base_url: str | None, production: bool) -> None:
    with pytest.raises(WrongKey) as refused:
        checked_key(SecretStr(key), base_url, production=production)

    assert not key or key not in str(refused.value)


def test_a_key_is_taken_where_it_belongs() -> None:
    assert checked_key(SecretStr("sk_live_1"), None, production=True) == "sk_live_1"
    assert checked_key(SecretStr("sk_test_1"), "http://x", production=False) == "sk_test_1"
