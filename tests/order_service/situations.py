"""The situations a checkout can be in, each told as the shortest story that leads there."""

from collections.abc import Callable, Mapping

from contracts.messages.base import Step
from order_service.exploration import AT_SHIPPING, OTHER_CARD, ship
from tests.order_service.story import (
    Story,
    action_required,
    authorized,
    blocked,
    cancel,
    cart_closed,
    closed,
    committed,
    declined,
    paid_story,
    pay,
    processing,
    refund_failed,
    refund_pending,
    refunded,
    rejected,
    released,
    reserved,
    restored,
    succeeded,
    unknown,
    unlocked,
)


def ordered() -> Story:
    """The order is placed and its first attempt is being made."""
    return Story.begun().tell(reserved(), cart_closed())


def failed() -> Story:
    """The first attempt is declined."""
    return ordered().tell(declined())


def set_aside(pieces: int = 1) -> Story:
    """The stock is committed, and the money is taken when the goods are shipped."""
    begun = Story.begun(method=AT_SHIPPING, pieces=pieces).tell(reserved(), cart_closed())
    return begun.tell(authorized(), committed())


def window_over() -> Story:
    """Cancelled, because nobody paid in time; everything is acknowledged."""
    return failed().window_closes().tell(closed(), released(), restored())


SITUATIONS: Mapping[str, Callable[[], Story]] = {
    "nothing": Story,
    "tombstone": lambda: Story().tell(cancel()),
    "reserving": Story.begun,
    "awaiting": lambda: Story.begun(paid=False).tell(reserved(), cart_closed()),
    "paying": ordered,
    "blocked": lambda: Story.begun().tell(reserved(), blocked(Step.CHARGE)),
    "action": lambda: ordered().tell(action_required()),
    "processing": lambda: ordered().tell(processing()),
    "unknown": lambda: ordered().tell(unknown()),
    "failed": failed,
    "paying2": lambda: failed().tell(pay()),
    "capturing": lambda: ordered().tell(authorized()),
    "authorized": set_aside,
    "capturing-to-ship": lambda: set_aside().tell(ship()),
    "capturing-to-ship-one": lambda: set_aside(pieces=2).tell(ship(1)),
    "committing-authorized": lambda: Story.begun(method=AT_SHIPPING).tell(reserved(), authorized()),
    "committing": lambda: ordered().tell(succeeded()),
    "closing-window": lambda: ordered().window_closes(),
    "closing-cancel": lambda: ordered().tell(cancel()),
    "closing-replace": lambda: ordered().tell(pay(OTHER_CARD, replace=True)),
    "closing-silent": lambda: ordered().runs_out(Step.CHARGE),
    "releasing-early": lambda: Story.begun().tell(cancel()),
    "releasing": lambda: ordered().tell(cancel(), closed()),
    "refunding-early": lambda: ordered().tell(succeeded(), cancel()),
    "refunding": lambda: paid_story().tell(cancel()),
    "releasing-refund": lambda: paid_story().tell(cancel(), refund_pending()),
    "refund-pending": lambda: paid_story().tell(cancel(), refund_pending(), released()),
    "reserving-again": lambda: window_over().tell(succeeded()),
    "stuck-capture": lambda: ordered().tell(authorized()).runs_out(Step.CAPTURE),
    "stuck-close": lambda: ordered().tell(cancel()).runs_out(Step.CLOSE_PAYMENT),
    "stuck-commit": lambda: ordered().tell(succeeded()).runs_out(Step.COMMIT),
    "stuck-release": lambda: ordered().tell(cancel(), closed()).runs_out(Step.RELEASE),
    "refund-failed": lambda: paid_story().tell(cancel(), refund_failed()),
    "paid": paid_story,
    "paid-unacked": lambda: Story.begun().tell(reserved(), succeeded(), committed()),
    "paid-twice": lambda: failed().tell(pay(), succeeded(2), committed(), succeeded(1)),
    "partly-shipped": lambda: paid_story(pieces=2).tell(ship(1)),
    "paid-nothing": lambda: paid_story(total_minor=0),
    "cancelled": window_over,
    "cancelled-back": lambda: paid_story().tell(cancel(), refunded(), released(), restored()),
    "cancelled-early": lambda: Story.begun().tell(cancel(), released(), unlocked()),
    "rejected": lambda: Story.begun().tell(rejected(), unlocked()),
    "rejected-unacked": lambda: Story.begun().tell(rejected()),
}
"""By the name that the matrix of expectations uses."""
