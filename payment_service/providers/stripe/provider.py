"""Stripe as an adapter of the port: each operation by calls that can be lost without harm.

    charge    make the intent (no money moves), have its id committed, confirm it by its id; or make
              the page, have its id committed, and tell where it is
    capture   by id; what Stripe says cannot be captured is read instead
    close     cancel by id, and expire a page that is open; an intent or page nobody knows the id of
              is made again by its key, and then ended
    refund    under its key for a day; later it is looked for among the intent's refunds first

A key is good for 24 hours at Stripe and proves nothing afterwards. So after `KEY_GOOD` nothing that
moves money is sent under it again: what it may have done is looked for, and a further try, where
the payment still waits for it, has a key of its own.

A key under which Stripe has answered with an error of its own has nothing but that error any more,
repeated. What is made again, because Stripe has said that it does not have it, then has the next of
a few keys.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal, TypeVar

import stripe
from stripe.params import PaymentIntentConfirmParams, PaymentIntentCreateParams

from contracts.values import replace
from payment_service.domain.declines import declined
from payment_service.domain.outcomes import (
    Authorized,
    Cancelled,
    CaptureFailed,
    Declined,
    NotFound,
    PaymentOutcome,
    RefundFailed,
    RefundOutcome,
    Reviewed,
    ReviewOutcome,
    SeenRefund,
    Unknown,
)
from payment_service.domain.saved_methods import KeptMethod, Payer
from payment_service.providers.port import (
    Capture,
    Charge,
    Close,
    IdempotencyConflict,
    PaymentQuestion,
    Refund,
    RefundQuestion,
    Review,
    SeenMoney,
)
from payment_service.providers.stripe.books import Books
from payment_service.providers.stripe.client import StripeConnection
from payment_service.providers.stripe.labels import label, labels_of
from payment_service.providers.stripe.pages import Pages, intent_of, is_page
from payment_service.providers.stripe.reading import (
    StillOpen,
    code_of,
    dispute_of,
    is_missing,
    is_refused,
    is_repeated,
    kept_of,
    lost,
    page_of,
    payment_of,
    refund_of,
    refusal_of,
    unknown,
)
from payment_service.providers.stripe.slow_methods import SlowMethod, excluded

KEY_GOOD = timedelta(hours=23)
"""How long a key is relied upon."""

KEYS_OF_A_CALL = 10
"""Errors of Stripe's own that one call may come to; each takes a key."""

IN_USE = "idempotency_key_in_use"
IN_USE_WAITS_SECONDS = (0.1, 0.3, 1.0)
"""Waits before a call that moves no money is made again while its twin is under way."""

PAGE = 100
EXPANDED = ["latest_charge"]

T = TypeVar("T")

Call = Callable[[str], Awaitable[PaymentOutcome]]
"""What is done with a payment intent, by its id."""


class StripeProvider:
    """The port over the SDK.

    `return_url` is where the shopper is sent back to; `slow_methods` may hold stock for days.
    """

    name = "stripe"

    def __init__(
        self,
        connection: StripeConnection,
        return_url: str,
        now: Callable[[], datetime],
        *,
        slow_methods: Collection[SlowMethod] = (),
    ) -> None:
        self._connection = connection
        self._client = connection.api
        self._excluded = excluded(slow_methods)
        self._pages = Pages(connection.api, return_url, self._excluded)
        self._books = Books(connection.api)
        self._return_url = return_url
        self._now = now

    async def prepare(self, request: Charge) -> str | Declined | Unknown:
        """See `Provider.prepare`: the id of the intent. Raises IdempotencyConflict."""
        age = self._now() - request.began_at
        key = _key(f"{request.charge_key}:create", age)

        async def make_under(key: str) -> str:
            return await self._make(request, key)

        async def found() -> str | None:
            return await self._search(request)

        try:
            name = await found() if age >= KEY_GOOD else None
            if name is None:
                request = await self._with_customer(request)
                name = await self._made(key, make_under, found)
            return name
        except stripe.IdempotencyError as error:
            raise IdempotencyConflict(key) from error
        except stripe.StripeError as error:
            return declined(code_of(error), None) if is_refused(error) else lost(error)

    async def _made(
        self,
        key: str,
        make: Callable[[str], Awaitable[str]],
        found: Callable[[], Awaitable[str | None]],
    ) -> str:
        """What is made under the key, or was: in other words, if a setting has changed since."""
        try:
            return await _under_a_key(key, make, found)
        except stripe.IdempotencyError:
            name = await found()
            if name is None:
                raise
            return name

    async def charge(self, request: Charge) -> PaymentOutcome:
        """See `Provider.charge`. On a page the shopper confirms it, not we."""
        if request.hosted:
            return await self._about(request, self._state)
        age = self._now() - request.began_at

        async def confirm(name: str) -> PaymentOutcome:
            state = await self._state(name) if age >= KEY_GOOD else NotFound()
            if not isinstance(state, NotFound):
                return state

            async def confirm_under(key: str) -> stripe.PaymentIntent:
                params: PaymentIntentConfirmParams = {
                    "payment_method": request.method_token,
                    "return_url": self._return_url,
                    "expand": EXPANDED,
                }
                if request.off_session:
                    params["off_session"] = True
                return await self._client.v1.payment_intents.confirm_async(
                    name, params=params, options={"idempotency_key": key}
                )

            return payment_of(await _under_a_key(_key(request.charge_key, age), confirm_under))

        return await self._about(request, confirm, self._declined)

    async def capture(self, request: Capture) -> PaymentOutcome:
        """See `Provider.capture`."""
        age = self._now() - request.began_at
        key = _key(request.idempotency_key, age)

        async def capture(name: str) -> PaymentOutcome:
            state = await self._state(name) if age >= KEY_GOOD else None
            if state is not None and not isinstance(state, Authorized):
                return state

            async def capture_under(key: str) -> stripe.PaymentIntent:
                return await self._client.v1.payment_intents.capture_async(
                    name,
                    params={"amount_to_capture": request.amount_minor, "expand": EXPANDED},
                    options={"idempotency_key": key},
                )

            return payment_of(await _under_a_key(key, capture_under))

        return await self._about(request.charge, capture, self._not_captured)

    async def close(self, request: Close) -> PaymentOutcome:
        """See `Provider.close`."""

        async def cancel(name: str) -> PaymentOutcome:
            return await self._cancel(name, request.idempotency_key, "requested_by_customer")

        return await self._left(request) or await self._about(request.charge, cancel)

    async def retrieve(self, question: PaymentQuestion) -> PaymentOutcome:
        """See `Provider.retrieve`."""
        return await self._about(question.charge, self._state)

    async def refund(self, request: Refund) -> RefundOutcome:
        """See `Provider.refund`. Raises IdempotencyConflict."""
        name = await self._intent(request.charge)
        if isinstance(name, Declined):
            return RefundFailed(None, name.code)
        if isinstance(name, Unknown):
            return name
        payment_intent, age = name, self._now() - request.began_at

        async def refund_under(key: str) -> stripe.Refund:
            return await self._client.v1.refunds.create_async(
                params={
                    "payment_intent": payment_intent,
                    "amount": request.amount_minor,
                    "metadata": {"refund_key": request.idempotency_key},
                },
                options={"idempotency_key": key},
            )

        async def found() -> stripe.Refund | None:
            return await self._refund_among(payment_intent, request.idempotency_key)

        try:
            made = await found() if age >= KEY_GOOD else None
            if made is None:
                key = _key(request.idempotency_key, age)
                made = await _under_a_key(key, refund_under, found)
            return refund_of(made)
        except stripe.IdempotencyError as error:
            raise IdempotencyConflict(request.idempotency_key) from error
        except stripe.StripeError as error:
            return RefundFailed(None, code_of(error)) if is_refused(error) else lost(error)

    async def retrieve_refund(self, question: RefundQuestion) -> RefundOutcome:
        """See `Provider.retrieve_refund`."""
        name = await self._intent(question.charge)
        if isinstance(name, Declined):
            return NotFound()
        if isinstance(name, Unknown):
            return name
        try:
            if question.provider_refund_id is not None:
                found = await self._client.v1.refunds.retrieve_async(question.provider_refund_id)
                return refund_of(found)
            made = await self._refund_among(name, question.refund_key)
        except stripe.StripeError as error:
            return lost(error)
        return NotFound() if made is None else refund_of(made)

    async def review(self, question: Review) -> ReviewOutcome:
        """See `Provider.review`. One whose name was never kept is looked for, never made.

        What Stripe does not have under a name of its own is gone with the account it was in.
        """
        charge = question.charge
        try:
            name = charge.provider_payment_id or await self._search(charge)
            if name is None:
                return NotFound()
            if is_page(name):
                page = await self._pages.retrieve(name)
                unpaid, intent = page_of(page), intent_of(page)
                if unpaid is not None:
                    return Reviewed(unpaid)
                if intent is None:
                    return Unknown("a page that is complete without a payment")
                name = intent
            intent_now = await self._retrieved(name)
            try:
                state = payment_of(intent_now)
            except StillOpen:
                state = await self._void(charge, name)
            if isinstance(state, NotFound | Unknown):
                return state
            refunds = [refund async for refund in await self._refunds(name)]
            disputes = await self._client.v1.disputes.list_async(
                params={"payment_intent": name, "limit": PAGE}
            )
            seen = [dispute_of(dispute) async for dispute in disputes.auto_paging_iter()]
        except stripe.StripeError as error:
            return NotFound() if is_missing(error) else unknown(error)
        return Reviewed(
            state,
            tuple(
                SeenRefund(
                    refund.id,
                    label(refund.metadata, "refund_key"),
                    refund.amount,
                    refund_of(refund),
                )
                for refund in refunds
            ),
            tuple(dispute for dispute in seen if dispute is not None),
            intent_now.currency.upper(),
        )

    async def customer(self, payer: Payer) -> str | Unknown:
        """See `Provider.customer`. Two of them may be made more than a day apart; one is used."""
        try:
            return await self._customer(payer)
        except stripe.StripeError as error:
            return unknown(error)

    async def kept_method(self, charge: Charge) -> KeptMethod | None:
        """See `Provider.kept_method`. What cannot be read now is lost: the money comes first."""
        name = await self._intent(charge)
        if not isinstance(name, str):
            return None
        try:
            intent = await self._client.v1.payment_intents.retrieve_async(
                name, params={"expand": ["payment_method"]}
            )
        except stripe.StripeError:
            return None
        return kept_of(intent)

    async def forget_method(self, token: str) -> bool:
        """See `Provider.forget_method`: what is attached to nobody cannot be detached."""

        async def detach_under(key: str) -> stripe.PaymentMethod:
            return await self._client.v1.payment_methods.detach_async(
                token, options={"idempotency_key": key}
            )

        try:
            await _under_a_key(f"{token}:forget", detach_under)
        except stripe.StripeError as error:
            return is_refused(error)
        return True

    def moved_since(self, since: datetime) -> AsyncIterator[SeenMoney]:
        """See `Provider.moved_since`."""
        return self._books.moved_since(since)

    async def close_connections(self) -> None:
        """See `Provider.close_connections`."""
        await self._connection.close()

    # The intent of a charge.

    async def _name(self, charge: Charge) -> str | Declined | Unknown:
        return charge.provider_payment_id or await self.prepare(charge)

    async def _with_customer(self, charge: Charge) -> Charge:
        """The charge with Stripe's name of its payer, where the method is to be kept.

        It is the same name, committed by now or not, so the intent is asked for in the same words.
        """
        payer = charge.payer
        if not charge.save or payer is None or payer.provider_customer_id is not None:
            return charge
        known = replace(payer, provider_customer_id=await self._customer(payer))
        return replace(charge, payer=known)

    async def _customer(self, payer: Payer) -> str:
        who = f"{payer.shop_id}/{payer.customer_id}"

        async def make_under(key: str) -> stripe.Customer:
            return await self._client.v1.customers.create_async(
                params={"metadata": {"shop_id": payer.shop_id, "customer_id": payer.customer_id}},
                options={"idempotency_key": key},
            )

        # One that was made although the answer was an error is left there with nothing in it.
        made = await _under_a_key(f"customer:{sha256(who.encode()).hexdigest()}", make_under)
        return made.id

    async def _intent(self, charge: Charge) -> str | Declined | Unknown:
        """The intent of a charge; a page on which nobody has paid has none."""
        name = await self._name(charge)
        if not isinstance(name, str) or not is_page(name):
            return name
        try:
            page = await self._pages.retrieve(name)
        except stripe.StripeError as error:
            return unknown(error)
        return intent_of(page) or declined("charge_not_captured", name)

    async def _make(self, request: Charge, key: str) -> str:
        """Make the intent, or the page; while a twin is under way, wait for it a little."""
        make = self._pages.make if request.hosted else self._make_intent
        for wait in IN_USE_WAITS_SECONDS:
            try:
                return await make(request, key)
            except stripe.StripeError as error:
                if error.code != IN_USE:
                    raise
            await asyncio.sleep(wait)
        return await make(request, key)

    async def _make_intent(self, request: Charge, key: str) -> str:
        made = await self._client.v1.payment_intents.create_async(
            params=_intent(request, self._excluded), options={"idempotency_key": key}
        )
        return made.id

    async def _search(self, request: Charge) -> str | None:
        """The intent or page that was made under the key of a charge.

        Raises IdempotencyConflict where that is about other money.
        """
        first = int(request.began_at.timestamp())
        last = first + int(2 * KEY_GOOD.total_seconds())
        if request.hosted:
            page = await self._pages.search(request, first - 60, last)
            if page is None:
                return None
            return _made_for(request, page.id, page.amount_total, page.currency)
        listed = await self._client.v1.payment_intents.list_async(
            params={"created": {"gte": first - 60, "lte": last}, "limit": PAGE}
        )
        async for intent in listed.auto_paging_iter():
            if label(intent.metadata, "charge_key") == request.charge_key:
                return _made_for(request, intent.id, intent.amount, intent.currency)
        return None

    async def _about(
        self,
        charge: Charge,
        call: Call,
        refused: Callable[[Charge, str, stripe.StripeError], Awaitable[PaymentOutcome]]
        | None = None,
    ) -> PaymentOutcome:
        """What a call by the intent's id comes to. `refused` has the last word on a refusal.

        Nothing is called of a page on which nobody has paid: then its state is the answer.
        """
        name = await self._name(charge)
        if not isinstance(name, str):
            return name
        try:
            if is_page(name):
                page = await self._pages.retrieve(name)
                state, intent = page_of(page), intent_of(page)
                if state is not None or intent is None:
                    return state or Unknown("a page that is complete without a payment")
                name = intent
            return await call(name)
        except StillOpen:
            return await self._void(charge, name)
        except stripe.IdempotencyError as error:
            raise IdempotencyConflict(charge.charge_key) from error
        except stripe.StripeError as error:
            if not is_refused(error) or refused is None:
                return lost(error)
            return await refused(charge, name, error)

    async def _left(self, request: Close) -> PaymentOutcome | None:
        """A page is expired, so that nobody can pay there; None where there is none to expire.

        An intent that came of the page so far goes with it, and cannot be cancelled by itself.
        """
        name = await self._name(request.charge)
        if not isinstance(name, str) or not is_page(name):
            return None
        page, key = name, f"{request.idempotency_key}:expire"

        async def expire_under(key: str) -> stripe.checkout.Session:
            return await self._pages.expire(page, key)

        try:
            return page_of(await _under_a_key(key, expire_under))
        except stripe.IdempotencyError as error:
            raise IdempotencyConflict(key) from error
        except stripe.StripeError as error:
            return None if is_refused(error) else unknown(error)

    async def _settled(self, charge: Charge, name: str) -> PaymentOutcome:
        """Its state; what is declined is not left open."""
        try:
            return await self._state(name)
        except StillOpen:
            return await self._void(charge, name)
        except stripe.StripeError as error:
            return unknown(error)

    async def _state(self, name: str) -> PaymentOutcome:
        return payment_of(await self._retrieved(name))

    async def _retrieved(self, name: str) -> stripe.PaymentIntent:
        return await self._client.v1.payment_intents.retrieve_async(
            name, params={"expand": EXPANDED}
        )

    async def _declined(
        self, charge: Charge, name: str, error: stripe.StripeError
    ) -> PaymentOutcome:
        """After a refused confirmation: what the intent says, or the refusal if it says nothing."""
        state = await self._settled(charge, name)
        if not isinstance(state, NotFound):
            return state
        voided = await self._void(charge, name)
        return declined(code_of(error), name) if isinstance(voided, Cancelled) else voided

    async def _not_captured(
        self, charge: Charge, name: str, error: stripe.StripeError
    ) -> PaymentOutcome:
        """After a refused capture: what is set aside still, but cannot be taken, is given back."""
        state = await self._settled(charge, name)
        if not isinstance(state, Authorized):
            return state
        voided = await self._void(charge, name)
        return CaptureFailed(name, code_of(error)) if isinstance(voided, Cancelled) else voided

    async def _void(self, charge: Charge, name: str) -> PaymentOutcome:
        """Make sure that what was declined cannot be paid on another page."""
        try:
            return await self._cancel(name, f"{charge.charge_key}:void", "abandoned")
        except StillOpen as open_one:
            # What a page began, nobody but that page could confirm, and it is complete.
            refusal = refusal_of(open_one.intent) if charge.hosted else None
            return refusal or Unknown("declined, not cancelled")

    async def _cancel(
        self, name: str, key: str, reason: Literal["abandoned", "requested_by_customer"]
    ) -> PaymentOutcome:
        """Cancel it, or tell its state where that is too late. Raises StillOpen."""

        async def cancel_under(key: str) -> stripe.PaymentIntent:
            return await self._client.v1.payment_intents.cancel_async(
                name,
                params={"cancellation_reason": reason, "expand": EXPANDED},
                options={"idempotency_key": key},
            )

        try:
            return payment_of(await _under_a_key(key, cancel_under))
        except stripe.IdempotencyError as error:
            raise IdempotencyConflict(key) from error
        except stripe.StripeError as error:
            if not is_refused(error):
                return unknown(error)
        try:
            return await self._state(name)
        except stripe.StripeError as error:
            return unknown(error)

    async def _refunds(self, name: str) -> AsyncIterator[stripe.Refund]:
        """All refunds of the intent, whoever made them."""
        listed = await self._client.v1.refunds.list_async(
            params={"payment_intent": name, "limit": PAGE}
        )
        return listed.auto_paging_iter()

    async def _refund_among(self, name: str, refund_key: str) -> stripe.Refund | None:
        """The refund that was made under a key, among those of the intent."""
        async for refund in await self._refunds(name):
            if label(refund.metadata, "refund_key") == refund_key:
                return refund
        return None


async def _under_a_key(
    key: str,
    call: Callable[[str], Awaitable[T]],
    found: Callable[[], Awaitable[T | None]] | None = None,
) -> T:
    """What `call` comes to under this key, or under the next one that is good for anything.

    Where Stripe only repeats an error, what it belonged to is looked for by `found` first, unless
    it is known not to be there, or could be done once only.
    """
    for number in range(1, KEYS_OF_A_CALL):
        try:
            return await call(key if number == 1 else f"{key}:again:{number}")
        except stripe.StripeError as error:
            if not is_repeated(error):
                raise
        there = await found() if found is not None and number == 1 else None
        if there is not None:
            return there
    return await call(f"{key}:again:{KEYS_OF_A_CALL}")


def _intent(request: Charge, excluded: list[str]) -> PaymentIntentCreateParams:
    """The parameters of an intent: the same ones whenever it is made."""
    params: PaymentIntentCreateParams = {
        "amount": request.amount_minor,
        "currency": request.currency.lower(),
        "capture_method": "manual" if request.flow == "authorize" else "automatic",
        "automatic_payment_methods": {"enabled": True},
        "excluded_payment_method_types": excluded,
        "metadata": labels_of(request),
    }
    if request.payer is not None and request.payer.provider_customer_id is not None:
        params["customer"] = request.payer.provider_customer_id
        if request.save:
            params["setup_future_usage"] = "off_session"
    return params


def _made_for(request: Charge, name: str, amount: int | None, currency: str | None) -> str:
    """The name of what was made, if it is for the money of this charge."""
    if (amount, currency) != (request.amount_minor, request.currency.lower()):
        raise IdempotencyConflict(request.charge_key)
    return name


def _key(key: str, age: timedelta) -> str:
    """The key while it is good, later one of its own for each further day."""
    days = age // KEY_GOOD
    return key if days == 0 else f"{key}:{days}"
