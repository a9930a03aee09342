"""The bank: the simulated provider's own rules and books. What fails on the way is the caller's."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, cast
from uuid import UUID

from payment_service.domain.outcomes import (
    ActionRequired,
    Outcome,
    PaymentOutcome,
    RefundOutcome,
    ReviewOutcome,
)
from payment_service.domain.reconciliation import Standing
from payment_service.domain.saved_methods import Payer
from payment_service.providers.port import (
    Capture,
    Charge,
    Close,
    PaymentQuestion,
    Refund,
    RefundQuestion,
    Review,
    SeenMoney,
)
from payment_service.providers.simulated.account import (
    Account,
    EntryKind,
    ProviderCall,
    ProviderPayment,
    ShopperActed,
    answered,
    opens_account,
)

if TYPE_CHECKING:
    from tests.simulation.world import World


class Bank:
    """Its accounts by charge key, and what came and went per payment of ours."""

    name = "simulated"

    def __init__(self, world: "World") -> None:
        self._world = world
        self._accounts: dict[str, Account] = {}
        self.captured_minor: dict[UUID, int] = {}
        self.refunded_minor: dict[UUID, int] = {}

    async def prepare(self, request: Charge) -> None:
        """See `Provider.prepare`."""

    async def charge(self, request: Charge) -> PaymentOutcome:
        """See `Provider.charge`; a shopper who has to act hears of it."""
        outcome = cast("PaymentOutcome", self._handle(request))
        if isinstance(outcome, ActionRequired):
            self._world.shoppers.challenged(request.payment_id, request.idempotency_key)
        return outcome

    async def capture(self, request: Capture) -> PaymentOutcome:
        """See `Provider.capture`."""
        return cast("PaymentOutcome", self._handle(request))

    async def close(self, request: Close) -> PaymentOutcome:
        """See `Provider.close`."""
        return cast("PaymentOutcome", self._handle(request))

    async def refund(self, request: Refund) -> RefundOutcome:
        """See `Provider.refund`."""
        return cast("RefundOutcome", self._handle(request))

    async def retrieve(self, question: PaymentQuestion) -> PaymentOutcome:
        """See `Provider.retrieve`."""
        return cast("PaymentOutcome", self._handle(question))

    async def retrieve_refund(self, question: RefundQuestion) -> RefundOutcome:
        """See `Provider.retrieve_refund`."""
        return cast("RefundOutcome", self._handle(question))

    async def review(self, question: Review) -> ReviewOutcome:
        """See `Provider.review`."""
        return cast("ReviewOutcome", self._handle(question))

    async def customer(self, payer: Payer) -> str:
        """See `Provider.customer`; its shoppers save nothing."""
        return payer.customer_id

    async def kept_method(self, charge: Charge) -> None:
        """See `Provider.kept_method`."""

    async def forget_method(self, token: str) -> bool:
        """See `Provider.forget_method`."""
        return True

    async def moved_since(self, since: datetime) -> AsyncIterator[SeenMoney]:
        """See `Provider.moved_since`; nothing is compared here."""
        del since
        for _ in ():
            yield SeenMoney(None, None, Standing())

    async def close_connections(self) -> None:
        """See `Provider.close_connections`."""

    def shopper_acted(self, charge_key: str, *, completed: bool) -> None:
        """The shopper completes the required action, or fails it."""
        self._handle(ShopperActed(charge_key, completed))

    def _handle(self, call: ProviderCall) -> Outcome:
        key = call.charge_key
        before = self._accounts.get(key)
        if before is None and opens_account(call):
            before = Account(ProviderPayment(key))
        after, outcome = answered(before, call, self._world.now, "secret")
        if after is not None:
            self._accounts[key] = after
            self._book(after, 0 if before is None else len(before.entries))
        return outcome

    def _book(self, account: Account, known: int) -> None:
        """Sum up the entries that are new, and have the books look at them."""
        payment_id = account.payment.payment_id
        if payment_id is None or len(account.entries) == known:
            return
        for entry in account.entries[known:]:
            if entry.kind is EntryKind.CAPTURED:
                sums = self.captured_minor
            elif entry.kind is EntryKind.REFUNDED:
                sums = self.refunded_minor
            else:
                continue
            sums[payment_id] = sums.get(payment_id, 0) + entry.amount_minor
        self._world.books.money_moved(payment_id)
