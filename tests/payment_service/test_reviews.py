"""What happened at the provider without us is booked once, whenever it is seen."""

from datetime import timedelta

import pytest

from contracts.messages import payment as messages
from contracts.messages.base import Message, Step
from contracts.values import replace
from payment_service.domain.outcomes import (
    Authorized,
    Cancelled,
    Declined,
    NotFound,
    Outcome,
    PaymentState,
    Refunded,
    RefundFailed,
    RefundPending,
    Reviewed,
    SeenDispute,
    SeenRefund,
    Succeeded,
)
from payment_service.domain.payment import OperationKind, OperationStatus, PaymentStatus
from tests.payment_service.story import START, Story, capture, charge, close, refund, review

SUCCEEDED = Succeeded("pay_1", 1000)
AUTHORIZED = Authorized("pay_1", 1000, START + timedelta(days=7))
DECLINED = Declined("pay_1", "insufficient_funds", retryable=False, same_method_allowed=True)
CANCELLED = Cancelled("pay_1", "expired", released_minor=1000)
THERE = SeenRefund("re_there", None, 400, Refunded("re_there"))
REVIEW = OperationKind.REVIEW


def charged(outcome: Outcome = SUCCEEDED, flow: str = "automatic") -> Story:
    """A story with one attempt that came to this."""
    story = Story()
    story.when(charge(flow="authorize" if flow == "authorize" else "automatic"))
    story.provider_says(outcome)
    return story


def seen(
    story: Story, payment: PaymentState = SUCCEEDED, *found: SeenRefund | SeenDispute
) -> list[Message]:
    """A review sees this; gives what is sent."""
    story.when(review())
    return story.provider_says(
        Reviewed(
            payment,
            tuple(one for one in found if isinstance(one, SeenRefund)),
            tuple(one for one in found if isinstance(one, SeenDispute)),
        ),
        REVIEW,
    )


def ours(story: Story, state: Refunded | RefundPending | RefundFailed) -> SeenRefund:
    """Our refund 1 as the provider shows it."""
    key = story.operation(OperationKind.REFUND).idempotency_key
    return SeenRefund("re_1", key, 400, state)


def by_hand(amount: int) -> messages.RefundPayment:
    """Refund 1, which was made on another way."""
    return refund(1, amount).model_copy(update={"by_hand": True})


class TestRefunds:
    def test_one_made_at_the_provider_is_booked_and_told(self) -> None:
        story = charged()

        (told,) = seen(story, SUCCEEDED, THERE)

        assert story.booked()[2:] == [("refund_requested", 400), ("refunded", 400)]
        assert story.amounts() == (1000, 1000, 0, 400)
        assert isinstance(told, messages.RefundMade)
        assert (told.amount_minor, told.status) == (400, "refunded")
        assert story.payment.refunds[0].reason == "made_at_provider"
        assert story.open_operations() == []

    def test_one_of_money_in_another_currency_is_not_booked(self) -> None:
        story = charged()
        story.when(review())

        told = story.provider_says(Reviewed(SUCCEEDED, (THERE,), currency="JPY"), REVIEW)

        assert told == []
        assert story.amounts() == (1000, 1000, 0, 0)
        assert story.open_operations() == []

    def test_seen_again_it_is_not_booked_again(self) -> None:
        story = charged()
        seen(story, SUCCEEDED, THERE)

        assert seen(story, SUCCEEDED, THERE) == []

        assert story.amounts() == (1000, 1000, 0, 400)

    def test_it_takes_from_the_rest_that_may_be_refunded(self) -> None:
        story = charged()
        seen(story, SUCCEEDED, THERE)

        (refused,) = story.when(refund(1, 601))

        assert isinstance(refused, messages.RefundFailed)
        assert refused.code == "exceeds_refundable"

    def test_one_that_has_no_room_beside_ours_waits_for_the_answer_to_ours(self) -> None:
        story = charged()
        story.when(refund(1, 800))
        story.called(OperationKind.REFUND)

        assert seen(story, SUCCEEDED, THERE) == []

        assert story.amounts() == (1000, 1000, 800, 0)
        assert [op.kind for op in story.open_operations()] == [OperationKind.REFUND, REVIEW]
        story.answered(RefundFailed(None, "charge_already_refunded"), OperationKind.REFUND)
        (told,) = story.provider_says(Reviewed(SUCCEEDED, (THERE,)), REVIEW)
        assert isinstance(told, messages.RefundMade)
        assert story.amounts() == (1000, 1000, 0, 400)

    def test_a_pending_one_is_looked_at_until_it_ends(self) -> None:
        story = charged()

        (told,) = seen(story, SUCCEEDED, replace(THERE, state=RefundPending("re_there")))

        assert isinstance(told, messages.RefundMade)
        assert told.status == "pending"
        assert story.amounts() == (1000, 1000, 400, 0)
        (told,) = story.provider_says(Reviewed(SUCCEEDED, (THERE,)), REVIEW)
        assert isinstance(told, messages.RefundMade)
        assert told.status == "refunded"
        assert story.open_operations() == []

    def test_what_was_given_back_by_hand_takes_no_room_at_the_provider(self) -> None:
        story = charged()
        story.when(by_hand(1000))

        (told,) = seen(story, SUCCEEDED, replace(THERE, amount_minor=1000))

        assert isinstance(told, messages.RefundMade)
        assert (told.amount_minor, told.status) == (1000, "refunded")
        assert story.amounts() == (1000, 1000, 0, 1000)
        assert story.payment.amounts.over_refunded_minor == 1000
        assert story.events()[-1].over_refunded_minor == 1000
        assert story.payment.status is PaymentStatus.REFUNDED
        assert story.open_operations() == []

    def test_what_is_on_its_way_twice_and_fails_was_given_back_once(self) -> None:
        story = charged()
        story.when(by_hand(400))

        seen(story, SUCCEEDED, SeenRefund("re_there", None, 1000, RefundPending("re_there")))

        assert story.amounts() == (1000, 1000, 1000, 0)
        assert story.payment.amounts.over_refunded_minor == 400
        assert story.payment.status is PaymentStatus.PARTLY_REFUNDED
        failed = SeenRefund("re_there", None, 1000, RefundFailed("re_there", "declined"))
        story.provider_says(Reviewed(SUCCEEDED, (failed,)), REVIEW)
        assert story.amounts() == (1000, 1000, 0, 400)
        assert story.payment.amounts.over_refunded_minor == 0

    def test_more_than_we_know_was_taken_is_left_to_the_reconciliation(self) -> None:
        story = charged()

        assert seen(story, SUCCEEDED, replace(THERE, amount_minor=1001)) == []

        assert story.amounts() == (1000, 1000, 0, 0)
        assert story.open_operations() == []

    def test_one_that_failed_before_anybody_looked_never_was(self) -> None:
        story = charged()
        failed = replace(THERE, state=RefundFailed("re_there", "declined"))

        assert seen(story, SUCCEEDED, failed) == []

        assert story.payment.refunds == ()

    def test_ours_that_comes_back_weeks_later_can_be_refunded_again(self) -> None:
        story = charged()
        story.when(refund(1, 400))
        story.provider_says(Refunded("re_1"), OperationKind.REFUND)

        (told,) = seen(story, SUCCEEDED, ours(story, RefundFailed("re_1", "account_closed")))

        assert isinstance(told, messages.RefundFailed)
        assert (told.step, told.round, told.code) == (Step.REFUND, 1, "account_closed")
        assert story.booked()[-1] == ("refund_returned", 400)
        assert story.payment.amounts.refundable_minor == 1000
        assert seen(story, SUCCEEDED, ours(story, RefundFailed("re_1", "account_closed"))) == []

    def test_ours_that_is_still_asked_about_is_left_to_its_own_answer(self) -> None:
        story = charged()
        story.when(refund(1, 400))
        story.provider_says(RefundPending("re_1"), OperationKind.REFUND)

        assert seen(story, SUCCEEDED, ours(story, Refunded("re_1"))) == []

        assert story.amounts() == (1000, 1000, 400, 0)


class TestDisputes:
    def test_money_that_a_bank_withdraws_is_booked_told_and_not_refunded(self) -> None:
        story = charged()

        (told,) = seen(story, SUCCEEDED, SeenDispute("dp_1", 1000, "open"))

        assert isinstance(told, messages.DisputeMoved)
        assert (told.status, told.amount_minor) == ("open", 1000)
        assert story.payment.amounts.disputed_minor == 1000
        assert story.payment.status is PaymentStatus.DISPUTED
        (refused,) = story.when(refund(1, 400))
        assert isinstance(refused, messages.RefundFailed)
        assert refused.code == "disputed"

    @pytest.mark.parametrize(
        ("end", "booked", "refundable"),
        [("won", ("dispute_won", 1000), 1000), ("lost", ("dispute_lost", 1000), 0)],
    )
    def test_its_end_is_booked_once(
        self, end: str, booked: tuple[str, int], refundable: int
    ) -> None:
        story = charged()
        seen(story, SUCCEEDED, SeenDispute("dp_1", 1000, "open"))
        ended = SeenDispute("dp_1", 1000, "won" if end == "won" else "lost")

        (told,) = seen(story, SUCCEEDED, ended)

        assert isinstance(told, messages.DisputeMoved)
        assert story.booked()[-1] == booked
        assert story.payment.amounts.refundable_minor == refundable
        assert seen(story, SUCCEEDED, ended) == []

    def test_one_that_is_lost_from_the_start_is_booked_whole(self) -> None:
        story = charged()

        seen(story, SUCCEEDED, SeenDispute("dp_1", 1000, "lost"))

        assert story.booked()[2:] == [("disputed", 1000), ("dispute_lost", 1000)]
        assert story.payment.status is PaymentStatus.DISPUTE_LOST

    def test_one_that_was_won_before_anybody_looked_never_was(self) -> None:
        story = charged()

        assert seen(story, SUCCEEDED, SeenDispute("dp_1", 1000, "won")) == []

    def test_an_older_sight_of_a_decided_one_changes_nothing(self) -> None:
        story = charged()
        seen(story, SUCCEEDED, SeenDispute("dp_1", 1000, "lost"))

        assert seen(story, SUCCEEDED, SeenDispute("dp_1", 1000, "open")) == []

    def test_a_bank_may_withdraw_what_was_refunded_already(self) -> None:
        story = charged()
        story.when(refund(1, 1000))
        story.provider_says(Refunded("re_1"), OperationKind.REFUND)

        seen(story, SUCCEEDED, SeenDispute("dp_1", 1000, "open"))

        assert story.payment.amounts.refundable_minor == 0


class TestPayments:
    def test_money_that_came_after_all_is_booked_and_told(self) -> None:
        story = charged(DECLINED)

        (told,) = seen(story, SUCCEEDED)

        assert isinstance(told, messages.PaymentSucceeded)
        assert story.amounts() == (1000, 1000, 0, 0)

    def test_an_authorization_captured_at_the_provider_is_paid(self) -> None:
        story = charged(AUTHORIZED, "authorize")

        (told,) = seen(story, SUCCEEDED)

        assert isinstance(told, messages.PaymentSucceeded)
        assert story.payment.status is PaymentStatus.SUCCEEDED

    def test_an_authorization_that_expired_is_told(self) -> None:
        story = charged(AUTHORIZED, "authorize")

        (told,) = seen(story, CANCELLED)

        assert isinstance(told, messages.PaymentCancelled)
        assert story.amounts() == (0, 0, 0, 0)

    def test_what_ended_here_and_is_open_there_is_closed_there(self) -> None:
        story = charged(DECLINED)

        assert seen(story, AUTHORIZED) == []

        (closing,) = story.open_operations()
        assert closing.kind is OperationKind.CLOSE
        story.provider_says(CANCELLED, OperationKind.CLOSE)
        assert story.amounts() == (0, 0, 0, 0)

    def test_a_payment_that_the_provider_does_not_have_stays_as_it_is(self) -> None:
        story = charged(DECLINED)
        story.when(review())

        assert story.provider_says(NotFound(), REVIEW) == []

        assert story.open_operations() == []


class TestWhenItIsAsked:
    def test_an_attempt_that_nobody_knows_is_not_reviewed(self) -> None:
        story = charged()

        assert story.when(review(2)) == []

        assert story.open_operations() == []

    def test_the_answer_to_what_is_under_way_comes_first(self) -> None:
        story = charged(AUTHORIZED, "authorize")
        story.when(capture())
        story.called(OperationKind.CAPTURE)

        assert seen(story, SUCCEEDED) == []

        assert story.amounts() == (1000, 0, 0, 0)
        (told,) = story.answered(SUCCEEDED, OperationKind.CAPTURE)
        assert isinstance(told, messages.PaymentSucceeded)
        assert story.amounts() == (1000, 1000, 0, 0)

    def test_what_was_seen_before_a_later_decision_is_asked_for_again(self) -> None:
        story = charged(AUTHORIZED, "authorize")
        story.when(review())
        story.called(REVIEW)
        old = story.recorded(Reviewed(AUTHORIZED), REVIEW, made=False)
        story.when(close())
        story.provider_says(CANCELLED, OperationKind.CLOSE)

        assert story.when(old) == []

        (again,) = story.open_operations()
        assert (again.kind, again.status) == (REVIEW, OperationStatus.DUE)
        assert story.attempt().state == CANCELLED

    def test_news_during_a_review_leads_to_another_one(self) -> None:
        story = charged()
        story.when(review())
        story.called(REVIEW)
        story.when(review())

        story.answered(Reviewed(SUCCEEDED), REVIEW, made=False)

        (again,) = story.open_operations()
        assert again.claimable_at == story.now
