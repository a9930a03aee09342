"""Our names of a payment, which Stripe keeps with whatever belongs to it."""

import stripe

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
