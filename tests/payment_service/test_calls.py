"""What a worker makes of an answer."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from contracts.values import replace
from payment_service.domain.calls import LeasedCall
from payment_service.domain.outcomes import (
    NotFound,
    Outcome,
    Processing,
    Refunded,
    Reviewed,
    SeenDispute,
    SeenRefund,
    Succeeded,
    Unknown,
    outcome_from,
)
from payment_service.domain.payment import NextCall, OperationKind

NOW = datetime(2025, 1, 1, tzinfo=UTC)
SOME_ID = UUID("01940000-0000-7000-8000-000000000001")
PROCESSING = Processing("pay_1", NOW)
SUCCEEDED = Succeeded("pay_1", 1000)
UNKNOWN = Unknown("timeout")
REVIEWED = Reviewed(
    SUCCEEDED,
    (SeenRefund("re_1", None, 400, Refunded("re_1")),),
    (SeenDispute("dp_1", 1000, "open"),),
)

MAKING = LeasedCall(
    operation_id=SOME_ID,
    lease_token=SOME_ID,
    payment_id=SOME_ID,
    checkout_id=SOME_ID,
    shop_id="main",
    attempt=1,
    kind=OperationKind.CHARGE,
    call=NextCall.MAKE,
    provider="simulated",
    idempotency_key="p:1:charge",
    charge_key="p:1:charge",
    amount_minor=1000,
    began_at=NOW,
    charge_minor=1000,
    charge_began_at=NOW,
    currency="GBP",
    method_token="pm_ok",
    flow="automatic",
    provider_payment_id=None,
    asks=0,
    reports=0,
    last=None,
)
ASKING = replace(MAKING, call=NextCall.ASK)


@pytest.mark.parametrize(
    ("last", "outcome", "news"),
    [
        (None, SUCCEEDED, True),
        (None, UNKNOWN, True),
        (None, NotFound(), True),
        (UNKNOWN, UNKNOWN, False),
        (UNKNOWN, Unknown("connection lost"), False),
        (UNKNOWN, NotFound(), True),
        (UNKNOWN, SUCCEEDED, True),
        (NotFound(), UNKNOWN, False),
        (NotFound(), NotFound(), False),
        (PROCESSING, PROCESSING, False),
        (PROCESSING, UNKNOWN, False),
        (PROCESSING, SUCCEEDED, True),
    ],
)
def test_only_what_changes_something_is_reported_of_a_question(
    last: Outcome | None, outcome: Outcome, news: bool
) -> None:
    assert replace(ASKING, last=last).is_news(outcome) is news


@pytest.mark.parametrize(
    ("last", "outcome", "news"),
    [
        (None, UNKNOWN, False),
        (None, REVIEWED, True),
        (REVIEWED, REVIEWED, True),
        (REVIEWED, NotFound(), True),
        (REVIEWED, UNKNOWN, False),
    ],
)
def test_every_review_that_is_answered_is_reported(
    last: Outcome | None, outcome: Outcome, news: bool
) -> None:
    review = replace(ASKING, kind=OperationKind.REVIEW, last=last)

    assert review.is_news(outcome) is news


@pytest.mark.parametrize(
    ("call", "outcome", "answers"),
    [
        (MAKING, SUCCEEDED, True),
        (MAKING, PROCESSING, True),
        (MAKING, UNKNOWN, False),
        (ASKING, SUCCEEDED, False),
    ],
)
def test_a_question_is_not_the_providers_answer_to_the_operation(
    call: LeasedCall, outcome: Outcome, answers: bool
) -> None:
    assert call.answers(outcome) is answers


@pytest.mark.parametrize("outcome", [SUCCEEDED, PROCESSING, UNKNOWN, NotFound(), REVIEWED])
def test_a_report_says_what_was_answered(outcome: Outcome) -> None:
    report = MAKING.report(outcome, 3, NOW)

    assert report.report == 3
    assert report.key == str(SOME_ID)
    assert outcome_from(report.outcome, report.facts) == outcome
