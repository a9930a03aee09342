"""Stripe as an adapter of the port: each operation by calls that can be lost without harm.

    charge    make the intent (no money moves), have its id committed, confirm it by its id
    capture   by id; what Stripe says cannot be captured is read instead
    close     cancel by id; an intent nobody knows the id of is made again by its key, and cancelled
    refund    under its key for a day; later it is looked for among the intent's refunds first

A key is good for 24 hours at Stripe and proves nothing afterwards. So after `KEY_GOOD` nothing that
moves money is sent under it again: what it may have done is looked for, and a further try has a key
of its own. An intent takes its money once, whatever the keys: its confirmation needs no such care.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Literal

import stripe
import structlog
from stripe.params import PaymentIntentCreateParams

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
    Unknown,
)
from payment_service.providers.port import (
    Capture,
    Charge,
    Close,
    IdempotencyConflict,
    PaymentQuestion,
    Refund,
    RefundQuestion,
)
from payment_service.providers.stripe.client import StripeConnection
from payment_service.providers.stripe.reading import (
    StillOpen,
    code_of,
    is_refused,
    payment_of,
    refund_of,
    unknown,
)

log = structlog.get_logger()

KEY_GOOD = timedelta(hours=23)
"""How long a key is relied upon."""

IN_USE = "idempotency_key_in_use"
IN_USE_WAITS_SECONDS = (0.1, 0.3, 1.0)
"""Waits before a call that moves no money is made again while its twin is under way."""

PAGE = 100
EXPANDED = ["latest_charge"]

Call = Callable[[str], Awaitable[PaymentOutcome]]
"""What is done with a payment intent, by its id."""


class StripeProvider:
    """The port over the SDK. `return_url` is where the shopper is sent back to."""

    name = "stripe"

    def __init__(
        self, connection: StripeConnection, return_url: str, now: Callable[[], datetime]
    ) -> None:
        self._connection = connection
        self._client = connection.api
        self._return_url = return_url
        self._now = now

    async def prepare(self, request: Charge) -> str | Declined | Unknown:
        """See `Provider.prepare`: the id of the intent. Raises IdempotencyConflict."""
        age = self._now() - request.began_at
        key = _key(f"{request.charge_key}:create", age)
        try:
            found = await self._search(request) if age >= KEY_GOOD else None
            return found or await self._make(request, key)
        except stripe.IdempotencyError as error:
            raise IdempotencyConflict(key) from error
        except stripe.StripeError as error:
            return declined(code_of(error), None) if is_refused(error) else unknown(error)

    async def charge(self, request: Charge) -> PaymentOutcome:
        """See `Provider.charge`."""

        async def confirm(name: str) -> PaymentOutcome:
            intent = await self._client.v1.payment_intents.confirm_async(
                name,
                params={
                    "payment_method": request.method_token,
                    "return_url": self._return_url,
                    "expand": EXPANDED,
                },
                options={"idempotency_key": request.charge_key},
            )
            return payment_of(intent)

        return await self._about(request, confirm, self._declined)

    async def capture(self, request: Capture) -> PaymentOutcome:
        """See `Provider.capture`."""

        async def capture(name: str) -> PaymentOutcome:
            intent = await self._client.v1.payment_intents.capture_async(
                name,
                params={"amount_to_capture": request.amount_minor, "expand": EXPANDED},
                options={"idempotency_key": request.idempotency_key},
            )
            return payment_of(intent)

        return await self._about(request.charge, capture, self._not_captured)

    async def close(self, request: Close) -> PaymentOutcome:
        """See `Provider.close`."""

        async def cancel(name: str) -> PaymentOutcome:
            return await self._cancel(name, request.idempotency_key, "requested_by_customer")

        return await self._about(request.charge, cancel)

    async def retrieve(self, question: PaymentQuestion) -> PaymentOutcome:
        """See `Provider.retrieve`."""
        return await self._about(question.charge, self._state)

    async def refund(self, request: Refund) -> RefundOutcome:
        """See `Provider.refund`. Raises IdempotencyConflict."""
        name = await self._name(request.charge)
        if isinstance(name, Declined):
            return RefundFailed(None, name.code)
        if isinstance(name, Unknown):
            return name
        age = self._now() - request.began_at
        try:
            made = await self._refund_among(name, request.idempotency_key, age)
            return refund_of(
                made
                or await self._client.v1.refunds.create_async(
                    params={
                        "payment_intent": name,
                        "amount": request.amount_minor,
                        "metadata": {"refund_key": request.idempotency_key},
                    },
                    options={"idempotency_key": _key(request.idempotency_key, age)},
                )
            )
        except stripe.IdempotencyError as error:
            raise IdempotencyConflict(request.idempotency_key) from error
        except stripe.StripeError as error:
            return RefundFailed(None, code_of(error)) if is_refused(error) else unknown(error)

    async def retrieve_refund(self, question: RefundQuestion) -> RefundOutcome:
        """See `Provider.retrieve_refund`."""
        name = await self._name(question.charge)
        if isinstance(name, Declined):
            return NotFound()
        if isinstance(name, Unknown):
            return name
        try:
            if question.provider_refund_id is not None:
                found = await self._client.v1.refunds.retrieve_async(question.provider_refund_id)
                return refund_of(found)
            made = await self._refund_among(name, question.refund_key, KEY_GOOD)
        except stripe.StripeError as error:
            return unknown(error)
        return NotFound() if made is None else refund_of(made)

    async def close_connections(self) -> None:
        """See `Provider.close_connections`."""
        await self._connection.close()

    # The intent of a charge.

    async def _name(self, charge: Charge) -> str | Declined | Unknown:
        return charge.provider_payment_id or await self.prepare(charge)

    async def _make(self, request: Charge, key: str) -> str:
        """Make the intent; while a twin of the call is under way, wait for it a little."""
        create = self._client.v1.payment_intents.create_async
        params = _intent(request)
        options: stripe.RequestOptions = {"idempotency_key": key}
        for wait in IN_USE_WAITS_SECONDS:
            try:
                return (await create(params=params, options=options)).id
            except stripe.StripeError as error:
                if error.code != IN_USE:
                    raise
            await asyncio.sleep(wait)
        return (await create(params=params, options=options)).id

    async def _search(self, request: Charge) -> str | None:
        """The intent that was made under a key which is too old to be used again."""
        first = int(request.began_at.timestamp())
        last = first + int(2 * KEY_GOOD.total_seconds())
        listed = await self._client.v1.payment_intents.list_async(
            params={"created": {"gte": first - 60, "lte": last}, "limit": PAGE}
        )
        async for intent in listed.auto_paging_iter():
            if _label(intent.metadata, "charge_key") == request.charge_key:
                return intent.id
        return None

    async def _about(
        self,
        charge: Charge,
        call: Call,
        refused: Callable[[Charge, str, stripe.StripeError], Awaitable[PaymentOutcome]]
        | None = None,
    ) -> PaymentOutcome:
        """What a call by the intent's id comes to. `refused` has the last word on a refusal."""
        name = await self._name(charge)
        if not isinstance(name, str):
            return name
        try:
            return await call(name)
        except StillOpen:
            return await self._void(charge, name)
        except stripe.IdempotencyError as error:
            raise IdempotencyConflict(charge.charge_key) from error
        except stripe.StripeError as error:
            if not is_refused(error) or refused is None:
                return unknown(error)
            return await refused(charge, name, error)

    async def _settled(self, charge: Charge, name: str) -> PaymentOutcome:
        """Its state; what is declined is not left open."""
        try:
            return await self._state(name)
        except StillOpen:
            return await self._void(charge, name)
        except stripe.StripeError as error:
            return unknown(error)

    async def _state(self, name: str) -> PaymentOutcome:
        intent = await self._client.v1.payment_intents.retrieve_async(
            name, params={"expand": EXPANDED}
        )
        return payment_of(intent)

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
        except StillOpen:
            return Unknown("declined, not cancelled")

    async def _cancel(
        self, name: str, key: str, reason: Literal["abandoned", "requested_by_customer"]
    ) -> PaymentOutcome:
        """Cancel it, or tell its state where that is too late. Raises StillOpen."""
        try:
            intent = await self._client.v1.payment_intents.cancel_async(
                name,
                params={"cancellation_reason": reason, "expand": EXPANDED},
                options={"idempotency_key": key},
            )
            return payment_of(intent)
        except stripe.IdempotencyError as error:
            raise IdempotencyConflict(key) from error
        except stripe.StripeError as error:
            if not is_refused(error):
                return unknown(error)
        try:
            return await self._state(name)
        except stripe.StripeError as error:
            return unknown(error)

    async def _refund_among(
        self, name: str, refund_key: str, age: timedelta
    ) -> stripe.Refund | None:
        """The refund of a key that may be too old to be used again, among those of the intent."""
        if age < KEY_GOOD:
            return None
        listed = await self._client.v1.refunds.list_async(
            params={"payment_intent": name, "limit": PAGE}
        )
        async for refund in listed.auto_paging_iter():
            if _label(refund.metadata, "refund_key") == refund_key:
                return refund
        return None


def _intent(request: Charge) -> PaymentIntentCreateParams:
    """The parameters of an intent: the same ones whenever it is made."""
    return {
        "amount": request.amount_minor,
        "currency": request.currency.lower(),
        "capture_method": "manual" if request.flow == "authorize" else "automatic",
        "automatic_payment_methods": {"enabled": True},
        "metadata": {
            "payment_id": str(request.payment_id),
            "attempt": str(request.attempt),
            "charge_key": request.charge_key,
        },
    }


def _label(metadata: stripe.StripeObject | None, name: str) -> str | None:
    value: str | None = metadata[name] if metadata is not None and name in metadata else None
    return value


def _key(key: str, age: timedelta) -> str:
    """The key while it is good, later one of its own for each further day."""
    days = age // KEY_GOOD
    return key if days == 0 else f"{key}:{days}"
