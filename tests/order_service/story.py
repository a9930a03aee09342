"""The words in which the saga's tests tell their stories."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from contracts.messages.base import Message, SagaCommand, Step
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
    OrderEvent,
    PaymentWindowClosed,
    PayOrder,
    ResolveCheckout,
    StepBlocked,
    StepUnblocked,
)
from contracts.messages.parts import NextAction, PaymentMethod, Shortage
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
from order_service.checkout import (
    Checkout,
    CheckoutMessage,
    Illegal,
    Moved,
    Outcome,
    Policy,
    Stale,
    State,
    Tombstone,
    advance,
)
from order_service.checkout.facts import Wait, payment_id_of, refund_id_of
from order_service.exploration import (
    CARD,
    CART_ID,
    CHECKOUT_ID,
    DEAD_LETTER_ID,
    EXPIRY,
    SHORT_POLICY,
    START,
    start,
)

TOTAL = 2_500
SHORTAGES = (Shortage(sku="TEAPOT", requested=1, available=0),)
ANSWER_BY = START + timedelta(minutes=5)

_OF: dict[str, Any] = {"checkout_id": CHECKOUT_ID}


def reserved(round_: int = 1) -> StockReserved:
    return StockReserved(**_OF, round=round_, expires_at=EXPIRY)


def rejected(round_: int = 1) -> StockRejected:
    return StockRejected(**_OF, round=round_, reason="out_of_stock", shortages=SHORTAGES)


def committed(round_: int = 1) -> ReservationCommitted:
    return ReservationCommitted(**_OF, round=round_)


def not_held(round_: int = 1, step: Step = Step.COMMIT) -> ReservationNotHeld:
    return ReservationNotHeld(**_OF, round=round_, step=step, shortages=SHORTAGES)


def extended(round_: int = 1, until: datetime = EXPIRY) -> ReservationExtended:
    return ReservationExtended(**_OF, round=round_, expires_at=until)


def released(round_: int = 1) -> StockReleased:
    return StockReleased(**_OF, round=round_, outcome="released")


def due(round_: int = 1, expired_at: datetime = EXPIRY) -> ReservationDue:
    return ReservationDue(**_OF, round=round_, expires_at=expired_at)


def _attempt(number: int, step: Step = Step.CHARGE) -> dict[str, Any]:
    payment_id = payment_id_of(CHECKOUT_ID)
    return {**_OF, "step": step, "round": number, "attempt": number, "payment_id": payment_id}


def succeeded(
    attempt: int = 1, step: Step = Step.CHARGE, amount_minor: int = TOTAL
) -> PaymentSucceeded:
    return PaymentSucceeded(**_attempt(attempt, step), amount_minor=amount_minor)


def authorized(attempt: int = 1, amount_minor: int = TOTAL) -> PaymentAuthorized:
    return PaymentAuthorized(**_attempt(attempt), amount_minor=amount_minor, capture_before=EXPIRY)


def processing(attempt: int = 1, expected_by: datetime = EXPIRY) -> PaymentProcessing:
    return PaymentProcessing(**_attempt(attempt), expected_by=expected_by)


def action_required(attempt: int = 1) -> PaymentActionRequired:
    action = NextAction(
        type="redirect", url="https://bank.example/3ds", client_secret="pi_1_secret_1"
    )
    return PaymentActionRequired(**_attempt(attempt), next_action=action, expires_at=ANSWER_BY)


def unknown(attempt: int = 1, step: Step = Step.CHARGE) -> PaymentUnknown:
    return PaymentUnknown(**_attempt(attempt, step))


def declined(
    attempt: int = 1, same_method_allowed: bool = True, code: str = "card_declined"
) -> PaymentDeclined:
    return PaymentDeclined(
        **_attempt(attempt),
        code=code,
        retryable=True,
        same_method_allowed=same_method_allowed,
    )


def payment_cancelled(attempt: int = 1) -> PaymentCancelled:
    return PaymentCancelled(**_attempt(attempt), reason="abandoned")


def nothing_due(attempt: int = 1) -> NoPaymentDue:
    return NoPaymentDue(**_attempt(attempt))


def capture_failed(attempt: int = 1) -> CaptureFailed:
    return CaptureFailed(**_attempt(attempt, Step.CAPTURE), code="expired")


def closed(attempt: int = 1) -> PaymentClosed:
    return PaymentClosed(**_attempt(attempt, Step.CLOSE_PAYMENT), outcome="cancelled")


def _refund(number: int, attempt: int) -> dict[str, Any]:
    return {
        **_attempt(attempt, Step.REFUND),
        "round": number,
        "refund_id": refund_id_of(CHECKOUT_ID, number),
        "amount_minor": TOTAL,
    }


def refund_pending(number: int = 1, attempt: int = 1) -> RefundPending:
    return RefundPending(**_refund(number, attempt))


def refunded(number: int = 1, attempt: int = 1) -> Refunded:
    return Refunded(**_refund(number, attempt))


def refund_failed(number: int = 1, attempt: int = 1) -> RefundFailed:
    return RefundFailed(**_refund(number, attempt), code="account_closed")


def unlocked() -> CartUnlocked:
    return CartUnlocked(**_OF, cart_id=CART_ID)


def cart_closed() -> CartClosed:
    return CartClosed(**_OF, cart_id=CART_ID)


def restored() -> LinesRestored:
    return LinesRestored(**_OF, cart_id=CART_ID)


def pay(method: PaymentMethod = CARD, replace: bool = False) -> PayOrder:
    return PayOrder(**_OF, method=method, replace=replace)


def cancel() -> CancelCheckout:
    return CancelCheckout(**_OF, reason="changed my mind", requested_by="ada")


def operators_cancel() -> CancelCheckout:
    return CancelCheckout(**_OF, reason="looks stolen", requested_by="olga", by_operator=True)


def resolve(decision: Literal["retry", "refunded_by_hand"]) -> ResolveCheckout:
    return ResolveCheckout(**_OF, decision=decision, reason="the bank is back", requested_by="olga")


def blocked(step: Step, round_: int = 1) -> StepBlocked:
    return StepBlocked(
        **_OF, step=step, round=round_, service="payment", dead_letter_id=DEAD_LETTER_ID
    )


def unblocked(step: Step, round_: int = 1, outcome: str = "replayed") -> StepUnblocked:
    return StepUnblocked.model_validate(
        {
            **_OF,
            "step": step,
            "round": round_,
            "service": "payment",
            "dead_letter_id": DEAD_LETTER_ID,
            "outcome": outcome,
        }
    )


M = TypeVar("M", bound=Message)


@dataclass
class Story:
    """A checkout and what happened to it so far."""

    policy: Policy = SHORT_POLICY
    now: datetime = START
    checkout: Checkout | Tombstone | None = None
    sent: list[Message] = field(default_factory=list)
    latest: list[Message] = field(default_factory=list)

    @classmethod
    def begun(cls, policy: Policy = SHORT_POLICY, **request: Any) -> "Story":
        """A checkout that just began."""
        return cls(policy).tell(start(**request))

    def hears(self, message: CheckoutMessage) -> Outcome:
        """What the saga would make of this message; the story stays where it is."""
        return advance(self.checkout, message, self.now, self.policy)

    def tell(self, *messages: CheckoutMessage) -> "Story":
        """These messages arrive, and each has its effect."""
        for message in messages:
            outcome = self.hears(message)
            assert isinstance(outcome, Moved), f"{message!r}: {outcome!r}"
            self._take(outcome)
        return self

    def ignores(self, *messages: CheckoutMessage) -> "Story":
        """These messages arrive, and each is stale."""
        for message in messages:
            outcome = self.hears(message)
            assert isinstance(outcome, Stale), f"{message!r}: {outcome!r}"
        return self

    def refuses(self, *messages: CheckoutMessage) -> "Story":
        """These messages arrive, and nothing explains them."""
        for message in messages:
            outcome = self.hears(message)
            assert isinstance(outcome, Illegal), f"{message!r}: {outcome!r}"
        return self

    def wait(self, step: Step, round_: int | None = None) -> Wait:
        """The newest open wait for this step."""
        waits = [
            wait
            for wait in self.saga.waits
            if wait.step is step and (round_ is None or wait.round == round_)
        ]
        assert waits, f"nothing waits for {step}: {self.saga.waits}"
        return waits[-1]

    def deadline(self, step: Step) -> DeadlinePassed:
        """What the sweeper sends when the wait for this step is over."""
        wait = self.wait(step)
        return DeadlinePassed(**_OF, step=step, round=wait.round, due_at=wait.due_at)

    def passes(self, step: Step) -> "Story":
        """The deadline of this step passes."""
        message = self.deadline(step)
        self.now = max(self.now, message.due_at)
        return self.tell(message)

    def runs_out(self, step: Step) -> "Story":
        """Nobody ever answers this step."""
        while any(wait.step is step and wait.hold is None for wait in self.saga.waits):
            self.passes(step)
        return self

    def window_closed(self) -> PaymentWindowClosed:
        """What the sweeper sends when the payment window is over."""
        order = self.saga.order
        assert order is not None
        return PaymentWindowClosed(**_OF, closed_at=order.window_closes_at)

    def window_closes(self) -> "Story":
        """The payment window closes."""
        message = self.window_closed()
        self.now = max(self.now, message.closed_at)
        return self.tell(message)

    def later(self, **span: float) -> "Story":
        """Time goes by."""
        self.now += timedelta(**span)
        return self

    def with_policy(self, **changes: Any) -> "Story":
        """The shop changes its mind."""
        self.policy = replace(self.policy, **changes)
        return self

    @property
    def saga(self) -> Checkout:
        assert isinstance(self.checkout, Checkout)
        return self.checkout

    @property
    def state(self) -> State:
        return self.saga.state

    def is_now(self, state: State) -> "Story":
        """The checkout is in this state."""
        assert self.state is state, f"{self.state}, not {state}"
        return self

    @property
    def asks(self) -> Sequence[Step]:
        """The steps that the last message made the saga ask, in order."""
        return [message.step for message in self.latest if isinstance(message, SagaCommand)]

    @property
    def tells(self) -> Sequence[str]:
        """The types of the public events that the last message led to, without version."""
        return [
            message.type.removesuffix(".v1")
            for message in self.latest
            if isinstance(message, OrderEvent)
        ]

    def last(self, kind: type[M]) -> M:
        """The newest message of this kind that was sent."""
        found = [message for message in self.sent if isinstance(message, kind)]
        assert found, f"no {kind.__name__} was sent"
        return found[-1]

    def count(self, kind: type[Message]) -> int:
        """How many messages of this kind were sent."""
        return sum(isinstance(message, kind) for message in self.sent)

    def _take(self, outcome: Moved) -> None:
        self.checkout = outcome.checkout
        self.latest = list(outcome.messages)
        self.sent.extend(outcome.messages)


def paid_story(**request: Any) -> Story:
    """Everything goes well, and the cart has answered too."""
    story = Story.begun(**request).tell(reserved())
    if story.state is State.PAYING:
        story.tell(succeeded())
    return story.tell(committed(), cart_closed())
