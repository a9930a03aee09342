"""The amounts of a payment, for every history of refunds there can be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.messages.payment import RefundFailed as RefundRefused
from payment_service.domain.ledger import Amounts, AmountsDisagree
from payment_service.domain.outcomes import (
    NotFound,
    Refunded,
    RefundFailed,
    RefundOutcome,
    RefundPending,
    Succeeded,
    Unknown,
)
from payment_service.domain.payment import OperationKind
from tests.payment_service.story import Story, charge, refund

CAPTURED = 1000
OUTCOMES: tuple[RefundOutcome | None, ...] = (
    None,  # still in flight
    Unknown("timeout"),
    NotFound(),
    RefundPending("ref"),
    Refunded("ref"),
    RefundFailed("ref", "declined"),
)


def paid() -> Story:
    """A payment of which 1000 are captured."""
    story = Story()
    story.when(charge(amount=CAPTURED))
    story.provider_says(Succeeded("pay_1", CAPTURED))
    return story


@given(st.lists(st.tuples(st.integers(1, CAPTURED), st.sampled_from(OUTCOMES)), max_size=12))
def test_what_is_asked_back_never_exceeds_what_came(
    refunds: list[tuple[int, RefundOutcome | None]],
) -> None:
    story, pending, refunded = paid(), 0, 0
    for number, (amount, outcome) in enumerate(refunds, start=1):
        refused = any(
            isinstance(reply, RefundRefused) for reply in story.when(refund(number, amount))
        )
        assert refused == (amount > CAPTURED - pending - refunded)
        if refused:
            continue
        if outcome is not None:
            story.provider_says(outcome, OperationKind.REFUND, number)
        match outcome:
            case Refunded():
                refunded += amount
            case RefundFailed():
                pass
            case _:
                pending += amount
        assert story.amounts() == (CAPTURED, CAPTURED, pending, refunded)


@given(st.lists(st.integers(1, CAPTURED), min_size=1, max_size=12))
def test_money_given_back_piece_by_piece_comes_to_all_of_it(pieces: list[int]) -> None:
    story = paid()
    left = CAPTURED
    for number, piece in enumerate([*pieces, CAPTURED], start=1):
        amount = min(piece, left)
        if amount:
            story.when(refund(number, amount))
            story.provider_says(Refunded(f"ref_{number}"), OperationKind.REFUND, number)
            left -= amount
    assert story.amounts() == (CAPTURED, CAPTURED, 0, CAPTURED)


@pytest.mark.parametrize(
    "impossible",
    [
        (0, 1, 0, 0),
        (5, 5, 3, 3),
        (5, 5, -1, 0),
        (5, 5, 0, -1),
        (-1, 0, 0, 0),
        (0, -1, 0, 0),
    ],
)
def test_impossible_amounts_do_not_construct(impossible: tuple[int, int, int, int]) -> None:
    with pytest.raises(AmountsDisagree):
        Amounts(*impossible)
