"""What a decline leaves open: whether the same may be tried again, and with the same method.

The codes are those that card networks and Stripe use; any other is taken for final.

Source: Stripe documentation, "Decline codes", with what it tells the customer to do next.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from payment_service.domain.outcomes import Declined


@dataclass(frozen=True, slots=True)
class Prospect:
    """See `payment_service.domain.outcomes.Declined`."""

    retryable: bool
    same_method_allowed: bool


PROVIDER_UNAVAILABLE = "provider_unavailable"
"""Ours: nobody asked the provider, because it has not answered of late."""

_PASSING = Prospect(retryable=True, same_method_allowed=True)
_CORRECTABLE = Prospect(retryable=False, same_method_allowed=True)
_FINAL = Prospect(retryable=False, same_method_allowed=False)

DECLINES: Mapping[str, Prospect] = MappingProxyType(
    {
        "processing_error": _PASSING,
        "issuer_not_available": _PASSING,
        "reenter_transaction": _PASSING,
        "try_again_later": _PASSING,
        PROVIDER_UNAVAILABLE: _PASSING,
        "authentication_required": _CORRECTABLE,
        "card_declined": _CORRECTABLE,
        "incorrect_cvc": _CORRECTABLE,
        "incorrect_number": _CORRECTABLE,
        "incorrect_zip": _CORRECTABLE,
        "insufficient_funds": _CORRECTABLE,
        "invalid_cvc": _CORRECTABLE,
        "invalid_expiry_month": _CORRECTABLE,
        "invalid_expiry_year": _CORRECTABLE,
        "payment_intent_authentication_failure": _CORRECTABLE,
        "withdrawal_count_limit_exceeded": _CORRECTABLE,
        "card_not_supported": _FINAL,
        "card_velocity_exceeded": _FINAL,
        "currency_not_supported": _FINAL,
        "do_not_honor": _FINAL,
        "expired_card": _FINAL,
        "fraudulent": _FINAL,
        "generic_decline": _FINAL,
        "lost_card": _FINAL,
        "pickup_card": _FINAL,
        "stolen_card": _FINAL,
    }
)


def declined(code: str, provider_payment_id: str | None) -> Declined:
    """The outcome of a decline with this code."""
    prospect = DECLINES.get(code, _FINAL)
    return Declined(
        provider_payment_id,
        code,
        retryable=prospect.retryable,
        same_method_allowed=prospect.same_method_allowed,
    )
