"""What every adapter of the provider port must keep, whatever provider stands behind it.

Subclass `ProviderContract` as `Test...` and give it a fixture `bench`; see
`test_simulated_provider.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import pytest

from contracts.ids import new_id
from contracts.messages.parts import ON_PAGE, ChargedLine
from contracts.money import parse_minor
from contracts.values import replace
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
    Reviewed,
    ReviewOutcome,
    SeenDispute,
    Succeeded,
    Unknown,
)
from payment_service.domain.reconciliation import NOTHING, Standing
from payment_service.domain.saved_methods import KeptMethod, Payer
from payment_service.providers.port import (
    Capture,
    Charge,
    Close,
    IdempotencyConflict,
    PaymentQuestion,
    Provider,
    Refund,
    RefundQuestion,
    Review,
)

AMOUNT = 2550
BOUGHT = (
    ChargedLine(name="Teapot", quantity=2, amount_minor=1600),
    ChargedLine(name="Mug <blue>", quantity=3, amount_minor=500),
    ChargedLine(name="Parcel", quantity=1, amount_minor=450),
)
"""What is paid for on a page; the mugs have no whole price."""
WINDOW = timedelta(minutes=30)
WaitUntil = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Methods:
    """The provider's test methods for what the contract looks at; None where it has none."""

    ok: str
    declined: str
    declined_code: str
    action_required: str | None
    always_asks: str | None
    """Asks its owner to act each time, also after it was saved."""
    processing: str
    processing_then_declined: str
    capture_fails: str | None
    refund_pending: str
    refund_fails: str | None
    refund_returns: str
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
    `captured` is what the provider's own books say was captured under it; `give_back` refunds some
    of it as somebody at the provider would, without us. `disputed` pays and has the shopper's bank
    withdraw all of it; gives the charge key.
    """

    provider: Provider
    methods: Methods
    act: Callable[[str, bool], Awaitable[None]]
    captured: Callable[[str], Awaitable[int]]
    give_back: Callable[[str, int], Awaitable[None]]
    disputed: Callable[["Bench"], Awaitable[str]]
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

    def hosted(self, flow: Literal["automatic", "authorize"] = "automatic") -> Charge:
        """A charge on a page of the provider's."""
        charge = self.charge(ON_PAGE, flow)
        charge = replace(
            charge,
            hosted=True,
            window_closes_at=charge.began_at + WINDOW,
            order_number="7Q2M-0C4X-9ZJ1",
            lines=BOUGHT,
        )
        self._charges[charge.charge_key] = charge
        return charge

    async def sent_to_page(
        self, flow: Literal["automatic", "authorize"] = "automatic"
    ) -> tuple[str, ActionRequired]:
        """Charge on a page; gives the charge key and where the shopper is sent."""
        charge = self.hosted(flow)
        outcome = await self.provider.charge(charge)
        assert isinstance(outcome, ActionRequired)
        return charge.charge_key, outcome

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

    async def saved(self, method: str) -> tuple[KeptMethod, Payer]:
        """A customer pays with a method and has it kept; gives what is kept, and for whom."""
        payer = Payer("main", str(new_id()))
        charge = replace(self.charge(method), payer=payer, save=True)
        self._charges[charge.charge_key] = charge
        if isinstance(await self.provider.charge(charge), ActionRequired):
            await self.act(charge.charge_key, True)
        assert isinstance(await self.state(charge.charge_key), Succeeded)
        kept = await self.provider.kept_method(charge)
        assert kept is not None
        assert kept.provider_customer_id == await self.provider.customer(payer)
        return kept, replace(payer, provider_customer_id=kept.provider_customer_id)

    async def state(self, charge_key: str) -> PaymentOutcome:
        """What the provider says when asked."""
        return await self.provider.retrieve(PaymentQuestion(self.known(charge_key)))

    async def capture(
        self, charge_key: str, amount: int = AMOUNT, key: str = "capture"
    ) -> PaymentOutcome:
        """Capture."""
        charge = self.known(charge_key)
        request = Capture(charge, f"{charge_key}:{key}", amount, utc_now())
        return await self.provider.capture(request)

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

    async def review(self, charge_key: str) -> ReviewOutcome:
        """All that the provider has of a payment."""
        return await self.provider.review(Review(self.known(charge_key)))

    async def disputes(self, charge_key: str) -> tuple[SeenDispute, ...]:
        """The disputes that a review shows."""
        reviewed = await self.review(charge_key)
        assert isinstance(reviewed, Reviewed)
        return reviewed.disputes


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
        again = Capture(named, f"{key}:capture", AMOUNT, utc_now())

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

    # the provider's page

    async def test_on_a_page_the_shopper_pays_once(self, bench: Bench) -> None:
        key, sent = await bench.sent_to_page()
        assert sent.url
        assert sent.expires_at >= bench.known(key).began_at
        assert await bench.captured(key) == 0
        assert await bench.state(key) == sent

        await bench.act(key, True)
        await bench.act(key, True)

        paid = await bench.state(key)
        assert isinstance(paid, Succeeded)
        assert paid.amount_minor == AMOUNT
        assert await bench.captured(key) == AMOUNT

    async def test_the_same_key_has_the_same_page(self, bench: Bench) -> None:
        charge = bench.hosted()

        pages = await asyncio.gather(*(bench.provider.charge(charge) for _ in range(4)))

        # A provider may answer a concurrent twin with an error of its own: then it is unknown.
        sent = {page for page in pages if not isinstance(page, Unknown)}
        assert sent == {await bench.state(charge.charge_key)}

    async def test_a_page_that_was_closed_takes_no_money(self, bench: Bench) -> None:
        key, _ = await bench.sent_to_page()

        assert isinstance(await bench.close(key), Cancelled)
        await bench.act(key, True)

        assert isinstance(await bench.state(key), Cancelled)
        assert await bench.captured(key) == 0

    async def test_a_close_of_a_page_that_never_was_refuses_the_late_charge(
        self, bench: Bench
    ) -> None:
        late = bench.hosted()

        assert isinstance(await bench.close(late.charge_key), NeverCreated | Cancelled)
        assert isinstance(await bench.provider.charge(late), NeverCreated | Cancelled)
        await bench.act(late.charge_key, True)

        assert await bench.captured(late.charge_key) == 0

    async def test_a_close_of_a_page_that_was_paid_tells_of_the_money(self, bench: Bench) -> None:
        key, _ = await bench.sent_to_page()
        await bench.act(key, True)

        assert isinstance(await bench.close(key), Succeeded)
        assert await bench.captured(key) == AMOUNT

    async def test_what_was_paid_on_a_page_is_refunded(self, bench: Bench) -> None:
        key, _ = await bench.sent_to_page()
        assert isinstance(await bench.refund(key, key="early"), RefundFailed)
        await bench.act(key, True)

        first = await bench.refund(key)

        assert isinstance(first, Refunded)
        assert await bench.refund_state(key) == first

    async def test_on_a_page_the_money_can_be_set_aside_and_captured(self, bench: Bench) -> None:
        key, _ = await bench.sent_to_page("authorize")
        await bench.act(key, True)
        held = await bench.state(key)
        assert isinstance(held, Authorized)
        assert await bench.captured(key) == 0

        assert isinstance(await bench.capture(key), Succeeded)
        assert await bench.captured(key) == AMOUNT

    async def test_a_close_gives_back_what_was_set_aside_on_a_page(self, bench: Bench) -> None:
        key, _ = await bench.sent_to_page("authorize")
        await bench.act(key, True)

        closed = await bench.close(key)

        assert isinstance(closed, Cancelled)
        assert closed.released_minor == AMOUNT

    # methods that are saved

    async def test_a_saved_method_pays_again_without_its_owner(self, bench: Bench) -> None:
        kept, payer = await bench.saved(bench.methods.ok)

        later = bench.charge(kept.token)
        paid = await bench.provider.charge(replace(later, payer=payer, off_session=True))

        assert isinstance(paid, Succeeded)
        assert await bench.captured(later.charge_key) == AMOUNT

    async def test_what_needs_its_owner_is_declined_without(self, bench: Bench) -> None:
        kept, payer = await bench.saved(has(bench.methods.always_asks))

        later = bench.charge(kept.token)
        outcome = await bench.provider.charge(replace(later, payer=payer, off_session=True))

        assert isinstance(outcome, Declined)
        assert outcome.code == "authentication_required"
        assert await bench.captured(later.charge_key) == 0

    async def test_the_same_customer_has_the_same_name(self, bench: Bench) -> None:
        payer, another = Payer("main", str(new_id())), Payer("other shop", "ada")

        names = await asyncio.gather(*(bench.provider.customer(payer) for _ in range(3)))

        known = {name for name in names if isinstance(name, str)}
        assert len(known) == 1
        assert await bench.provider.customer(another) not in known

    async def test_without_consent_nothing_is_kept(self, bench: Bench) -> None:
        key, _ = await bench.charged(bench.methods.ok)

        assert await bench.provider.kept_method(bench.known(key)) is None

    async def test_what_is_forgotten_may_be_forgotten_again(self, bench: Bench) -> None:
        kept, _ = await bench.saved(bench.methods.ok)

        assert await bench.provider.forget_method(kept.token)
        assert await bench.provider.forget_method(kept.token)

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

    # review

    async def test_a_review_shows_the_payment_and_our_refunds_by_our_name(
        self, bench: Bench
    ) -> None:
        key, charged = await bench.charged(bench.methods.ok)
        await bench.refund(key, 500)

        reviewed = await bench.review(key)

        assert isinstance(reviewed, Reviewed)
        assert reviewed.payment == charged
        (refund,) = reviewed.refunds
        assert (refund.refund_key, refund.amount_minor) == (f"{key}:refund", 500)
        assert isinstance(refund.state, Refunded)
        assert reviewed.disputes == ()

    async def test_a_refund_that_somebody_made_there_has_no_name_of_ours(
        self, bench: Bench
    ) -> None:
        key, _ = await bench.charged(bench.methods.ok)
        await bench.give_back(key, 500)

        reviewed = await bench.review(key)

        assert isinstance(reviewed, Reviewed)
        (refund,) = reviewed.refunds
        assert (refund.refund_key, refund.amount_minor) == (None, 500)

    async def test_a_refund_that_came_back_is_seen_as_failed(
        self, bench: Bench, wait_until: WaitUntil
    ) -> None:
        key, _ = await bench.charged(bench.methods.refund_returns)
        assert isinstance(await bench.refund(key), Refunded)

        async def back() -> bool:
            reviewed = await bench.review(key)
            assert isinstance(reviewed, Reviewed)
            return isinstance(reviewed.refunds[0].state, RefundFailed)

        await wait_until(back, what="the money to come back")

    async def test_what_a_bank_has_withdrawn_is_seen_and_not_refunded(
        self, bench: Bench, wait_until: WaitUntil
    ) -> None:
        began_at = utc_now() - timedelta(seconds=2)
        key = await bench.disputed(bench)

        async def withdrawn() -> bool:
            seen = await bench.disputes(key)
            return [(one.amount_minor, one.status) for one in seen] == [(AMOUNT, "open")]

        await wait_until(withdrawn, what="the dispute")
        assert isinstance(await bench.refund(key, 500), RefundFailed)
        books = {
            seen.charge_key: seen.standing async for seen in bench.provider.moved_since(began_at)
        }
        assert books[key] == Standing(0, AMOUNT, 0, AMOUNT, bench.known(key).currency)

    # currencies

    @pytest.mark.parametrize("currency", ["JPY", "EUR", "USD", "GBP", "INR", "KWD"])
    async def test_every_currency_is_taken_and_given_back_in_its_minor_units(
        self, bench: Bench, currency: str
    ) -> None:
        began_at = utc_now() - timedelta(seconds=2)
        paid, part, back = (parse_minor(text, currency) for text in ("2550", "1540", "370"))
        charge = bench.charge(bench.methods.ok, "authorize", paid, currency)
        key = charge.charge_key

        held = await bench.provider.charge(charge)
        taken = await bench.capture(key, part)
        first = await bench.refund(key, back)
        too_much = await bench.refund(key, part, key="all of it")

        assert isinstance(held, Authorized)
        assert isinstance(taken, Succeeded)
        assert (held.amount_minor, taken.amount_minor) == (paid, part)
        assert await bench.captured(key) == part
        assert isinstance(first, Refunded)
        assert isinstance(too_much, RefundFailed)
        books = {
            seen.charge_key: seen.standing async for seen in bench.provider.moved_since(began_at)
        }
        assert books[key] == Standing(0, part, back, 0, currency)

    # books

    async def test_the_books_tell_where_the_money_of_each_payment_stands(
        self, bench: Bench
    ) -> None:
        began_at = utc_now() - timedelta(seconds=2)
        taken, _ = await bench.charged(bench.methods.ok)
        await bench.refund(taken, 500)
        held, _ = await bench.charged(bench.methods.ok, "authorize")
        captured, _ = await bench.charged(bench.methods.ok, "authorize")
        await bench.capture(captured, 1_000)
        refused, _ = await bench.charged(bench.methods.declined)

        books = {
            seen.charge_key: seen.standing async for seen in bench.provider.moved_since(began_at)
        }

        assert books[taken] == Standing(0, AMOUNT, 500, 0, "GBP")
        assert books[held] == Standing(AMOUNT, 0, 0, 0, "GBP")
        assert books[captured] == Standing(0, 1_000, 0, 0, "GBP")
        assert books.get(refused, NOTHING).amounts == NOTHING.amounts

    async def test_the_books_tell_of_old_payments_that_money_moved_of_since(
        self, bench: Bench
    ) -> None:
        key, _ = await bench.charged(bench.methods.ok)
        await asyncio.sleep(1.1)  # Stripe's lists go by whole seconds
        later = utc_now()
        await bench.refund(key)

        books = [seen async for seen in bench.provider.moved_since(later) if seen.charge_key == key]

        assert [seen.standing for seen in books] == [Standing(0, AMOUNT, AMOUNT, 0, "GBP")]

    async def test_a_review_makes_no_payment(self, bench: Bench) -> None:
        request = bench.charge(bench.methods.ok)

        assert await bench.review(request.idempotency_key) == NotFound()

        assert await bench.captured(request.idempotency_key) == 0

    async def test_payments_do_not_touch_each_other(self, bench: Bench) -> None:
        requests = [bench.charge(bench.methods.ok, amount=1000 + n) for n in range(20)]

        await asyncio.gather(*(bench.provider.charge(request) for request in requests))

        for request in requests:
            assert await bench.captured(request.idempotency_key) == request.amount_minor
