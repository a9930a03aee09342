"""The port that every payment provider stands behind.

An adapter translates; it decides nothing. Its calls may be made again under the same key at any
time and then have no second effect. Whatever leaves the effect in doubt (a timeout, a lost
connection, an error of the provider's own) is the outcome `Unknown`, never an exception. What
leaves none, because the provider refuses to look at the call for now, is `NotTaken`.

A payment is named by the key of its charge, from before the first call on, and every call about it
brings the charge, so that a provider that never answered it can be told of it again.
`provider_payment_id` is the provider's own name of it where we know it by now: it may be there in
one call and missing in the same call made again, and is no parameter that a key is held to.

`tests/payment_service/provider_contract.py` holds what each adapter must keep.
"""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Literal, Protocol
from uuid import UUID

from contracts.messages.parts import ChargedLine
from contracts.values import Struct
from payment_service.domain.outcomes import (
    Declined,
    PaymentOutcome,
    RefundOutcome,
    ReviewOutcome,
    Unknown,
)
from payment_service.domain.reconciliation import Standing
from payment_service.domain.saved_methods import KeptMethod, Payer


class ProviderError(Exception):
    """The root of what an adapter raises: mistakes of ours, never the provider's state."""


class IdempotencyConflict(ProviderError):
    """The key was used before, with other parameters."""

    def __init__(self, idempotency_key: str) -> None:
        super().__init__(f"key {idempotency_key!r} was used with other parameters")
        self.idempotency_key = idempotency_key


class NotTaken(Exception):
    """The provider has not looked at the call, and nothing was done: it may be made again.

    `too_many`: because there are too many requests, not because of this payment. `retry_after`:
    when the provider wants to be asked again, if it says so.
    """

    def __init__(self, *, too_many: bool, retry_after: timedelta | None = None) -> None:
        super().__init__("too many requests" if too_many else "the payment is being worked on")
        self.too_many = too_many
        self.retry_after = retry_after


RATE_LIMITED = Unknown("rate_limited")
"""Of a call's requests a later one was refused for there being too many of them."""


class Charge(Struct, frozen=True):
    """Get `amount_minor`: captured at once (`automatic`) or set aside (`authorize`).

    With `hosted` the shopper pays on a page of the provider's, and chooses the method there: the
    answer is ActionRequired with its address. The page shows `order_number`, or `lines` where it
    can show all of them and they come to the amount. It is open until `window_closes_at` at least,
    as far as the provider lets it; a close ends it before.

    With `save` the provider keeps the method for `payer`, if the money comes. `off_session`
    charges one that it kept: nobody is there to act, so what needs the shopper is declined.

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
    hosted: bool = False
    window_closes_at: datetime | None = None
    order_number: str | None = None
    lines: tuple[ChargedLine, ...] = ()
    payer: Payer | None = None
    save: bool = False
    off_session: bool = False

    @property
    def charge_key(self) -> str:
        """How we and the provider name the payment."""
        return self.idempotency_key


class _AboutPayment(Struct, frozen=True):
    """A call about a payment, of which the charge is all that there is to know."""

    charge: Charge

    @property
    def charge_key(self) -> str:
        """How we and the provider name the payment."""
        return self.charge.idempotency_key


class Capture(_AboutPayment, frozen=True):
    """Take `amount_minor` of an authorization; the rest of it is given back.

    No call for it was made before `began_at`.
    """

    idempotency_key: str
    amount_minor: int
    began_at: datetime


class Close(_AboutPayment, frozen=True):
    """Make sure that no money comes of this payment any more.

    After an answer of no money, a charge under `charge_key` that is still on its way has no
    effect either.
    """

    idempotency_key: str


class Refund(_AboutPayment, frozen=True):
    """Give `amount_minor` of a captured payment back; no call for it was made before `began_at`."""

    idempotency_key: str
    amount_minor: int
    began_at: datetime


class PaymentQuestion(_AboutPayment, frozen=True):
    """What became of this payment?"""


class RefundQuestion(_AboutPayment, frozen=True):
    """What became of this refund?"""

    refund_key: str
    provider_refund_id: str | None


class Review(_AboutPayment, frozen=True):
    """What is there of this payment, its refunds and its disputes, whoever made them?"""


class SeenMoney(Struct, frozen=True):
    """Where the money of one payment stands at the provider, in minor units.

    Without a name of ours (`charge_key`) it may be none of ours.
    """

    provider_payment_id: str | None
    charge_key: str | None
    standing: Standing


class BooksUnread(Exception):
    """The provider's books could not be read to their end; in words that hold no secret."""


class Provider(Protocol):
    """A payment provider. All methods may raise `ProviderError` and `NotTaken`."""

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

    async def review(self, question: Review) -> ReviewOutcome:
        """All that the provider has of a payment; `NotFound` while it does not have it."""

    async def customer(self, payer: Payer) -> str | Unknown:
        """Have the provider know of a customer, for whom it is to keep methods; its name of them.

        The name is committed before a method is saved; the same customer has the same name.
        """

    async def kept_method(self, charge: Charge) -> KeptMethod | None:
        """What is kept since this charge, which came through; None where nothing is."""

    async def forget_method(self, token: str) -> bool:
        """Keep a method no longer; whether it is not kept any more."""

    def moved_since(self, since: datetime) -> AsyncIterator[SeenMoney]:
        """Every payment of which money moved since, once, as it stands now. Raises BooksUnread."""

    async def close_connections(self) -> None:
        """Give up what it holds open; no call comes after it."""
