"""The port that every payment provider stands behind.

An adapter translates; it decides nothing. Its calls may be made again under the same key at any
time and then have no second effect. Whatever leaves the effect in doubt (a timeout, a lost
connection, an error of the provider's own) is the outcome `Unknown`, never an exception.

A payment is named by the key of its charge, from before the first call on, and every call about it
brings the charge, so that a provider that never answered it can be told of it again.
`provider_payment_id` is the provider's own name of it where we know it by now: it may be there in
one call and missing in the same call made again, and is no parameter that a key is held to.

`tests/payment_service/provider_contract.py` holds what each adapter must keep.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

from contracts.values import quick
from payment_service.domain.outcomes import Declined, PaymentOutcome, RefundOutcome, Unknown


class ProviderError(Exception):
    """The root of what an adapter raises: mistakes of ours, never the provider's state."""


class IdempotencyConflict(ProviderError):
    """The key was used before, with other parameters."""

    def __init__(self, idempotency_key: str) -> None:
        super().__init__(f"key {idempotency_key!r} was used with other parameters")
        self.idempotency_key = idempotency_key


@quick
@dataclass(frozen=True, slots=True)
class Charge:
    """Get `amount_minor`: captured at once (`automatic`) or set aside (`authorize`).

    The idempotency key names the payment at the provider from before the first call on; the
    ids are kept there as metadata. No call about it was made before `began_at`.
    """

    idempotency_key: str
    payment_id: UUID
    attempt: int
    amount_minor: int
    currency: str
    method_token: str
    flow: Literal["automatic", "authorize"]
    began_at: datetime
    provider_payment_id: str | None = None

    @property
    def charge_key(self) -> str:
        """How we and the provider name the payment."""
        return self.idempotency_key


@dataclass(frozen=True, slots=True)
class _AboutPayment:
    """A call about a payment, of which the charge is all that there is to know."""

    charge: Charge

    @property
    def charge_key(self) -> str:
        """How we and the provider name the payment."""
        return self.charge.idempotency_key


@quick
@dataclass(frozen=True, slots=True)
class Capture(_AboutPayment):
    """Take `amount_minor` of an authorization; the rest of it is given back."""

    idempotency_key: str
    amount_minor: int


@quick
@dataclass(frozen=True, slots=True)
class Close(_AboutPayment):
    """Make sure that no money comes of this payment any more.

    After an answer of no money, a charge under `charge_key` that is still on its way has no
    effect either.
    """

    idempotency_key: str


@quick
@dataclass(frozen=True, slots=True)
class Refund(_AboutPayment):
    """Give `amount_minor` of a captured payment back; no call for it was made before `began_at`."""

    idempotency_key: str
    amount_minor: int
    began_at: datetime


@quick
@dataclass(frozen=True, slots=True)
class PaymentQuestion(_AboutPayment):
    """What became of this payment?"""


@quick
@dataclass(frozen=True, slots=True)
class RefundQuestion(_AboutPayment):
    """What became of this refund?"""

    refund_key: str
    provider_refund_id: str | None


class Provider(Protocol):
    """A payment provider. All methods may raise `ProviderError`."""

    @property
    def name(self) -> str:
        """The name that payment methods carry."""

    async def prepare(self, request: Charge) -> str | Declined | Unknown | None:
        """Have the provider know of a payment before any money can move; gives its name of it.

        None where a charge needs no such thing. The name is committed before `charge` is called.
        """

    async def charge(self, request: Charge) -> PaymentOutcome:
        """Begin a payment; answers its state."""

    async def capture(self, request: Capture) -> PaymentOutcome:
        """Capture an authorized payment; answers its state."""

    async def close(self, request: Close) -> PaymentOutcome:
        """Close a payment; answers its state, which stays as it is where it cannot be closed."""

    async def refund(self, request: Refund) -> RefundOutcome:
        """Begin a refund; answers its state."""

    async def retrieve(self, question: PaymentQuestion) -> PaymentOutcome:
        """The state of a payment now; `NotFound` while the provider does not have it."""

    async def retrieve_refund(self, question: RefundQuestion) -> RefundOutcome:
        """The state of a refund now; `NotFound` while the provider does not have it."""

    async def close_connections(self) -> None:
        """Give up what it holds open; no call comes after it."""
