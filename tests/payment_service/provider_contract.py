"""What every adapter of the provider port must keep, whatever provider stands behind it.

Subclass `ProviderContract` as `Test...` and give it a fixture `bench`; see
`test_simulated_provider.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import pytest

from contracts.ids import new_id
from messaging.clock import utc_now
from payment_service.domain.outcomes import (
    ActionRequired,
    Authorized,
    Cancelled,
    CaptureFailed,
    Declined,
    NeverCreated,
    NotFound,
    PaymentOutcome,
    Processing,
    Refunded,
    RefundFailed,
    RefundOutcome,
    RefundPending,
    Succeeded,
    Unknown,
)
from payment_service.providers.port import (
    Capture,
    Charge,
    Close,
    IdempotencyConflict,
    PaymentQuestion,
    Provider,
    Refund,
    RefundQuestion,
)

AMOUNT = 2550
WaitUntil = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Methods:
    """The provider's test methods for what the contract looks at; None where it has none."""

    ok: str
    declined: str
    declined_code: str
    action_required: str | None
    processing: str
    processing_then_declined: str
    capture_fails: str | None
    refund_pending: str
    refund_fails: str | None
    times_out_before_effect: str | None
    times_out_after_effect: str | None
    slow_after_effect: str | None
    debit_currency: str = "GBP"
    """Of the methods that are processing for a while."""


def has(method: str | None) -> str:
    """The method; without one the test is not for this provider."""
    if method is None:
        pytest.skip("the provider cannot be made to do this")
    return method


@dataclass
class Bench:
    """A provider on the test bench.

    `act` completes (or fails) the required action of a charge key as the shopper would;
    `captured` is what the provider's own books say was captured under it.
    """

    provider: Provider
    methods: Methods
    act: Callable[[str, bool], Awaitable[None]]
    captured: Callable[[str], Awaitable[int]]
    _charges: dict[str, Charge] = field(default_factory=dict)

    def charge(
        self,
        method: str,
        flow: Literal["automatic", "authorize"] = "automatic",
        amount: int = AMOUNT,
        currency: str = "GBP",
    ) -> Charge:
        """A charge of a payment of its own."""
        payment_id = new_id()
        key = f"{payment_id}:1:charge"
        now = utc_now()
        self._charges[key] = Charge(key, payment_id, 1, amount, currency, method, flow, now)
        return self._charges[key]

    def known(self, charge_key: str) -> Charge:
        """The charge of this key."""
        return self._charges[charge_key]

    async def charged(
        self,
        method: str,
        flow: Literal["automatic", "authorize"] = "automatic",
        currency: str = "GBP",
    ) -> tuple[str, PaymentOutcome]:
        """Charge; gives the charge key and the outcome."""
        request = self.charge(method, flow, currency=currency)
        return request.idempotency_key, await self.provider.charge(request)

    async def state(self, charge_key: str) -> PaymentOutcome:
        """What the provider says when asked."""
        return await self.provider.retrieve(PaymentQuestion(self.known(charge_key)))

    async def capture(
        self, charge_key: str, amount: int = AMOUNT, key: str = "capture"
    ) -> PaymentOutcome:
        """Capture."""
        charge = self.known(charge_key)
        return await self.provider.capture(Capture(charge, f"{charge_key}:{key}", amount))

    async def close(self, charge_key: str, key: str = "close") -> PaymentOutcome:
        """Close."""
        return await self.provider.close(Close(self.known(charge_key), f"{charge_key}:{key}"))

    async def refund(
        self, charge_key: str, amount: int = AMOUNT, key: str = "refund"
    ) -> RefundOutcome:
        """Refund."""
        charge = self.known(charge_key)
        request = Refund(charge, f"{charge_key}:{key}", amount, utc_now())
        return await self.provider.refund(request)

    async def refund_state(self, charge_key: str, key: str = "refund") -> RefundOutcome:
        """What the provider says of a refund when asked."""
        question = RefundQuestion(self.known(charge_key), f"{charge_key}:{key}", None)
        return await self.provider.retrieve_refund(question)


class ProviderContract:
    """The contract; every test makes payments of its own."""

    # charge

    async def test_a_charge_takes_the_money(self, bench: Bench) -> None:
        key, outcome = await bench.charged(bench.methods.ok)

        assert isinstance(outcome, Succeeded)
        assert outcome.amount_minor == AMOUNT
        assert await bench.captured(key) == AMOUNT
        assert await bench.state(key) == outcome

    async def test_a_charge_can_set_the_money_aside(self, bench: Bench) -> None:
        key, outcome = await bench.charged(bench.methods.ok, "authorize")

        assert isinstance(outcome, Authorized)
        assert outcome.amount_minor == AMOUNT
        assert await bench.captured(key) == 0
        assert await bench.state(key) == outcome

    async def test_a_decline_has_its_code_and_takes_nothing(self, bench: Bench) -> None:
        key, outcome = await bench.charged(bench.methods.declined)

        assert isinstance(outcome, Declined)
        assert outcome.code == bench.methods.declined_code
        assert await bench.captured(key) == 0
        assert await bench.state(key) == outcome

    # keys

    async def test_the_same_key_has_the_same_answer_and_one_effect(self, bench: Bench) -> None:
        request = bench.charge(bench.methods.ok)

        first = await bench.provider.charge(request)
        second = await bench.provider.charge(request)

        assert first == second
        assert await bench.captured(request.idempotency_key) == AMOUNT

    async def test_the_same_key_at_the_same_time_has_one_effect(self, bench: Bench) -> None:
        request = bench.charge(bench.methods.ok)

        outcomes = await asyncio.gather(*(bench.provider.charge(request) for _ in range(8)))

        # A provider may answer a concurrent twin with an error of its own: then it is unknown.
        assert any(isinstance(outcome, Succeeded) for outcome in outcomes)
        assert all(isinstance(outcome, Succeeded | Unknown) for outcome in outcomes)
        assert await bench.captured(request.idempotency_key) == AMOUNT

    async def test_the_same_key_with_other_parameters_is_refused(self, bench: Bench) -> None:
        request = bench.charge(bench.methods.ok)
        await bench.provider.charge(request)

        with pytest.raises(IdempotencyConflict):
            await bench.provider.charge(replace(request, amount_minor=AMOUNT + 1))

        assert await bench.captured(request.idempotency_key) == AMOUNT

    async def test_a_name_learnt_meanwhile_is_no_other_parameter(self, bench: Bench) -> None:
        key, charged = await bench.charged(bench.methods.ok, "authorize")
        assert isinstance(charged, Authorized)
        charge = bench.known(key)

        first = await bench.capture(key)
        named = replace(charge, provider_payment_id=charged.provider_payment_id)
        again = Capture(named, f"{key}:capture", AMOUNT)

        assert await bench.provider.capture(again) == first

    # asking

    async def test_what_the_provider_never_heard_of_is_not_found(self, bench: Bench) -> None:
        never = bench.charge(bench.methods.ok)

        assert await bench.state(never.idempotency_key) == NotFound()
        assert await bench.refund_state(never.idempotency_key) == NotFound()

    async def test_a_lost_answer_can_be_asked_for(self, bench: Bench) -> None:
        key, outcome = await bench.charged(has(bench.methods.times_out_after_effect))

        assert isinstance(outcome, Unknown)
        assert isinstance(await bench.state(key), Succeeded)
        assert await bench.captured(key) == AMOUNT

    async def test_a_lost_call_is_not_found_and_can_be_made_again(self, bench: Bench) -> None:
        request = bench.charge(has(bench.methods.times_out_before_effect))
        key = request.idempotency_key

        assert isinstance(await bench.provider.charge(request), Unknown)
        assert await bench.state(key) == NotFound()
        assert await bench.captured(key) == 0
        assert isinstance(await bench.provider.charge(request), Succeeded)
        assert await bench.captured(key) == AMOUNT

    async def test_the_effect_stays_when_the_caller_goes(
        self, bench: Bench, wait_until: WaitUntil
    ) -> None:
        request = bench.charge(has(bench.methods.slow_after_effect))
        call = asyncio.ensure_future(bench.provider.charge(request))

        async def took_effect() -> bool:
            return await bench.captured(request.idempotency_key) == AMOUNT

        await wait_until(took_effect, what="the effect")
        assert not call.done()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

        assert isinstance(await bench.state(request.idempotency_key), Succeeded)

    # the shopper

    async def test_an_action_completed_brings_the_money(self, bench: Bench) -> None:
        key, outcome = await bench.charged(has(bench.methods.action_required))
        assert isinstance(outcome, ActionRequired)
        assert outcome.url
        assert await bench.captured(key) == 0

        await bench.act(key, True)

        assert isinstance(await bench.state(key), Succeeded)
        assert await bench.captured(key) == AMOUNT

    async def test_an_action_failed_brings_none(self, bench: Bench) -> None:
        key, _ = await bench.charged(has(bench.methods.action_required))

        await bench.act(key, False)

        assert isinstance(await bench.state(key), Declined)
        assert await bench.captured(key) == 0

    # what takes its time

    async def test_processing_ends_with_the_money(
        self, bench: Bench, wait_until: WaitUntil
    ) -> None:
        key, outcome = await bench.charged(
            bench.methods.processing, currency=bench.methods.debit_currency
        )
        assert isinstance(outcome, Processing)
        assert await bench.captured(key) == 0

        async def ended() -> bool:
            return not isinstance(await bench.state(key), Processing)

        await wait_until(ended, what="the end of processing")
        assert isinstance(await bench.state(key), Succeeded)
        assert await bench.captured(key) == AMOUNT

    async def test_processing_ends_without(self, bench: Bench, wait_until: WaitUntil) -> None:
        key, outcome = await bench.charged(
            bench.methods.processing_then_declined, currency=bench.methods.debit_currency
        )
        assert isinstance(outcome, Processing)

        async def ended() -> bool:
            return not isinstance(await bench.state(key), Processing)

        await wait_until(ended, what="the end of processing")
        assert isinstance(await bench.state(key), Declined)
        assert await bench.captured(key) == 0

    # capture

    async def test_a_capture_takes_what_was_set_aside(self, bench: Bench) -> None:
        key, _ = await bench.charged(bench.methods.ok, "authorize")

        outcome = await bench.capture(key)

        assert isinstance(outcome, Succeeded)
        assert outcome.amount_minor == AMOUNT
        assert await bench.captured(key) == AMOUNT
        assert await bench.capture(key) == outcome
        assert await bench.captured(key) == AMOUNT

    async def test_a_capture_of_a_part_leaves_the_rest(self, bench: Bench) -> None:
        key, _ = await bench.charged(bench.methods.ok, "authorize")

        outcome = await bench.capture(key, 1000)

        assert isinstance(outcome, Succeeded)
        assert outcome.amount_minor == 1000
        assert await bench.captured(key) == 1000
        assert isinstance(await bench.capture(key, 1000, key="again"), Succeeded)
        assert await bench.captured(key) == 1000

    async def test_a_capture_can_fail_and_the_authorization_is_gone(self, bench: Bench) -> None:
        key, _ = await bench.charged(has(bench.methods.capture_fails), "authorize")

        assert isinstance(await bench.capture(key), CaptureFailed)
        assert await bench.captured(key) == 0
        assert not isinstance(await bench.state(key), Authorized | Succeeded)

    # close

    @pytest.mark.parametrize("flow", ["automatic", "authorize"])
    async def test_a_close_of_what_never_was_refuses_the_late_charge(
        self, bench: Bench, flow: Literal["automatic", "authorize"]
    ) -> None:
        late = bench.charge(bench.methods.ok, flow)

        assert isinstance(await bench.close(late.idempotency_key), NeverCreated | Cancelled)
        assert isinstance(await bench.provider.charge(late), NeverCreated | Cancelled)

        assert await bench.captured(late.idempotency_key) == 0
        assert isinstance(await bench.state(late.idempotency_key), NeverCreated | Cancelled)

    async def test_a_close_gives_an_authorization_back(self, bench: Bench) -> None:
        key, _ = await bench.charged(bench.methods.ok, "authorize")

        outcome = await bench.close(key)

        assert isinstance(outcome, Cancelled)
        assert outcome.released_minor == AMOUNT
        assert not isinstance(await bench.capture(key), Succeeded)
        assert await bench.captured(key) == 0

    async def test_after_a_close_the_shopper_cannot_act(self, bench: Bench) -> None:
        key, _ = await bench.charged(has(bench.methods.action_required))

        assert isinstance(await bench.close(key), Cancelled)
        await bench.act(key, True)

        assert isinstance(await bench.state(key), Cancelled)
        assert await bench.captured(key) == 0

    async def test_a_close_of_taken_money_says_so(self, bench: Bench) -> None:
        key, charged = await bench.charged(bench.methods.ok)

        assert await bench.close(key) == charged
        assert await bench.captured(key) == AMOUNT

    async def test_a_close_of_a_decline_is_that_decline(self, bench: Bench) -> None:
        key, charged = await bench.charged(bench.methods.declined)

        assert await bench.close(key) == charged

    async def test_charge_and_close_at_the_same_time_agree(self, bench: Bench) -> None:
        requests = [bench.charge(bench.methods.ok) for _ in range(10)]

        async def race(request: Charge) -> None:
            charged, closed = await asyncio.gather(
                bench.provider.charge(request), bench.close(request.idempotency_key)
            )
            took = await bench.captured(request.idempotency_key) > 0
            assert isinstance(charged, Succeeded) == took
            assert isinstance(closed, Succeeded) == took

        await asyncio.gather(*(race(request) for request in requests))

    # refund

    async def test_a_refund_gives_the_money_back_once(self, bench: Bench) -> None:
        key, _ = await bench.charged(bench.methods.ok)

        first = await bench.refund(key)

        assert isinstance(first, Refunded)
        assert await bench.refund(key) == first
        assert await bench.refund_state(key) == first
        assert isinstance(await bench.refund(key, 1, key="more"), RefundFailed)

    async def test_refunds_in_parts_stop_at_what_was_captured(self, bench: Bench) -> None:
        key, _ = await bench.charged(bench.methods.ok)

        outcomes = await asyncio.gather(
            *(bench.refund(key, AMOUNT // 2, key=f"part-{number}") for number in range(5))
        )

        assert sum(isinstance(outcome, Refunded) for outcome in outcomes) == 2
        assert sum(isinstance(outcome, RefundFailed) for outcome in outcomes) == 3

    async def test_a_refund_can_take_its_time(self, bench: Bench, wait_until: WaitUntil) -> None:
        key, _ = await bench.charged(bench.methods.refund_pending)
        assert isinstance(await bench.refund(key), RefundPending)

        async def done() -> bool:
            return isinstance(await bench.refund_state(key), Refunded)

        await wait_until(done, what="the refund")

    async def test_a_refund_can_fail(self, bench: Bench) -> None:
        key, _ = await bench.charged(has(bench.methods.refund_fails))

        assert isinstance(await bench.refund(key), RefundFailed)

    async def test_what_was_not_captured_is_not_refunded(self, bench: Bench) -> None:
        authorized, _ = await bench.charged(bench.methods.ok, "authorize")
        declined, _ = await bench.charged(bench.methods.declined)

        assert isinstance(await bench.refund(authorized), RefundFailed)
        assert isinstance(await bench.refund(declined), RefundFailed)

    async def test_payments_do_not_touch_each_other(self, bench: Bench) -> None:
        requests = [bench.charge(bench.methods.ok, amount=1000 + n) for n in range(20)]

        await asyncio.gather(*(bench.provider.charge(request) for request in requests))

        for request in requests:
            assert await bench.captured(request.idempotency_key) == request.amount_minor
