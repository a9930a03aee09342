"""Dead answers from end to end: order, inventory and payment on real databases.

The post between them is this test's: what stands in one outbox is handled by whom it is for,
under the id that it was sent under.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack

import asyncpg
import pytest

from contracts.messages.base import Message, Step
from contracts.messages.inventory import ReservationCommitted, StockReleased
from contracts.messages.parts import PaymentMethod
from contracts.messages.payment import PaymentClosed, Refunded, RefundFailed
from messaging.migrations import upgrade
from messaging.records import Record
from order_service.exploration import CHECKOUT_ID, start
from tests.conftest import Infrastructure
from tests.inventory_service.stockroom import Stockroom
from tests.order_service.office import Office, refusing
from tests.order_service.story import blocked, cancel
from tests.payment_service.cashdesk import CashDesk
from trolley.audit.invariant import Source
from trolley.checkouts.reading import snapshots_of
from trolley.checkouts.story import Story, story_of

pytestmark = pytest.mark.integration

WaitUntil = Callable[..., Awaitable[None]]


class Trade:
    """Three services, and the post between them."""

    def __init__(self, office: Office, stockroom: Stockroom, desk: CashDesk, cart: str) -> None:
        self.office, self.stockroom, self.desk = office, stockroom, desk
        self.urls = {
            Source.ORDER: office.database_url,
            Source.INVENTORY: stockroom.database_url,
            Source.PAYMENT: desk.database_url,
            Source.CART: cart,
        }
        self.carried: list[Record] = []

    async def begin(self, method: str) -> None:
        """A checkout that brings this payment along."""
        await self.stockroom.receive({"TEAPOT": 1})
        begins = start().model_copy(update={"payment": PaymentMethod(token=method)})
        await self.office.tell(begins)

    async def carry(self) -> bool:
        """Hand over what is under way; whether there was anything."""
        commands = await self._collected(self.office, ["inventory.commands", "payment.commands"])
        for record in commands:
            to = self.stockroom if record.topic == "inventory.commands" else self.desk
            await to.handle([record])
        replies = await self._collected(self.stockroom, ["order.replies"])
        replies += await self._collected(self.desk, ["order.replies"])
        for record in replies:
            await self.office.handle([record])
        self.carried += replies
        return bool(commands or replies)

    async def comes_to(self, state: str) -> bool:
        """Carry what is under way; whether the checkout is in this state then."""
        await self.carry()
        return (await self.office.states()).get(CHECKOUT_ID) == state

    async def comes_to_a_stop(self) -> bool:
        """Carry what is under way; whether a dead letter is in the way then."""
        await self.carry()
        return bool(await self.office.blocked())

    def ids_of(self, answer: type[Message]) -> list[bytes | None]:
        """Under which ids an answer was given, in order."""
        headers = [dict(record.headers) for record in self.carried]
        return [one["ce_id"] for one in headers if one["ce_type"] == answer.type.encode()]

    async def story(self) -> Story:
        """What an operator is shown of the checkout."""
        async with snapshots_of(self.urls) as snapshots:
            return await story_of(snapshots, CHECKOUT_ID)

    async def decide(self, act: str, **decision: str) -> None:
        """An operator's word."""
        body = {"reason": "somebody has to", **decision}
        operator = self.office.customer("olga", "operator")
        answer = await self.office.post(f"/checkouts/{CHECKOUT_ID}/{act}", body, operator)
        assert answer.status_code == 202, answer.text

    async def _collected(
        self, of_service: Office | Stockroom | CashDesk, topics: Collection[str]
    ) -> list[Record]:
        rows = await of_service.query(
            "WITH sent AS (DELETE FROM outbox WHERE topic = ANY($1) RETURNING *) "
            "SELECT * FROM sent ORDER BY id",
            list(topics),
        )
        return [_record_of(row) for row in rows]


def _record_of(row: asyncpg.Record) -> Record:
    """What the relay makes of a row."""
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": row["message_id"],
        "ce_type": row["type"],
        "ce_source": row["source"],
        "ce_time": row["time"].isoformat(),
        "ce_subject": row["subject"],
        "ce_shopid": row["shop_id"],
        "ce_correlationid": row["correlation_id"],
        "ce_step": row["step"],
        "ce_round": row["round"],
    }
    headers = tuple((name, str(value).encode()) for name, value in attributes.items())
    return Record(row["topic"], 0, row["id"], row["key"], row["payload"], headers)


@pytest.fixture
async def trade(office: Office, infrastructure: Infrastructure) -> AsyncIterator[Trade]:
    """Order, inventory and payment with nothing in their tables; a worker calls the provider."""
    async with AsyncExitStack() as stack:

        async def migrated(name: str, package: str) -> str:
            url = await stack.enter_async_context(infrastructure.database(name))
            await asyncio.to_thread(upgrade, package, url)
            return url

        stockroom = Stockroom(await migrated("trade_inventory", "inventory_service"))
        stack.push_async_callback(stockroom.close)
        desk = CashDesk(
            await migrated("trade_payment", "payment_service"),
            await migrated("trade_bank", "payment_service.providers.simulated"),
        )
        stack.push_async_callback(desk.close)
        desk.worker().start()
        await stack.enter_async_context(desk.pumping())
        yield Trade(office, stockroom, desk, await migrated("trade_cart", "cart_service"))


@pytest.mark.parametrize(
    ("lost", "method", "before", "after"),
    [
        (ReservationCommitted, "pm_ok", None, "paid"),
        (PaymentClosed, "pm_action_required", "action_required", "cancelled"),
        (StockReleased, "pm_action_required", "action_required", "cancelled"),
        (Refunded, "pm_ok", "paid", "cancelled"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
async def test_an_answer_that_was_discarded_is_taken_in_when_it_is_given_again(
    trade: Trade,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
    lost: type[Message],
    method: str,
    before: str | None,
    after: str,
) -> None:
    await trade.begin(method)
    if before is not None:
        await wait_until(lambda: trade.comes_to(before), what=before)
        await trade.office.tell(cancel())
    with monkeypatch.context() as release:
        release.setattr("order_service.handlers.advance", refusing(lost))
        await wait_until(trade.comes_to_a_stop, what=f"the death of {lost.type}")
    await trade.office.replay("discard")
    assert await trade.office.states() == {CHECKOUT_ID: "needs_attention"}

    await trade.decide("resolve", decision="retry")
    await wait_until(lambda: trade.comes_to(after), what=after)
    assert len(trade.ids_of(lost)) == 2
    assert len(set(trade.ids_of(lost))) == 1


async def test_a_refusal_that_was_discarded_comes_again_and_is_decided_by_hand(
    trade: Trade, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    await trade.begin("pm_ok+refund_fails")
    await wait_until(lambda: trade.comes_to("paid"), what="paid")
    await trade.office.tell(cancel())
    with monkeypatch.context() as release:
        release.setattr("order_service.handlers.advance", refusing(RefundFailed))
        await wait_until(trade.comes_to_a_stop, what="the death of the refusal")
    await trade.office.replay("discard")
    await trade.decide("resolve", decision="retry")
    await wait_until(lambda: trade.comes_to("needs_attention"), what="the refusal, again")
    await trade.decide("resolve", decision="refunded_by_hand")
    await wait_until(lambda: trade.comes_to("cancelled"), what="cancelled")


async def test_its_story_tells_of_the_letter_and_of_what_became_of_it(
    trade: Trade, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    await trade.begin("pm_action_required")
    await wait_until(lambda: trade.comes_to("action_required"), what="action_required")
    order = (await trade.office.checkout()).order
    assert order is not None
    assert (await trade.story()).window_closes_at == order.window_closes_at
    await trade.office.tell(cancel())
    with monkeypatch.context() as release:
        release.setattr("order_service.handlers.advance", refusing(PaymentClosed))
        await wait_until(trade.comes_to_a_stop, what="the death of the answer")

    story = await trade.story()
    ((letter,),) = await trade.office.query("SELECT id FROM dead_letters")
    (wait,) = [one for one in story.waits if one.hold is not None]
    assert f"dead letter {letter} of order" in wait.next
    (put_aside,) = [one for one in story.entries if one.does == "puts aside"]
    assert (put_aside.step, put_aside.round, put_aside.outcome) == ("close_payment", 1, "dead")

    await trade.office.replay("discard")
    story = await trade.story()
    assert [item for item in story.open_items if item.what.startswith(PaymentClosed.type)] == []
    (settled,) = [one for one in story.entries if one.does == "settles a dead letter"]
    assert (settled.service, settled.outcome) == ("order", "discarded")
    of_payment = [one.does for one in story.entries if one.service == "payment"]
    assert of_payment[:2] == ["begins an attempt", "calls the provider"]
    assert "hears from the provider" in of_payment


async def test_a_block_whose_letter_is_gone_says_how_to_go_on(
    trade: Trade, wait_until: WaitUntil
) -> None:
    await trade.begin("pm_ok")
    await wait_until(lambda: trade.comes_to("committing"), what="committing")
    await trade.office.tell(blocked(Step.COMMIT))  # and its end is never told
    (wait,) = [one for one in (await trade.story()).waits if one.hold is not None]
    assert "no dead letter of it is open" in wait.next
    await trade.decide("resolve", decision="retry")
    await wait_until(lambda: trade.comes_to("paid"), what="paid")
