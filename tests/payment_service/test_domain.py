"""What each message does to a payment."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from contracts.messages import payment as messages
from contracts.messages.base import Message, Step
from contracts.values import replace
from payment_service.domain.commands import NotAuthorized
from payment_service.domain.decisions import UnknownOperation, UnknownPayment, decide
from payment_service.domain.declines import declined
from payment_service.domain.outcomes import (
    ActionRequired,
    Authorized,
    Cancelled,
    CaptureFailed,
    Declined,
    MalformedOutcome,
    NeverCreated,
    NotDue,
    NotFound,
    Outcome,
    Processing,
    Refunded,
    RefundFailed,
    RefundPending,
    Requested,
    Succeeded,
    Unknown,
    UnknownOutcomeName,
)
from payment_service.domain.payment import NextCall, OperationKind, OperationStatus, PaymentStatus
from payment_service.domain.reports import OutcomeOutOfPlace
from tests.payment_service.story import (
    RULES,
    START,
    WINDOW,
    Story,
    capture,
    charge,
    close,
    refund,
)

SUCCEEDED = Succeeded("pay_1", 1000)
AUTHORIZED = Authorized("pay_1", 1000, START + timedelta(days=7))
PROCESSING = Processing("pay_1", START + timedelta(days=3))
ACTION = ActionRequired("pay_1", "redirect_to_url", "https://bank/3ds", START + WINDOW, "secret")
DECLINED = Declined("pay_1", "insufficient_funds", retryable=False, same_method_allowed=True)
CANCELLED = Cancelled("pay_1", "cancelled")
UNKNOWN = Unknown("timeout")
UNAVAILABLE = declined("provider_unavailable", None)

CHARGE, CAPTURE, CLOSE, REFUND, REVIEW = OperationKind


def charged(outcome: Outcome | None = None, **how: Any) -> Story:
    """A story whose first attempt is charged, and answered with `outcome` if there is one."""
    story = Story()
    story.when(charge(**how))
    if outcome is not None:
        story.provider_says(outcome)
    return story


def kinds(sent: list[Message]) -> list[tuple[str, Step, int]]:
    """Names, steps and rounds of replies."""
    return [
        (type(reply).__name__, reply.step, reply.round)
        for reply in sent
        if isinstance(reply, messages.PaymentReply)
    ]


class TestCharge:
    def test_records_the_intent_and_answers_nothing_yet(self) -> None:
        story = Story()

        assert story.when(charge()) == []

        assert story.attempt().state == Requested()
        operation = story.operation()
        assert operation.status is OperationStatus.DUE
        assert operation.next_call is NextCall.MAKE
        assert operation.idempotency_key == f"{story.payment.payment_id}:1:charge"
        assert story.amounts() == (0, 0, 0, 0)
        assert story.events() == []

    def test_success_is_booked_and_answered(self) -> None:
        story = charged()

        (reply,) = story.provider_says(SUCCEEDED)

        assert reply == messages.PaymentSucceeded(
            checkout_id=story.payment.checkout_id,
            round=1,
            payment_id=story.payment.payment_id,
            attempt=1,
            amount_minor=1000,
        )
        assert story.booked() == [("authorized", 1000), ("captured", 1000)]
        assert story.payment.status is PaymentStatus.SUCCEEDED
        assert story.open_operations() == []

    @pytest.mark.parametrize(
        ("outcome", "reply", "status"),
        [
            (AUTHORIZED, "PaymentAuthorized", PaymentStatus.AUTHORIZED),
            (PROCESSING, "PaymentProcessing", PaymentStatus.PROCESSING),
            (ACTION, "PaymentActionRequired", PaymentStatus.ACTION_REQUIRED),
            (DECLINED, "PaymentDeclined", PaymentStatus.FAILED),
            (CANCELLED, "PaymentCancelled", PaymentStatus.CANCELLED),
            (NeverCreated(), "PaymentCancelled", PaymentStatus.CANCELLED),
            (UNKNOWN, "PaymentUnknown", PaymentStatus.UNKNOWN),
        ],
    )
    def test_every_outcome_has_its_reply(
        self, outcome: Outcome, reply: str, status: PaymentStatus
    ) -> None:
        story = charged()

        assert kinds(story.provider_says(outcome)) == [(reply, Step.CHARGE, 1)]
        assert story.payment.status is status

    def test_a_repeated_charge_in_flight_is_not_charged_again(self) -> None:
        story = charged()
        before = story.payment

        assert story.when(charge()) == []
        assert story.payment is before

    def test_a_repeated_charge_after_the_answer_is_answered_the_same(self) -> None:
        story = charged(DECLINED)
        before = story.payment

        assert kinds(story.when(charge())) == [("PaymentDeclined", Step.CHARGE, 1)]
        assert story.payment is before

    @pytest.mark.parametrize(
        ("outcome", "reply"),
        [
            (None, "PaymentProcessing"),
            (PROCESSING, "PaymentProcessing"),
            (ACTION, "PaymentActionRequired"),
            (AUTHORIZED, "PaymentAuthorized"),
            (UNKNOWN, "PaymentUnknown"),
            (SUCCEEDED, "PaymentSucceeded"),
        ],
    )
    def test_beside_an_attempt_that_may_bring_money_it_is_answered_with_that_one(
        self, outcome: Outcome | None, reply: str
    ) -> None:
        story = charged(outcome)
        before = story.payment

        (answer,) = story.when(charge(attempt=2, method="pm_other"))

        assert kinds([answer]) == [(reply, Step.CHARGE, 2)]
        assert isinstance(answer, messages.PaymentReply)
        assert answer.attempt == 1
        assert story.payment is before

    @pytest.mark.parametrize("ended", [DECLINED, CANCELLED, NeverCreated()])
    def test_after_an_attempt_that_ended_another_is_charged(self, ended: Outcome) -> None:
        story = charged(ended)

        assert story.when(charge(attempt=2)) == []
        assert story.provider_says(SUCCEEDED, number=2)
        assert story.amounts() == (1000, 1000, 0, 0)
        assert story.operation(number=2).idempotency_key != story.operation().idempotency_key

    def test_a_total_of_zero_asks_no_provider(self) -> None:
        story = Story()

        assert kinds(story.when(charge(amount=0))) == [("NoPaymentDue", Step.CHARGE, 1)]
        assert story.attempt().state == NotDue()
        assert story.payment.operations == ()
        assert kinds(story.when(close())) == [("PaymentClosed", Step.CLOSE_PAYMENT, 1)]

    @pytest.mark.parametrize(
        ("refused", "code"),
        [
            (charge(provider="nobody"), "unknown_provider"),
            (charge(amount=-1), "invalid_amount"),
        ],
    )
    def test_what_no_provider_can_serve_is_declined_without_a_call(
        self, refused: messages.ChargePayment, code: str
    ) -> None:
        story = Story()

        (reply,) = story.when(refused)

        assert isinstance(reply, messages.PaymentDeclined)
        assert reply.code == code
        assert story.payment.operations == ()

    def test_another_currency_than_the_payments_is_declined(self) -> None:
        story = charged(DECLINED)

        (reply,) = story.when(charge(attempt=2, currency="EUR"))

        assert isinstance(reply, messages.PaymentDeclined)
        assert reply.code == "currency_mismatch"

    def test_after_the_window_nothing_is_charged(self) -> None:
        story = Story(now=START + WINDOW)

        (reply,) = story.when(charge())

        assert isinstance(reply, messages.PaymentCancelled)
        assert reply.reason == "expired"
        assert story.payment.operations == ()

    def test_a_payment_given_back_in_full_is_not_charged_again(self) -> None:
        story = charged(SUCCEEDED)
        story.when(refund())
        story.provider_says(Refunded("ref_1"), REFUND)

        (reply,) = story.when(charge(attempt=2))

        assert isinstance(reply, messages.PaymentDeclined)
        assert reply.code == "payment_refunded"


class TestProviderAway:
    """A charge that nobody has called is answered by a report without a call."""

    def test_the_shopper_may_pay_later_with_the_same_method(self) -> None:
        story = Story()
        story.when(charge())

        (reply,) = story.when(story.nobody_calls(UNAVAILABLE))

        assert isinstance(reply, messages.PaymentDeclined)
        assert (reply.code, reply.retryable, reply.same_method_allowed) == (
            "provider_unavailable",
            True,
            True,
        )
        assert story.operation().status is OperationStatus.WITHDRAWN
        assert story.booked() == []

    def test_what_is_withdrawn_stays_so_however_often_it_is_charged(self) -> None:
        story = Story()
        story.when(charge())
        told = story.when(story.nobody_calls(UNAVAILABLE))

        assert story.when(charge()) == told
        assert story.open_operations() == []

    def test_the_next_attempt_is_charged_under_a_key_of_its_own(self) -> None:
        story = Story()
        story.when(charge())
        story.when(story.nobody_calls(UNAVAILABLE))
        story.when(charge(2))
        story.called(number=2)
        story.answered(SUCCEEDED, number=2)

        assert story.payment.paid_attempt == story.attempt(2)
        keys = {operation.idempotency_key for operation in story.payment.operations}
        assert keys == {story.attempt(1).charge_key, story.attempt(2).charge_key}

    def test_a_close_between_the_report_and_its_decision_is_answered_by_it(self) -> None:
        story = Story()
        story.when(charge())
        report = story.nobody_calls(UNAVAILABLE)
        assert story.when(close()) == []

        assert kinds(story.when(report)) == [
            ("PaymentDeclined", Step.CHARGE, 1),
            ("PaymentClosed", Step.CLOSE_PAYMENT, 1),
        ]
        assert story.open_operations() == []


class TestUnknownOutcome:
    def test_is_told_once_and_asked_about_until_known(self) -> None:
        story = charged()

        assert kinds(story.provider_says(UNKNOWN)) == [("PaymentUnknown", Step.CHARGE, 1)]
        assert story.operation().next_call is NextCall.ASK
        assert story.provider_says(UNKNOWN) == []
        assert story.provider_says(Unknown("connection lost")) == []
        assert kinds(story.provider_says(SUCCEEDED)) == [("PaymentSucceeded", Step.CHARGE, 1)]
        assert story.amounts() == (1000, 1000, 0, 0)

    def test_is_asked_with_growing_waits_up_to_the_longest(self) -> None:
        story = charged(UNKNOWN)
        waits = []
        for _ in range(8):
            story.provider_says(UNKNOWN)
            waits.append((story.operation().claimable_at - story.now).total_seconds())

        assert waits == [2, 4, 8, 16, 32, 60, 60, 60]

    def test_is_never_repeated_while_it_may_have_had_its_effect(self) -> None:
        story = charged(UNKNOWN)

        assert story.operation().next_call is NextCall.ASK
        assert len(story.payment.operations) == 1

    def test_is_called_again_under_the_same_key_when_the_provider_does_not_have_it(self) -> None:
        story = charged(UNKNOWN)
        key = story.operation().idempotency_key

        assert story.provider_says(NotFound()) == []

        assert story.operation().next_call is NextCall.MAKE
        assert story.operation().idempotency_key == key
        assert kinds(story.provider_says(SUCCEEDED)) == [("PaymentSucceeded", Step.CHARGE, 1)]
        assert story.operation().makes == 2

    def test_a_charge_that_never_arrived_is_closed_once_the_window_is(self) -> None:
        story = charged(UNKNOWN)
        story.now = START + WINDOW

        assert story.provider_says(NotFound()) == []
        assert story.operation().status is OperationStatus.SUPERSEDED

        (reply,) = story.provider_says(NeverCreated(), CLOSE)
        assert isinstance(reply, messages.PaymentCancelled)
        assert reply.reason == "payment_window_closed"
        assert (reply.step, reply.round) == (Step.CHARGE, 1)
        assert story.payment.live_attempt is None

    def test_not_found_after_an_answer_proves_nothing(self) -> None:
        story = charged(PROCESSING)

        assert story.provider_says(NotFound()) == []
        assert story.operation().next_call is NextCall.ASK
        assert story.attempt().state == PROCESSING


class TestNews:
    @pytest.mark.parametrize("waiting", [PROCESSING, ACTION])
    @pytest.mark.parametrize(
        ("later", "reply"),
        [
            (SUCCEEDED, "PaymentSucceeded"),
            (AUTHORIZED, "PaymentAuthorized"),
            (DECLINED, "PaymentDeclined"),
            (Cancelled("pay_1", "expired"), "PaymentCancelled"),
        ],
    )
    def test_what_is_on_its_way_is_asked_about_until_it_ends(
        self, waiting: Outcome, later: Outcome, reply: str
    ) -> None:
        story = charged(waiting)
        assert story.operation().next_call is NextCall.ASK

        assert kinds(story.provider_says(later)) == [(reply, Step.CHARGE, 1)]
        assert story.open_operations() == []

    def test_a_hint_during_a_question_asks_again_at_once(self) -> None:
        story = charged()
        story.called()
        story.payment = story.payment.with_operation(replace(story.operation(), hinted=True))

        story.answered(ACTION)

        assert story.operation().claimable_at == story.now


class TestCapture:
    def test_takes_what_was_set_aside(self) -> None:
        story = charged(AUTHORIZED, flow="authorize")
        assert story.booked() == [("authorized", 1000)]

        assert story.when(capture()) == []
        assert kinds(story.provider_says(SUCCEEDED, CAPTURE)) == [
            ("PaymentSucceeded", Step.CAPTURE, 1)
        ]
        assert story.booked() == [("authorized", 1000), ("captured", 1000)]

    def test_of_a_part_gives_the_rest_back(self) -> None:
        story = charged(AUTHORIZED, flow="authorize")
        story.when(capture(amount=600))

        story.provider_says(Succeeded("pay_1", 600), CAPTURE)

        assert story.booked() == [("authorized", 1000), ("captured", 600), ("voided", 400)]
        assert story.amounts() == (600, 600, 0, 0)

    def test_that_fails_gives_the_authorization_back(self) -> None:
        story = charged(AUTHORIZED, flow="authorize")
        story.when(capture())

        (reply,) = story.provider_says(CaptureFailed("pay_1", "capture_declined"), CAPTURE)

        assert isinstance(reply, messages.CaptureFailed)
        assert (reply.step, reply.code) == (Step.CAPTURE, "capture_declined")
        assert story.booked() == [("authorized", 1000), ("voided", 1000)]
        assert story.payment.live_attempt is None

    def test_repeated_is_captured_once(self) -> None:
        story = charged(AUTHORIZED, flow="authorize")
        story.when(capture())
        before = story.payment

        assert story.when(capture()) == []
        assert story.payment is before
        story.provider_says(SUCCEEDED, CAPTURE)
        assert kinds(story.when(capture())) == [("PaymentSucceeded", Step.CAPTURE, 1)]

    def test_of_unknown_outcome_is_asked_and_called_again_only_without_effect(self) -> None:
        story = charged(AUTHORIZED, flow="authorize")
        story.when(capture())

        assert kinds(story.provider_says(UNKNOWN, CAPTURE)) == [("PaymentUnknown", Step.CAPTURE, 1)]
        assert kinds(story.when(capture())) == [("PaymentUnknown", Step.CAPTURE, 1)]
        assert story.provider_says(AUTHORIZED, CAPTURE) == []
        assert story.operation(CAPTURE).next_call is NextCall.MAKE
        assert kinds(story.provider_says(SUCCEEDED, CAPTURE)) == [
            ("PaymentSucceeded", Step.CAPTURE, 1)
        ]

    @pytest.mark.parametrize("amount", [0, -1, 1001])
    def test_of_an_impossible_amount_fails_and_the_authorization_is_closed(
        self, amount: int
    ) -> None:
        story = charged(AUTHORIZED, flow="authorize")

        (reply,) = story.when(capture(amount=amount))

        assert isinstance(reply, messages.CaptureFailed)
        assert reply.code == "invalid_amount"
        assert kinds(story.provider_says(CANCELLED, CLOSE)) == [
            ("PaymentCancelled", Step.CHARGE, 1)
        ]
        assert story.amounts() == (0, 0, 0, 0)

    def test_of_an_attempt_that_is_not_here_fails(self) -> None:
        decided = decide(None, capture(), START, RULES)

        (reply,) = decided.messages
        assert isinstance(reply, messages.CaptureFailed)
        assert reply.code == "unknown_attempt"

    def test_of_a_closed_attempt_fails(self) -> None:
        story = charged(DECLINED)

        (reply,) = story.when(capture())

        assert isinstance(reply, messages.CaptureFailed)
        assert reply.code == "insufficient_funds"

    def test_of_an_attempt_that_was_never_authorized_is_no_message_we_understand(self) -> None:
        story = charged(PROCESSING)

        with pytest.raises(NotAuthorized):
            story.when(capture())


class TestClose:
    def test_of_something_unknown_leaves_a_tombstone_that_refuses_the_late_charge(self) -> None:
        story = Story()

        (closed,) = story.when(close())
        assert isinstance(closed, messages.PaymentClosed)
        assert closed.outcome == "never_created"

        (refused,) = story.when(charge())
        assert isinstance(refused, messages.PaymentCancelled)
        assert refused.reason == "cancelled by the shopper"
        assert story.payment.operations == ()

    def test_a_tombstone_does_not_stop_another_attempt(self) -> None:
        story = Story()
        story.when(close())

        story.when(charge(attempt=2))

        assert kinds(story.provider_says(SUCCEEDED, number=2)) == [
            ("PaymentSucceeded", Step.CHARGE, 2)
        ]

    def test_of_a_charge_nobody_has_called_withdraws_it(self) -> None:
        story = charged()

        (closed,) = story.when(close())

        assert isinstance(closed, messages.PaymentClosed)
        assert closed.outcome == "never_created"
        assert story.operation().status is OperationStatus.WITHDRAWN
        assert story.open_operations() == []

    @pytest.mark.parametrize(
        ("outcome", "answers"),
        [
            (SUCCEEDED, ["PaymentSucceeded", "PaymentSucceeded"]),
            (DECLINED, ["PaymentDeclined", "PaymentClosed"]),
        ],
    )
    def test_during_the_call_waits_for_its_answer(
        self, outcome: Outcome, answers: list[str]
    ) -> None:
        story = charged()
        story.called()

        assert story.when(close()) == []
        assert len(story.payment.operations) == 1
        assert kinds(story.answered(outcome)) == [
            (answers[0], Step.CHARGE, 1),
            (answers[1], Step.CLOSE_PAYMENT, 1),
        ]
        assert story.open_operations() == []

    @pytest.mark.parametrize("waiting", [PROCESSING, ACTION])
    def test_during_the_call_takes_over_what_is_then_on_its_way(self, waiting: Outcome) -> None:
        story = charged()
        story.called()
        story.when(close())

        assert story.answered(waiting) == []

        assert story.operation().status is OperationStatus.SUPERSEDED
        assert kinds(story.provider_says(CANCELLED, CLOSE)) == [
            ("PaymentClosed", Step.CLOSE_PAYMENT, 1)
        ]

    def test_during_the_call_closes_what_is_then_authorized(self) -> None:
        story = charged(flow="authorize")
        story.called()
        story.when(close())

        assert story.answered(AUTHORIZED) == []
        assert kinds(story.provider_says(CANCELLED, CLOSE)) == [
            ("PaymentClosed", Step.CLOSE_PAYMENT, 1)
        ]
        assert story.booked() == [("authorized", 1000), ("voided", 1000)]

    @pytest.mark.parametrize("answer", [ACTION, UNKNOWN])
    def test_during_a_question_waits_for_whatever_comes_of_it(self, answer: Outcome) -> None:
        story = charged(ACTION)
        story.called()
        assert not story.operation().waited_for

        assert story.when(close()) == []
        assert story.operation().waited_for  # so it is reported, though it is no news
        assert story.answered(answer, made=False) == []

        assert story.attempt().state == ACTION
        assert story.operation().status is OperationStatus.SUPERSEDED
        assert kinds(story.provider_says(CANCELLED, CLOSE)) == [
            ("PaymentClosed", Step.CLOSE_PAYMENT, 1)
        ]

    def test_between_answer_and_report_waits_for_the_report(self) -> None:
        story = charged()
        story.called()
        report = story.recorded(SUCCEEDED)

        assert story.when(close()) == []
        assert kinds(story.when(report)) == [
            ("PaymentSucceeded", Step.CHARGE, 1),
            ("PaymentSucceeded", Step.CLOSE_PAYMENT, 1),
        ]

    @pytest.mark.parametrize("waiting", [PROCESSING, ACTION, AUTHORIZED])
    @pytest.mark.parametrize(
        ("outcome", "reply", "detail"),
        [
            (CANCELLED, "PaymentClosed", "cancelled"),
            (Cancelled("pay_1", "expired"), "PaymentClosed", "expired"),
            (DECLINED, "PaymentClosed", "declined"),
            (SUCCEEDED, "PaymentSucceeded", None),
        ],
    )
    def test_of_what_is_on_its_way_is_the_providers_word(
        self, waiting: Outcome, outcome: Outcome, reply: str, detail: str | None
    ) -> None:
        story = charged(waiting)

        assert story.when(close()) == []
        (answer,) = story.provider_says(outcome, CLOSE)

        assert kinds([answer]) == [(reply, Step.CLOSE_PAYMENT, 1)]
        assert getattr(answer, "outcome", None) == detail
        assert story.payment.live_attempt is None

    @pytest.mark.parametrize(
        ("ended", "reply", "detail"),
        [
            (SUCCEEDED, "PaymentSucceeded", None),
            (DECLINED, "PaymentClosed", "declined"),
            (CANCELLED, "PaymentClosed", "cancelled"),
            (NeverCreated(), "PaymentClosed", "never_created"),
        ],
    )
    def test_of_what_has_ended_is_answered_at_once(
        self, ended: Outcome, reply: str, detail: str | None
    ) -> None:
        story = charged(ended)
        before = story.payment

        (answer,) = story.when(close())

        assert kinds([answer]) == [(reply, Step.CLOSE_PAYMENT, 1)]
        assert getattr(answer, "outcome", None) == detail
        assert story.payment is before

    def test_of_an_unknown_outcome_is_unknown_until_the_provider_has_closed_it(self) -> None:
        story = charged(UNKNOWN)

        assert kinds(story.when(close())) == [("PaymentUnknown", Step.CLOSE_PAYMENT, 1)]
        assert story.operation().status is OperationStatus.SUPERSEDED
        assert story.provider_says(UNKNOWN, CLOSE) == []
        assert story.provider_says(NotFound(), CLOSE) == []
        assert story.operation(CLOSE).next_call is NextCall.MAKE
        (closed,) = story.provider_says(NeverCreated(), CLOSE)
        assert isinstance(closed, messages.PaymentClosed)
        assert closed.outcome == "never_created"

    def test_books_an_authorization_that_nobody_knew_of(self) -> None:
        story = charged(UNKNOWN, flow="authorize")
        story.when(close())

        story.provider_says(Cancelled("pay_1", "cancelled", released_minor=1000), CLOSE)

        assert story.booked() == [("authorized", 1000), ("voided", 1000)]

    def test_whose_own_outcome_is_unknown_says_so_once(self) -> None:
        story = charged(ACTION)
        story.when(close())

        assert kinds(story.provider_says(UNKNOWN, CLOSE)) == [
            ("PaymentUnknown", Step.CLOSE_PAYMENT, 1)
        ]
        assert story.provider_says(ACTION, CLOSE) == []
        assert story.operation(CLOSE).next_call is NextCall.MAKE
        assert kinds(story.provider_says(CANCELLED, CLOSE)) == [
            ("PaymentClosed", Step.CLOSE_PAYMENT, 1)
        ]

    def test_of_what_cannot_be_called_back_waits_for_its_end(self) -> None:
        story = charged(PROCESSING)
        story.when(close())

        assert kinds(story.provider_says(PROCESSING, CLOSE)) == [
            ("PaymentUnknown", Step.CLOSE_PAYMENT, 1)
        ]
        assert story.operation(CLOSE).next_call is NextCall.ASK
        assert kinds(story.provider_says(SUCCEEDED, CLOSE)) == [
            ("PaymentSucceeded", Step.CLOSE_PAYMENT, 1)
        ]
        assert story.amounts() == (1000, 1000, 0, 0)

    def test_of_what_could_not_be_called_back_is_asked_for_anew_once_it_can(self) -> None:
        story = charged(PROCESSING, flow="authorize")
        story.when(close())
        story.provider_says(PROCESSING, CLOSE)

        assert story.provider_says(AUTHORIZED, CLOSE) == []

        (again,) = story.open_operations()
        assert again.kind is CLOSE
        assert again.idempotency_key != story.operation(CLOSE).idempotency_key
        assert again.claimable_at > story.now

    def test_of_a_capture_nobody_has_called_withdraws_it_and_closes(self) -> None:
        story = charged(AUTHORIZED, flow="authorize")
        story.when(capture())

        assert kinds(story.when(close())) == [("CaptureFailed", Step.CAPTURE, 1)]
        assert story.operation(CAPTURE).status is OperationStatus.WITHDRAWN
        assert kinds(story.provider_says(CANCELLED, CLOSE)) == [
            ("PaymentClosed", Step.CLOSE_PAYMENT, 1)
        ]

    def test_during_a_capture_is_answered_with_the_money(self) -> None:
        story = charged(AUTHORIZED, flow="authorize")
        story.when(capture())
        story.called(CAPTURE)

        assert story.when(close()) == []
        assert kinds(story.answered(SUCCEEDED, CAPTURE)) == [
            ("PaymentSucceeded", Step.CAPTURE, 1),
            ("PaymentSucceeded", Step.CLOSE_PAYMENT, 1),
        ]

    def test_of_a_capture_of_unknown_outcome_answers_both_when_known(self) -> None:
        story = charged(AUTHORIZED, flow="authorize")
        story.when(capture())
        story.provider_says(UNKNOWN, CAPTURE)

        assert kinds(story.when(close())) == [("PaymentUnknown", Step.CLOSE_PAYMENT, 1)]
        assert kinds(story.provider_says(CANCELLED, CLOSE)) == [
            ("CaptureFailed", Step.CAPTURE, 1),
            ("PaymentClosed", Step.CLOSE_PAYMENT, 1),
        ]

    def test_after_a_close_no_capture_is_begun(self) -> None:
        story = charged(AUTHORIZED, flow="authorize")
        story.when(close())

        (reply,) = story.when(capture())

        assert isinstance(reply, messages.CaptureFailed)
        assert reply.code == "closed"

    def test_repeated_is_closed_once(self) -> None:
        story = charged(ACTION)
        story.when(close())
        story.when(close())

        assert len([op for op in story.payment.operations if op.kind is CLOSE]) == 1
        story.provider_says(CANCELLED, CLOSE)
        assert kinds(story.when(close())) == [("PaymentClosed", Step.CLOSE_PAYMENT, 1)]

    def test_meets_our_own_close_of_a_late_charge(self) -> None:
        story = charged(UNKNOWN)
        story.now = START + WINDOW
        story.provider_says(NotFound())

        assert kinds(story.when(close())) == [("PaymentUnknown", Step.CLOSE_PAYMENT, 1)]
        assert kinds(story.provider_says(NeverCreated(), CLOSE)) == [
            ("PaymentClosed", Step.CLOSE_PAYMENT, 1)
        ]


class TestRefund:
    def test_takes_its_amount_when_the_intent_is_recorded(self) -> None:
        story = charged(SUCCEEDED)

        assert story.when(refund(amount=400)) == []
        assert story.amounts() == (1000, 1000, 400, 0)
        assert story.booked()[-1] == ("refund_requested", 400)

    def test_whole(self) -> None:
        story = charged(SUCCEEDED)
        story.when(refund())

        assert kinds(story.provider_says(Refunded("ref_1"), REFUND)) == [
            ("Refunded", Step.REFUND, 1)
        ]
        assert story.amounts() == (1000, 1000, 0, 1000)
        assert story.payment.status is PaymentStatus.REFUNDED

    def test_in_parts_never_exceeds_the_rest(self) -> None:
        story = charged(SUCCEEDED)
        story.when(refund(1, amount=600))

        (refused,) = story.when(refund(2, amount=500))
        assert isinstance(refused, messages.RefundFailed)
        assert refused.code == "exceeds_refundable"
        assert story.when(refund(3, amount=400)) == []
        story.provider_says(Refunded("ref_1"), REFUND, 1)
        assert story.payment.status is PaymentStatus.PARTLY_REFUNDED
        story.provider_says(Refunded("ref_3"), REFUND, 3)
        assert story.amounts() == (1000, 1000, 0, 1000)

    def test_pending_is_told_and_asked_about(self) -> None:
        story = charged(SUCCEEDED)
        story.when(refund())

        assert kinds(story.provider_says(RefundPending("ref_1"), REFUND)) == [
            ("RefundPending", Step.REFUND, 1)
        ]
        assert story.amounts() == (1000, 1000, 1000, 0)
        assert story.operation(REFUND).next_call is NextCall.ASK
        assert kinds(story.provider_says(Refunded("ref_1"), REFUND)) == [
            ("Refunded", Step.REFUND, 1)
        ]

    def test_gives_its_amount_back_only_at_a_final_failure(self) -> None:
        story = charged(SUCCEEDED)
        story.when(refund())

        for still_open in (UNKNOWN, NotFound(), UNKNOWN, RefundPending("ref_1")):
            story.provider_says(still_open, REFUND)
            assert story.amounts() == (1000, 1000, 1000, 0)
        (failed,) = story.provider_says(RefundFailed("ref_1", "account_closed"), REFUND)

        assert isinstance(failed, messages.RefundFailed)
        assert failed.code == "account_closed"
        assert story.amounts() == (1000, 1000, 0, 0)
        assert story.when(refund(2)) == []

    def test_of_unknown_outcome_is_pending_and_repeated_only_when_not_there(self) -> None:
        story = charged(SUCCEEDED)
        story.when(refund())

        assert kinds(story.provider_says(UNKNOWN, REFUND)) == [("RefundPending", Step.REFUND, 1)]
        assert story.refund().state == UNKNOWN
        assert story.provider_says(UNKNOWN, REFUND) == []
        assert kinds(story.when(refund())) == [("RefundPending", Step.REFUND, 1)]
        assert story.operation(REFUND).next_call is NextCall.ASK
        assert story.provider_says(NotFound(), REFUND) == []
        assert story.operation(REFUND).next_call is NextCall.MAKE
        assert kinds(story.provider_says(Refunded("ref_1"), REFUND)) == [
            ("Refunded", Step.REFUND, 1)
        ]

    def test_repeated_is_refunded_once(self) -> None:
        story = charged(SUCCEEDED)
        story.when(refund(amount=400))

        assert story.when(refund(amount=400)) == []
        story.provider_says(Refunded("ref_1"), REFUND)
        assert kinds(story.when(refund(amount=400))) == [("Refunded", Step.REFUND, 1)]
        assert story.amounts() == (1000, 1000, 0, 400)

    def test_once_refused_stays_refused(self) -> None:
        story = charged()
        (refused,) = story.when(refund())
        assert isinstance(refused, messages.RefundFailed)
        assert refused.code == "not_captured"

        story.provider_says(SUCCEEDED)

        assert kinds(story.when(refund())) == [("RefundFailed", Step.REFUND, 1)]
        assert story.amounts() == (1000, 1000, 0, 0)

    @pytest.mark.parametrize(
        ("outcome", "amount", "code"),
        [
            (AUTHORIZED, 1000, "not_captured"),
            (DECLINED, 1000, "not_captured"),
            (SUCCEEDED, 0, "invalid_amount"),
            (SUCCEEDED, -5, "invalid_amount"),
            (SUCCEEDED, 1001, "exceeds_refundable"),
        ],
    )
    def test_of_what_was_not_captured_fails_at_once(
        self, outcome: Outcome, amount: int, code: str
    ) -> None:
        story = charged(outcome)
        before = story.amounts()

        (refused,) = story.when(refund(amount=amount))

        assert isinstance(refused, messages.RefundFailed)
        assert refused.code == code
        assert story.amounts() == before
        assert not any(op.kind is REFUND for op in story.payment.operations)

    def test_of_a_payment_that_is_not_here_fails(self) -> None:
        (reply,) = decide(None, refund(), START, RULES).messages

        assert isinstance(reply, messages.RefundFailed)
        assert reply.code == "unknown_attempt"


class TestReports:
    def test_a_repeated_report_changes_nothing(self) -> None:
        story = charged()
        story.called()
        report = story.recorded(SUCCEEDED)
        story.when(report)
        before = story.payment

        assert story.when(report) == []
        assert story.payment is before

    def test_a_report_of_an_earlier_call_is_stale(self) -> None:
        story = charged()
        story.called()
        first = story.recorded(UNKNOWN)
        story.when(first)
        story.called()
        story.recorded(SUCCEEDED, made=False)
        before = story.payment

        assert story.when(first) == []
        assert story.payment is before

    def test_a_report_of_nothing_known_is_refused(self) -> None:
        story = charged()
        story.called()
        report = story.recorded(SUCCEEDED)

        with pytest.raises(UnknownPayment):
            decide(None, report, START, RULES)
        with pytest.raises(UnknownOperation):
            story.when(report.model_copy(update={"operation_id": story.payment.checkout_id}))
        with pytest.raises(UnknownPayment):
            story.when(report.model_copy(update={"checkout_id": story.payment.payment_id}))

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"outcome": "won"}, UnknownOutcomeName),
            ({"facts": {"provider_payment_id": "x"}}, MalformedOutcome),
            ({"facts": {"provider_payment_id": "x", "amount_minor": "1"}}, MalformedOutcome),
            ({"outcome": "refunded", "facts": {"provider_refund_id": "x"}}, OutcomeOutOfPlace),
        ],
    )
    def test_a_report_that_makes_no_sense_is_refused(
        self, change: dict[str, Any], error: type[Exception]
    ) -> None:
        story = charged()
        story.called()
        report = story.recorded(SUCCEEDED)

        with pytest.raises(error):
            story.when(report.model_copy(update=change))


class TestEvents:
    def test_count_without_gaps_and_say_what_is_then_true(self) -> None:
        story = charged(AUTHORIZED, flow="authorize")
        story.when(capture())
        story.provider_says(SUCCEEDED, CAPTURE)
        story.when(refund(amount=300))
        story.provider_says(Refunded("ref_1"), REFUND)

        assert [
            (
                event.event_seq,
                event.status,
                event.authorized_minor,
                event.captured_minor,
                event.refund_pending_minor,
                event.refunded_minor,
            )
            for event in story.events()
        ] == [
            (1, "authorized", 1000, 0, 0, 0),
            (2, "succeeded", 1000, 1000, 0, 0),
            (3, "succeeded", 1000, 1000, 300, 0),
            (4, "partly_refunded", 1000, 1000, 0, 300),
        ]

    def test_what_moves_nothing_publishes_nothing(self) -> None:
        story = charged(DECLINED)
        published = len(story.events())

        story.when(charge())
        story.when(close())

        assert len(story.events()) == published == 1


def test_commands_of_another_checkout_are_refused() -> None:
    story = charged()
    other = close().model_copy(update={"checkout_id": story.payment.payment_id})

    with pytest.raises(UnknownPayment):
        story.when(other)


@pytest.mark.parametrize("message", [charge, close, refund, capture])
def test_deciding_changes_nothing_that_was_given(message: Callable[[], Any]) -> None:
    story = charged(AUTHORIZED, flow="authorize")
    before = story.payment
    copy = replace(before)

    decide(before, message(), START, RULES)

    assert before == copy
