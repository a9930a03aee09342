"""Every message in every situation of the saga, against the table of expectations.

`saga_matrix.txt` has a row per message and a column per situation. A cell says what becomes of
the message there: `.` stale, `!` illegal, `=` it moved within its state, or the state it
moved to. Nothing may be missing: the tests fail for a message class, a step, a state or a cell
without an expectation.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from contracts.messages.base import SagaMessage, Step
from contracts.messages.order import DeadlinePassed, PaymentWindowClosed
from order_service.checkout import Illegal, Moved, Outcome, Stale, State, Tombstone
from order_service.checkout.gate import ANSWERS
from order_service.checkout.messages import CheckoutMessage
from order_service.checkout.policy import BUDGETED_STEPS, CART_STEPS
from order_service.exploration import AFTER_WINDOW, CHECKOUT_ID, EXPIRY, OTHER_CARD, ship, start
from tests.order_service.situations import SITUATIONS
from tests.order_service.story import (
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
    nothing_due,
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

TABLE = Path(__file__).with_name("saga_matrix.txt")

Tell = Callable[[Story], Outcome]


def says(message: CheckoutMessage) -> Tell:
    """This very message."""
    return lambda story: story.hears(message)


def round_of(story: Story, step: Step) -> int:
    """The newest round of a step that was asked, or 1 where there is none."""
    if story.checkout is None or isinstance(story.checkout, Tombstone):
        return 1
    return max((number for asked, number in story.checkout.asked if asked is step), default=1)


def deadline_of(step: Step) -> Tell:
    """The deadline of that step passes, or one that was true once."""

    def tell(story: Story) -> Outcome:
        waits = () if not hasattr(story.checkout, "waits") else story.saga.waits
        for wait in waits:
            if wait.step is step:
                return story.hears(story.deadline(step))
        message = DeadlinePassed(
            checkout_id=CHECKOUT_ID, step=step, round=round_of(story, step), due_at=EXPIRY
        )
        return story.hears(message)

    return tell


def exhausted_deadline_of(step: Step) -> Tell:
    """That deadline, when every send that the policy allows has been made."""

    def tell(story: Story) -> Outcome:
        one_send = dict.fromkeys(BUDGETED_STEPS, 1)
        return deadline_of(step)(story.with_policy(sends=one_send))

    return tell


def of_step(words: Callable[[Step, int], CheckoutMessage], step: Step) -> Tell:
    return lambda story: story.hears(words(step, round_of(story, step)))


def window(story: Story) -> Outcome:
    """The end of its own payment window, or of some window where it never had one."""
    order = getattr(story.checkout, "order", None)
    closed_at = AFTER_WINDOW if order is None else order.window_closes_at
    return story.hears(PaymentWindowClosed(checkout_id=CHECKOUT_ID, closed_at=closed_at))


def discarded(step: Step, round_: int) -> CheckoutMessage:
    return unblocked(step, round_, "discarded")


def at_end_of_window(message: CheckoutMessage) -> Tell:
    def tell(story: Story) -> Outcome:
        story.now = AFTER_WINDOW
        return story.hears(message)

    return tell


ASKED_STEPS = tuple(step for step in Step if step is not Step.START)

MESSAGES: Mapping[str, Tell] = {
    "start": lambda story: story.hears(getattr(story.checkout, "request", start())),
    "start other contents": says(start(total_minor=100)),
    "pay": says(pay()),
    "pay replace": says(pay(OTHER_CARD, replace=True)),
    "pay after the window": at_end_of_window(pay()),
    "ship": says(ship()),
    "ship one piece": says(ship(1)),
    "ship two pieces": says(ship(2)),
    "cancel": says(cancel()),
    "resolve retry": says(resolve("retry")),
    "resolve refunded by hand": says(resolve("refunded_by_hand")),
    "window closed": window,
    "other window closed": says(
        PaymentWindowClosed(checkout_id=CHECKOUT_ID, closed_at=EXPIRY),
    ),
    "reservation due": says(due()),
    "reservation due of round 2": says(due(2)),
    "reserved": says(reserved()),
    "reserved round 2": says(reserved(2)),
    "rejected": says(rejected()),
    "rejected round 2": says(rejected(2)),
    "committed": says(committed()),
    "committed round 2": says(committed(2)),
    "not held": says(not_held()),
    "not held round 2": says(not_held(2)),
    "extended": says(extended()),
    "extension not held": says(not_held(step=Step.EXTEND)),
    "released": says(released()),
    "released round 2": says(released(2)),
    "succeeded": says(succeeded()),
    "succeeded attempt 2": says(succeeded(2)),
    "succeeded on capture": says(succeeded(step=Step.CAPTURE)),
    "succeeded on close": says(succeeded(step=Step.CLOSE_PAYMENT)),
    "succeeded less": says(succeeded(amount_minor=1)),
    "succeeded more": says(succeeded(amount_minor=9_999)),
    "authorized": says(authorized()),
    "authorized less": says(authorized(amount_minor=1)),
    "processing": says(processing()),
    "action required": says(action_required()),
    "unknown": says(unknown()),
    "unknown on capture": says(unknown(step=Step.CAPTURE)),
    "unknown on close": says(unknown(step=Step.CLOSE_PAYMENT)),
    "declined": says(declined()),
    "declined attempt 2": says(declined(2)),
    "payment cancelled": says(payment_cancelled()),
    "nothing due": says(nothing_due()),
    "capture failed": says(capture_failed()),
    "closed": says(closed()),
    "closed attempt 2": says(closed(2)),
    "refund pending": says(refund_pending()),
    "refunded": says(refunded()),
    "refunded 2": says(refunded(2)),
    "refund failed": says(refund_failed()),
    "unlocked": says(unlocked()),
    "cart closed": says(cart_closed()),
    "restored": says(restored()),
    **{f"deadline {step}": deadline_of(step) for step in ASKED_STEPS},
    **{f"budget used {step}": exhausted_deadline_of(step) for step in ASKED_STEPS},
    **{f"blocked {step}": of_step(blocked, step) for step in Step},
    **{f"unblocked {step}": of_step(unblocked, step) for step in Step},
    **{f"discarded {step}": of_step(discarded, step) for step in Step},
}

SHORT = {
    State.RESERVING: "RSV",
    State.AWAITING_PAYMENT: "AWT",
    State.PAYING: "PAY",
    State.ACTION_REQUIRED: "ACT",
    State.PROCESSING: "PRC",
    State.PAYMENT_UNKNOWN: "UNK",
    State.PAYMENT_FAILED: "FLD",
    State.AUTHORIZED: "AUT",
    State.CAPTURING: "CPT",
    State.COMMITTING: "CMT",
    State.CLOSING_PAYMENT: "CLS",
    State.RELEASING: "RLS",
    State.REFUNDING: "RFD",
    State.NEEDS_ATTENTION: "ATT",
    State.PAID: "PAI",
    State.CANCELLED: "CNC",
    State.REJECTED: "REJ",
}
"""How the table writes states; a tombstone counts as cancelled."""


def cell(story: Story, outcome: Outcome) -> str:
    match outcome:
        case Stale():
            return "."
        case Illegal():
            return "!"
        case Moved():
            before = getattr(story.checkout, "state", None)
            after = getattr(outcome.checkout, "state", State.CANCELLED)
            return "=" if after is before else SHORT[after]


def found(message: str, situation: str) -> str:
    story = SITUATIONS[situation]()
    return cell(story, MESSAGES[message](story))


def expected() -> dict[str, dict[str, str]]:
    """The table: message -> situation -> cell. Its head names the columns, slantwise."""
    lines = [line for line in TABLE.read_text().splitlines() if line and line[0] != "#"]
    columns = [line.split(maxsplit=1)[1] for line in lines if line.startswith("|")]
    rows = [line.rsplit(maxsplit=len(columns)) for line in lines if not line.startswith("|")]
    return {name: dict(zip(columns, cells, strict=True)) for name, *cells in rows}


EXPECTED = expected()


def test_no_pair_of_message_and_situation_is_without_expectation() -> None:
    assert list(EXPECTED) == list(MESSAGES)
    for message, cells in EXPECTED.items():
        assert list(cells) == list(SITUATIONS), message


def test_every_state_has_a_situation() -> None:
    states = {getattr(tell().checkout, "state", None) for tell in SITUATIONS.values()}
    assert states - {None} == set(State)


def test_every_message_of_the_saga_and_every_step_has_a_row() -> None:
    told: set[type] = set()

    class Listening(Story):
        def hears(self, message: CheckoutMessage) -> Outcome:
            told.add(type(message))
            return super().hears(message)

    for tell in MESSAGES.values():
        tell(Listening())
    assert told >= set(ANSWERS)
    assert told == set(CheckoutMessage.__args__)
    assert set(ASKED_STEPS) == set(BUDGETED_STEPS) | CART_STEPS
    assert all(issubclass(kind, SagaMessage) for kind in ANSWERS)


@pytest.mark.parametrize("message", EXPECTED)
def test_every_message_in_every_situation(message: str) -> None:
    assert {situation: found(message, situation) for situation in SITUATIONS} == EXPECTED[message]
