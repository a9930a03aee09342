"""What a shop may choose about its checkouts: patience, budgets, and what late money buys."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from contracts.messages.base import Step

CART_STEPS = frozenset({Step.UNLOCK_CART, Step.CLOSE_CART, Step.RESTORE_LINES})
"""Asked until acknowledged, without a budget: no money and no stock hangs on them."""

BUDGETED_STEPS = (
    Step.RESERVE,
    Step.EXTEND,
    Step.COMMIT,
    Step.RELEASE,
    Step.CHARGE,
    Step.CAPTURE,
    Step.CLOSE_PAYMENT,
    Step.REFUND,
)
"""Asked again up to a budget; after it the saga compensates or needs attention."""


class LateSuccess(StrEnum):
    """What becomes of money that comes while, or after, its checkout is given up."""

    KEEP = "keep"
    REFUND = "refund"


class Lapse(StrEnum):
    """What becomes of an order that is not shipped before its money is not set aside any more."""

    CAPTURE = "capture"
    AUTHORIZE_AGAIN = "authorize_again"
    """Where the customer saved the method, and has attempts left; else it is captured."""
    CANCEL = "cancel"


class InconsistentPolicy(ValueError):
    """Two bounds of a policy contradict each other."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Bounds and choices of the saga; the home of their values is `settings.py`.

    An unanswered step is asked again `resend_first_seconds` after its first send and then after
    twice the time before, never more than `resend_longest_seconds`, up to `sends` times in all.
    """

    resend_first_seconds: float
    resend_longest_seconds: float
    sends: Mapping[Step, int]
    """How often each step of `BUDGETED_STEPS` is sent at most."""

    reservation_backstop_seconds: float
    """How long a reservation outlives the payment window: the budget for unknown outcomes."""

    unknown_patience_seconds: float
    """How long an unknown outcome may stay unknown before somebody has to look."""

    attempt_grace_seconds: float
    """How long after its own expiry an attempt may still be settled by the provider's word."""

    refund_patience_seconds: float
    """How long a refund may be pending at the provider before somebody has to look."""

    capture_ahead_seconds: float
    """How long before the provider gives it back something is done about money set aside."""

    attempts_limit: int
    refunds_limit: int
    claims_limit: int
    """Most refunds in part and returns of one order."""

    shipments_limit: int
    reservation_rounds_limit: int

    success_at_window_close: LateSuccess
    """Success that crosses the close of the payment window, while the stock is still held."""

    success_at_cancel: LateSuccess
    """Success that crosses a cancel, while the stock is still held."""

    success_after_release: LateSuccess
    """Success after the stock was given back; kept means reserved again in a new round."""

    authorization_lapse: Lapse

    def __post_init__(self) -> None:
        missing = [step for step in BUDGETED_STEPS if self.sends.get(step, 0) < 1]
        if missing:
            raise InconsistentPolicy(f"no budget of sends for {', '.join(missing)}")
        if self.reservation_backstop_seconds <= self.unknown_patience_seconds:
            raise InconsistentPolicy("a reservation must outlive the patience for unknown outcomes")

    def resend_after(self, sends: int) -> timedelta:
        """How long to wait for an answer after send number `sends`."""
        return _backoff(self.resend_first_seconds, self.resend_longest_seconds, sends)

    def patience(self, step: Step) -> timedelta:
        """How long an answer to `step` may leave the outcome open before somebody has to look."""
        pending = step is Step.REFUND
        return timedelta(
            seconds=self.refund_patience_seconds if pending else self.unknown_patience_seconds
        )

    def capture_at(self, now: datetime, capture_before: datetime) -> datetime:
        """When money that was set aside now has to be taken, shipped or not."""
        ahead = timedelta(seconds=self.capture_ahead_seconds)
        return capture_before - min(ahead, (capture_before - now) / 2)

    def may_send_again(self, step: Step, sends: int) -> bool:
        """Is there budget left for another send after `sends`?"""
        return step in CART_STEPS or sends < self.sends[step]


@lru_cache
def _backoff(first_seconds: float, longest_seconds: float, sends: int) -> timedelta:
    doubled = first_seconds * 2.0 ** min(sends - 1, 30)
    return timedelta(seconds=min(doubled, longest_seconds))
