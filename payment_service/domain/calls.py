"""What a worker does with an operation it has leased, and what it makes of the answer."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from contracts.messages.parts import ChargedLine
from contracts.messages.payment import ProviderReported
from contracts.values import Struct
from payment_service.domain.outcomes import NAMES, Outcome, Unknown, facts_of
from payment_service.domain.payment import NextCall, OperationKind
from payment_service.domain.saved_methods import KeptMethod, Payer, facts_of_kept


class LeasedCall(Struct, frozen=True):
    """An operation under lease: the call to make or the question to ask, and what was known.

    `began_at` is when the operation was made: nobody has called for it before. `charge_minor` and
    `charge_began_at` are those of the charge that it is about, its own if it is one. `last` is the
    outcome reported last since the call was last begun, None before that: what was true before a
    call says nothing about what it did. With `saves` the customer agreed that the method is kept;
    `off_session` pays with one that was, and the customer is not there. Both have a `payer`.
    """

    operation_id: UUID
    lease_token: UUID
    payment_id: UUID
    checkout_id: UUID
    shop_id: str
    attempt: int
    kind: OperationKind
    call: NextCall
    provider: str
    idempotency_key: str
    charge_key: str
    amount_minor: int
    began_at: datetime
    charge_minor: int
    charge_began_at: datetime
    currency: str
    method_token: str
    flow: Literal["automatic", "authorize"]
    provider_payment_id: str | None
    asks: int
    reports: int
    last: Outcome | None
    hosted: bool = False
    window_closes_at: datetime | None = None
    order_number: str | None = None
    lines: tuple[ChargedLine, ...] = ()
    saves: bool = False
    off_session: bool = False
    payer: Payer | None = None

    @property
    def requests(self) -> int:
        """How many requests the provider gets of it, as far as one can tell."""
        if self.kind is OperationKind.REVIEW:
            return 3  # the payment, its refunds, its disputes
        makes_charge = self.kind is OperationKind.CHARGE and self.call is NextCall.MAKE
        return 2 if makes_charge and self.provider_payment_id is None else 1

    def is_news(self, outcome: Outcome) -> bool:
        """Whether the outcome is to be reported, or only asked about again.

        An unanswered question changes nothing once something was reported since the call. A review
        is always decided upon: it was asked for because something may have changed.
        """
        if self.kind is OperationKind.REVIEW:
            return not isinstance(outcome, Unknown)
        if isinstance(outcome, Unknown):
            return self.last is None
        return outcome != self.last

    def answers(self, outcome: Outcome) -> bool:
        """Whether this is the provider's answer to the operation itself."""
        return self.call is NextCall.MAKE and not isinstance(outcome, Unknown)

    def report(
        self, outcome: Outcome, number: int, now: datetime, kept: KeptMethod | None = None
    ) -> ProviderReported:
        """The report of this outcome, the `number`-th of the operation."""
        return ProviderReported(
            shop_id=self.shop_id,
            checkout_id=self.checkout_id,
            payment_id=self.payment_id,
            attempt=self.attempt,
            operation_id=self.operation_id,
            report=number,
            outcome=NAMES[type(outcome)],
            facts=facts_of(outcome) | facts_of_kept(kept),
            reported_at=now,
        )
