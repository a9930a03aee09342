"""Our names of a payment, which Stripe keeps with whatever belongs to it."""

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import stripe

from payment_service.domain.payment import charge_key
from payment_service.providers.port import Charge


def labels_of(charge: Charge) -> dict[str, str]:
    """The metadata of what is made for a charge."""
    return {
        "payment_id": str(charge.payment_id),
        "attempt": str(charge.attempt),
        "charge_key": charge.charge_key,
    }


def label(metadata: stripe.StripeObject | None, name: str) -> str | None:
    """The value under that name, if there is one."""
    value: str | None = metadata[name] if metadata is not None and name in metadata else None
    return value


def payment_named(labels: Mapping[str, Any]) -> tuple[str | None, UUID | None]:
    """The key of the charge that these labels name, or else our id of the payment alone.

    Somebody may have copied some of our labels at Stripe; what is none of ours names nothing.
    """
    key, payment_id = labels.get("charge_key"), labels.get("payment_id")
    if isinstance(key, str):
        return key, None
    try:
        ours = UUID(payment_id)
    except (TypeError, ValueError, AttributeError):
        return None, None
    attempt = labels.get("attempt")
    if isinstance(attempt, str) and re.fullmatch("[1-9][0-9]{0,8}", attempt):
        return charge_key(ours, int(attempt)), None
    return None, ours
