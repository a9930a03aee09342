"""A tiny world around one checkout: a shop's stock, a payment provider, a cart and a network.

Each service keeps books of its own, so that the truth can be compared with what the saga
believes. The network keeps the order in which one service sends to one topic, and nothing else:
it delays, interleaves and repeats.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from contracts.messages.base import Message, SagaCommand, SagaReply, Step
from contracts.messages.cart import (
    CartClosed,
    CartUnlocked,
    CloseCart,
    LinesRestored,
    RestoreLines,
    UnlockCart,
)
from contracts.messages.inventory import (
    CommitReservation,
    ExtendReservation,
    ReleaseStock,
    ReservationCommitted,
    ReservationDue,
    ReservationExtended,
    ReservationNotHeld,
    ReserveStock,
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
)
from contracts.messages.parts import NextAction, PaymentMethod
from contracts.messages.payment import (
    CaptureFailed,
    CapturePayment,
    ChargePayment,
    ClosePayment,
    PaymentActionRequired,
    PaymentAuthorized,
    PaymentClosed,
    PaymentCommand,
    PaymentDeclined,
    PaymentProcessing,
    PaymentSucceeded,
    PaymentUnknown,
    Refunded,
    RefundFailed,
    RefundPayment,
    RefundPending,
)
from order_service.checkout import Checkout, CheckoutMessage, Moved, Policy, State, advance
from order_service.checkout.facts import Hold
from order_service.exploration import (
    CARD,
    CHECKOUT_ID,
    OTHER_CARD,
    SHORT_POLICY,
    START,
    ship,
    start,
)
from tests.order_service.invariants import holds_after

Question = tuple[Step, int]


@dataclass
class Stockroom:
    """Inventory's books: what each reservation round holds."""

    fits: Callable[[], bool]
    rounds: dict[int, str] = field(default_factory=dict)

    def answer(self, command: SagaCommand, now: datetime) -> SagaReply:
        of = {"checkout_id": command.checkout_id, "round": command.round}
        match command:
            case ReserveStock():
                return self._reserve(command)
            case CommitReservation():
                if self.rounds.get(command.round) in ("held", "committed"):
                    self.rounds[command.round] = "committed"
                    return ReservationCommitted(**of)
                return ReservationNotHeld(**of)
            case ExtendReservation():
                if self.rounds.get(command.reservation_round) == "held":
                    return ReservationExtended(**of, expires_at=command.expires_at)
                return ReservationNotHeld(**of, step=Step.EXTEND)
            case ReleaseStock():
                self.rounds[command.round] = "released"
                return StockReleased(**of, outcome="released")
        raise AssertionError(command)

    def _reserve(self, command: ReserveStock) -> SagaReply:
        of = {"checkout_id": command.checkout_id, "round": command.round}
        if self.rounds.get(command.round) == "released":
            return StockRejected(**of, reason="released")
        if not self.fits():
            self.rounds[command.round] = "rejected"
            return StockRejected(**of, reason="out_of_stock")
        self.rounds[command.round] = "held"
        return StockReserved(**of, expires_at=command.expires_at)

    @property
    def held(self) -> int:
        return sum(status == "held" for status in self.rounds.values())

    @property
    def sold(self) -> int:
        return sum(status == "committed" for status in self.rounds.values())


@dataclass
class Provider:
    """Payment's books: what each attempt came to, and what went back.

    The fate of an attempt is chosen when it is charged: the statuses it passes through, then
    how it ends. What is unknown is settled by `settle`, later.
    """

    fate: Callable[[], str]
    attempts: dict[int, str] = field(default_factory=dict)
    fates: dict[int, str] = field(default_factory=dict)
    refunds: dict[int, str] = field(default_factory=dict)
    amount_minor: int = 0
    captured_minor: int = 0
    refunded_minor: int = 0

    def answer(self, command: SagaCommand, now: datetime) -> SagaReply | None:
        match command:
            case ChargePayment():
                return self._charge(command, now)
            case CapturePayment():
                return self._capture(command)
            case ClosePayment():
                return self._close(command)
            case RefundPayment():
                return self._refund(command)
        raise AssertionError(command)

    def _charge(self, command: ChargePayment, now: datetime) -> SagaReply | None:
        of = _of(command)
        self.amount_minor = command.amount_minor
        if self.attempts.get(command.attempt) == "live":
            return None
        assert "live" not in self.attempts.values(), "charged while another attempt lives"
        if command.attempt in self.attempts:
            return PaymentDeclined(**of, code="refused", retryable=True, same_method_allowed=True)
        fate = self.fates[command.attempt] = self.fate()
        self.attempts[command.attempt] = "live"
        match fate.partition("-")[0]:
            case "now":
                return self._end(command, fate)
            case "action":
                action = NextAction(type="redirect")
                return PaymentActionRequired(
                    **of, next_action=action, expires_at=now + timedelta(minutes=3)
                )
            case "processing":
                return PaymentProcessing(**of, expected_by=now + timedelta(days=2))
            case "unknown":
                return PaymentUnknown(**of)
            case "authorized":
                return PaymentAuthorized(
                    **of, amount_minor=self.amount_minor, capture_before=now + timedelta(days=6)
                )
            case "silent":
                return None
        raise AssertionError(fate)

    def settle(self, command: ChargePayment) -> SagaReply | None:
        """The news that comes by itself: a shopper acted, a bank answered, the cloud lifted."""
        fate = self.fates[command.attempt]
        if self.attempts[command.attempt] != "live" or fate.startswith(("authorized", "silent")):
            return None
        return self._end(command, fate)

    def _end(self, command: ChargePayment, fate: str) -> SagaReply | None:
        of = _of(command)
        if fate.endswith("yes"):
            self._captured(command.attempt)
            return PaymentSucceeded(**of, amount_minor=self.amount_minor)
        if fate.endswith("no"):
            self.attempts[command.attempt] = "declined"
            return PaymentDeclined(**of, code="no", retryable=True, same_method_allowed=True)
        return None

    def surprise(self, command: ChargePayment) -> SagaReply:
        """Money comes from an attempt that was over: no provider should, and some did."""
        self._captured(command.attempt)
        return PaymentSucceeded(**_of(command), amount_minor=self.amount_minor)

    def _captured(self, attempt: int) -> None:
        self.attempts[attempt] = "captured"
        self.captured_minor += self.amount_minor

    def _capture(self, command: CapturePayment) -> SagaReply:
        of = {**_of(command), "step": Step.CAPTURE}
        if self.attempts[command.attempt] == "live" and self.fates[command.attempt].endswith("yes"):
            self._captured(command.attempt)
        if self.attempts[command.attempt] == "captured":
            return PaymentSucceeded(**of, amount_minor=self.amount_minor)
        self.attempts[command.attempt] = "declined"
        return CaptureFailed(**of, code="expired")

    def _close(self, command: ClosePayment) -> SagaReply:
        of = {**_of(command), "step": Step.CLOSE_PAYMENT}
        status = self.attempts.get(command.attempt)
        fate = self.fates.get(command.attempt, "")
        if status == "live" and fate.startswith("silent") and fate.endswith("yes"):
            self._captured(command.attempt)
            status = "captured"
        if status == "captured":
            return PaymentSucceeded(**of, amount_minor=self.amount_minor)
        if status == "live" and fate.startswith("unknown"):
            return PaymentUnknown(**of)
        self.attempts[command.attempt] = "closed"
        return PaymentClosed(**of, outcome="cancelled" if status else "never_created")

    def after_unknown_close(self, command: ClosePayment) -> SagaReply | None:
        """What the provider says of an attempt whose close was answered with unknown."""
        if self.attempts.get(command.attempt) != "live":
            return None
        of = {**_of(command), "step": Step.CLOSE_PAYMENT}
        if self.fates[command.attempt].endswith("yes"):
            self._captured(command.attempt)
            return PaymentSucceeded(**of, amount_minor=self.amount_minor)
        self.attempts[command.attempt] = "closed"
        return PaymentClosed(**of, outcome="expired")

    def _refund(self, command: RefundPayment) -> SagaReply:
        of = _of_refund(command)
        rest = self.captured_minor - self.refunded_minor
        assert command.amount_minor <= rest, "refunded more than came"
        self.refunds[command.round] = "pending"
        self.refunded_minor += command.amount_minor
        return RefundPending(**of)

    def settle_refund(self, command: RefundPayment, *, well: bool) -> SagaReply | None:
        """The bank's word on a pending refund."""
        if self.refunds.get(command.round) != "pending":
            return None
        if well:
            self.refunds[command.round] = "refunded"
            return Refunded(**_of_refund(command))
        self.refunds[command.round] = "failed"
        self.refunded_minor -= command.amount_minor
        return RefundFailed(**_of_refund(command), code="account_closed")

    @property
    def kept_minor(self) -> int:
        return self.captured_minor - self.refunded_minor


def _of(command: PaymentCommand) -> dict[str, Any]:
    return {
        "checkout_id": command.checkout_id,
        "round": command.round,
        "attempt": command.attempt,
        "payment_id": command.payment_id,
    }


def _of_refund(command: RefundPayment) -> dict[str, Any]:
    amount = command.amount_minor
    return {**_of(command), "refund_id": command.refund_id, "amount_minor": amount}


@dataclass
class Cart:
    """The cart's part: it acknowledges."""

    locked: bool = True
    restored: int = 0

    def answer(self, command: SagaCommand, now: datetime) -> SagaReply:
        of = {"checkout_id": command.checkout_id, "round": command.round}
        match command:
            case UnlockCart():
                self.locked = False
                return CartUnlocked(**of, cart_id=command.cart_id)
            case CloseCart():
                self.locked = False
                return CartClosed(**of, cart_id=command.cart_id)
            case RestoreLines():
                self.restored += 1
                return LinesRestored(**of, cart_id=command.cart_id)
        raise AssertionError(command)


@dataclass
class World:
    """One checkout in it, and everything that is under way."""

    fits: Callable[[], bool]
    fate: Callable[[], str]
    policy: Policy = SHORT_POLICY
    paid: bool = True
    method: PaymentMethod = CARD
    pieces: int = 1
    dead: frozenset[str] = frozenset()
    """Services that never answer anything."""

    now: datetime = START
    checkout: Checkout | None = None

    def __post_init__(self) -> None:
        self.stock = Stockroom(self.fits)
        self.provider = Provider(self.fate)
        self.cart = Cart()
        self.commands: dict[str, list[SagaCommand]] = {
            "inventory": [],
            "payment": [],
            "cart": [],
        }
        self.replies: dict[str, list[SagaReply]] = {name: [] for name in self.commands}
        self.orders: list[CheckoutMessage] = [
            start(paid=self.paid, method=self.method, pieces=self.pieces)
        ]
        self.answered: dict[Question, SagaReply] = {}
        self.heard: list[CheckoutMessage] = []
        self.events: list[OrderEvent] = []
        self.seen: list[SagaCommand] = []

    # What can happen.

    def deliver_command(self, service: str) -> None:
        """The service works on the oldest command that is under way to it."""
        command = self.commands[service].pop(0)
        self.seen.append(command)
        if service in self.dead:
            return
        question = (command.step, command.round)
        if question not in self.answered:
            reply = self._worker(service).answer(command, self.now)
            if reply is None:
                return
            self.answered[question] = reply
        self.replies[service].append(self.answered[question])

    def _worker(self, service: str) -> Stockroom | Provider | Cart:
        match service:
            case "inventory":
                return self.stock
            case "payment":
                return self.provider
        return self.cart

    def deliver_reply(self, service: str) -> None:
        """The saga hears the oldest reply of that service."""
        self.tell(self.replies[service].pop(0))  # type: ignore[arg-type]

    def deliver_order(self) -> None:
        """The saga hears the oldest message of its command topic."""
        self.tell(self.orders.pop(0))

    def repeat(self, message: CheckoutMessage) -> None:
        """Something that the saga heard long ago comes again."""
        self.tell(message)

    def news(self, command: SagaCommand) -> None:
        """Payment learns more of something it was asked before, by itself."""
        if "payment" in self.dead:
            return
        match command:
            case ChargePayment():
                reply = self.provider.settle(command)
            case ClosePayment() if self._unknown(command):
                reply = self.provider.after_unknown_close(command)
            case RefundPayment():
                reply = self.provider.settle_refund(command, well=True)
            case _:
                reply = None
        if reply is not None:
            self.answered[command.step, command.round] = reply
            self.replies["payment"].append(reply)

    def surprise(self, command: ChargePayment) -> None:
        """An attempt that was declined or closed brings money after all."""
        self.replies["payment"].append(self.provider.surprise(command))

    @property
    def over(self) -> list[ChargePayment]:
        """Attempts that the provider called declined or closed."""
        attempts = {c.attempt: c for c in self.seen if isinstance(c, ChargePayment)}
        status = self.provider.attempts
        return [c for n, c in attempts.items() if status.get(n) in ("declined", "closed")]

    def refund_fails(self, command: RefundPayment) -> None:
        """The bank sends a pending refund back."""
        reply = self.provider.settle_refund(command, well=False)
        if reply is not None:
            self.answered[command.step, command.round] = reply
            self.replies["payment"].append(reply)

    def _unknown(self, command: ClosePayment) -> bool:
        return isinstance(self.answered.get((command.step, command.round)), PaymentUnknown)

    def pay(self, *, replace: bool) -> None:
        """The shopper tries to pay."""
        method = OTHER_CARD if replace else CARD
        if self.checkout is not None:
            self.tell(PayOrder(checkout_id=CHECKOUT_ID, method=method, replace=replace))

    def ship(self, pieces: int = 0) -> None:
        """The shop hands all that is left over, or so many pieces."""
        if self.checkout is not None:
            self.tell(ship(pieces))

    def cancel(self) -> None:
        """The shopper gives up."""
        if self.checkout is not None:
            self.tell(CancelCheckout(checkout_id=CHECKOUT_ID, reason="", requested_by="ada"))

    def backstop(self) -> None:
        """Inventory asks about a reservation that it holds."""
        for round_, status in self.stock.rounds.items():
            if status == "held" and "inventory" not in self.dead:
                due = ReservationDue(checkout_id=CHECKOUT_ID, round=round_, expires_at=self.now)
                self.orders.append(due)

    def next_deadline(self) -> bool:
        """Time goes on to the next deadline, and the sweeper tells. False when there is none."""
        checkout = self.checkout
        if checkout is None or checkout.deadline_at is None:
            return False
        self.now = max(self.now, checkout.deadline_at)
        if checkout.window_closes_at == checkout.deadline_at:
            closed_at = checkout.deadline_at
            self.orders.append(PaymentWindowClosed(checkout_id=CHECKOUT_ID, closed_at=closed_at))
        for wait in checkout.waits:
            if wait.hold is not Hold.EXHAUSTED and wait.due_at <= self.now:
                self.orders.append(
                    DeadlinePassed(
                        checkout_id=CHECKOUT_ID,
                        step=wait.step,
                        round=wait.round,
                        due_at=wait.due_at,
                    )
                )
        return True

    def tell(self, message: CheckoutMessage) -> None:
        """The saga hears this; the rules must hold afterwards."""
        before = self.checkout
        outcome = advance(before, message, self.now, self.policy)
        self.heard.append(message)
        if not isinstance(outcome, Moved):
            return
        assert isinstance(outcome.checkout, Checkout)
        holds_after(before, outcome.checkout, outcome.messages)
        self.checkout = outcome.checkout
        for sent in outcome.messages:
            self._send(sent)

    def _send(self, message: Message) -> None:
        if isinstance(message, OrderEvent):
            self.events.append(message)
        elif isinstance(message, SagaCommand):
            self.commands[message.topic.name.removesuffix(".commands")].append(message)
            if isinstance(message, ReleaseStock):
                self._nothing_may_come()

    def _nothing_may_come(self) -> None:
        live = [n for n, status in self.provider.attempts.items() if status == "live"]
        assert not live, f"released while attempts {live} live at the provider"

    # How it ends.

    @property
    def quiet(self) -> bool:
        """Is nothing under way any more?"""
        return not any((*self.commands.values(), *self.replies.values(), self.orders))

    def drain(self) -> None:
        """Everything that is under way arrives."""
        while not self.quiet:
            for service in self.commands:
                while self.commands[service]:
                    self.deliver_command(service)
                while self.replies[service]:
                    self.deliver_reply(service)
            while self.orders:
                self.deliver_order()

    def run_to_the_end(self, most_deadlines: int = 200) -> Checkout:
        """Deadlines keep passing, until the saga is final or needs attention."""
        for _ in range(most_deadlines):
            self.drain()
            for command in list(self.seen):
                self.news(command)
            self.drain()
            checkout = self.checkout
            assert checkout is not None
            if checkout.final or checkout.state is State.NEEDS_ATTENTION:
                return checkout
            assert self.next_deadline(), f"stands still in {checkout.state}"
        if self.checkout is not None and self._only_the_cart_is_missing(self.checkout):
            return self.checkout
        raise AssertionError(f"no end in sight: {self.checkout!r}")

    def _only_the_cart_is_missing(self, checkout: Checkout) -> bool:
        """A cart that never answers is asked for ever, and visibly so."""
        return "cart" in self.dead and checkout.late and "_cart" in checkout.waits[0].step
