"""What Stripe's objects and errors say, as outcomes; pure.

Source: Stripe documentation, "How PaymentIntents work", "Refund and cancel payments" and "Error
handling".
"""

import re
from datetime import UTC, datetime, timedelta

import stripe

from payment_service.domain.declines import declined
from payment_service.domain.outcomes import (
    ActionRequired,
    Authorized,
    Cancelled,
    Declined,
    NotFound,
    PaymentOutcome,
    Processing,
    Refunded,
    RefundFailed,
    RefundPending,
    RefundState,
    SeenDispute,
    Succeeded,
    Unknown,
)
from payment_service.domain.saved_methods import KeptMethod
from payment_service.providers.port import RATE_LIMITED, NotTaken

REDIRECT = "redirect_to_url"
"""The action of a page: the shopper's browser is sent there."""

HOLD = timedelta(days=7)
"""How long a hold lasts where Stripe does not say."""

DEBIT = timedelta(days=14)
"""When a bank debit is to have come through, from its begin on; most take 4 days."""

ACTION = timedelta(hours=1)
"""How long the shopper has to act. Stripe waits for ever; our window may close before."""

TOO_MANY = 429
"""The status that tells that Stripe has not looked at the request."""

MISSING = 404
"""The status for a name that Stripe does not have."""

LOCKED = "lock_timeout"
"""The code under that status for an object that another request is at, not for too many of them."""


class StillOpen(Exception):
    """A declined intent that could be confirmed again: it has to be cancelled first."""

    def __init__(self, intent: stripe.PaymentIntent) -> None:
        super().__init__(f"{intent.id} is declined and not cancelled")
        self.intent = intent


def page_of(page: stripe.checkout.Session) -> ActionRequired | Cancelled | None:
    """The state of a page on which nobody has paid; None once it is complete: ask its intent.

    Complete is not paid: a bank debit is only begun then, and what is held is not captured.
    """
    match page.status:
        case "open":
            return ActionRequired(page.id, REDIRECT, page.url, _moment(page.expires_at))
        case "expired":
            return Cancelled(page.id, "expired")
        case _:
            return None


def payment_of(intent: stripe.PaymentIntent) -> PaymentOutcome:
    """The state of a payment intent whose `latest_charge` is expanded. Raises StillOpen.

    One that was never confirmed is not found: the charge has not reached Stripe.
    """
    match intent.status:
        case "succeeded":
            return Succeeded(intent.id, intent.amount_received or 0)
        case "requires_capture":
            return Authorized(intent.id, intent.amount_capturable or 0, _capture_before(intent))
        case "processing":
            return Processing(intent.id, _moment(intent.created) + DEBIT)
        case "requires_action":
            return _action(intent)
        case "canceled":
            return _cancelled(intent)
        case "requires_confirmation":
            return NotFound()
        case "requires_payment_method":
            if intent.last_payment_error is None:
                return NotFound()
            raise StillOpen(intent)
        case newer:  # the API has learnt a status since
            return Unknown(f"status {newer}")


def refusal_of(intent: stripe.PaymentIntent) -> Declined | None:
    """Why the last confirmation of an intent came to nothing, if it did."""
    error = intent.last_payment_error
    if error is None:
        return None
    return declined(_told(error, "decline_code", "code", "type"), intent.id)


def kept_of(intent: stripe.PaymentIntent) -> KeptMethod | None:
    """What Stripe keeps since this intent, whose `payment_method` is expanded."""
    method, customer = intent.payment_method, intent.customer
    if not isinstance(method, stripe.PaymentMethod) or method.customer is None or customer is None:
        return None
    owner = customer if isinstance(customer, str) else customer.id
    card = getattr(method, "card", None)
    if card is None:
        details = getattr(method, method.type, None)
        return KeptMethod(owner, method.id, method.type, getattr(details, "last4", None))
    return KeptMethod(owner, method.id, card.brand, card.last4, card.exp_month, card.exp_year)


def _cancelled(intent: stripe.PaymentIntent) -> Declined | Cancelled:
    refused = refusal_of(intent)
    if refused is not None:
        return refused
    charge = _charge(intent)
    held = charge is not None and charge.paid and not charge.captured
    return Cancelled(
        intent.id,
        "expired" if intent.cancellation_reason == "automatic" else "cancelled",
        released_minor=charge.amount if charge is not None and held else 0,
    )


def _action(intent: stripe.PaymentIntent) -> ActionRequired:
    action = intent.next_action
    redirect = action.redirect_to_url if action is not None else None
    return ActionRequired(
        intent.id,
        action.type if action is not None else "unknown",
        redirect.url if redirect is not None else None,
        _moment(intent.created) + ACTION,
        intent.client_secret,
    )


def _capture_before(intent: stripe.PaymentIntent) -> datetime:
    charge = _charge(intent)
    details = charge.payment_method_details if charge is not None else None
    before = getattr(details.card, "capture_before", None) if details and details.card else None
    return _moment(intent.created) + HOLD if before is None else _moment(before)


def _charge(intent: stripe.PaymentIntent) -> stripe.Charge | None:
    charge = intent.latest_charge
    return charge if isinstance(charge, stripe.Charge) else None


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def refund_of(refund: stripe.Refund) -> RefundState:
    """The state of a refund."""
    match refund.status:
        case "succeeded":
            return Refunded(refund.id)
        case "failed" | "canceled":
            reason = getattr(refund, "failure_reason", None)
            return RefundFailed(refund.id, reason or refund.status)
        case _:
            return RefundPending(refund.id)


def dispute_of(dispute: stripe.Dispute) -> SeenDispute | None:
    """A dispute that moved money, or None: an inquiry has withdrawn nothing, and may never."""
    match dispute.status:
        case "won" | "lost" as status:
            return SeenDispute(dispute.id, dispute.amount, status)
        case "needs_response" | "under_review":
            return SeenDispute(dispute.id, dispute.amount, "open")
        case _:
            return None


def is_refused(error: stripe.StripeError) -> bool:
    """Whether Stripe has looked at the request and said no: nothing was done, nor will be."""
    return isinstance(error, stripe.CardError | stripe.InvalidRequestError)


def is_missing(error: stripe.StripeError) -> bool:
    """Whether Stripe has nothing of that name."""
    return error.http_status == MISSING


def code_of(error: stripe.StripeError) -> str:
    """Why it was refused."""
    return "refused" if error.error is None else _told(error.error, "decline_code", "code")


def _told(details: stripe.StripeObject, *names: str) -> str:
    """The first of these fields that is there: Stripe leaves out what has nothing to say."""
    found = (getattr(details, name, None) for name in names)
    return next(filter(None, found), "refused")


def lost(error: stripe.StripeError) -> Unknown:
    """What the one request comes to that does something. Raises NotTaken: nothing was done."""
    if error.http_status == TOO_MANY:
        raise NotTaken(too_many=error.code != LOCKED, retry_after=_retry_after(error)) from error
    return unknown(error)


def is_repeated(error: stripe.StripeError) -> bool:
    """Whether this is the error of Stripe's own that an earlier call came to, under this key."""
    return (error.http_status or 0) >= 500 and _header(error, "idempotent-replayed") == "true"


def _header(error: stripe.StripeError, name: str) -> str:
    """A header of the answer, whichever way it is written; empty where there is none."""
    told = {known.lower(): value for known, value in (error.headers or {}).items()}
    return told.get(name, "")


def _retry_after(error: stripe.StripeError) -> timedelta | None:
    """What the header of this name says in seconds; a date in it is left alone."""
    seconds = _header(error, "retry-after")
    return timedelta(seconds=int(seconds)) if re.fullmatch(r"[0-9]{1,6}", seconds) else None


def unknown(error: stripe.StripeError) -> Unknown:
    """The effect may be there or not; in words that hold no secret."""
    if error.http_status == TOO_MANY:
        return RATE_LIMITED
    if error.http_status is not None:
        return Unknown(f"http_{error.http_status}")
    return Unknown("unreachable")
