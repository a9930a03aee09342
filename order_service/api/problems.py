"""Refusals of the saga in HTTP's words."""

from collections.abc import Sequence
from typing import assert_never

from messaging.http.problems import Problem
from order_service.after_sale.outcomes import (
    ClaimsExhausted,
    ExceedsRest,
    NothingFailed,
    NotPaidFor,
    UnderDispute,
    WhyNot,
)
from order_service.api.views import attempt_view
from order_service.checkout.outcomes import (
    AttemptIsLive,
    AttemptsExhausted,
    Finished,
    MethodRefused,
    NoSuchLine,
    NothingToResolve,
    NotPayable,
    NotShippable,
    ParcelKnown,
    Settled,
    ShipmentsExhausted,
    TooManyPieces,
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


def guests_save_nothing() -> Problem:
    """422: what is saved is a customer's, who can see it and have it forgotten."""
    return Problem(422, "guests-save-nothing", "Only a customer saves payment methods")


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


def problem_of_refusal(why: WhyNot) -> Problem:
    """The problem document that tells why nothing is given back."""
    match why:
        case NotPaidFor(state):
            return Problem(
                409, "nothing-to-refund", "The order has no money to give back", state=state
            )
        case ExceedsRest(asked_minor, rest_minor):
            return Problem(
                409,
                "refund-exceeds-rest",
                "More is asked back than is left",
                asked_minor=asked_minor,
                refundable_minor=rest_minor,
            )
        case UnderDispute(disputed_minor):
            return Problem(
                409,
                "payment-disputed",
                "The shopper disputes the payment with their bank",
                "A refund now could give the money back twice; wait for the bank to decide.",
                disputed_minor=disputed_minor,
            )
        case NoSuchLine() | TooManyPieces():
            return _problem_of_line(why)
        case ClaimsExhausted(limit):
            return Problem(
                409,
                "refunds-exhausted",
                "No more refunds and returns of this order are taken",
                claims_limit=limit,
            )
        case NothingFailed(claim):
            return Problem(
                409, "nothing-to-resolve", "That refund waits for no decision", refund=claim
            )
        case _:
            assert_never(why)


def _problem_of_line(why: NoSuchLine | TooManyPieces) -> Problem:
    match why:
        case NoSuchLine(line_no):
            return Problem(
                422, "no-such-line", "The order has no such line of goods", line_no=line_no
            )
        case TooManyPieces(line_no, left):
            return Problem(
                409, "too-many-pieces", "The line has fewer pieces left", line_no=line_no, left=left
            )
    assert_never(why)


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
        case NotShippable(state):
            return Problem(
                409, "not-shippable", "The order is not ready to be shipped", state=state.value
            )
        case NoSuchLine() | TooManyPieces():
            return _problem_of_line(why)
        case ParcelKnown(shipment):
            return Problem(
                409,
                "parcel-known",
                "The carrier's number is that of a shipment with other contents",
                shipment=shipment,
            )
        case ShipmentsExhausted(limit):
            return Problem(
                409,
                "shipments-exhausted",
                "No more shipments of this order are taken",
                shipments_limit=limit,
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
