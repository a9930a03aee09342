"""The ways in which a shopper pays, and what is done with the money: each a story at the till.

A story waits for an answer that lets it go on, however long an answer that does not comes first.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import aiohttp

from contracts.ids import derived_id, new_id
from contracts.messages.base import Message, SagaReply, Step
from contracts.messages.payment import PaymentActionRequired
from stripe_sandbox.database import Object
from tests.payment_service.cashdesk import soon
from tests.payment_service.fault_matrix.till import KEY, Till
from tests.payment_service.fault_matrix.wire import Run
from tests.payment_service.story import capture, close, refund, review
from tests.payment_service.stripe_page import pay_at

VISA = "pm_card_visa"
RETRIEVE = "GET /v1/payment_intents/{intent}"
SECONDS = 60
"""How long a shopper waits for anything; ends what hangs."""


class Shopper:
    """Somebody at the till, with one or more checkouts of theirs."""

    def __init__(self, till: Till, run: Run, *, tells_of_reviews: bool) -> None:
        self.till, self.run = till, run
        self.checkouts: list[UUID] = []
        self.customer = f"c-{new_id()}"
        self.tells_of_reviews = tells_of_reviews

    async def charged(
        self, method: str = VISA, *, checkout: UUID | None = None, currency: str = "GBP", **how: Any
    ) -> UUID:
        """A charge is asked for; gives its checkout."""
        if checkout is None:
            checkout = new_id()
            self.checkouts.append(checkout)
            payment_id = derived_id(checkout, "payment")
            self.till.runs.belongs(str(payment_id), self.run)
            self.run.begin(payment_id)
        asked = soon(checkout, method=method, provider="stripe", customer=self.customer, **how)
        await self.till.tell(asked.model_copy(update={"currency": currency}))
        return checkout

    async def hears(self, checkout: UUID, step: Step, *names: str, number: int = 1) -> SagaReply:
        """The answer that lets the saga go on, one of these."""

        def last() -> SagaReply | None:
            return self.till.replies(checkout).get((step, number))

        async def heard() -> bool:
            return type(last()).__name__ in names

        try:
            await self.till.wait_until(heard, seconds=SECONDS, what=f"{step} {number}: {names}")
        except BaseException as error:
            error.add_note(f"the last reply was {last()!r}")
            raise
        answer = last()
        assert answer is not None
        return answer

    async def pays(self, method: str = VISA, **how: Any) -> UUID:
        """A charge that succeeds; gives its checkout."""
        checkout = await self.charged(method, **how)
        await self.hears(checkout, Step.CHARGE, "PaymentSucceeded")
        return checkout

    async def gets_back(self, checkout: UUID, number: int, amount: int) -> None:
        """A refund that succeeds."""
        await self.till.tell(refund(number, amount, checkout=checkout))
        await self.hears(checkout, Step.REFUND, "Refunded", number=number)

    async def closes(self, checkout: UUID) -> None:
        """The payment is given up before any money came."""
        await self.till.tell(close(checkout=checkout))
        await self.hears(checkout, Step.CLOSE_PAYMENT, "PaymentClosed")

    async def is_sent_on(self, checkout: UUID) -> str:
        """The address that the shopper is sent to."""
        asked = await self.hears(checkout, Step.CHARGE, "PaymentActionRequired")
        assert isinstance(asked, PaymentActionRequired)
        url = asked.next_action.url
        assert url is not None
        return url

    async def is_asked_about(self) -> None:
        """Nothing happens for so long that Stripe is asked about it."""

        async def asked() -> bool:
            return RETRIEVE in self.run.calls

        await self.till.wait_until(asked, seconds=SECONDS, what="a question")

    # What happens at Stripe without us.

    async def there(self, kind: str, checkout: UUID, **fields: str) -> Object:
        """The one object there of a kind that belongs to a payment, once it has these values."""
        found: list[Object] = []

        async def is_there() -> bool:
            found[:] = [
                one
                for one in self._objects(kind, checkout)
                if all(one[name] == value for name, value in fields.items())
            ]
            return bool(found)

        await self.till.wait_until(is_there, seconds=SECONDS, what=f"{kind} with {fields}")
        return found[0]

    def _objects(self, kind: str, checkout: UUID) -> list[Object]:
        _, *intents = self.run.names[self.checkouts.index(checkout)]
        with self.till.sandbox.database.transaction() as transaction:
            if kind == "payment_intent":
                return [transaction.get(kind, name) for name in intents]
            return [
                one for name in intents for one in transaction.all_of(kind, payment_intent=name)
            ]

    async def does_there(self, path: str, data: Mapping[str, str]) -> None:
        """Somebody does something in Stripe's dashboard."""
        async with aiohttp.ClientSession() as dashboard:
            headers = {"Authorization": f"Bearer {KEY}"}
            url = f"{self.till.sandbox.url}{path}"
            async with dashboard.post(url, data=data, headers=headers) as answer:
                assert answer.status == 200, await answer.text()

    async def learns(self, checkout: UUID, **fields: object) -> Message:
        """The saga hears of what happened at Stripe, from a review."""
        if self.tells_of_reviews:
            await self.till.tell(review(checkout=checkout))

        def found() -> list[Message]:
            return [
                one
                for one in self.till.notices(checkout)
                if all(getattr(one, name, None) == value for name, value in fields.items())
            ]

        async def learnt() -> bool:
            return bool(found())

        await self.till.wait_until(learnt, seconds=SECONDS, what=f"a notice with {fields}")
        return found()[0]


async def automatic(shopper: Shopper) -> None:
    """Money is taken at once."""
    await shopper.pays()


async def capture_later(shopper: Shopper) -> None:
    """Money is set aside, and a part of it is captured."""
    checkout = await shopper.charged(flow="authorize")
    await shopper.hears(checkout, Step.CHARGE, "PaymentAuthorized")
    await shopper.till.tell(capture(amount=600, checkout=checkout))
    await shopper.hears(checkout, Step.CAPTURE, "PaymentSucceeded")


async def let_go(shopper: Shopper) -> None:
    """Money is set aside, and let go."""
    checkout = await shopper.charged(flow="authorize")
    await shopper.hears(checkout, Step.CHARGE, "PaymentAuthorized")
    await shopper.closes(checkout)


async def three_d_secure(shopper: Shopper) -> None:
    """The bank wants to see the shopper, who comes."""
    checkout = await shopper.charged("pm_card_threeDSecure2Required")
    await _authenticates(await shopper.is_sent_on(checkout))
    await shopper.hears(checkout, Step.CHARGE, "PaymentSucceeded")


async def three_d_secure_given_up(shopper: Shopper) -> None:
    """The bank wants to see the shopper, who has gone."""
    checkout = await shopper.charged("pm_card_threeDSecure2Required")
    await shopper.is_sent_on(checkout)
    await shopper.is_asked_about()
    await shopper.closes(checkout)


async def debit(shopper: Shopper) -> None:
    """A bank debit is on its way, and arrives."""
    await shopper.pays("pm_usBankAccount_success", currency="USD")


async def debit_comes_back(shopper: Shopper) -> None:
    """A bank debit is on its way, and does not arrive."""
    checkout = await shopper.charged("pm_usBankAccount_insufficientFunds", currency="USD")
    await shopper.hears(checkout, Step.CHARGE, "PaymentDeclined")


async def page(shopper: Shopper) -> None:
    """The shopper pays on Stripe's page, and gets a part back."""
    checkout = await shopper.charged(hosted=True)
    assert await pay_at(await shopper.is_sent_on(checkout)) == 303
    await shopper.hears(checkout, Step.CHARGE, "PaymentSucceeded")
    await shopper.gets_back(checkout, 1, 400)


async def page_captured_later(shopper: Shopper) -> None:
    """Money is set aside on Stripe's page, and captured."""
    checkout = await shopper.charged(hosted=True, flow="authorize")
    assert await pay_at(await shopper.is_sent_on(checkout)) == 303
    await shopper.hears(checkout, Step.CHARGE, "PaymentAuthorized")
    await shopper.till.tell(capture(amount=600, checkout=checkout))
    await shopper.hears(checkout, Step.CAPTURE, "PaymentSucceeded")


async def page_given_up(shopper: Shopper) -> None:
    """The shopper is sent to Stripe's page, and does not pay there."""
    checkout = await shopper.charged(hosted=True)
    url = await shopper.is_sent_on(checkout)
    await shopper.closes(checkout)
    assert await pay_at(url) == 303  # back to what says that the page has expired


async def declined(shopper: Shopper) -> None:
    """One card has no funds, another one has."""
    checkout = await shopper.charged("pm_card_chargeDeclinedInsufficientFunds")
    await shopper.hears(checkout, Step.CHARGE, "PaymentDeclined")
    await shopper.charged(checkout=checkout, attempt=2)
    await shopper.hears(checkout, Step.CHARGE, "PaymentSucceeded", number=2)


async def refunded(shopper: Shopper) -> None:
    """Two parts of the money go back."""
    checkout = await shopper.pays()
    await shopper.gets_back(checkout, 1, 400)
    await shopper.gets_back(checkout, 2, 600)


async def refund_pending(shopper: Shopper) -> None:
    """A refund is on its way for a while."""
    checkout = await shopper.pays("pm_card_pendingRefund")
    await shopper.gets_back(checkout, 1, 400)


async def refund_comes_back(shopper: Shopper) -> None:
    """A refund was made, and the shopper's bank did not take it."""
    checkout = await shopper.pays("pm_card_refundFail")
    await shopper.till.tell(refund(1, 400, checkout=checkout))
    # Whose answer was lost may be seen for the first time when it has come back.
    await shopper.hears(checkout, Step.REFUND, "Refunded", "RefundFailed")
    await shopper.there("refund", checkout, status="failed")
    if shopper.tells_of_reviews:
        await shopper.till.tell(review(checkout=checkout))
    await shopper.hears(checkout, Step.REFUND, "RefundFailed")


async def refunded_there(shopper: Shopper) -> None:
    """Somebody refunds a part in Stripe's dashboard."""
    checkout = await shopper.pays()
    intent = await shopper.there("payment_intent", checkout, status="succeeded")
    await shopper.does_there("/v1/refunds", {"payment_intent": intent["id"], "amount": "400"})
    await shopper.learns(checkout, status="refunded")


async def disputed(shopper: Shopper) -> None:
    """The shopper disputes the payment, and the shop gives in."""
    checkout = await shopper.pays("pm_card_createDispute")
    dispute = await shopper.there("dispute", checkout)
    await shopper.learns(checkout, status="open")
    await shopper.does_there(f"/v1/disputes/{dispute['id']}/close", {})
    await shopper.learns(checkout, status="lost")


async def saved(shopper: Shopper) -> None:
    """A card is kept, pays once more without the shopper, and is deleted."""
    await shopper.pays(save=True)
    rows = await shopper.till.desk.query(
        "SELECT saved_method_id, token FROM saved_methods WHERE customer_id = $1", shopper.customer
    )
    if not rows:
        return  # what could not be read was not kept
    shopper.till.runs.belongs(rows[0]["token"], shopper.run)
    name = rows[0]["saved_method_id"]
    await shopper.pays(saved_method_id=name)
    answer = await shopper.till.desk.http.delete(
        f"/saved-methods/{name}",
        headers=shopper.till.desk.token(sub=shopper.customer) | {"Idempotency-Key": str(new_id())},
    )
    assert answer.status_code == 200

    async def forgotten() -> bool:
        found = await shopper.till.desk.query(
            "SELECT forgotten_at FROM saved_methods WHERE saved_method_id = $1", name
        )
        return found[0]["forgotten_at"] is not None

    await shopper.till.wait_until(forgotten, seconds=SECONDS, what="the end of what was kept")


async def _authenticates(url: str) -> None:
    async with aiohttp.ClientSession() as browser:
        done = {"outcome": "complete"}
        async with browser.post(url, data=done, allow_redirects=False) as answer:
            assert answer.status == 303


Flow = Callable[[Shopper], Awaitable[None]]

FLOWS: Mapping[str, Flow] = {
    "automatic": automatic,
    "capture later": capture_later,
    "let go": let_go,
    "3-D Secure": three_d_secure,
    "3-D Secure given up": three_d_secure_given_up,
    "debit": debit,
    "debit comes back": debit_comes_back,
    "page": page,
    "page, capture later": page_captured_later,
    "page given up": page_given_up,
    "declined": declined,
    "refund": refunded,
    "refund pending": refund_pending,
    "refund comes back": refund_comes_back,
    "refund made there": refunded_there,
    "dispute": disputed,
    "saved method": saved,
}
