"""Shipping, and money that is set aside until then: taken first, or seen to before it is lost."""

from datetime import timedelta
from uuid import UUID

import pytest

from contracts.messages.base import Step
from contracts.messages.order import (
    OrderAuthorized,
    OrderPaid,
    OrderPaymentFailed,
    OrderShipped,
    ShipOrder,
)
from contracts.messages.parts import LinePieces
from contracts.messages.payment import CapturePayment, ChargePayment, Refunded, RefundPayment
from order_service.checkout import Lapse, LateSuccess, Stale, State
from order_service.checkout.facts import AttemptStatus, Fulfilment, PaymentStatus, StockStatus
from order_service.checkout.outcomes import (
    KNOWN,
    Finished,
    NoSuchLine,
    NotPayable,
    NotShippable,
    ParcelKnown,
    ShipmentsExhausted,
    TooManyPieces,
)
from order_service.checkout.shipments import pieces_left
from order_service.exploration import AT_SHIPPING, CHECKOUT_ID, EXPIRY, OTHER_CARD, ship
from tests.order_service.situations import set_aside
from tests.order_service.story import (
    TOTAL,
    Story,
    authorized,
    blocked,
    cancel,
    capture_failed,
    closed,
    committed,
    declined,
    not_held,
    paid_story,
    pay,
    released,
    reserved,
    resolve,
    restored,
    succeeded,
    unblocked,
    unknown,
)

SAVED = AT_SHIPPING.model_copy(update={"saved_method_id": UUID(int=7)})


def refused(story: Story, why: object, shipment: ShipOrder | None = None) -> None:
    """A shipment is refused for this reason."""
    assert story.hears(shipment or ship()) == Stale(why)  # type: ignore[arg-type]  # one of Why


def fulfilment(story: Story) -> Fulfilment:
    assert story.saga.order is not None
    return story.saga.order.fulfilment


class TestPaidOrders:
    def test_one_is_shipped_once_and_not_cancelled_any_more(self) -> None:
        story = paid_story().tell(ship())
        assert story.tells == ["order.shipped"]
        assert story.last(OrderShipped).tracking == "RR1"
        assert fulfilment(story) is Fulfilment.SHIPPED
        assert story.saga.final
        story.ignores(ship(), cancel())

    def test_what_is_not_paid_is_not_shipped(self) -> None:
        refused(Story.begun().tell(reserved()), NotShippable(State.PAYING))
        refused(Story.begun().tell(reserved(), succeeded()), NotShippable(State.COMMITTING))

    def test_what_was_given_up_is_not_shipped(self) -> None:
        refused(paid_story().tell(cancel()), NotShippable(State.REFUNDING))


def parcel(tracking: str, *pieces: int, line_no: int = 1) -> ShipOrder:
    """A parcel with this number and these pieces of one line."""
    lines = tuple(LinePieces(line_no=line_no, quantity=quantity) for quantity in pieces)
    return ShipOrder(
        checkout_id=CHECKOUT_ID, carrier="post", tracking=tracking, lines=lines, requested_by="olga"
    )


def left_of(story: Story) -> list[int]:
    """Pieces of each line that are still to be shipped."""
    assert story.saga.order is not None
    return pieces_left(story.saga.order, story.saga.request.lines)


class TestSeveralShipments:
    def test_each_is_told_of_and_the_last_one_completes_the_order(self) -> None:
        story = paid_story(pieces=5).with_policy(shipments_limit=3).tell(parcel("RR1", 2))
        assert story.tells == ["order.shipped"]
        first = story.last(OrderShipped)
        assert (first.shipment_number, first.complete) == (1, False)
        assert [(line.line_no, line.quantity) for line in first.lines] == [(1, 2)]
        assert fulfilment(story) is Fulfilment.PARTLY_SHIPPED
        assert left_of(story) == [3]
        story.tell(parcel("RR2", 1, 1))
        assert [line.quantity for line in story.last(OrderShipped).lines] == [2]
        assert fulfilment(story) is Fulfilment.PARTLY_SHIPPED
        story.tell(parcel("RR3", 1))
        last = story.last(OrderShipped)
        assert (last.shipment_number, last.tracking, last.complete) == (3, "RR3", True)
        assert fulfilment(story) is Fulfilment.SHIPPED

    def test_one_without_lines_takes_all_that_is_left(self) -> None:
        story = paid_story(pieces=5).tell(parcel("RR1", 2), parcel("RR2"))
        assert [line.quantity for line in story.last(OrderShipped).lines] == [3]
        assert fulfilment(story) is Fulfilment.SHIPPED
        for another in (parcel("RR2"), parcel("RR3")):
            assert story.hears(another) == KNOWN

    def test_the_whole_order_in_one_needs_no_lines_in_its_event(self) -> None:
        told = paid_story(pieces=5).tell(ship()).last(OrderShipped)
        assert (told.shipment_number, told.lines, told.complete) == (1, (), True)

    def test_no_piece_is_shipped_twice(self) -> None:
        story = paid_story(pieces=5).tell(parcel("RR1", 4))
        assert story.hears(parcel("RR2", 1, 1)) == Stale(TooManyPieces(1, 1))
        story.tell(parcel("RR2", 1))
        assert story.hears(parcel("RR3", 1)) == Stale(TooManyPieces(1, 0))

    def test_only_goods_of_the_order_are_shipped(self) -> None:
        story = paid_story(pieces=5)
        assert story.hears(parcel("RR1", 1, line_no=2)) == Stale(NoSuchLine(2))

    def test_a_parcel_is_recorded_once_by_its_carriers_number(self) -> None:
        story = paid_story(pieces=5).tell(parcel("RR1", 2))
        for again in (parcel("RR1", 2), parcel("RR1", 1, 1)):
            assert story.hears(again) == KNOWN
        assert story.hears(parcel("RR1", 3)) == Stale(ParcelKnown(1))
        assert story.hears(parcel("RR1")) == Stale(ParcelKnown(1))
        assert left_of(story) == [3]

    def test_parcels_without_a_number_are_parcels_of_their_own(self) -> None:
        story = paid_story(pieces=2).tell(parcel("", 1), parcel("", 1))
        assert fulfilment(story) is Fulfilment.SHIPPED

    def test_there_are_only_so_many(self) -> None:
        story = paid_story(pieces=5).with_policy(shipments_limit=1).tell(parcel("RR1", 1))
        for another in (parcel("RR2", 1), parcel("RR2")):
            assert story.hears(another) == Stale(ShipmentsExhausted(1))

    def test_what_has_left_in_part_is_not_cancelled_any_more(self) -> None:
        story = paid_story(pieces=2).tell(ship(1))
        assert story.hears(cancel()) == Stale(Finished(Fulfilment.PARTLY_SHIPPED))

    def test_the_first_takes_all_the_money_and_further_ones_none(self) -> None:
        story = set_aside(pieces=5).tell(parcel("RR1", 1))
        story.is_now(State.CAPTURING)
        story.tell(succeeded(step=Step.CAPTURE, amount_minor=TOTAL))
        assert story.tells == ["order.paid", "order.shipped"]
        assert (fulfilment(story), left_of(story)) == (Fulfilment.PARTLY_SHIPPED, [4])
        story.tell(parcel("RR2"))
        assert story.asks == []
        assert story.count(CapturePayment) == 1
        assert fulfilment(story) is Fulfilment.SHIPPED

    def test_while_the_first_waits_for_the_money_another_has_to_wait_as_well(self) -> None:
        story = set_aside(pieces=5).tell(parcel("RR1", 1))
        for another in (parcel("RR2", 1), parcel("RR2"), parcel("", 1)):
            refused(story, NotShippable(State.CAPTURING), another)
        story.tell(capture_failed()).is_now(State.PAYMENT_FAILED)
        refused(story, NotShippable(State.PAYMENT_FAILED), parcel("RR1", 1))
        assert left_of(story) == [5]

    def test_the_one_that_waits_for_the_money_may_be_asked_for_again(self) -> None:
        story = set_aside(pieces=5).tell(parcel("RR1", 1))
        assert story.hears(parcel("RR1", 1)) == KNOWN
        assert story.hears(parcel("RR1", 2)) == Stale(ParcelKnown(1))


class TestMoneySetAside:
    def test_fulfilment_is_told_to_begin_once_the_stock_is_committed(self) -> None:
        story = Story.begun(method=AT_SHIPPING).tell(reserved(), authorized())
        story.is_now(State.COMMITTING)
        assert story.tells == []
        story.tell(committed())
        story.is_now(State.AUTHORIZED)
        assert story.tells == ["order.authorized"]
        assert story.last(OrderAuthorized).capture_before == EXPIRY
        assert story.asks == []
        assert story.saga.payment_status is PaymentStatus.AUTHORIZED

    def test_it_is_taken_when_the_order_is_to_be_shipped_and_only_then_is_it_shipped(self) -> None:
        story = set_aside().tell(ship())
        story.is_now(State.CAPTURING)
        assert story.asks == [Step.CAPTURE]
        assert story.tells == []
        assert fulfilment(story) is Fulfilment.READY
        story.tell(succeeded(step=Step.CAPTURE))
        story.is_now(State.PAID)
        assert story.tells == ["order.paid", "order.shipped"]
        assert fulfilment(story) is Fulfilment.SHIPPED
        assert story.saga.final

    def test_it_is_taken_once_however_often_the_order_is_shipped(self) -> None:
        story = set_aside().tell(ship())
        story.ignores(ship()).tell(succeeded(step=Step.CAPTURE)).ignores(ship())
        assert story.count(CapturePayment) == 1
        assert (story.count(OrderPaid), story.count(OrderShipped)) == (1, 1)

    def test_what_is_being_shipped_is_not_cancelled(self) -> None:
        story = set_aside().tell(ship())
        assert story.hears(cancel()) == Stale(Finished("being shipped"))

    def test_a_cancel_before_gives_it_back_untaken_and_the_goods_to_the_shelf(self) -> None:
        story = set_aside().tell(cancel())
        story.is_now(State.CLOSING_PAYMENT)
        refused(story, NotShippable(State.CLOSING_PAYMENT))
        story.tell(closed()).is_now(State.RELEASING)
        story.tell(released(), restored()).is_now(State.CANCELLED)
        assert story.count(CapturePayment) == 0
        assert story.saga.captured_minor == 0
        assert fulfilment(story) is Fulfilment.CANCELLED

    @pytest.mark.parametrize("late", LateSuccess)
    def test_money_that_crosses_the_cancel_is_kept_or_goes_back_by_policy(
        self, late: LateSuccess
    ) -> None:
        story = set_aside().with_policy(success_at_cancel=late).tell(cancel(), succeeded())
        if late is LateSuccess.KEEP:
            story.is_now(State.PAID)
            assert story.tells == ["order.paid"]
        else:
            story.is_now(State.REFUNDING)

    def test_the_shopper_pays_no_other_way_meanwhile(self) -> None:
        story = set_aside()
        for another in (pay(OTHER_CARD), pay(OTHER_CARD, replace=True)):
            assert story.hears(another) == Stale(NotPayable(State.AUTHORIZED))

    def test_an_attempt_that_is_being_closed_for_its_silence_secures_nothing(self) -> None:
        story = Story.begun(method=AT_SHIPPING).tell(reserved()).runs_out(Step.CHARGE)
        story.tell(authorized()).is_now(State.CLOSING_PAYMENT)
        story.tell(closed()).is_now(State.PAYMENT_FAILED)
        assert story.saga.stock.status is StockStatus.HELD

    def test_stock_that_is_not_held_any_more_gives_it_back(self) -> None:
        story = Story.begun(method=AT_SHIPPING).tell(reserved(), authorized(), not_held())
        story.is_now(State.CLOSING_PAYMENT)
        story.tell(closed(), restored()).is_now(State.CANCELLED)

    def test_money_that_the_shop_takes_at_the_provider_makes_it_a_paid_order(self) -> None:
        story = set_aside().tell(succeeded())
        story.is_now(State.PAID)
        assert story.tells == ["order.paid"]
        assert story.tell(ship()).tells == ["order.shipped"]

    def test_an_outcome_that_nobody_knows_is_waited_for_and_not_asked_again(self) -> None:
        story = set_aside().tell(ship(), unknown(step=Step.CAPTURE))
        story.is_now(State.CAPTURING)
        story.runs_out(Step.CAPTURE).is_now(State.NEEDS_ATTENTION)
        assert story.count(CapturePayment) == 1
        story.tell(succeeded(step=Step.CAPTURE)).is_now(State.PAID)
        assert story.tells == ["order.paid", "order.shipped"]

    def test_who_waits_for_a_stuck_capture_may_cancel_after_all(self) -> None:
        story = set_aside().tell(ship()).runs_out(Step.CAPTURE)
        story.is_now(State.NEEDS_ATTENTION).tell(cancel()).is_now(State.CLOSING_PAYMENT)
        refused(story, NotShippable(State.CLOSING_PAYMENT))
        kept = story.with_policy(success_at_cancel=LateSuccess.KEEP).tell(succeeded())
        assert kept.is_now(State.PAID).tells == ["order.paid"]  # nobody has it shipped any more


class TestMoneyThatCannotBeTaken:
    def test_the_shopper_may_pay_again_and_the_goods_stay_in_the_house(self) -> None:
        story = set_aside().later(days=3).tell(ship(), capture_failed())
        story.is_now(State.PAYMENT_FAILED)
        assert story.tells == ["order.payment_failed"]
        assert story.last(OrderPaymentFailed).window_closes_at > story.now
        assert fulfilment(story) is Fulfilment.PENDING
        assert story.saga.stock.status is StockStatus.COMMITTED
        refused(story, NotShippable(State.PAYMENT_FAILED))
        story.tell(pay(OTHER_CARD), succeeded(2)).is_now(State.PAID)
        assert story.tells == ["order.paid"]
        assert fulfilment(story) is Fulfilment.READY

    def test_nobody_pays_again_and_the_goods_go_back_to_the_shelf(self) -> None:
        story = set_aside().later(days=3).tell(ship(), capture_failed())
        story.window_closes().tell(closed()).is_now(State.RELEASING)
        story.tell(released(), restored()).is_now(State.CANCELLED)

    def test_an_authorization_that_ends_at_the_bank_asks_the_shopper_to_pay_again(self) -> None:
        story = set_aside().later(days=8).tell(declined())
        story.is_now(State.PAYMENT_FAILED)
        assert story.count(CapturePayment) == 0


class TestAPartTakenAtTheProvider:
    def test_nothing_is_sold_for_it_and_it_goes_back(self) -> None:
        story = set_aside().tell(succeeded(amount_minor=400))
        story.is_now(State.PAYMENT_FAILED)
        assert story.tells == ["order.payment_failed"]
        assert story.last(RefundPayment).amount_minor == 400
        assert story.saga.payment_status is PaymentStatus.FAILED
        story.tell(Refunded.model_validate(story.last(RefundPayment).model_dump()))
        story.tell(pay(OTHER_CARD), succeeded(2)).is_now(State.PAID)
        assert story.saga.kept_minor == TOTAL
        assert story.saga.captured_minor - story.saga.refunded_minor == TOTAL

    def test_of_an_order_that_is_given_up_it_goes_back_too(self) -> None:
        story = set_aside().tell(cancel(), succeeded(amount_minor=400))
        story.is_now(State.REFUNDING)
        story.tell(Refunded.model_validate(story.last(RefundPayment).model_dump()))
        story.tell(released(), restored()).is_now(State.CANCELLED)
        assert story.saga.final

    def test_more_than_was_asked_is_nothing_that_we_can_explain(self) -> None:
        set_aside().refuses(succeeded(amount_minor=TOTAL + 1), succeeded(amount_minor=0))


class TestALapseAhead:
    def test_it_is_seen_to_a_day_ahead_or_after_half_of_a_short_time(self) -> None:
        assert set_aside().wait(Step.CAPTURE).due_at == EXPIRY - timedelta(hours=12)
        early = Story.begun(method=AT_SHIPPING).with_policy(capture_ahead_seconds=3600)
        early.tell(reserved(), authorized(), committed())
        assert early.wait(Step.CAPTURE).due_at == EXPIRY - timedelta(hours=1)

    def test_it_is_captured_and_the_order_shipped_when_the_shop_is_ready(self) -> None:
        story = set_aside().passes(Step.CAPTURE)
        story.is_now(State.CAPTURING)
        story.tell(succeeded(step=Step.CAPTURE)).is_now(State.PAID)
        assert story.tells == ["order.paid"]
        assert fulfilment(story) is Fulfilment.READY
        assert story.tell(ship()).tells == ["order.shipped"]

    def test_a_shipment_that_crosses_that_capture_waits_for_it(self) -> None:
        story = set_aside().passes(Step.CAPTURE).tell(ship())
        assert story.asks == []
        story.tell(succeeded(step=Step.CAPTURE))
        assert story.tells == ["order.paid", "order.shipped"]

    def test_the_deadline_of_a_capture_that_was_asked_for_since_is_stale(self) -> None:
        story = set_aside()
        passed = story.deadline(Step.CAPTURE)
        story.tell(ship()).ignores(passed)
        story.tell(succeeded(step=Step.CAPTURE)).ignores(passed)

    def test_it_is_seen_to_while_the_stock_is_not_committed_yet(self) -> None:
        story = Story.begun(method=AT_SHIPPING).tell(reserved(), authorized(), blocked(Step.COMMIT))
        story.passes(Step.CAPTURE).is_now(State.COMMITTING)
        assert story.asks == [Step.CAPTURE]
        story.tell(succeeded(step=Step.CAPTURE), unblocked(Step.COMMIT), committed())
        assert story.is_now(State.PAID).tells == ["order.paid"]

    def test_a_dead_letter_of_that_deadline_is_seen_and_puts_nothing_forward(self) -> None:
        story = set_aside()
        due_at = story.wait(Step.CAPTURE).due_at
        for lifted in (unblocked(Step.CAPTURE), resolve("retry")):
            story.tell(blocked(Step.CAPTURE))
            assert story.saga.blocked
            story.tell(lifted)
            assert not story.saga.blocked
            assert story.asks == []
            assert story.wait(Step.CAPTURE).due_at == due_at
        assert story.passes(Step.CAPTURE).asks == [Step.CAPTURE]

    def test_or_the_order_is_cancelled(self) -> None:
        story = set_aside().with_policy(authorization_lapse=Lapse.CANCEL).passes(Step.CAPTURE)
        story.is_now(State.CLOSING_PAYMENT)
        story.tell(closed(), released(), restored()).is_now(State.CANCELLED)

    def test_or_it_is_set_aside_again_by_the_method_that_the_customer_saved(self) -> None:
        story = Story.begun(method=SAVED).with_policy(authorization_lapse=Lapse.AUTHORIZE_AGAIN)
        story.tell(reserved(), authorized(), committed()).passes(Step.CAPTURE)
        story.is_now(State.CLOSING_PAYMENT)
        story.tell(closed()).is_now(State.PAYING)
        assert story.last(ChargePayment).method == SAVED
        story.tell(authorized(2)).is_now(State.AUTHORIZED)
        assert story.tells == []  # it may be shipped as before
        assert story.tell(ship()).last(CapturePayment).attempt == 2

    def test_a_close_that_takes_longer_than_the_window_is_no_failure_of_the_shopper(self) -> None:
        story = Story.begun(method=SAVED).with_policy(authorization_lapse=Lapse.AUTHORIZE_AGAIN)
        story.tell(reserved(), authorized(), committed()).passes(Step.CAPTURE).later(hours=2)
        story.tell(closed()).is_now(State.PAYING)
        assert story.tells == []

    def test_set_aside_again_in_vain_the_shopper_has_to_pay(self) -> None:
        story = Story.begun(method=SAVED).with_policy(authorization_lapse=Lapse.AUTHORIZE_AGAIN)
        story.tell(reserved(), authorized(), committed()).passes(Step.CAPTURE)
        story.tell(closed(), declined(2)).is_now(State.PAYMENT_FAILED)
        assert story.tells == ["order.payment_failed"]
        assert fulfilment(story) is Fulfilment.PENDING

    def test_without_a_saved_method_it_is_captured(self) -> None:
        story = set_aside().with_policy(authorization_lapse=Lapse.AUTHORIZE_AGAIN)
        story.passes(Step.CAPTURE).is_now(State.CAPTURING)
        assert story.saga.attempts[0].status is AttemptStatus.AUTHORIZED
