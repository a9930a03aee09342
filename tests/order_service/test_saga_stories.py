"""The saga, told as stories: these messages came, so this happened."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from contracts.messages.base import Step
from contracts.messages.cart import CheckoutAccepted, CloseCart, RestoreLines, UnlockCart
from contracts.messages.inventory import (
    CommitReservation,
    ExtendReservation,
    ReleaseStock,
    ReserveStock,
)
from contracts.messages.order import (
    OrderCancelled,
    OrderPaid,
    OrderPaymentFailed,
    OrderPlaced,
    OrderRefunded,
)
from contracts.messages.parts import (
    ON_PAGE,
    ChargedLine,
    Discount,
    OrderLine,
    PaymentMethod,
    ShippingLine,
    StockLine,
    Tax,
)
from contracts.messages.payment import (
    CapturePayment,
    ChargePayment,
    ClosePayment,
    RefundPayment,
)
from order_service.checkout import CheckoutMessage, LateSuccess, Policy, Stale, State, Tombstone
from order_service.checkout.facts import (
    Checkout,
    PaymentStatus,
    order_id_of,
    order_number_of,
)
from order_service.checkout.outcomes import (
    AttemptIsLive,
    AttemptsExhausted,
    Finished,
    MethodRefused,
    NotPayable,
    WindowClosed,
)
from order_service.checkout.policy import InconsistentPolicy
from order_service.exploration import (
    CARD,
    CHECKOUT_ID,
    EXPIRY,
    OTHER_CARD,
    SHORT_POLICY,
    START,
    WINDOW_SECONDS,
    start,
)
from tests.order_service.situations import failed, ordered
from tests.order_service.story import (
    SHORTAGES,
    TOTAL,
    Story,
    action_required,
    authorized,
    blocked,
    cancel,
    capture_failed,
    cart_closed,
    closed,
    committed,
    declined,
    due,
    extended,
    not_held,
    paid_story,
    pay,
    payment_cancelled,
    processing,
    refund_failed,
    refund_pending,
    refunded,
    rejected,
    released,
    reserved,
    resolve,
    restored,
    succeeded,
    unblocked,
    unknown,
    unlocked,
)

WINDOW_ENDS = START + timedelta(seconds=WINDOW_SECONDS)


class TestTheUsualWay:
    def test_a_checkout_is_accepted_and_its_stock_reserved(self) -> None:
        story = Story.begun()
        story.is_now(State.RESERVING)
        assert story.last(CheckoutAccepted).step is Step.START
        reserve = story.last(ReserveStock)
        assert reserve.round == 1
        assert reserve.lines == (StockLine(sku="TEAPOT", quantity=1),)
        backstop = timedelta(seconds=SHORT_POLICY.reservation_backstop_seconds)
        assert reserve.expires_at == WINDOW_ENDS + backstop

    def test_with_the_stock_comes_the_order_and_its_first_attempt(self) -> None:
        story = Story.begun().tell(reserved())
        story.is_now(State.PAYING)
        assert story.asks == [Step.CLOSE_CART, Step.CHARGE]
        assert story.tells == ["order.placed"]
        charge = story.last(ChargePayment)
        assert (charge.attempt, charge.round, charge.amount_minor) == (1, 1, TOTAL)
        assert charge.method == CARD
        assert charge.window_closes_at == WINDOW_ENDS
        placed = story.last(OrderPlaced)
        assert placed.order_id == charge.order_id == order_id_of(CHECKOUT_ID)
        assert placed.number == order_number_of(CHECKOUT_ID)
        assert placed.lines == start().lines
        assert story.last(CloseCart).order_id == placed.order_id

    def test_a_charge_on_a_page_says_what_is_bought_and_no_other_does(self) -> None:
        mugs = OrderLine(
            sku="MUG",
            name="Mug",
            unit_price_minor=500,
            quantity=3,
            discounts=(Discount(source="sale", amount_minor=100),),
            taxes=(Tax(rate=Decimal("0.2"), inclusive=False, amount_minor=280),),
            net_minor=1400,
            gross_minor=1680,
        )
        parcel = ShippingLine(
            method="parcel",
            name="Parcel",
            unit_price_minor=400,
            quantity=1,
            net_minor=400,
            gross_minor=400,
        )
        bought = {"lines": (mugs,), "shipping": (parcel,), "total_minor": 2080}
        story = Story(SHORT_POLICY).tell(start().model_copy(update=bought), reserved())
        assert story.last(ChargePayment).lines == ()

        on_page = PaymentMethod(token=ON_PAGE, hosted=True)
        story.tell(declined(), pay(method=on_page))

        charge = story.last(ChargePayment)
        assert charge.lines == (
            ChargedLine(name="Mug", quantity=3, amount_minor=1680),
            ChargedLine(name="Parcel", quantity=1, amount_minor=400),
        )
        assert sum(line.amount_minor for line in charge.lines) == charge.amount_minor

    def test_a_checkout_without_a_payment_waits_for_its_first_attempt(self) -> None:
        story = Story.begun(paid=False).tell(reserved())
        story.is_now(State.AWAITING_PAYMENT)
        assert story.asks == [Step.CLOSE_CART]
        assert story.saga.payment_status is PaymentStatus.PENDING
        story.later(minutes=2).tell(pay())
        story.is_now(State.PAYING)
        assert story.asks == [Step.CHARGE, Step.EXTEND]

    def test_a_total_of_zero_asks_no_provider(self) -> None:
        story = Story.begun(total_minor=0).tell(reserved())
        story.is_now(State.COMMITTING)
        assert story.count(ChargePayment) == 0
        story.tell(committed(), cart_closed())
        assert story.saga.final
        assert story.saga.payment_status is PaymentStatus.NOT_DUE

    def test_paid_follows_the_commit_of_the_stock_not_the_money(self) -> None:
        story = Story.begun().tell(reserved(), succeeded())
        story.is_now(State.COMMITTING)
        assert story.asks == [Step.COMMIT]
        assert story.tells == []
        story.tell(committed())
        story.is_now(State.PAID)
        assert story.tells == ["order.paid"]
        assert story.last(OrderPaid).event_seq == 2

    def test_a_paid_checkout_is_final_once_its_cart_has_acknowledged(self) -> None:
        story = Story.begun().tell(reserved(), succeeded(), committed())
        assert not story.saga.final
        assert story.saga.deadline_at is not None
        story.tell(cart_closed())
        assert story.saga.final
        assert story.saga.deadline_at is None

    def test_authorized_money_is_captured_at_once(self) -> None:
        story = ordered().tell(authorized())
        story.is_now(State.CAPTURING)
        assert story.asks == [Step.CAPTURE]
        assert story.last(CapturePayment).amount_minor == TOTAL
        story.tell(succeeded(step=Step.CAPTURE))
        story.is_now(State.COMMITTING)

    def test_what_the_shopper_must_do_is_kept_for_the_status_page(self) -> None:
        story = ordered().tell(action_required())
        attempt = story.saga.live_attempt
        assert attempt is not None
        assert attempt.next_action is not None
        assert attempt.next_action.url == "https://bank.example/3ds"
        story.tell(succeeded())
        assert story.saga.attempts[0].next_action is None

    def test_lines_of_the_same_sku_are_reserved_together(self) -> None:
        request = start()
        twice = request.model_copy(
            update={"lines": request.lines * 2, "total_minor": 2 * request.total_minor}
        )
        story = Story().tell(twice)
        assert story.last(ReserveStock).lines == (StockLine(sku="TEAPOT", quantity=2),)


class TestNoStock:
    def test_the_cart_is_given_back_with_what_is_left(self) -> None:
        story = Story.begun().tell(rejected())
        story.is_now(State.REJECTED)
        assert story.saga.order is None
        unlock = story.last(UnlockCart)
        assert unlock.shortages == SHORTAGES
        assert unlock.reason == "out_of_stock"
        assert not story.saga.final
        story.tell(unlocked())
        assert story.saga.final

    def test_an_unlock_that_is_not_answered_is_asked_again_for_ever(self) -> None:
        story = Story.begun().tell(rejected())
        for _ in range(20):
            story.passes(Step.UNLOCK_CART)
        assert story.last(UnlockCart).shortages == SHORTAGES
        assert story.saga.late
        story.is_now(State.REJECTED)

    def test_an_inventory_that_never_answers_is_told_to_release(self) -> None:
        story = Story.begun().runs_out(Step.RESERVE)
        story.is_now(State.RELEASING)
        assert story.count(ReserveStock) == 2
        story.ignores(reserved(), rejected())
        story.tell(released())
        story.is_now(State.REJECTED)
        assert story.last(UnlockCart).reason == "stock_unanswered"


class TestDeclined:
    def test_the_shopper_may_pay_again_while_the_window_is_open(self) -> None:
        story = failed()
        story.is_now(State.PAYMENT_FAILED)
        failure = story.last(OrderPaymentFailed)
        assert (failure.attempt, failure.code) == (1, "card_declined")
        assert failure.window_closes_at == WINDOW_ENDS
        story.later(minutes=5).tell(pay(OTHER_CARD))
        story.is_now(State.PAYING)
        assert story.last(ChargePayment).attempt == 2
        assert story.last(ChargePayment).method == OTHER_CARD
        story.tell(succeeded(2), committed())
        story.is_now(State.PAID)

    def test_each_later_attempt_extends_the_reservation(self) -> None:
        story = failed().with_policy(attempts_limit=3).later(minutes=5).tell(pay())
        extend = story.last(ExtendReservation)
        assert (extend.round, extend.reservation_round) == (1, 1)
        story.tell(declined(2), pay())
        extend = story.last(ExtendReservation)
        assert extend.round == 2
        story.ignores(extended(1)).tell(extended(2, until=extend.expires_at))
        assert story.saga.stock.until == extend.expires_at

    def test_attempts_are_bounded(self) -> None:
        story = failed().tell(pay(), declined(2))
        outcome = story.hears(pay())
        assert outcome == Stale(AttemptsExhausted(SHORT_POLICY.attempts_limit))

    def test_a_method_that_the_provider_will_not_take_again_is_refused(self) -> None:
        story = ordered().tell(declined(same_method_allowed=False))
        assert story.hears(pay(CARD)) == Stale(MethodRefused("card_declined"))
        story.tell(pay(OTHER_CARD))
        story.is_now(State.PAYING)

    def test_the_window_closes_and_stock_returns_only_on_the_providers_word(self) -> None:
        story = failed().window_closes()
        story.is_now(State.CLOSING_PAYMENT)
        assert story.last(ClosePayment).attempt == 1
        assert story.count(ReleaseStock) == 0
        story.tell(closed())
        story.is_now(State.RELEASING)
        story.tell(released())
        story.is_now(State.CANCELLED)
        assert story.tells == ["order.cancelled"]
        assert story.last(OrderCancelled).reason == "payment_window_closed"
        assert story.last(RestoreLines).lines == start().lines
        assert story.saga.payment_status is PaymentStatus.CANCELLED
        story.tell(restored())
        assert story.saga.final

    def test_an_order_that_nobody_tried_to_pay_needs_no_word_of_a_provider(self) -> None:
        story = Story.begun(paid=False).tell(reserved()).window_closes()
        story.is_now(State.RELEASING)
        assert story.count(ClosePayment) == 0

    def test_after_the_window_no_attempt_is_made_even_before_the_sweeper_comes(self) -> None:
        story = failed()
        story.now = WINDOW_ENDS
        assert story.hears(pay()) == Stale(WindowClosed(WINDOW_ENDS))

    def test_a_closed_window_refuses_payment_with_its_time(self) -> None:
        story = failed().window_closes()
        assert story.hears(pay()) == Stale(WindowClosed(WINDOW_ENDS))


class TestOneLiveAttempt:
    @pytest.mark.parametrize(
        "answer", [None, action_required(), processing(), unknown(), authorized()], ids=str
    )
    def test_a_second_one_is_refused_with_the_first(self, answer: object) -> None:
        story = ordered()
        if answer is not None:
            story.tell(answer)  # type: ignore[arg-type]
        live = story.saga.live_attempt
        assert live is not None
        assert story.hears(pay()) == Stale(AttemptIsLive(live))

    def test_replace_closes_it_first_and_charges_then(self) -> None:
        story = ordered().tell(action_required(), pay(OTHER_CARD, replace=True))
        story.is_now(State.CLOSING_PAYMENT)
        assert story.last(ClosePayment).reason == "replaced"
        assert story.count(ChargePayment) == 1
        story.tell(closed())
        story.is_now(State.PAYING)
        assert story.last(ChargePayment).attempt == 2
        assert story.last(ChargePayment).method == OTHER_CARD
        assert story.tells == []

    def test_an_attempt_that_succeeds_while_it_is_replaced_is_kept(self) -> None:
        story = ordered().tell(pay(OTHER_CARD, replace=True), succeeded(step=Step.CLOSE_PAYMENT))
        story.is_now(State.COMMITTING)
        assert story.saga.next_method is None
        story.ignores(succeeded(), closed())

    def test_a_replacement_after_the_window_is_not_charged(self) -> None:
        story = ordered().tell(pay(OTHER_CARD, replace=True))
        story.now = WINDOW_ENDS
        story.tell(closed())
        story.is_now(State.PAYMENT_FAILED)
        assert story.count(ChargePayment) == 1
        story.window_closes()
        story.is_now(State.RELEASING)

    def test_while_one_is_being_closed_another_needs_replace_as_well(self) -> None:
        story = ordered().runs_out(Step.CHARGE)
        story.is_now(State.CLOSING_PAYMENT)
        assert isinstance(story.hears(pay()), Stale)
        story.tell(pay(OTHER_CARD, replace=True), closed())
        story.is_now(State.PAYING)


class TestMoneyThatTakesItsTime:
    def test_processing_stands_in_place_of_the_window(self) -> None:
        story = ordered().tell(processing(expected_by=EXPIRY))
        story.is_now(State.PROCESSING)
        story.ignores(story.window_closed())
        grace = timedelta(seconds=SHORT_POLICY.attempt_grace_seconds)
        assert story.saga.deadline_at == story.wait(Step.EXTEND).due_at
        story.tell(extended())
        assert story.saga.deadline_at == EXPIRY + grace
        backstop = timedelta(seconds=SHORT_POLICY.reservation_backstop_seconds)
        assert story.last(ExtendReservation).expires_at == EXPIRY + backstop

    def test_a_debit_whose_outcome_becomes_unknown_still_stands_in_place_of_the_window(
        self,
    ) -> None:
        story = ordered().tell(processing(expected_by=EXPIRY), extended(), unknown())
        story.is_now(State.PAYMENT_UNKNOWN)
        assert story.saga.window_closes_at is None
        story.ignores(story.window_closed())

    def test_a_debit_that_fails_after_the_window_ends_the_order(self) -> None:
        story = ordered().tell(processing(), extended()).later(days=1).tell(declined())
        story.is_now(State.PAYMENT_FAILED)
        assert story.saga.deadline_at == WINDOW_ENDS
        story.window_closes()
        story.is_now(State.CLOSING_PAYMENT)

    def test_unknown_is_neither_repeated_nor_compensated(self) -> None:
        story = ordered().tell(unknown())
        story.is_now(State.PAYMENT_UNKNOWN)
        patience = timedelta(seconds=SHORT_POLICY.unknown_patience_seconds)
        assert story.wait(Step.CHARGE).due_at == START + patience
        story.passes(Step.CHARGE)
        assert story.count(ChargePayment) == 1
        story.is_now(State.CLOSING_PAYMENT)

    def test_what_stays_unknown_even_when_closed_needs_a_human(self) -> None:
        story = ordered().tell(unknown()).window_closes().tell(unknown(step=Step.CLOSE_PAYMENT))
        story.is_now(State.CLOSING_PAYMENT)
        story.passes(Step.CLOSE_PAYMENT)
        story.is_now(State.NEEDS_ATTENTION)
        assert story.count(ReleaseStock) == 0
        story.tell(closed())
        story.is_now(State.RELEASING)

    def test_an_attempt_nobody_answers_is_closed_and_may_be_tried_again(self) -> None:
        story = ordered().runs_out(Step.CHARGE)
        assert story.count(ChargePayment) == 2
        assert story.last(ClosePayment).reason == "unanswered"
        story.tell(closed())
        story.is_now(State.PAYMENT_FAILED)
        assert story.tells == ["order.payment_failed"]

    def test_an_action_nobody_takes_in_time_is_closed(self) -> None:
        story = ordered().tell(action_required()).passes(Step.CHARGE)
        story.is_now(State.CLOSING_PAYMENT)

    def test_a_capture_that_fails_is_a_declined_attempt(self) -> None:
        story = ordered().tell(authorized(), capture_failed())
        story.is_now(State.PAYMENT_FAILED)
        assert story.last(OrderPaymentFailed).code == "expired"

    def test_a_capture_nobody_answers_needs_a_human_and_heals_by_the_answer(self) -> None:
        story = ordered().tell(authorized()).runs_out(Step.CAPTURE)
        story.is_now(State.NEEDS_ATTENTION)
        story.tell(succeeded(step=Step.CAPTURE))
        story.is_now(State.COMMITTING)


class TestCancel:
    def test_before_it_began_it_leaves_a_tombstone_for_the_late_start(self) -> None:
        story = Story().tell(cancel())
        assert story.checkout == Tombstone(CHECKOUT_ID, "main")
        story.tell(start())
        story.is_now(State.CANCELLED)
        assert story.count(CheckoutAccepted) == 1
        assert story.count(ReserveStock) == 0
        assert story.last(UnlockCart).reason == "cancelled"
        story.tell(unlocked())
        assert story.saga.final

    def test_before_the_order_exists_the_cart_is_unlocked(self) -> None:
        story = Story.begun().tell(cancel())
        story.is_now(State.RELEASING)
        story.ignores(reserved()).tell(released())
        story.is_now(State.CANCELLED)
        assert story.asks == [Step.UNLOCK_CART]
        assert story.saga.order is None

    def test_while_paying_the_provider_is_asked_first(self) -> None:
        story = ordered().tell(cancel())
        story.is_now(State.CLOSING_PAYMENT)
        assert story.last(ClosePayment).reason == "cancelled"
        assert story.count(ReleaseStock) == 0
        story.tell(closed(), released())
        story.is_now(State.CANCELLED)
        assert story.asks == [Step.RESTORE_LINES]

    def test_crossing_a_decline_it_waits_for_the_providers_last_word(self) -> None:
        story = ordered().tell(cancel(), declined())
        story.is_now(State.CLOSING_PAYMENT)
        assert story.tells == []
        story.tell(closed())
        story.is_now(State.RELEASING)

    def test_crossing_success_the_money_goes_back_and_then_the_stock(self) -> None:
        story = ordered().tell(cancel(), succeeded())
        story.is_now(State.REFUNDING)
        refund = story.last(RefundPayment)
        assert (refund.round, refund.attempt, refund.amount_minor) == (1, 1, TOTAL)
        story.ignores(succeeded(step=Step.CLOSE_PAYMENT), closed())
        assert story.count(ReleaseStock) == 0
        story.tell(refunded())
        story.is_now(State.RELEASING)
        assert story.tells == ["order.refunded"]
        story.tell(released(), restored())
        assert story.saga.final

    def test_crossing_the_commit_the_stock_is_booked_back(self) -> None:
        story = ordered().tell(succeeded(), cancel())
        assert story.asks == [Step.REFUND]
        story.tell(committed())
        story.is_now(State.REFUNDING)
        assert story.tells == []
        story.tell(refunded())
        assert story.asks == [Step.RELEASE]
        story.tell(released())
        story.is_now(State.CANCELLED)
        assert story.count(OrderPaid) == 0

    def test_after_paid_it_refunds_in_full_and_then_releases(self) -> None:
        story = paid_story().tell(cancel())
        story.is_now(State.REFUNDING)
        assert story.asks == [Step.REFUND]
        story.tell(refund_pending())
        story.is_now(State.RELEASING)
        assert story.saga.refund_pending_minor == TOTAL
        story.tell(released())
        assert story.tells == ["order.cancelled"]
        story.is_now(State.REFUNDING)
        story.tell(refunded(), restored())
        assert story.saga.final
        story.is_now(State.CANCELLED)
        assert story.saga.payment_status is PaymentStatus.REFUNDED
        assert story.last(OrderRefunded).amount_minor == TOTAL

    def test_of_a_paid_order_for_nothing_there_is_nothing_to_refund(self) -> None:
        story = paid_story(total_minor=0).tell(cancel())
        story.is_now(State.RELEASING)
        story.tell(released(), restored())
        assert story.saga.final

    @pytest.mark.parametrize("before", ["cancelled", "rejected"])
    def test_of_a_finished_checkout_is_refused(self, before: str) -> None:
        story = {
            "cancelled": Story.begun().tell(cancel(), released(), unlocked()),
            "rejected": Story.begun().tell(rejected(), unlocked()),
        }[before]
        assert story.hears(cancel()) == Stale(Finished(before))

    def test_twice_is_once(self) -> None:
        ordered().tell(cancel()).ignores(cancel()).tell(closed()).ignores(cancel())

    def test_while_the_window_closes_it_takes_the_decision_over(self) -> None:
        keep = replace(SHORT_POLICY, success_at_window_close=LateSuccess.KEEP)
        story = Story.begun(keep).tell(reserved()).window_closes().tell(cancel(), succeeded())
        story.is_now(State.REFUNDING)

    def test_during_a_replacement_nothing_is_charged_any_more(self) -> None:
        story = ordered().tell(pay(OTHER_CARD, replace=True), cancel(), closed())
        story.is_now(State.RELEASING)
        assert story.count(ChargePayment) == 1


class TestLateSuccess:
    def test_at_the_close_of_the_window_it_is_kept_or_refunded(self) -> None:
        for policy, state in (
            (LateSuccess.KEEP, State.COMMITTING),
            (LateSuccess.REFUND, State.REFUNDING),
        ):
            story = ordered().with_policy(success_at_window_close=policy).window_closes()
            story.tell(succeeded(step=Step.CLOSE_PAYMENT))
            story.is_now(state)

    def cancelled(self, policy: LateSuccess) -> Story:
        story = ordered().with_policy(success_after_release=policy)
        return story.tell(cancel(), closed(), released(), restored())

    def test_after_release_it_may_buy_a_new_reservation(self) -> None:
        story = self.cancelled(LateSuccess.KEEP).tell(succeeded())
        story.is_now(State.RESERVING)
        assert story.last(ReserveStock).round == 2
        story.ignores(reserved(1)).tell(reserved(2))
        story.is_now(State.COMMITTING)
        assert story.last(CommitReservation).round == 2
        story.tell(committed(2))
        story.is_now(State.PAID)
        assert story.saga.final
        assert story.count(ChargePayment) == 1

    def test_and_goes_back_in_full_when_the_stock_is_gone(self) -> None:
        story = self.cancelled(LateSuccess.KEEP).tell(succeeded(), rejected(2))
        story.is_now(State.REFUNDING)
        story.tell(refunded())
        story.is_now(State.CANCELLED)
        assert story.saga.final
        assert story.count(RestoreLines) == 1

    def test_or_it_is_refunded_in_full_at_once(self) -> None:
        story = self.cancelled(LateSuccess.REFUND).tell(succeeded())
        story.is_now(State.REFUNDING)
        assert story.asks == [Step.REFUND]
        story.tell(refunded())
        story.is_now(State.CANCELLED)

    def test_while_releasing_it_waits_for_the_release(self) -> None:
        story = ordered().tell(cancel(), closed(), succeeded())
        story.is_now(State.RELEASING)
        story.tell(released())
        story.is_now(State.RESERVING)
        assert story.last(ReserveStock).round == 2

    def test_of_an_earlier_attempt_closes_the_live_one_and_sells(self) -> None:
        story = failed().tell(pay(OTHER_CARD), succeeded(1))
        story.is_now(State.CLOSING_PAYMENT)
        assert story.last(ClosePayment).attempt == 2
        assert story.last(ClosePayment).reason == "paid_already"
        story.tell(closed(2))
        story.is_now(State.COMMITTING)

    def test_money_that_came_twice_goes_back_once(self) -> None:
        story = failed().tell(pay(OTHER_CARD), succeeded(1), succeeded(2))
        story.is_now(State.COMMITTING)
        refund = story.last(RefundPayment)
        assert (refund.attempt, refund.amount_minor, refund.reason) == (2, TOTAL, "paid_twice")
        story.tell(committed())
        story.is_now(State.PAID)
        assert not story.saga.final
        story.tell(refunded(1, attempt=2))
        assert story.saga.final
        assert story.saga.captured_minor - story.saga.refunded_minor == TOTAL

    def test_a_second_success_after_paid_is_refunded_without_a_word_to_the_warehouse(self) -> None:
        story = failed().tell(pay(OTHER_CARD), succeeded(2), committed(), succeeded(1))
        story.is_now(State.PAID)
        assert story.asks == [Step.REFUND]
        assert story.count(OrderPaid) == 1


class TestTheStockIsGone:
    def test_at_the_commit_the_order_is_refunded_and_cancelled(self) -> None:
        story = ordered().tell(succeeded(), not_held())
        story.is_now(State.REFUNDING)
        assert story.count(ReleaseStock) == 0
        story.tell(refunded())
        story.is_now(State.CANCELLED)
        assert story.last(OrderCancelled).reason == "stock_not_held"
        assert story.saga.shortages == SHORTAGES

    def test_at_an_extension_the_live_attempt_is_closed(self) -> None:
        story = failed().tell(pay(), not_held(1, Step.EXTEND))
        story.is_now(State.CLOSING_PAYMENT)
        story.tell(closed(2))
        story.is_now(State.CANCELLED)


class TestTheBackstopAsks:
    def test_while_money_may_come_the_answer_is_extend(self) -> None:
        story = ordered().tell(due())
        assert story.asks == [Step.EXTEND]
        story.is_now(State.PAYING)

    def test_it_is_ignored_when_the_reservation_was_extended_meanwhile(self) -> None:
        ordered().ignores(due(expired_at=EXPIRY - timedelta(seconds=1)))

    def test_with_the_money_here_the_answer_is_commit(self) -> None:
        story = ordered().tell(succeeded(), due())
        assert story.asks == [Step.COMMIT]
        assert story.saga.waits == ordered().tell(succeeded()).saga.waits

    def test_after_giving_up_the_answer_is_release(self) -> None:
        story = ordered().tell(cancel(), closed(), due())
        assert story.asks == [Step.RELEASE]

    def test_while_a_human_looks_at_the_money_the_stock_is_kept(self) -> None:
        story = ordered().tell(cancel()).runs_out(Step.CLOSE_PAYMENT).tell(due())
        assert story.asks == [Step.EXTEND]
        story.is_now(State.NEEDS_ATTENTION)


class TestRefunds:
    def test_a_failed_one_needs_a_human_who_may_try_again(self) -> None:
        story = paid_story().tell(cancel(), refund_failed())
        story.is_now(State.NEEDS_ATTENTION)
        assert story.count(ReleaseStock) == 0
        assert story.saga.payment_status is PaymentStatus.REFUND_FAILED
        story.tell(cancel())
        story.is_now(State.REFUNDING)
        assert story.last(RefundPayment).round == 2
        story.tell(refunded(2), released(), restored())
        assert story.saga.final

    def test_they_are_bounded(self) -> None:
        story = paid_story().tell(cancel(), refund_failed(), cancel(), refund_failed(2))
        story.ignores(cancel())
        assert story.count(RefundPayment) == SHORT_POLICY.refunds_limit

    def test_one_that_comes_back_after_all_needs_a_human(self) -> None:
        story = paid_story().tell(cancel(), refunded(), released(), restored())
        assert story.saga.final
        story.tell(refund_failed())
        story.is_now(State.NEEDS_ATTENTION)

    def test_one_that_stays_pending_for_too_long_needs_a_human(self) -> None:
        story = paid_story().tell(cancel(), refund_pending(), released(), restored())
        story.is_now(State.REFUNDING)
        story.passes(Step.REFUND)
        story.is_now(State.NEEDS_ATTENTION)
        story.tell(refunded())
        assert story.saga.final


class TestDeadlines:
    def test_a_step_is_asked_again_with_longer_and_longer_waits(self) -> None:
        story = Story.begun(replace(SHORT_POLICY, sends=dict.fromkeys(SHORT_POLICY.sends, 9)))
        waits = []
        for _ in range(5):
            waits.append((story.wait(Step.RESERVE).due_at - story.now).total_seconds())
            story.passes(Step.RESERVE)
        assert waits == [10, 20, 40, 60, 60]
        assert story.count(ReserveStock) == 6
        assert {message.round for message in story.sent if isinstance(message, ReserveStock)} == {1}

    def test_a_deadline_of_a_wait_that_was_moved_is_stale(self) -> None:
        story = Story.begun()
        old = story.deadline(Step.RESERVE)
        story.passes(Step.RESERVE).ignores(old)

    def test_a_deadline_that_crosses_the_answer_is_stale(self) -> None:
        story = Story.begun()
        crossing = story.deadline(Step.RESERVE)
        story.tell(reserved()).ignores(crossing)

    def test_a_step_asked_again_makes_the_saga_late_until_it_is_answered(self) -> None:
        story = Story.begun()
        assert not story.saga.late
        story.passes(Step.RESERVE)
        assert story.saga.late
        story.tell(reserved())
        assert not story.saga.late

    def test_the_earliest_wait_is_the_deadline_of_the_saga(self) -> None:
        story = ordered()
        assert story.saga.deadline_at == START + timedelta(seconds=10)
        story.tell(declined())
        assert story.saga.deadline_at == WINDOW_ENDS

    def test_a_commit_nobody_answers_needs_a_human_and_heals_by_the_answer(self) -> None:
        story = ordered().tell(succeeded()).runs_out(Step.COMMIT)
        story.is_now(State.NEEDS_ATTENTION)
        assert story.saga.late
        assert story.saga.deadline_at is None
        story.tell(committed())
        story.is_now(State.PAID)

    def test_a_human_who_cancels_there_gets_the_money_back(self) -> None:
        story = ordered().tell(succeeded()).runs_out(Step.COMMIT).tell(cancel())
        story.is_now(State.REFUNDING)
        story.tell(refunded(), released(), restored())
        assert story.saga.final

    def test_a_human_who_cancels_a_stuck_release_has_it_asked_again(self) -> None:
        story = ordered().tell(cancel(), closed()).runs_out(Step.RELEASE)
        story.is_now(State.NEEDS_ATTENTION)
        story.tell(cancel())
        assert story.asks == [Step.RELEASE]
        story.is_now(State.RELEASING)


class TestAnOperatorResolves:
    def test_a_commit_without_an_answer_is_asked_again_and_sold(self) -> None:
        story = ordered().tell(succeeded()).runs_out(Step.COMMIT)
        story.is_now(State.NEEDS_ATTENTION)
        story.tell(resolve("retry"))
        assert story.asks == [Step.COMMIT]
        story.is_now(State.COMMITTING)
        story.tell(committed())
        story.is_now(State.PAID)

    def test_an_outcome_that_is_open_still_has_its_patience_again(self) -> None:
        story = paid_story().tell(cancel(), refund_pending()).passes(Step.REFUND)
        story.is_now(State.NEEDS_ATTENTION)
        story.tell(resolve("retry"))
        assert story.asks == [Step.REFUND]
        wait = story.wait(Step.REFUND)
        assert wait.provisional
        assert wait.due_at == story.now + timedelta(seconds=SHORT_POLICY.refund_patience_seconds)

    def test_a_refund_that_failed_is_made_anew(self) -> None:
        story = failed_refund().tell(resolve("retry"))
        assert story.asks == [Step.REFUND]
        assert not story.latest[-1].by_hand  # type: ignore[attr-defined]
        story.tell(refunded(2), released(), restored())
        story.is_now(State.CANCELLED)

    def test_a_refund_made_by_hand_is_booked_and_ends_the_order(self) -> None:
        story = failed_refund().tell(resolve("refunded_by_hand"))
        assert story.asks == [Step.REFUND]
        assert story.latest[-1].by_hand  # type: ignore[attr-defined]
        story.tell(refunded(2), released(), restored())
        story.is_now(State.CANCELLED)
        assert story.saga.refunded_minor == TOTAL

    def test_where_nothing_waits_for_a_decision_there_is_none(self) -> None:
        story = ordered()
        story.ignores(resolve("retry"), resolve("refunded_by_hand"))


def failed_refund() -> Story:
    """An order that was cancelled after it was paid, whose refund the provider refused."""
    story = ordered().tell(succeeded(), committed(), cancel(), refund_failed())
    story.is_now(State.NEEDS_ATTENTION)
    return story


class TestBlockedSteps:
    def test_a_dead_letter_stops_deadline_and_resending(self) -> None:
        story = Story.begun()
        before = story.deadline(Step.RESERVE)
        story.tell(blocked(Step.RESERVE))
        assert story.saga.blocked
        assert story.saga.deadline_at is None
        story.ignores(before)

    def test_a_replay_sets_the_deadline_going_again(self) -> None:
        story = Story.begun().tell(blocked(Step.RESERVE)).later(hours=5)
        story.tell(unblocked(Step.RESERVE))
        assert not story.saga.blocked
        assert story.saga.deadline_at == story.now + timedelta(seconds=10)
        assert story.latest == []

    def test_a_discard_is_an_answer_that_never_comes(self) -> None:
        story = Story.begun().tell(
            blocked(Step.RESERVE), unblocked(Step.RESERVE, outcome="discarded")
        )
        story.is_now(State.RELEASING)

    def test_the_answer_itself_unblocks(self) -> None:
        story = Story.begun().tell(blocked(Step.RESERVE), reserved())
        assert not story.saga.blocked

    def test_the_payment_window_does_not_close_on_who_is_kept_waiting(self) -> None:
        story = ordered()
        ending = story.window_closed()
        story.tell(blocked(Step.CHARGE))
        assert story.saga.deadline_at is None
        story.later(days=3).ignores(ending)
        story.is_now(State.PAYING)

    def test_a_reply_that_is_put_aside_blocks_an_attempt_that_waits_for_the_shopper(self) -> None:
        story = ordered().tell(action_required())
        ending = story.window_closed()
        story.tell(blocked(Step.CHARGE))
        assert story.saga.blocked
        story.later(days=1).ignores(ending)
        story.tell(succeeded())
        story.is_now(State.COMMITTING)

    def test_what_is_replayed_has_its_whole_budget(self) -> None:
        story = ordered()
        for _ in range(story.policy.sends[Step.CHARGE] - 1):
            story.tell(story.deadline(Step.CHARGE))
        story.tell(blocked(Step.CHARGE), unblocked(Step.CHARGE))
        story.tell(story.deadline(Step.CHARGE))
        assert story.asks == [Step.CHARGE]

    def test_a_failure_behind_a_dead_letter_tells_the_window_that_runs_now(self) -> None:
        story = ordered().tell(blocked(Step.CHARGE)).later(days=3)
        story.tell(payment_cancelled())
        (told,) = [m for m in story.latest if isinstance(m, OrderPaymentFailed)]
        assert told.window_closes_at > story.now

    def test_an_operator_may_ask_a_blocked_step_again_which_stays_blocked_until_an_answer(
        self,
    ) -> None:
        story = Story.begun()
        passing = story.deadline(Step.RESERVE)
        story.tell(blocked(Step.RESERVE))
        waits = story.saga.waits
        story.tell(resolve("retry"))
        assert story.asks == [Step.RESERVE]
        assert story.saga.waits == waits
        assert story.saga.blocked
        story.later(days=1).ignores(passing)
        story.tell(reserved())
        assert not story.saga.blocked
        story.is_now(State.PAYING)

    def test_a_debit_under_way_is_waited_for_however_often_it_is_asked_again(self) -> None:
        story = ordered().tell(processing(), extended(), blocked(Step.CHARGE))
        waits = story.saga.waits
        story.tell(resolve("retry"))
        assert story.saga.waits == waits
        story.tell(unblocked(Step.CHARGE))
        assert story.wait(Step.CHARGE).due_at == EXPIRY + timedelta(
            seconds=SHORT_POLICY.attempt_grace_seconds
        )

    def test_what_is_discarded_of_a_debit_under_way_leaves_it_under_way(self) -> None:
        story = ordered().tell(processing(), extended(), blocked(Step.CHARGE))
        story.tell(unblocked(Step.CHARGE, outcome="discarded"))
        assert story.asks == []
        story.is_now(State.PROCESSING)
        assert story.wait(Step.CHARGE).due_at > EXPIRY

    @pytest.mark.parametrize(
        ("story", "step", "answer"),
        [
            (lambda: Story.begun().tell(reserved()), Step.CLOSE_CART, cart_closed),
            (lambda: Story.begun().tell(rejected()), Step.UNLOCK_CART, unlocked),
            (lambda: ordered().tell(cancel(), closed(), released()), Step.RESTORE_LINES, restored),
        ],
        ids=["close_cart", "unlock_cart", "restore_lines"],
    )
    def test_a_discard_does_not_give_the_cart_up(
        self,
        story: Callable[[], Story],
        step: Step,
        answer: Callable[[], CheckoutMessage],
    ) -> None:
        told = story()
        told.tell(blocked(step), unblocked(step, outcome="discarded"))
        assert told.asks == []
        assert not told.saga.final
        told.passes(step)
        assert told.asks == [step]
        told.tell(answer())
        assert not any(wait.step is step for wait in told.saga.waits)

    def test_the_whole_window_runs_again_behind_a_dead_letter(self) -> None:
        story = ordered().tell(blocked(Step.CHARGE)).later(days=3)
        story.tell(unblocked(Step.CHARGE), payment_cancelled())
        story.is_now(State.PAYMENT_FAILED)
        window = timedelta(seconds=story.saga.request.payment_window_seconds)
        assert story.saga.deadline_at == story.now + window


class TestNotesThatMatchNothing:
    """They are made of headers, and anybody's record may name a checkout there."""

    def test_a_step_that_was_never_asked(self) -> None:
        ordered().ignores(
            blocked(Step.COMMIT), unblocked(Step.COMMIT), unblocked(Step.RESERVE, 7, "discarded")
        )

    def test_another_shop(self) -> None:
        elsewhere = {"shop_id": "other"}
        block = blocked(Step.CHARGE).model_copy(update=elsewhere)
        discard = unblocked(Step.CHARGE, outcome="discarded").model_copy(update=elsewhere)
        ordered().ignores(block, discard)
        Story().tell(cancel()).ignores(block, discard)


class TestNothingExplains:
    def test_an_answer_to_what_was_never_asked(self) -> None:
        ordered().refuses(committed(), released(), refunded(), unlocked(), reserved(2))

    def test_another_sum_of_money(self) -> None:
        ordered().refuses(succeeded(amount_minor=TOTAL + 1), authorized(amount_minor=TOTAL + 1))

    def test_another_payment(self) -> None:
        stranger = succeeded().model_copy(update={"payment_id": UUID(int=1)})
        ordered().refuses(stranger)

    def test_another_shop(self) -> None:
        ordered().refuses(succeeded().model_copy(update={"shop_id": "other"}))

    def test_another_step(self) -> None:
        ordered().refuses(reserved().model_copy(update={"step": Step.CLOSE_CART}))

    def test_two_answers_to_one_question(self) -> None:
        Story.begun().tell(reserved()).refuses(rejected())
        Story.begun().tell(rejected()).refuses(reserved())
        paid_story().refuses(not_held())

    def test_a_checkout_whose_lines_do_not_add_up(self) -> None:
        Story().refuses(start().model_copy(update={"total_minor": 1}))

    def test_a_checkout_of_nobody(self) -> None:
        Story().refuses(start().model_copy(update={"customer_id": None}))

    def test_an_attempt_that_was_not_made(self) -> None:
        ordered().refuses(succeeded(2))


class TestPayableOnlyWhenItMakesSense:
    @pytest.mark.parametrize(
        ("story", "state"),
        [
            (Story.begun(), State.RESERVING),
            (ordered().tell(succeeded()), State.COMMITTING),
            (paid_story(), State.PAID),
            (ordered().tell(cancel()), State.CLOSING_PAYMENT),
            (Story.begun().tell(rejected()), State.REJECTED),
        ],
        ids=lambda value: str(value) if isinstance(value, State) else "",
    )
    def test_no_payment_is_taken_in(self, story: Story, state: State) -> None:
        assert story.hears(pay(replace=True)) == Stale(NotPayable(state))


class TestPolicy:
    def test_a_reservation_outlives_the_patience_for_unknown_outcomes(self) -> None:
        with pytest.raises(InconsistentPolicy):
            replace(SHORT_POLICY, reservation_backstop_seconds=3600)

    def test_every_step_has_a_budget(self) -> None:
        with pytest.raises(InconsistentPolicy):
            replace(SHORT_POLICY, sends={Step.RESERVE: 3})


def test_numbers_are_short_distinct_and_say_nothing_of_their_order() -> None:
    numbers = [order_number_of(UUID(int=i)) for i in range(2_000)]
    assert len(set(numbers)) == len(numbers)
    assert numbers != sorted(numbers)
    assert all(len(number) == 14 and number.count("-") == 2 for number in numbers)


def test_methods_are_compared_by_what_they_are() -> None:
    again = PaymentMethod.model_validate(CARD.model_dump())
    story = ordered().tell(declined(same_method_allowed=False))
    assert story.hears(pay(again)) == Stale(MethodRefused("card_declined"))


def test_the_shop_may_wait_longer_for_one_step_than_for_another() -> None:
    policy: Policy = replace(SHORT_POLICY, sends={**SHORT_POLICY.sends, Step.RESERVE: 5})
    story = Story.begun(policy).runs_out(Step.RESERVE)
    assert story.count(ReserveStock) == 5
    assert isinstance(story.checkout, Checkout)
