"""Every situation that a checkout can get into, found by trying every message on every one.

Times, counts of events and texts do not tell situations apart, so there are finitely many. The
diagram in the docs is drawn from the moves found here; the tests check each of them.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID

from contracts.messages.base import Step
from contracts.messages.cart import CartClosed, CartUnlocked, LinesRestored
from contracts.messages.inventory import (
    ReservationCommitted,
    ReservationDue,
    ReservationExtended,
    ReservationNotHeld,
    StockRejected,
    StockReleased,
    StockReserved,
)
from contracts.messages.order import (
    CancelCheckout,
    DeadlinePassed,
    PaymentWindowClosed,
    PayOrder,
    ResolveCheckout,
    ShipOrder,
    StartCheckout,
    StepBlocked,
    StepUnblocked,
)
from contracts.messages.parts import (
    Address,
    LinePieces,
    NextAction,
    OrderLine,
    PaymentMethod,
    Shortage,
)
from contracts.messages.payment import (
    CaptureFailed,
    NoPaymentDue,
    PaymentActionRequired,
    PaymentAuthorized,
    PaymentCancelled,
    PaymentClosed,
    PaymentDeclined,
    PaymentProcessing,
    PaymentSucceeded,
    PaymentUnknown,
    Refunded,
    RefundFailed,
    RefundPending,
)
from order_service.checkout.advance import advance
from order_service.checkout.facts import Checkout, Tombstone, payment_id_of, refund_id_of
from order_service.checkout.messages import CheckoutMessage
from order_service.checkout.outcomes import Moved
from order_service.checkout.policy import BUDGETED_STEPS, CART_STEPS, Lapse, LateSuccess, Policy

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""When explored checkouts begin."""

WINDOW_SECONDS = 600
AFTER_WINDOW = START + timedelta(seconds=WINDOW_SECONDS + 1)
EXPIRY = START + timedelta(days=1)
CHECKOUT_ID = UUID("00000000-0000-7000-8000-000000000001")
CART_ID = UUID("00000000-0000-7000-8000-000000000002")
DEAD_LETTER_ID = UUID("00000000-0000-7000-8000-000000000003")
CARD = PaymentMethod(token="card")  # noqa: S106 - names a method, opens nothing
OTHER_CARD = PaymentMethod(token="other-card")  # noqa: S106 - names a method, opens nothing
AT_SHIPPING = CARD.model_copy(update={"flow": "authorize", "capture": "at_shipping"})

SHORT_POLICY = Policy(
    resend_first_seconds=10,
    resend_longest_seconds=60,
    sends=MappingProxyType(dict.fromkeys(BUDGETED_STEPS, 2)),
    reservation_backstop_seconds=7_200,
    unknown_patience_seconds=3_600,
    attempt_grace_seconds=60,
    refund_patience_seconds=86_400,
    capture_ahead_seconds=86_400,
    attempts_limit=2,
    claims_limit=12,
    refunds_limit=2,
    shipments_limit=2,
    reservation_rounds_limit=2,
    success_at_window_close=LateSuccess.KEEP,
    success_at_cancel=LateSuccess.REFUND,
    success_after_release=LateSuccess.KEEP,
    authorization_lapse=Lapse.CAPTURE,
)
"""The smallest budgets that still show every kind of move."""


def start(
    *,
    paid: bool = True,
    total_minor: int = 2_500,
    method: PaymentMethod = CARD,
    pieces: int = 1,
) -> StartCheckout:
    """A checkout of one line; with `paid` it brings its first payment along."""
    line = OrderLine(
        sku="TEAPOT",
        name="Teapot",
        unit_price_minor=total_minor // pieces,
        quantity=pieces,
        net_minor=total_minor,
        gross_minor=total_minor,
    )
    return StartCheckout(
        checkout_id=CHECKOUT_ID,
        cart_id=CART_ID,
        cart_version=1,
        customer_id="ada",
        email="ada@example.org",
        shipping_address=Address(name="Ada", line1="1 Mill Lane", city="Leeds", country="GB"),
        currency="GBP",
        lines=(line,),
        total_minor=total_minor,
        payment=method if paid else None,
        payment_window_seconds=WINDOW_SECONDS,
        requested_at=START,
    )


def answers_to(step: Step, round_: int, checkout: Checkout) -> tuple[CheckoutMessage, ...]:
    """Everything that may be answered to a question of the saga, now or ever."""
    of = {"checkout_id": checkout.id, "round": round_}
    amount = checkout.request.total_minor
    attempt = {**of, "attempt": round_, "payment_id": payment_id_of(checkout.id)}
    match step:
        case Step.RESERVE:
            return (
                StockReserved(**of, expires_at=EXPIRY),
                StockRejected(
                    **of,
                    reason="out_of_stock",
                    shortages=(Shortage(sku="TEAPOT", requested=1, available=0),),
                ),
                ReservationDue(**of, expires_at=EXPIRY),
            )
        case Step.EXTEND:
            return (
                ReservationExtended(**of, expires_at=EXPIRY),
                ReservationNotHeld(**of, step=Step.EXTEND),
            )
        case Step.COMMIT:
            return ReservationCommitted(**of), ReservationNotHeld(**of)
        case Step.RELEASE:
            return (StockReleased(**of, outcome="released"),)
        case Step.CHARGE:
            return (
                PaymentSucceeded(**attempt, amount_minor=amount),
                PaymentAuthorized(**attempt, amount_minor=amount, capture_before=EXPIRY),
                PaymentProcessing(**attempt, expected_by=EXPIRY),
                PaymentActionRequired(
                    **attempt,
                    next_action=NextAction(type="redirect", url="https://bank.example/3ds"),
                    expires_at=AFTER_WINDOW,
                ),
                PaymentUnknown(**attempt),
                PaymentDeclined(
                    **attempt, code="card_declined", retryable=True, same_method_allowed=True
                ),
                PaymentCancelled(**attempt, reason="abandoned"),
                NoPaymentDue(**attempt),
            )
        case Step.CAPTURE:
            return (
                PaymentSucceeded(**attempt, step=step, amount_minor=amount),
                PaymentSucceeded(**attempt, step=step, amount_minor=1),
                CaptureFailed(**attempt, code="expired"),
                PaymentUnknown(**attempt, step=step),
            )
        case Step.CLOSE_PAYMENT:
            return (
                PaymentClosed(**attempt, outcome="cancelled"),
                PaymentSucceeded(**attempt, step=step, amount_minor=amount),
                PaymentUnknown(**attempt, step=step),
            )
        case Step.REFUND:
            refund = {
                **attempt,
                "attempt": checkout.refunds[round_ - 1].attempt,
                "refund_id": refund_id_of(checkout.id, round_),
                "amount_minor": checkout.refunds[round_ - 1].amount_minor,
            }
            return (
                RefundPending(**refund),
                Refunded(**refund),
                RefundFailed(**refund, code="account_closed"),
            )
        case Step.UNLOCK_CART:
            return (CartUnlocked(**of, cart_id=CART_ID),)
        case Step.CLOSE_CART:
            return (CartClosed(**of, cart_id=CART_ID),)
        case Step.RESTORE_LINES:
            return (LinesRestored(**of, cart_id=CART_ID),)
        case Step.START:
            return ()


def messages_to(checkout: Checkout | Tombstone | None) -> Iterator[CheckoutMessage]:
    """Every message that may reach a checkout here."""
    yield CancelCheckout(checkout_id=CHECKOUT_ID, reason="changed my mind", requested_by="ada")
    if not isinstance(checkout, Checkout):
        yield start()
        return
    yield checkout.request
    yield PayOrder(checkout_id=CHECKOUT_ID, method=CARD)
    yield PayOrder(checkout_id=CHECKOUT_ID, method=OTHER_CARD, replace=True)
    yield ship()
    yield ship(1)
    yield resolve("retry")
    if not any(refund.by_hand for refund in checkout.refunds):
        yield resolve("refunded_by_hand")
    if checkout.order is not None:
        closed_at = checkout.order.window_closes_at
        yield PaymentWindowClosed(checkout_id=CHECKOUT_ID, closed_at=closed_at)
    for wait in checkout.waits:
        of = {"checkout_id": CHECKOUT_ID, "step": wait.step, "round": wait.round}
        yield DeadlinePassed(**of, due_at=wait.due_at)
        of = {**of, "service": "payment", "dead_letter_id": DEAD_LETTER_ID}
        yield StepBlocked(**of)
        yield StepUnblocked(**of, outcome="replayed")
        yield StepUnblocked(**of, outcome="discarded")
    for step, round_ in sorted(checkout.asked):
        yield from answers_to(step, round_, checkout)


def ship(pieces: int = 0) -> ShipOrder:
    """The shop hands all that is left over as one parcel, or so many pieces without a number."""
    how: dict[str, Any] = {"carrier": "post", "tracking": "RR1"}
    if pieces:
        how = {"lines": (LinePieces(line_no=1, quantity=pieces),)}
    return ShipOrder(checkout_id=CHECKOUT_ID, requested_by="olga", **how)


def resolve(decision: Literal["retry", "refunded_by_hand"]) -> ResolveCheckout:
    """An operator's decision."""
    return ResolveCheckout(
        checkout_id=CHECKOUT_ID, decision=decision, reason="the bank is back", requested_by="olga"
    )


@dataclass(frozen=True, slots=True)
class Move:
    """One message that took effect on one checkout."""

    before: Checkout | Tombstone | None
    message: CheckoutMessage
    outcome: Moved

    @property
    def after(self) -> Checkout | Tombstone:
        """What the checkout became."""
        return self.outcome.checkout


def explore(
    request: StartCheckout,
    policy: Policy = SHORT_POLICY,
    *,
    alike: Callable[[Checkout], Hashable],
    messages: Callable[[Checkout | Tombstone | None], Iterable[CheckoutMessage]] = messages_to,
) -> Iterator[Move]:
    """The moves of all checkouts that begin with `request`; breadth first, so short stories first.

    Of checkouts that are `alike` only the first one met is followed further. Where the clock
    matters, a message is tried both before and after the end of the payment window.
    """
    begun = advance(None, request, START, policy)
    assert isinstance(begun, Moved)  # noqa: S101 - the request is ours
    yield Move(None, request, begun)
    waiting: deque[Checkout | Tombstone] = deque([begun.checkout])
    seen: set[Hashable] = set()
    while waiting:
        before = waiting.popleft()
        for message in messages(before):
            for now in _TIMES if isinstance(message, _TIMED) else _TIMES[:1]:
                outcome = advance(before, message, now, policy)
                if not isinstance(outcome, Moved):
                    continue
                yield Move(before, message, outcome)
                after = outcome.checkout
                likeness: Hashable = alike(after) if isinstance(after, Checkout) else None
                if likeness not in seen:
                    seen.add(likeness)
                    waiting.append(after)


_TIMES = (START, AFTER_WINDOW)
_TIMED = PayOrder | PaymentClosed


def situation(checkout: Checkout) -> Hashable:
    """What tells checkouts apart in all their dealings, times and counts left out."""
    return (
        silhouette(checkout),
        tuple(attempt.status for attempt in checkout.attempts),
        tuple((refund.status, refund.by_hand) for refund in checkout.refunds),
        frozenset(
            (wait.step, wait.round, wait.hold, wait.provisional, min(wait.sends, 2))
            for wait in checkout.waits
            if wait.step is not Step.EXTEND and wait.step not in CART_STEPS
        ),
    )


def silhouette(checkout: Checkout) -> Hashable:
    """What tells checkouts apart from afar: enough to draw them."""
    last = checkout.attempts[-1].status if checkout.attempts else None
    order = checkout.order
    return (
        order
        and (
            *(order.fulfilment, order.to_capture, len(order.shipments)),
            order.shipment and order.shipment.lines,
        ),
        checkout.state,
        checkout.stock.status,
        checkout.stock.round,
        last,
        len(checkout.attempts),
        checkout.captured_minor,
        checkout.giving_up,
        checkout.next_method is not None,
        checkout.blocked,
        frozenset(refund.status for refund in checkout.open_refunds),
    )
