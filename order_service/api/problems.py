"""Refusals of the saga in HTTP's words."""

from collections.abc import Sequence
from typing import assert_never

from messaging.http.problems import Problem
from order_service.api.views import attempt_view
from order_service.checkout.outcomes import (
    AttemptIsLive,
    AttemptsExhausted,
    Finished,
    MethodRefused,
    NothingToResolve,
    NotPayable,
    Settled,
    Why,
    WindowClosed,
)


def checkout_not_found() -> Problem:
    """404, the same for a checkout of somebody else and for one that never was."""
    return Problem(404, "checkout-not-found", "There is no such checkout")


def order_not_found() -> Problem:
    """404, the same for an order of somebody else and for one that never was."""
    return Problem(404, "order-not-found", "There is no such order")


def provider_not_offered(offered: Sequence[str]) -> Problem:
    """422: an attempt through such a provider would only stand in the way of others."""
    return Problem(
        422,
        "provider-not-offered",
        "The shop takes no payments through this provider",
        providers=list(offered),
    )


def total_below_minimum(total_minor: int, minimum_minor: int, currency: str) -> Problem:
    """422: the provider would refuse to charge so little."""
    return Problem(
        422,
        "total-below-minimum",
        "The total is less than can be charged",
        total_minor=total_minor,
        minimum_minor=minimum_minor,
        currency=currency,
    )


def problem_of(why: Why) -> Problem | None:
    """The problem document that tells of a refusal; None where nothing was refused.

    A command that finds its effect there already is no refusal: it is answered with the state.
    """
    match why:
        case Settled():
            return None
        case Finished(ended_as):
            return Problem(
                409, "order-finished", "The order is finished", str(why), state=str(ended_as)
            )
        case NotPayable(state):
            return Problem(
                409, "payment-not-wanted", "No payment is wanted now", str(why), state=state.value
            )
        case WindowClosed(closed_at):
            return Problem(
                409,
                "payment-window-closed",
                "The time in which this order could be paid is over",
                closed_at=closed_at,
            )
        case AttemptIsLive(attempt):
            return Problem(
                409,
                "payment-in-progress",
                "Another attempt to pay is still open",
                "Wait for it, or send `replace: true` to close it first.",
                attempt=attempt_view(attempt),
            )
        case AttemptsExhausted(limit):
            return Problem(
                409, "attempts-exhausted", "No more attempts are taken", attempts_limit=limit
            )
        case MethodRefused(code):
            return Problem(
                409,
                "method-refused",
                "The provider will not take this method again",
                code=code,
            )
        case NothingToResolve(state):
            return Problem(
                409, "nothing-to-resolve", "No such decision is waited for", str(why), state=state
            )
        case _:
            assert_never(why)
