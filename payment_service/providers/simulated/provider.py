"""The simulated provider as an adapter: the port, with the delays and timeouts of its methods."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TypeAlias, cast
from uuid import NAMESPACE_URL

import structlog

from contracts.ids import derived_id
from contracts.values import replace
from messaging.faults import heals_with_time
from payment_service.domain.outcomes import (
    ActionRequired,
    Outcome,
    PaymentOutcome,
    RefundOutcome,
    ReviewOutcome,
    Unknown,
)
from payment_service.domain.saved_methods import KeptMethod, Payer
from payment_service.providers.port import (
    BooksUnread,
    Capture,
    Charge,
    Close,
    IdempotencyConflict,
    PaymentQuestion,
    Refund,
    RefundQuestion,
    Review,
    SeenMoney,
)
from payment_service.providers.simulated.account import (
    BankDisputed,
    ClerkRefunded,
    DisputeStatus,
    ProviderCall,
    ShopperActed,
    ShopperLooked,
)
from payment_service.providers.simulated.bank import Bank, Done, Held, Lost

log = structlog.get_logger()

PAGE = 500

TIMEOUT = Unknown("timeout")
UNREACHABLE = Unknown("unreachable")

_Request: TypeAlias = Charge | Capture | Close | PaymentQuestion | ShopperActed | ShopperLooked


class SimulatedProvider:
    """The port over the bank. `action_base_url` is put before the path where the shopper acts."""

    name = "simulated"

    def __init__(self, bank: Bank, action_base_url: str) -> None:
        self.bank = bank
        self._action_base_url = action_base_url.rstrip("/")

    async def prepare(self, request: Charge) -> None:
        """Nothing to do: it knows payments by the keys of their charges."""

    async def charge(self, request: Charge) -> PaymentOutcome:
        """See `Provider.charge`."""
        return await self._payment(request)

    async def capture(self, request: Capture) -> PaymentOutcome:
        """See `Provider.capture`."""
        return await self._payment(request)

    async def close(self, request: Close) -> PaymentOutcome:
        """See `Provider.close`."""
        return await self._payment(request)

    async def refund(self, request: Refund) -> RefundOutcome:
        """See `Provider.refund`."""
        return cast("RefundOutcome", await self._answer(request))

    async def retrieve(self, question: PaymentQuestion) -> PaymentOutcome:
        """See `Provider.retrieve`."""
        return await self._payment(question)

    async def retrieve_refund(self, question: RefundQuestion) -> RefundOutcome:
        """See `Provider.retrieve_refund`."""
        return cast("RefundOutcome", await self._answer(question))

    async def review(self, question: Review) -> ReviewOutcome:
        """See `Provider.review`."""
        return cast("ReviewOutcome", await self._answer(question))

    async def customer(self, payer: Payer) -> str:
        """See `Provider.customer`: derived, so that it is the same whenever it is asked for."""
        name = derived_id(NAMESPACE_URL, f"{payer.shop_id}/{payer.customer_id}")
        return f"sim_cus_{name.hex}"

    async def kept_method(self, charge: Charge) -> KeptMethod | None:
        """See `Provider.kept_method`: its test methods can be used by whoever names them."""
        if charge.payer is None or charge.hosted:
            return None
        return KeptMethod(await self.customer(charge.payer), charge.method_token, brand="test")

    async def forget_method(self, token: str) -> bool:
        """See `Provider.forget_method`: there is nothing to forget."""
        return True

    async def moved_since(self, since: datetime) -> AsyncIterator[SeenMoney]:
        """See `Provider.moved_since`."""
        after = ""
        try:
            while page := await self.bank.moved_since(since, after, PAGE):
                for charge_key, standing in page:
                    yield SeenMoney(None, charge_key, standing)
                after = page[-1][0]
        except Exception as error:
            if not heals_with_time(error):
                raise
            raise BooksUnread(type(error).__name__) from error

    async def close_connections(self) -> None:
        """See `Provider.close_connections`."""
        await self.bank.close()

    async def shopper_acted(self, charge_key: str, *, completed: bool) -> PaymentOutcome:
        """The shopper completes the required action, or fails it; answers the state after it."""
        return await self._payment(ShopperActed(charge_key, completed))

    async def shopper_looked(self, charge_key: str) -> PaymentOutcome:
        """The state that the shopper's page shows."""
        return await self._payment(ShopperLooked(charge_key))

    async def clerk_refunded(
        self, charge_key: str, refund_key: str, amount_minor: int
    ) -> RefundOutcome:
        """Somebody at the provider gives money back; answers the state of that refund."""
        call = ClerkRefunded(charge_key, refund_key, amount_minor)
        return cast("RefundOutcome", await self._answer(call))

    async def bank_disputed(
        self, charge_key: str, dispute_key: str, amount_minor: int, status: DisputeStatus
    ) -> ReviewOutcome:
        """The shopper's bank withdraws money, or decides; answers all there is of the payment."""
        call = BankDisputed(charge_key, dispute_key, amount_minor, status)
        return cast("ReviewOutcome", await self._answer(call))

    async def _payment(self, request: _Request) -> PaymentOutcome:
        outcome = cast("PaymentOutcome", await self._answer(request))
        if isinstance(outcome, ActionRequired) and outcome.url is not None:
            return replace(outcome, url=self._action_base_url + outcome.url)
        return outcome

    async def _answer(self, call: ProviderCall) -> Outcome:
        try:
            handled = await self.bank.handle(call)
            if isinstance(handled, Held):
                await asyncio.sleep(handled.wait_ms / 1000)
                handled = await self.bank.handle(call, waited=True)
        except Exception as error:
            if not heals_with_time(error):
                raise
            # Its database may have committed before it went away.
            log.warning("the simulated provider is away", error=type(error).__name__)
            return UNREACHABLE
        match handled:
            case IdempotencyConflict():
                raise handled
            case Lost() | Held():
                return TIMEOUT
            case Done(outcome, wait_ms, answer_lost):
                if wait_ms:
                    await asyncio.sleep(wait_ms / 1000)
                return TIMEOUT if answer_lost else outcome
