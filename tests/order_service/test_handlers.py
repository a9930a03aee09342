"""The saga over a real database: batches, duplicates, crossings, and what is written."""

import asyncio
import dataclasses
import json
from uuid import UUID

import pytest

from contracts.envelope import parse_envelope
from contracts.ids import new_id
from contracts.messages.base import Message, Step
from contracts.messages.cart import CheckoutAccepted, UnlockCart
from contracts.messages.inventory import (
    CommitReservation,
    ReservationCommitted,
    ReserveStock,
    StockReserved,
)
from contracts.messages.order import CancelCheckout, OrderEvent, OrderPaid, OrderPlaced
from contracts.messages.parts import Discount, OrderLine, ShippingLine, Tax
from contracts.messages.payment import ChargePayment
from contracts.values import replace
from messaging.clock import utc_now
from order_service.checkout import Checkout, State, Tombstone
from order_service.exploration import (
    AT_SHIPPING,
    CHECKOUT_ID,
    SHORT_POLICY,
    explore,
    silhouette,
    start,
)
from order_service.handlers import CheckoutHandler, _firsts
from order_service.store import checkouts as store
from tests.order_service.office import ORDER_ID, Office, of, refusing, some_checkouts, start_of
from tests.order_service.story import (
    blocked,
    cancel,
    cart_closed,
    closed,
    committed,
    declined,
    not_held,
    operators_cancel,
    pay,
    refunded,
    rejected,
    released,
    reserved,
    restored,
    succeeded,
    unlocked,
)

pytestmark = pytest.mark.integration


async def decided(office: Office) -> list[tuple[str, str, str]]:
    """(decision, who, why) of what operators decided."""
    rows = await office.query("SELECT decision, requested_by, reason FROM resolutions ORDER BY id")
    return [tuple(row) for row in rows]


class TestOneCheckout:
    async def test_from_the_cart_to_paid(self, office: Office) -> None:
        await office.tell(start(), reserved(), succeeded(), committed(), cart_closed())
        assert (await office.checkout()).final
        assert await office.sent_types() == [
            "cart.checkout_accepted",
            "inventory.reserve_stock",
            "order.placed",
            "cart.close_cart",
            "payment.charge_payment",
            "inventory.commit_reservation",
            "order.paid",
        ]
        (order,) = await office.query("SELECT * FROM orders")
        assert (order["order_id"], order["checkout_id"]) == (ORDER_ID, CHECKOUT_ID)
        assert (order["payment_status"], order["fulfilment_status"]) == ("paid", "ready")
        assert (order["total_minor"], order["event_seq"]) == (2500, 2)
        assert await office.history() == [
            ("start_checkout", "moved", "reserving"),
            ("stock_reserved", "moved", "paying"),
            ("succeeded", "moved", "committing"),
            ("reservation_committed", "moved", "paid"),
            ("cart_closed", "moved", "paid"),
        ]

    async def test_all_answers_may_come_in_one_batch(self, office: Office) -> None:
        await office.send(start())
        await office.send(reserved(), succeeded(), committed(), cart_closed())
        assert (await office.checkout()).state is State.PAID
        assert len(await office.history()) == 5
        assert await office.value("SELECT event_seq FROM orders") == 2

    async def test_lines_keep_every_part_of_their_price(self, office: Office) -> None:
        line = OrderLine(
            sku="TEAPOT",
            name="Teapot",
            unit_price_minor=1000,
            quantity=2,
            discounts=(Discount(source="SUMMER", amount_minor=200),),
            taxes=(Tax(rate="0.2", inclusive=True, amount_minor=300),),
            net_minor=1500,
            gross_minor=1800,
        )
        post = ShippingLine(
            method="post",
            name="Post",
            unit_price_minor=500,
            quantity=1,
            net_minor=500,
            gross_minor=500,
        )
        request = start().model_copy(
            update={"lines": (line,), "shipping": (post,), "total_minor": 2300}
        )
        await office.tell(request, reserved())
        rows = await office.query(
            "SELECT line_no, sku, method, quantity, net_minor, gross_minor, discounts::text,"
            " taxes::text FROM order_lines ORDER BY line_no"
        )
        assert [tuple(row)[:6] for row in rows] == [
            (1, "TEAPOT", None, 2, 1500, 1800),
            (2, None, "post", 1, 500, 500),
        ]
        assert rows[0]["discounts"] == '[{"source": "SUMMER", "amount_minor": 200}]'
        assert '"rate": "0.2"' in rows[0]["taxes"]
        assert (await office.checkout()).request == request

    async def test_a_rejected_checkout_leaves_no_order(self, office: Office) -> None:
        await office.tell(start(), rejected())
        assert await office.value("SELECT count(*) FROM orders") == 0
        (unlock,) = await office.sent(UnlockCart)
        assert unlock.shortages[0].available == 0
        assert not (await office.checkout()).final
        await office.tell(unlocked())
        assert await office.value("SELECT final FROM checkouts")

    async def test_a_cancel_before_the_start_leaves_a_tombstone(self, office: Office) -> None:
        await office.tell(cancel())
        assert await office.known() == Tombstone(CHECKOUT_ID, "main")
        assert await office.sent_types() == []
        await office.tell(start())
        assert (await office.checkout()).state is State.CANCELLED
        assert await office.sent_types() == ["cart.checkout_accepted", "cart.unlock_cart"]
        await office.tell(unlocked())
        assert await office.value("SELECT final FROM checkouts")

    async def test_an_operators_cancel_keeps_who_and_why_and_a_shoppers_does_not(
        self, office: Office
    ) -> None:
        one, another = some_checkouts(2)
        await office.send(start_of(one), start_of(another))
        before = utc_now()
        await office.send(of(one, cancel()), of(another, operators_cancel()))
        assert await decided(office) == [("cancelled", "olga", "looks stolen")]
        (row,) = await office.query("SELECT checkout_id, at FROM resolutions")
        assert row["checkout_id"] == another
        assert before <= row["at"] <= utc_now()
        states = await office.states()
        assert states == {one: "releasing", another: "releasing"}

    async def test_an_operators_reason_stays_out_of_what_others_read(self, office: Office) -> None:
        await office.tell(start(), reserved(), succeeded(), committed(), operators_cancel())
        assert await decided(office) == [("cancelled", "olga", "looks stolen")]
        for table in ("checkouts", "checkout_history", "orders", "documents", "outbox"):
            rows = await office.query(f"SELECT * FROM {table}")  # noqa: S608 - constants
            assert "looks stolen" not in str([dict(row) for row in rows]), table

    async def test_an_operators_cancel_that_changes_nothing_is_no_decision(
        self, office: Office
    ) -> None:
        await office.tell(start(), reserved(), cancel(), operators_cancel())
        assert (await office.history())[-1] == ("cancel_checkout", "stale", "closing_payment")
        assert await decided(office) == []

    async def test_an_operators_cancel_before_the_start_is_kept_with_the_tombstone(
        self, office: Office
    ) -> None:
        await office.tell(operators_cancel(), start())
        assert (await office.checkout()).state is State.CANCELLED
        assert await decided(office) == [("cancelled", "olga", "looks stolen")]

    async def test_cancel_and_start_in_one_batch(self, office: Office) -> None:
        await office.send(cancel(), start())
        assert (await office.checkout()).state is State.CANCELLED

    async def test_the_whole_way_back(self, office: Office) -> None:
        await office.tell(start(), reserved(), succeeded(), committed(), cart_closed(), cancel())
        await office.tell(refunded(), released(), restored())
        checkout = await office.checkout()
        assert checkout.final
        (row,) = await office.query("SELECT captured_minor, refunded_minor, final FROM checkouts")
        assert tuple(row) == (2500, 2500, True)
        assert await office.value("SELECT payment_status FROM orders") == "refunded"
        seqs = [row[0] for row in await office.query("SELECT event_seq FROM outbox ORDER BY id")]
        assert [seq for seq in seqs if seq is not None] == [1, 2, 3, 4]


class TestHistory:
    async def test_it_says_since_when_a_message_was_under_way_and_how_often_its_step_was_asked(
        self, office: Office
    ) -> None:
        begun, answer = office.record(start()), office.record(reserved())
        await office.handle([begun])
        await office.time_passes()
        await office.sweep()
        await office.hear_itself()
        await office.handle([answer])
        history = await office.query("SELECT * FROM checkout_history ORDER BY entry_no")
        envelopes = [parse_envelope(record.headers) for record in (begun, answer)]
        for entry, envelope in zip((history[0], history[-1]), envelopes, strict=True):
            assert (entry["message_id"], entry["sent_at"]) == (envelope.id, envelope.time)
            assert entry["sent_at"] < entry["at"]
        assert [(entry["step"], entry["sends"]) for entry in history] == [
            ("start", None),
            ("reserve", 1),
            ("reserve", 2),
        ]

    async def test_a_request_is_decided_as_it_is_made_and_has_no_message(
        self, office: Office
    ) -> None:
        await office.tell(start(), reserved())
        assert (await office.post(f"/orders/{ORDER_ID}/cancel", {})).is_success
        *_, entry = await office.query("SELECT * FROM checkout_history ORDER BY entry_no")
        assert entry["message_type"] == CancelCheckout.type
        assert (entry["message_id"], entry["sends"]) == (None, None)
        assert entry["sent_at"] == entry["at"]


class TestAgain:
    async def test_the_same_message_twice_is_once(self, office: Office) -> None:
        await office.tell(start())
        record = office.record(reserved())
        await office.handle([record, record])
        await office.handle([record])
        assert len(await office.sent(OrderPlaced)) == 1
        assert len(await office.history()) == 2

    async def test_the_same_answer_under_another_id_is_stale(self, office: Office) -> None:
        await office.tell(start(), reserved(), reserved())
        assert await office.history() == [
            ("start_checkout", "moved", "reserving"),
            ("stock_reserved", "moved", "paying"),
            ("stock_reserved", "stale", "paying"),
        ]
        assert len(await office.sent(ChargePayment)) == 1

    async def test_a_start_sent_again_gets_the_same_reply(self, office: Office) -> None:
        await office.tell(start(), start())
        await office.send(start(), start())
        rows = await office.query(
            "SELECT DISTINCT message_id FROM outbox WHERE type = $1", CheckoutAccepted.type
        )
        assert len(rows) == 1
        assert len(await office.sent(ReserveStock)) == 1

    async def test_every_message_of_a_checkout_doubled(self, office: Office) -> None:
        for message in (start(), reserved(), declined(), pay(), succeeded(2), committed()):
            await office.send(message, message)
        await office.send(cart_closed(), cart_closed())
        checkout = await office.checkout()
        assert checkout.final
        assert checkout.captured_minor == 2500
        assert [charge.attempt for charge in await office.sent(ChargePayment)] == [1, 2]
        assert len(await office.sent(OrderPaid)) == 1


class TestWhatNothingExplains:
    async def test_it_is_buried_and_only_its_own_checkout_waits(self, office: Office) -> None:
        one, two = some_checkouts(2)
        await office.send(start_of(one), start_of(two))
        await office.send(of(one, reserved()), of(two, committed()), of(two, reserved()))
        assert await office.states() == {one: "paying", two: "reserving"}
        assert await office.blocked() == {two}
        (said,) = await office.dead_letters()
        assert said == "inventory.reservation_committed.v1: commit 1 was never asked"

    async def test_the_timeline_says_only_that_it_was_put_aside(self, office: Office) -> None:
        await office.tell(start(), committed())
        assert await office.history() == [
            ("start_checkout", "moved", "reserving"),
            ("step_blocked", "stale", "reserving"),
        ]

    async def test_a_note_about_a_step_that_was_never_asked_holds_up_nobody(
        self, office: Office
    ) -> None:
        await office.tell(start(), blocked(Step.COMMIT), reserved())
        assert await office.dead_letters() == []
        assert await office.states() == {CHECKOUT_ID: "paying"}

    @pytest.mark.parametrize("wrong", [{"round": 0}, {"shop_id": ""}], ids=str)
    async def test_a_record_of_no_round_or_no_shop_is_no_message(
        self, office: Office, wrong: dict[str, object]
    ) -> None:
        await office.tell(start())
        record = office.record(reserved())
        assert record.value is not None
        body = {**json.loads(record.value), **wrong}
        await office.handle([dataclasses.replace(record, value=json.dumps(body).encode())])
        assert await office.history() == [
            ("start_checkout", "moved", "reserving"),
            ("step_blocked", "moved", "reserving"),
        ]
        assert len(await office.dead_letters()) == 1

    async def test_an_answer_for_nobody(self, office: Office) -> None:
        await office.tell(reserved())
        assert await office.states() == {}
        assert len(await office.dead_letters()) == 1

    async def test_a_start_that_does_not_add_up_begins_nothing(self, office: Office) -> None:
        await office.tell(start().model_copy(update={"total_minor": 1}))
        assert await office.states() == {CHECKOUT_ID: "unseen"}
        assert await office.known() is None

    async def test_a_dead_letter_elsewhere_stops_the_deadline(self, office: Office) -> None:
        await office.tell(start(), blocked(Step.RESERVE))
        (row,) = await office.query("SELECT blocked, deadline_at FROM checkouts")
        assert tuple(row) == (True, None)


class TestAReplyThatCannotBeHandled:
    """A bug in the saga itself: it says blocked, and a replay of the reply brings it on."""

    async def test_its_saga_is_blocked_in_the_same_transaction_and_goes_on_by_a_replay(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await office.tell(start())
        with monkeypatch.context() as release:
            release.setattr("order_service.handlers.advance", refusing(StockReserved))
            await office.tell(reserved(), cart_closed())
        assert await office.blocked() == {CHECKOUT_ID}
        (_, parked) = await office.query("SELECT status FROM dead_letters ORDER BY seq")
        assert parked["status"] == "parked"

        await office.replay()
        assert await office.blocked() == set()
        assert await office.states() == {CHECKOUT_ID: "paying"}
        rows = await office.query("SELECT status FROM dead_letters")
        assert {row["status"] for row in rows} == {"done"}

    async def test_a_retry_behind_a_dead_answer_does_not_let_its_step_run_out(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await office.tell(start())
        answer = office.record(reserved())
        with monkeypatch.context() as release:
            release.setattr("order_service.handlers.advance", refusing(StockReserved))
            await office.handle([answer])
        body = {"decision": "retry", "reason": "to see"}
        operator = office.customer("olga", "operator")
        told = await office.post(f"/checkouts/{CHECKOUT_ID}/resolve", body, operator)
        assert told.json()["blocked"]
        assert len(await office.sent(ReserveStock)) == 2
        await office.handle([answer])  # what inventory answers to that
        await office.time_passes(2 * 86_400)
        await office.sweep()
        await office.hear_itself()
        assert await office.states() == {CHECKOUT_ID: "reserving"}
        await office.replay()
        assert await office.states() == {CHECKOUT_ID: "paying"}

    async def test_a_discard_is_as_if_no_answer_had_come(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await office.tell(start())
        with monkeypatch.context() as release:
            release.setattr("order_service.handlers.advance", refusing(StockReserved))
            await office.tell(reserved())
        await office.replay("discard")
        assert await office.states() == {CHECKOUT_ID: "releasing"}

    async def test_a_discarded_answer_of_a_newer_version_can_be_given_again_too(
        self, office: Office
    ) -> None:
        await office.tell(start(), reserved(), succeeded())
        answer = office.record(committed())
        newer = tuple(
            (name, value and value.replace(b"committed.v1", b"committed.v2"))
            for name, value in answer.headers
        )
        await office.handle([dataclasses.replace(answer, headers=newer)])
        assert await office.blocked() == {CHECKOUT_ID}
        await office.replay("discard")
        await office.handle([answer])
        assert await office.states() == {CHECKOUT_ID: "paid"}

    async def test_a_late_copy_of_a_discarded_answer_is_that_answer_given_again(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await office.tell(start(), reserved(), succeeded())
        answer = office.record(committed())
        with monkeypatch.context() as release:
            release.setattr("order_service.handlers.advance", refusing(ReservationCommitted))
            await office.handle([answer])
            await office.replay("discard")
            assert await office.states() == {CHECKOUT_ID: "needs_attention"}
            await office.handle([answer])
        assert len(await office.dead_letters()) == 1
        await office.replay()
        await office.handle([answer])
        assert await office.states() == {CHECKOUT_ID: "paid"}
        assert [one for one in await office.history() if one[0] == "reservation_committed"] == [
            ("reservation_committed", "moved", "paid")
        ]


class TestBatches:
    async def test_many_checkouts_in_one_batch(self, office: Office) -> None:
        many = some_checkouts(50)
        await office.send(*(start_of(one) for one in many))
        for answer in (reserved(), succeeded(), committed(), cart_closed()):
            await office.send(*(of(one, answer) for one in many))
        assert set((await office.states()).values()) == {"paid"}
        assert len(await office.sent(CommitReservation)) == 50
        assert await office.value("SELECT count(*) FROM checkouts WHERE final") == 50

    async def test_the_statements_do_not_grow_with_the_batch(self, office: Office) -> None:
        async def statements(many: int) -> int:
            await office.empty()
            checkouts = some_checkouts(many)
            await office.send(*(start_of(one) for one in checkouts))
            await office.send(*(of(one, reserved()) for one in checkouts))
            await office.send(
                *(of(one, succeeded() if n % 2 else declined()) for n, one in enumerate(checkouts))
            )
            return len(office.statements)

        assert await statements(40) == await statements(2)

    async def test_the_request_is_written_once(self, office: Office) -> None:
        await office.tell(start())
        office.statements.clear()
        await office.tell(reserved(), succeeded(), committed(), cart_closed())
        saves = [one for one in office.statements if "UPDATE checkouts" in one]
        assert len(saves) == 4
        assert not any("request" in one for one in saves)


class TestCrossings:
    async def test_batches_of_both_topics_take_turns_at_a_checkout(self, office: Office) -> None:
        many = some_checkouts(20)
        await office.send(*(start_of(one) for one in many))
        await office.send(*(of(one, reserved()) for one in many))
        retried = office.retried_batches()
        await asyncio.gather(
            office.send(*(of(one, succeeded()) for one in reversed(many))),
            office.send(*(of(one, cancel()) for one in many)),
        )
        assert office.retried_batches() == retried
        assert set((await office.states()).values()) == {"refunding"}

    async def test_two_starts_at_once_begin_one_checkout(self, office: Office) -> None:
        await asyncio.gather(*(office.send(start()) for _ in range(5)))
        assert len(await office.sent(ReserveStock)) == 1
        assert await office.dead_letters() == []

    async def test_a_cancel_that_crosses_success(self, office: Office) -> None:
        await office.tell(start(), reserved())
        await asyncio.gather(office.send(cancel()), office.send(succeeded()))
        await office.tell(refunded(), committed(), released(), restored(), cart_closed())
        assert (await office.checkout()).captured_minor == 2500
        assert (await office.checkout()).refunded_minor == 2500

    async def test_a_window_that_closes_while_success_is_on_its_way(self, office: Office) -> None:
        await office.tell(start(), reserved(), cart_closed())
        await office.time_passes()
        assert await office.sweep() == 1
        await office.tell(succeeded())
        await office.hear_itself()
        assert (await office.checkout()).state is State.COMMITTING
        await office.tell(committed())
        assert (await office.checkout()).final


async def test_what_is_saved_is_what_is_loaded_again(office: Office) -> None:
    """Whatever a checkout can get into, the tables take it and give it back."""
    handler = CheckoutHandler(SHORT_POLICY)
    beginnings = (start(), start(paid=False), start(total_minor=0), start(method=AT_SHIPPING))
    explored = {
        silhouette(move.after): move.after
        for request in beginnings
        for move in explore(request, alike=silhouette)
        if isinstance(move.after, Checkout)
    }
    copies = [_copied(checkout) for checkout in explored.values()]
    assert {checkout.state for checkout in copies} == set(State)
    async with office.service.database.transaction() as connection:
        pairs = {(checkout.id, "main") for checkout in copies}
        await store.lock(connection, {id_ for id_, _ in pairs}, pairs)
        firsts = [first for checkout in copies for first in _firsts(None, checkout)]
        await handler.save(connection, [*copies, *firsts])
        loaded = await store.load(connection, {id_ for id_, _ in pairs})
    assert {one.id: one for one in loaded} == {one.id: one for one in copies}


def _copied(checkout: Checkout) -> Checkout:
    """The same under a checkout id, and an order, of its own."""
    id_ = new_id()
    request = of(id_, checkout.request)
    order = checkout.order and replace(checkout.order, id=new_id(), number=str(id_))
    return replace(checkout, id=id_, request=request, order=order)


async def test_events_are_numbered_without_gaps_over_many_batches(office: Office) -> None:
    many = some_checkouts(10)
    stories: list[Message] = [reserved(), declined(), pay(), succeeded(2), not_held(), refunded()]
    await office.send(*(start_of(one) for one in many))
    for message in stories:
        if isinstance(message, type(refunded())):
            message = refunded(1, attempt=2)
        await office.send(*(of(one, message) for one in many))
    rows = await office.query(
        "SELECT subject, event_seq FROM outbox WHERE event_seq IS NOT NULL ORDER BY id"
    )
    by_order: dict[str, list[int]] = {}
    for row in rows:
        by_order.setdefault(row["subject"], []).append(row["event_seq"])
    assert len(by_order) == len(many)
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in by_order.values())
    last = await office.query("SELECT order_id::text, event_seq FROM orders")
    assert {row[0]: row[1] for row in last} == {key: len(seqs) for key, seqs in by_order.items()}


async def test_time_is_told_by_the_batch(office: Office) -> None:
    before = utc_now()
    await office.tell(start(), reserved())
    (placed,) = await office.sent(OrderPlaced)
    assert isinstance(placed, OrderEvent)
    assert before <= placed.occurred_at <= utc_now()
    assert isinstance(placed.order_id, UUID)


async def test_closed_payment_releases(office: Office) -> None:
    await office.tell(start(), reserved(), cancel(), closed())
    assert (await office.checkout()).state is State.RELEASING
