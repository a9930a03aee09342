"""The Stripe adapter, through the SDK, on the sandbox."""

import asyncio
import dataclasses
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import stripe
from pydantic import SecretStr, ValidationError

from contracts.messages.parts import ChargedLine
from contracts.values import replace
from messaging.clock import utc_now
from payment_service.domain.outcomes import (
    ActionRequired,
    Cancelled,
    Declined,
    NotFound,
    PaymentOutcome,
    Processing,
    Refunded,
    Reviewed,
    Succeeded,
    Unknown,
)
from payment_service.domain.saved_methods import Payer
from payment_service.providers.port import (
    RATE_LIMITED,
    Capture,
    Charge,
    NotTaken,
    PaymentQuestion,
    RefundQuestion,
    Review,
)
from payment_service.providers.stripe.client import StripeConnection
from payment_service.providers.stripe.keys import WrongKey, checked_key
from payment_service.providers.stripe.labels import label
from payment_service.providers.stripe.provider import StripeProvider
from payment_service.providers.stripe.reading import lost
from payment_service.providers.stripe.slow_methods import SlowMethod
from payment_service.settings import PaymentSettings
from stripe_sandbox.app import Running
from stripe_sandbox.faults import RequestFault, Rule
from tests.payment_service import stripe_bench
from tests.payment_service.provider_contract import Bench, ProviderContract
from tests.payment_service.stripe_bench import intents_of
from tests.payment_service.stripe_page import DECLINED, entered, pay_at, pay_on_page

KEY = "sk_test_sandbox"
CONFIRM = "POST /v1/payment_intents/{intent}/confirm"
CREATE = "POST /v1/payment_intents"
REFUND = "POST /v1/refunds"

METHODS = dataclasses.replace(
    stripe_bench.METHODS,
    times_out_before_effect="pm_card_visa/timeout_before_effect",
    times_out_after_effect="pm_card_visa/timeout_after_effect",
    slow_after_effect="pm_card_visa/slow_after_effect",
)
"""Behind a stroke what the sandbox is to do to the confirmation."""


class Troubled(StripeProvider):
    """Has the sandbox trouble the first confirmation of a charge, where its method says so."""

    def __init__(self, connection: StripeConnection, sandbox: Running) -> None:
        super().__init__(
            connection, "https://shop.example/return", utc_now, slow_methods=["us_bank_account"]
        )
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


async def page_of(client: stripe.StripeClient, charge_key: str) -> stripe.checkout.Session:
    """The one page under a key of ours."""
    listed = await client.v1.checkout.sessions.list_async({"limit": 100})
    (page,) = [one for one in listed.data if label(one.metadata, "charge_key") == charge_key]
    return page


@pytest.fixture
def bench(connection: StripeConnection, client: stripe.StripeClient, sandbox: Running) -> Bench:
    async def act(charge_key: str, completed: bool) -> None:
        if its.known(charge_key).hosted:
            await pay_on_page(await page_of(client, charge_key))
            return
        (intent,) = await intents_of(client, charge_key)
        url = f"{sandbox.url}/authenticate/{intent.client_secret}"
        async with aiohttp.ClientSession() as browser:
            data = {"outcome": "complete" if completed else "fail"}
            async with browser.post(url, data=data, allow_redirects=False) as answer:
                assert answer.status in (303, 409)

    its = Bench(
        Troubled(connection, sandbox),
        METHODS,
        act,
        partial(stripe_bench.captured, client),
        partial(stripe_bench.give_back, client),
        stripe_bench.disputed,
    )
    return its


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
    later = dataclasses.replace(bench, provider=a_day_later(connection))

    assert await later.refund(key, 1000) == made
    assert isinstance(await later.refund(key, 500, key="another"), Refunded)
    assert await bench.refund_state(key) == made

    (intent,) = await intents_of(client, key)
    refunds = await client.v1.refunds.list_async(params={"payment_intent": intent.id})
    assert sorted(refund.amount for refund in refunds.data) == [500, 1000]


def keys_used(sandbox: Running) -> set[str]:
    """The keys under which Stripe was told to do something."""
    with sandbox.database.transaction() as transaction:
        return {key for (key,) in transaction.sql("SELECT key FROM answers")}


async def test_a_day_later_a_charge_that_still_waits_is_confirmed_under_another_key(
    bench: Bench, connection: StripeConnection, sandbox: Running
) -> None:
    request = bench.charge(METHODS.ok)

    with rule(sandbox, fault="error_before_effect", operation=CONFIRM):
        assert isinstance(await bench.provider.charge(request), Unknown)
    before = keys_used(sandbox)
    assert isinstance(await a_day_later(connection).charge(request), Succeeded)

    assert keys_used(sandbox) - before == {f"{request.charge_key}:1"}
    assert await bench.captured(request.charge_key) == request.amount_minor


@pytest.mark.parametrize("method", ["pm_card_visa", "pm_card_threeDSecure2Required"])
async def test_a_day_later_a_charge_that_was_confirmed_is_only_asked_about(
    bench: Bench, connection: StripeConnection, sandbox: Running, method: str
) -> None:
    request = bench.charge(method)
    outcome = await bench.provider.charge(request)
    before = keys_used(sandbox)

    assert await a_day_later(connection).charge(request) == outcome

    assert keys_used(sandbox) == before


async def test_a_day_later_a_declined_charge_is_closed_and_not_confirmed_again(
    bench: Bench, connection: StripeConnection, sandbox: Running
) -> None:
    request = bench.charge(METHODS.declined)
    cancel = "POST /v1/payment_intents/{intent}/cancel"
    with rule(sandbox, fault="reset_before_effect", operation=cancel):
        assert isinstance(await bench.provider.charge(request), Unknown)
    before = keys_used(sandbox)

    outcome = await a_day_later(connection).charge(request)

    assert isinstance(outcome, Declined)
    assert outcome.code == METHODS.declined_code
    assert keys_used(sandbox) - before == {f"{request.charge_key}:void"}


async def test_a_day_later_what_is_set_aside_is_captured_under_another_key_and_once(
    bench: Bench, connection: StripeConnection, sandbox: Running
) -> None:
    key, _ = await bench.charged(METHODS.ok, "authorize")
    request = Capture(bench.known(key), f"{key}:capture", 1000, utc_now())
    later = a_day_later(connection)
    before = keys_used(sandbox)

    captured = await later.capture(request)

    assert isinstance(captured, Succeeded)
    assert captured.amount_minor == 1000
    assert keys_used(sandbox) - before == {f"{key}:capture:1"}
    assert await later.capture(request) == captured
    assert await later.capture(replace(request, amount_minor=500)) == captured
    assert keys_used(sandbox) - before == {f"{key}:capture:1"}


async def test_a_refund_that_was_not_answered_is_found(bench: Bench, sandbox: Running) -> None:
    key, _ = await bench.charged(METHODS.ok)

    with rule(sandbox, fault="reset_after_effect", operation=REFUND):
        assert isinstance(await bench.refund(key), Unknown)

    assert isinstance(await bench.refund_state(key), Refunded)
    assert isinstance(await bench.refund(key), Refunded)
    assert isinstance(await bench.refund(key, 1, key="more"), type(await bench.refund(key, 1, "x")))


@pytest.mark.parametrize("fault", ["error_before_effect", "error_after_effect"])
async def test_trouble_of_stripes_own_leaves_the_outcome_unknown(
    bench: Bench, sandbox: Running, fault: str
) -> None:
    request = bench.charge(METHODS.ok)

    with rule(sandbox, fault=fault, operation=CONFIRM):
        assert isinstance(await bench.provider.charge(request), Unknown)

    took = isinstance(await bench.state(request.idempotency_key), Succeeded)
    assert took == (fault == "error_after_effect")


@pytest.mark.parametrize("operation", [CREATE, CONFIRM])
async def test_what_stripe_has_too_much_to_do_for_was_not_done(
    bench: Bench, sandbox: Running, operation: str
) -> None:
    request = bench.charge(METHODS.ok)

    with rule(sandbox, fault="rate_limit", operation=operation), pytest.raises(NotTaken) as told:
        await bench.provider.charge(request)

    assert told.value.too_many
    assert await bench.state(request.idempotency_key) == NotFound()
    assert isinstance(await bench.provider.charge(request), Succeeded)


async def test_refused_in_the_middle_of_a_decline_the_outcome_is_unknown(
    bench: Bench, sandbox: Running
) -> None:
    """Something was done by then: it is no call that could simply be made again."""
    request = bench.charge(METHODS.declined)

    with rule(sandbox, fault="rate_limit", operation="GET /v1/payment_intents/{intent}"):
        assert await bench.provider.charge(request) == RATE_LIMITED


@pytest.mark.parametrize(
    ("headers", "code", "too_many", "retry_after"),
    [
        ({}, "rate_limit", True, None),
        ({"Retry-After": "7"}, "rate_limit", True, timedelta(seconds=7)),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, "rate_limit", True, None),
        ({}, "lock_timeout", False, None),
    ],
)
def test_what_429_says_is_when_to_come_again_and_whether_we_are_too_many(
    headers: dict[str, str], code: str, too_many: bool, retry_after: timedelta | None
) -> None:
    with pytest.raises(NotTaken) as told:
        lost(stripe.RateLimitError("no", http_status=429, headers=headers, code=code))

    assert (told.value.too_many, told.value.retry_after) == (too_many, retry_after)


async def test_a_key_that_holds_an_error_of_stripes_own_is_not_waited_for(
    bench: Bench, sandbox: Running, client: stripe.StripeClient
) -> None:
    """The intent was made, and its key tells nothing but the error any more."""
    request = bench.charge(METHODS.ok)

    with rule(sandbox, fault="error_after_effect", operation=CREATE):
        assert isinstance(await bench.provider.charge(request), Unknown)

    assert isinstance(await bench.provider.charge(request), Succeeded)
    assert len(await intents_of(client, request.idempotency_key)) == 1


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


async def test_the_shops_own_page_is_given_what_stripes_script_goes_on_with(
    bench: Bench, client: stripe.StripeClient
) -> None:
    key, outcome = await bench.charged(str(METHODS.action_required))
    page, sent = await bench.sent_to_page()

    (intent,) = await intents_of(client, key)
    assert isinstance(outcome, ActionRequired)
    assert outcome.client_secret == intent.client_secret
    assert outcome.client_secret is not None
    assert isinstance(sent, ActionRequired)
    assert sent.client_secret is None, page


async def test_an_amount_that_stripe_cannot_pay_in_its_coins_is_declined(bench: Bench) -> None:
    charge = bench.charge(METHODS.ok, amount=25_501, currency="KWD")

    assert isinstance(await bench.provider.charge(charge), Declined)
    assert await bench.captured(charge.charge_key) == 0


@pytest.mark.parametrize(
    ("currency", "amount"),
    [("JPY", 2550), ("EUR", 2550), ("USD", 2550), ("GBP", 2550), ("INR", 2550), ("KWD", 25_500)],
)
async def test_stripe_has_each_currency_in_the_minor_units_that_we_have(
    bench: Bench, client: stripe.StripeClient, currency: str, amount: int
) -> None:
    charge = bench.charge(METHODS.ok, "automatic", amount, currency)
    await bench.provider.charge(charge)

    assert isinstance(await bench.refund(charge.charge_key, amount // 2 // 10 * 10), Refunded)

    (intent,) = await intents_of(client, charge.charge_key)
    assert (intent.currency, intent.amount_received) == (currency.lower(), amount)
    refunds = await client.v1.refunds.list_async(params={"payment_intent": intent.id})
    assert [(refund.currency, refund.amount) for refund in refunds.data] == [
        (currency.lower(), amount // 2 // 10 * 10)
    ]


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


# Methods that are saved.


async def test_what_is_kept_is_what_its_owner_knows_of_it(bench: Bench) -> None:
    kept, _ = await bench.saved("pm_card_mastercard")

    assert (kept.brand, kept.last4) == ("mastercard", "4444")
    assert kept.exp_month is not None
    assert kept.exp_year is not None


async def test_a_card_entered_on_the_page_is_kept(bench: Bench) -> None:
    payer = Payer("main", "ada")
    charge = replace(bench.hosted(), payer=payer, save=True)
    sent = await bench.provider.charge(charge)
    assert isinstance(sent, ActionRequired)
    assert sent.url is not None
    await pay_at(sent.url)

    kept = await bench.provider.kept_method(charge)

    assert kept is not None
    assert (kept.brand, kept.last4) == ("visa", "4242")


async def test_what_was_forgotten_pays_no_more(bench: Bench) -> None:
    kept, payer = await bench.saved(METHODS.ok)
    await bench.provider.forget_method(kept.token)

    later = replace(bench.charge(kept.token), payer=payer, off_session=True)

    assert isinstance(await bench.provider.charge(later), Declined)
    assert await bench.captured(later.charge_key) == 0


async def test_another_customer_does_not_pay_with_it(bench: Bench) -> None:
    kept, _ = await bench.saved(METHODS.ok)
    _, another = await bench.saved(METHODS.ok)

    theirs = replace(bench.charge(kept.token), payer=another, off_session=True)

    assert isinstance(await bench.provider.charge(theirs), Declined)
    assert await bench.captured(theirs.charge_key) == 0


async def test_a_method_that_cannot_be_forgotten_now_is_told_so(
    bench: Bench, sandbox: Running
) -> None:
    kept, _ = await bench.saved(METHODS.ok)
    detach = "POST /v1/payment_methods/{payment_method}/detach"

    with rule(sandbox, fault="reset_before_effect", operation=detach):
        assert not await bench.provider.forget_method(kept.token)

    assert await bench.provider.forget_method(kept.token)


# The page.

EXPIRE = "POST /v1/checkout/sessions/{session}/expire"


async def test_the_page_comes_back_to_the_shop_with_the_money_there(
    bench: Bench, client: stripe.StripeClient
) -> None:
    key, sent = await bench.sent_to_page()
    assert sent.url is not None

    async with (
        aiohttp.ClientSession() as browser,
        browser.post(sent.url, data=entered(), allow_redirects=False) as back,
    ):
        assert back.headers["Location"] == "https://shop.example/return"

    page = await page_of(client, key)
    assert (page.amount_total, page.currency, page.payment_status) == (2550, "gbp", "paid")


async def test_a_page_is_open_for_the_window_as_far_as_stripe_lets_it(bench: Bench) -> None:
    for window, least, most in ((0.5, 1, 1), (5, 5, 5), (72, 22, 24)):
        charge = bench.hosted()
        until = charge.began_at + timedelta(hours=window)
        outcome = await bench.provider.charge(replace(charge, window_closes_at=until))
        assert isinstance(outcome, ActionRequired)
        hours = (outcome.expires_at - charge.began_at) / timedelta(hours=1)
        assert least - 0.01 <= hours <= most


async def test_a_card_that_is_declined_on_the_page_leaves_it_open_for_another(
    bench: Bench, client: stripe.StripeClient
) -> None:
    key, sent = await bench.sent_to_page()

    await pay_on_page(await page_of(client, key), DECLINED)
    assert await bench.state(key) == sent

    await pay_on_page(await page_of(client, key))
    assert isinstance(await bench.state(key), Succeeded)
    assert await bench.captured(key) == 2550


async def test_a_close_also_ends_what_a_card_on_the_page_began(
    bench: Bench, client: stripe.StripeClient
) -> None:
    key, _ = await bench.sent_to_page()
    await pay_on_page(await page_of(client, key), DECLINED)

    assert isinstance(await bench.close(key), Cancelled)

    (intent,) = await intents_of(client, key)
    assert intent.status == "canceled"


async def test_once_paid_the_payment_is_named_by_its_intent(
    bench: Bench, client: stripe.StripeClient
) -> None:
    key, sent = await bench.sent_to_page()
    assert sent.provider_payment_id.startswith("cs_")
    await bench.act(key, True)

    paid = await bench.state(key)

    (intent,) = await intents_of(client, key)
    assert isinstance(paid, Succeeded)
    assert paid.provider_payment_id == intent.id
    named = replace(bench.known(key), provider_payment_id=intent.id)
    assert await bench.provider.retrieve(PaymentQuestion(named)) == paid


def with_slow_methods(connection: StripeConnection, *methods: SlowMethod) -> StripeProvider:
    """The adapter of a shop that takes these ways to pay whose money takes days."""
    return StripeProvider(connection, "https://shop.example", utc_now, slow_methods=methods)


@pytest.mark.parametrize(
    ("taken", "end"), [((), Declined), (("us_bank_account",), Processing)], ids=["no", "yes"]
)
async def test_a_shop_says_whether_stock_waits_days_for_a_debit(
    bench: Bench,
    connection: StripeConnection,
    taken: tuple[SlowMethod, ...],
    end: type[PaymentOutcome],
) -> None:
    request = bench.charge("pm_usBankAccount_success", currency="USD")

    outcome = await with_slow_methods(connection, *taken).charge(request)

    assert isinstance(outcome, end)
    if isinstance(outcome, Declined):
        assert not outcome.same_method_allowed
        assert isinstance(await bench.state(request.charge_key), Cancelled)


@pytest.mark.parametrize(
    ("taken", "ways"),
    [((), ["card"]), (("sepa_debit",), ["card", "sepa_debit"])],
    ids=["no", "yes"],
)
async def test_a_page_offers_only_what_stock_may_wait_for(
    bench: Bench,
    connection: StripeConnection,
    client: stripe.StripeClient,
    taken: tuple[SlowMethod, ...],
    ways: list[str],
) -> None:
    request = replace(bench.hosted(), currency="EUR")

    await with_slow_methods(connection, *taken).charge(request)

    assert (await page_of(client, request.charge_key)).payment_method_types == ways


@pytest.mark.parametrize("hosted", [False, True], ids=["intent", "page"])
async def test_a_setting_that_changed_between_two_tries_makes_nothing_twice(
    bench: Bench, connection: StripeConnection, sandbox: Running, *, hosted: bool
) -> None:
    request = bench.hosted() if hosted else bench.charge(METHODS.ok)
    create = "POST /v1/checkout/sessions" if hosted else CREATE
    with rule(sandbox, fault="timeout_after_effect", operation=create, milliseconds=50):
        assert isinstance(await bench.provider.prepare(request), Unknown)

    made = await with_slow_methods(connection, "sepa_debit").prepare(request)

    assert isinstance(made, str)
    assert made == await with_slow_methods(connection).prepare(request)


def test_a_slow_method_has_to_be_one() -> None:
    with pytest.raises(ValidationError, match="us_bank_account"):
        PaymentSettings.model_validate({"stripe_slow_methods": ["ach"]})


async def on_debit_page(bench: Bench, client: stripe.StripeClient, account: str) -> Charge:
    """A charge whose shopper has paid by a bank debit, on a page that takes those."""
    charge = replace(bench.hosted(), currency="USD")
    labels = {"charge_key": charge.charge_key}
    page = await client.v1.checkout.sessions.create_async(
        {
            "mode": "payment",
            "success_url": "https://shop.example",
            "payment_method_types": ["us_bank_account"],
            "metadata": labels,
            "payment_intent_data": {"metadata": labels},
            "line_items": [
                {
                    "price_data": {
                        "currency": "usd",
                        "unit_amount": charge.amount_minor,
                        "product_data": {"name": "Order"},
                    },
                    "quantity": 1,
                }
            ],
        },
        {"idempotency_key": f"{charge.charge_key}:create"},
    )
    debit = {"method": "us_bank_account", "routing": "110000000", "account": account}
    await pay_on_page(page, debit)
    return replace(charge, provider_payment_id=page.id)


@pytest.mark.parametrize(
    ("account", "end"), [("000123456789", Succeeded), ("000222222227", Declined)]
)
async def test_a_page_that_is_complete_may_be_unpaid(
    bench: Bench,
    client: stripe.StripeClient,
    wait_until: Callable[..., Awaitable[None]],
    account: str,
    end: type[PaymentOutcome],
) -> None:
    question = PaymentQuestion(await on_debit_page(bench, client, account))
    assert isinstance(await bench.provider.retrieve(question), Processing)

    async def ended() -> bool:
        return isinstance(await bench.provider.retrieve(question), end)

    await wait_until(ended, what="the end of the debit")


async def test_a_page_is_reviewed_whether_it_was_paid_or_not(bench: Bench) -> None:
    for act in (bench.close, lambda key: bench.act(key, True)):
        key, sent = await bench.sent_to_page()
        await act(key)
        named = replace(bench.known(key), provider_payment_id=sent.provider_payment_id)

        reviewed = await bench.provider.review(Review(named))

        assert isinstance(reviewed, Reviewed)
        assert reviewed.payment == await bench.state(key)


async def shown_on_page(client: stripe.StripeClient, charge: Charge) -> str:
    """The text of its page, in one line, with x for times."""
    url = (await page_of(client, charge.charge_key)).url
    assert url is not None
    async with aiohttp.ClientSession() as browser, browser.get(url) as answer:
        text = unescape(re.sub("<[^>]+>", " ", await answer.text()))
    return " ".join(text.replace("\N{MULTIPLICATION SIGN}", "x").split())


async def test_a_page_shows_what_is_bought(bench: Bench, client: stripe.StripeClient) -> None:
    charge = bench.hosted()

    await bench.provider.charge(charge)

    shown = await shown_on_page(client, charge)
    assert "Teapot 2 x 8.00 GBP 16.00 GBP" in shown
    assert "3 x Mug <blue> 1 x 5.00 GBP 5.00 GBP" in shown
    assert "Parcel 1 x 4.50 GBP 4.50 GBP" in shown
    assert "Total 25.50 GBP" in shown
    assert "Order 7Q2M-0C4X-9ZJ1" not in shown
    page = await page_of(client, charge.charge_key)
    assert page.amount_total == charge.amount_minor


@pytest.mark.parametrize(
    "change",
    [
        {"lines": ()},
        {"amount_minor": 2450},
        {"lines": (ChargedLine(name="Bead", quantity=1, amount_minor=25),) * 102},
    ],
    ids=["none are known", "another amount is paid", "there are too many"],
)
async def test_a_page_that_cannot_show_what_is_bought_shows_the_order(
    bench: Bench, client: stripe.StripeClient, change: dict[str, Any]
) -> None:
    charge = replace(bench.hosted(), **change)

    assert isinstance(await bench.provider.charge(charge), ActionRequired)

    shown = await shown_on_page(client, charge)
    assert "Order 7Q2M-0C4X-9ZJ1 1 x" in shown
    assert (await page_of(client, charge.charge_key)).amount_total == charge.amount_minor


async def test_a_page_of_as_many_lines_as_stripe_takes_is_made(
    bench: Bench, client: stripe.StripeClient
) -> None:
    line = ChargedLine(name="Strung: " + "a bead of glass, " * 20, quantity=1, amount_minor=30)
    charge = replace(bench.hosted(), amount_minor=3000, lines=(line,) * 100)

    assert isinstance(await bench.provider.charge(charge), ActionRequired)

    assert (await shown_on_page(client, charge)).count("Strung: a bead") == 100


async def test_a_page_begun_before_its_lines_were_known_is_not_made_twice(
    bench: Bench, sandbox: Running
) -> None:
    charge = bench.hosted()
    create = "POST /v1/checkout/sessions"
    with rule(sandbox, fault="timeout_after_effect", operation=create, milliseconds=50):
        assert isinstance(await bench.provider.prepare(replace(charge, lines=())), Unknown)

    made = await bench.provider.prepare(charge)

    assert isinstance(made, str)
    assert made == await bench.provider.prepare(charge)


async def test_a_page_whose_making_was_not_answered_is_made_once(
    bench: Bench, sandbox: Running, client: stripe.StripeClient
) -> None:
    charge = bench.hosted()

    with rule(
        sandbox,
        fault="timeout_after_effect",
        operation="POST /v1/checkout/sessions",
        milliseconds=50,
    ):
        assert isinstance(await bench.provider.charge(charge), Unknown)

    assert isinstance(await bench.state(charge.charge_key), ActionRequired)
    await page_of(client, charge.charge_key)


async def test_a_day_later_a_page_is_looked_for_instead_of_made_again(
    bench: Bench, connection: StripeConnection, client: stripe.StripeClient
) -> None:
    key, sent = await bench.sent_to_page()

    assert await a_day_later(connection).charge(bench.known(key)) == sent

    await page_of(client, key)


async def test_a_page_whose_end_was_not_answered_is_asked_about(
    bench: Bench, sandbox: Running
) -> None:
    key, _ = await bench.sent_to_page()

    with rule(sandbox, fault="reset_after_effect", operation=EXPIRE):
        assert isinstance(await bench.close(key), Unknown)

    assert isinstance(await bench.state(key), Cancelled)


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


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        (
            {"STRIPE_API_KEY": "sk_live_secret", "STRIPE_BASE_URL": "http://127.0.0.1:1"},
            "PaymentSettings: a live key must not be sent to a sandbox: "
            "unset PAYMENT_STRIPE_BASE_URL",
        ),
        (
            {"STRIPE_API_KEY": "sk_test_secret", "PRODUCTION": "true"},
            "PaymentSettings: a test key takes no money: production needs a live key",
        ),
        (
            {"STRIPE_API_KEY": "secret", "CALLS_IN_FLIGHT": "-7"},
            "PaymentSettings: calls_in_flight: Input should be greater than or equal to 1",
        ),
    ],
)
async def test_a_service_whose_key_does_not_belong_there_says_so_in_a_line_and_does_not_start(
    environment: dict[str, str], says: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "payment_service.app"),
        env={
            **os.environ,
            "TROLLEY_ENV_FILE": os.devnull,
            "TROLLEY_SIGNING_KEY": "k" * 32,
            **{f"PAYMENT_{name}": value for name, value in environment.items()},
        },
        cwd=Path(__file__).parents[2],
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()

    assert (process.returncode, said.decode().splitlines()) == (2, [says])


def test_a_key_is_taken_where_it_belongs() -> None:
    assert checked_key(SecretStr("sk_live_1"), None, production=True) == "sk_live_1"
    assert checked_key(SecretStr("sk_test_1"), "http://x", production=False) == "sk_test_1"
