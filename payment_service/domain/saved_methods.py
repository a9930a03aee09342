"""Payment methods that a customer had saved, with consent, and pays with later.

A method is saved when the payment it was used for comes through, in the transaction that decides
so: `ProviderReported` brings what the provider keeps of it beside the facts of the outcome.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from contracts.messages.payment import ProviderReported
from contracts.values import Struct, asdict
from payment_service.domain.payment import Payment

KEPT = "kept"
"""Under which name the facts of a report have it."""

_NAMESPACE = UUID("5d1f3c8e-4f0b-5a55-9a0e-2d7c6c1f9b11")


class Payer(Struct, frozen=True):
    """A customer of a shop, with the provider's own name of them where we know it by now."""

    shop_id: str
    customer_id: str
    provider_customer_id: str | None = None


class KeptMethod(Struct, frozen=True):
    """What a provider keeps of a method: for whom, under which token, and how its owner knows it.

    `brand` is the card's, or the kind of what is no card.
    """

    provider_customer_id: str
    token: str
    brand: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None


class SavedMethod(Struct, frozen=True):
    """A method that a customer agreed to have kept, at `consented_at`, when they paid with it."""

    saved_method_id: UUID
    shop_id: str
    customer_id: str
    provider: str
    kept: KeptMethod
    consented_at: datetime

    @property
    def key(self) -> UUID:
        """Its id."""
        return self.saved_method_id


_FIELDS = KeptMethod.__struct_fields__


def facts_of_kept(kept: KeptMethod | None) -> dict[str, Any]:
    """What a report has of it, beside the facts of its outcome."""
    return {} if kept is None else {KEPT: asdict(kept)}


def saved_by(payment: Payment, report: ProviderReported) -> SavedMethod | None:
    """The method that a report has the customer saved; the same one however often it comes."""
    told, attempt = report.facts.get(KEPT), payment.attempt(report.attempt)
    if not isinstance(told, Mapping) or attempt is None or attempt.method is None:
        return None
    if not attempt.method.save or payment.customer_id is None:
        return None
    kept = KeptMethod(**{name: told[name] for name in _FIELDS})
    name = "/".join((payment.shop_id, payment.customer_id, attempt.method.provider, kept.token))
    return SavedMethod(
        saved_method_id=uuid5(_NAMESPACE, name),
        shop_id=payment.shop_id,
        customer_id=payment.customer_id,
        provider=attempt.method.provider,
        kept=kept,
        consented_at=attempt.created_at,
    )
