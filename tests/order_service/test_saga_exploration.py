"""The rules of the saga, on every move of every situation that a checkout can get into."""

from dataclasses import replace

import pytest

from contracts.messages.order import StartCheckout
from order_service.checkout import Checkout, Moved, Stale, State, advance
from order_service.checkout.messages import CheckoutMessage
from order_service.checkout.policy import Lapse, LateSuccess
from order_service.exploration import (
    AT_SHIPPING,
    CARD,
    CHECKOUT_ID,
    SHORT_POLICY,
    START,
    Move,
    explore,
    silhouette,
    situation,
)
from order_service.exploration import start as start_of
from tests.order_service.invariants import holds_after

ONE_ATTEMPT = replace(SHORT_POLICY, attempts_limit=1, refunds_limit=1)

BEGINNINGS = {
    "with a first payment": start_of(),
    "without a payment": start_of(paid=False),
    "for nothing": start_of(total_minor=0),
    "to be captured at shipping": start_of(method=AT_SHIPPING),
    "to be captured at the first of two shipments": start_of(method=AT_SHIPPING, pieces=2),
}


@pytest.fixture(scope="module", params=BEGINNINGS)
def request_(request: pytest.FixtureRequest) -> StartCheckout:
    return BEGINNINGS[request.param]


def rules_hold(move: Move) -> None:
    if not isinstance(move.after, Checkout):
        return
    before = move.before if isinstance(move.before, Checkout) else None
    try:
        holds_after(before, move.after, move.outcome.messages)
    except AssertionError as broken:
        broken.add_note(f"by {move.message!r}\non {move.before!r}\nto {move.after!r}")
        raise


def test_the_rules_hold_after_every_move(request_: StartCheckout) -> None:
    states = set()
    for move in explore(request_, ONE_ATTEMPT, alike=situation):
        rules_hold(move)
        states.add(getattr(move.after, "state", None))
    assert states >= {State.PAID, State.CANCELLED, State.RELEASING, State.NEEDS_ATTENTION}


SAVED = AT_SHIPPING.model_copy(update={"saved_method_id": CHECKOUT_ID})


@pytest.mark.parametrize("lapse", Lapse)
@pytest.mark.parametrize("late", LateSuccess)
def test_the_rules_hold_with_several_attempts(late: LateSuccess, lapse: Lapse) -> None:
    policy = replace(
        SHORT_POLICY,
        sends=dict.fromkeys(SHORT_POLICY.sends, 1),
        success_at_window_close=late,
        success_at_cancel=late,
        success_after_release=late,
        authorization_lapse=lapse,
    )
    states = set()
    for method in (CARD, SAVED):
        for move in explore(start_of(method=method), policy, alike=silhouette):
            rules_hold(move)
            states.add(getattr(move.after, "state", None))
    assert states == set(State) - {State.AWAITING_PAYMENT}


def test_an_answer_that_comes_twice_tells_nothing_new(request_: StartCheckout) -> None:
    for move in explore(request_, ONE_ATTEMPT, alike=silhouette):
        if is_answer(move.message):
            again = advance(move.after, move.message, START, ONE_ATTEMPT)
            assert isinstance(again, Stale), f"{move.message!r} again on {move.after!r}"


def test_begin_again_only_repeats_the_acknowledgement(request_: StartCheckout) -> None:
    for move in explore(request_, ONE_ATTEMPT, alike=silhouette):
        if isinstance(move.after, Checkout):
            again = advance(move.after, request_, START, ONE_ATTEMPT)
            assert isinstance(again, Moved)
            assert again.checkout == move.after
            assert [message.type for message in again.messages] == ["cart.checkout_accepted.v1"]


def is_answer(message: CheckoutMessage) -> bool:
    return message.topic.name == "order.replies" and not message.type.startswith("order.step_")
