"""Links to pay an order by: what stands in one, and what it comes to now.

A link is good for whoever has it: it shows the order's number and total, and lets anybody pay. Each
visit has a page of the provider's to itself; the one before is closed first, because one attempt is
live at a time. Whether money came is only ever told by the saga.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from pydantic import SecretStr

from contracts.messages.order import PayOrder
from contracts.messages.parts import ON_PAGE, PaymentMethod
from messaging.signing import sign, verify
from order_service.checkout import Checkout, Moved, Policy, advance
from order_service.checkout.facts import AttemptStatus, Order, PaymentStatus

PURPOSE = "payment-link"
"""What links are signed for."""

_MONEY_IS_HERE = (PaymentStatus.PAID, PaymentStatus.NOT_DUE)
_MONEY_IS_COMING = (AttemptStatus.PROCESSING, AttemptStatus.UNKNOWN, AttemptStatus.AUTHORIZED)


def payment_link(
    key: SecretStr, base_url: str, order: Order, checkout_id: UUID, told_for: timedelta
) -> str:
    """The link of an order: it pays in the window, and for `told_for` longer says what came of it.

    The window's end is not read off the link: whoever is kept waiting by us has a later one.
    """
    ends = order.window_closes_at + told_for
    payload = {"checkout_id": str(checkout_id), "exp": int(ends.timestamp())}
    return f"{base_url.rstrip('/')}/pay/{sign(key, PURPOSE, payload)}"


def checkout_of_link(key: SecretStr, token: str) -> UUID | None:
    """The checkout whose order a link is to pay; None if we did not make it, or it is too old."""
    payload = verify(key, PURPOSE, token)
    return None if payload is None else UUID(payload["checkout_id"])


def attempt_by_link(checkout: Checkout, provider: str) -> PayOrder:
    """One more attempt, on the provider's page; what is open so far is closed first."""
    return PayOrder(
        shop_id=checkout.request.shop_id,
        checkout_id=checkout.id,
        method=PaymentMethod(provider=provider, token=ON_PAGE, hosted=True),
        replace=True,
    )


@dataclass(frozen=True, slots=True)
class Payable:
    """The order can be paid, by this attempt; `failed` says that the one before came to nothing."""

    attempt: int
    failed: bool
    until: datetime


@dataclass(frozen=True, slots=True)
class Paid:
    """The money is here, or none is due."""


@dataclass(frozen=True, slots=True)
class Coming:
    """An attempt is with the bank; another one would risk to pay twice."""


@dataclass(frozen=True, slots=True)
class Over:
    """The order is not paid any more: its window is closed, or it was given up."""


Standing: TypeAlias = Payable | Paid | Coming | Over


def standing(
    checkout: Checkout, order: Order, provider: str, now: datetime, policy: Policy
) -> Standing:
    """What the link of an order comes to now."""
    if checkout.payment_status in _MONEY_IS_HERE:
        return Paid()
    live = checkout.live_attempt
    if live is not None and live.status in _MONEY_IS_COMING:
        return Coming()
    if not isinstance(advance(checkout, attempt_by_link(checkout, provider), now, policy), Moved):
        return Over()
    failed = live is None and any(attempt.code is not None for attempt in checkout.attempts[-1:])
    return Payable(len(checkout.attempts) + 1, failed, order.window_closes_at)


@dataclass(frozen=True, slots=True)
class GoOn:
    """The shopper acts there."""

    url: str


@dataclass(frozen=True, slots=True)
class Wait:
    """The attempt is not there yet, or its provider has not answered."""


@dataclass(frozen=True, slots=True)
class Look:
    """The attempt is over, or is none to wait for: the order says what came of it."""


def next_of(checkout: Checkout, number: int) -> GoOn | Wait | Look:
    """Where a shopper goes who waits for attempt `number`."""
    if number == len(checkout.attempts) + 1 and checkout.next_method is not None:
        return Wait()
    attempt = next((each for each in checkout.attempts if each.number == number), None)
    if attempt is None or not attempt.live or not attempt.method.hosted:
        return Look()
    if attempt.status is AttemptStatus.REQUESTED:
        return Wait()
    if attempt.next_action is not None and attempt.next_action.url is not None:
        return GoOn(attempt.next_action.url)
    return Look()
