"""Webhooks of Stripe: whether one is genuine, and what it is about. What it says is not believed.

A webhook is a hint: the object is asked for, and only that is applied. So nothing is read of it
but its own id, the payment that it is about, and what would be news in it: most tell what we did.

Source: Stripe guide "Receive Stripe events in your webhook endpoint".
"""

import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import stripe

from payment_service.domain.outcomes import NAMES
from payment_service.providers.stripe.client import API_VERSION
from payment_service.providers.stripe.labels import payment_named
from payment_service.providers.stripe.reading import refund_of
from payment_service.store.webhooks import News

TOLERANCE_SECONDS = 300
"""How old a signature may be, and how far ahead: clocks disagree, and replays do not count."""


class WebhookRefused(Exception):
    """The root of why a webhook is not taken."""


class WronglySigned(WebhookRefused):
    """No secret of ours signed it, or it is too old."""


class NotAnEvent(WebhookRefused):
    """It is signed, and none of Stripe's events."""


class WrongMode(WebhookRefused):
    """It is about test money where real money is meant, or the other way round."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something happened to a payment, or to something that is none of ours (then all are None).

    `charge_key` is our own name of the payment, which Stripe keeps with it; `payment_id` is all of
    that name that there is, if it is not whole. `other_version` is what the event is written in,
    where that is not the version that the endpoint is meant to be of.
    """

    event_id: str
    type: str
    provider_payment_id: str | None
    charge_key: str | None
    news: News | None = None
    payment_id: UUID | None = None
    other_version: str | None = None


_OF_PAYMENT = {
    "payment_intent.succeeded": ("succeeded",),
    "payment_intent.canceled": ("cancelled", "declined", "never_created", "capture_failed"),
}
"""Events that end a payment, and our statuses of an attempt that has ended so."""


def notice_of(
    body: bytes, signature: str | None, secrets: Collection[str], *, production: bool
) -> Notice:
    """What a webhook is about. Two secrets are good while they are changed.

    Raises WronglySigned, NotAnEvent and WrongMode.
    """
    _verify(body, signature, secrets)
    try:
        event = orjson.loads(body)
        about = event["data"]["object"]
        event_id, kind, is_live = event["id"], event["type"], event["livemode"]
        known = all(isinstance(one, str) for one in (event_id, kind)) and isinstance(about, dict)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        known = False
    if not known:
        raise NotAnEvent
    if is_live is not production:
        raise WrongMode
    version = event.get("api_version")
    other_version = version if isinstance(version, str) and version != API_VERSION else None
    if event.get("account") is not None:  # of an account that is connected to ours
        return Notice(event_id, kind, None, None, other_version=other_version)
    charge_key, payment_id = payment_named(_labels_of(about))
    return Notice(
        event_id,
        kind,
        _payment_of(about),
        charge_key,
        _news_of(kind, about),
        payment_id,
        other_version,
    )


def _verify(body: bytes, signature: str | None, secrets: Collection[str]) -> None:
    """Raises WronglySigned. The SDK looks for old signatures only, and fails on other letters."""
    if signature is None or not signature.isascii() or _signed_ahead(signature):
        raise WronglySigned
    verify = stripe.WebhookSignature.verify_header
    for secret in secrets:
        try:
            verify(body, signature, secret, TOLERANCE_SECONDS)
        except (stripe.SignatureVerificationError, UnicodeDecodeError):
            continue
        return
    raise WronglySigned


def _signed_ahead(signature: str) -> bool:
    """Whether it says, or may be read to say, that it was signed later than clocks disagree."""
    moments = re.findall(r"(?:^|,)t=([^,]*)", signature)
    if len(moments) != 1 or re.fullmatch(r"[0-9]{1,12}", moments[0]) is None:
        return True
    return int(moments[0]) > time.time() + TOLERANCE_SECONDS


def _payment_of(about: dict[str, Any]) -> str | None:
    """The payment intent or page that an object is, or the intent that it belongs to."""
    named = about.get("payment_intent")
    if about.get("object") in ("payment_intent", "checkout.session"):
        named = named or about.get("id")
    if isinstance(named, dict):
        named = named.get("id")
    return named if isinstance(named, str) else None


def _labels_of(about: dict[str, Any]) -> dict[str, Any]:
    labels = about.get("metadata")
    return labels if isinstance(labels, dict) else {}


def _news_of(kind: str, about: dict[str, Any]) -> News | None:
    match about.get("object"):
        case "payment_intent" if kind in _OF_PAYMENT:
            return News("payment", _OF_PAYMENT[kind])
        case "refund":
            refund = stripe.Refund.construct_from({"id": "", "status": None, **about}, None)
            state = refund_of(refund)
            key = _labels_of(about).get("refund_key")
            return News("refund", (NAMES[type(state)],), key if isinstance(key, str) else None)
        case "dispute":
            return News("dispute")
        case _:
            return None
