"""One message's turn: a working copy of a checkout, and the vocabulary to change it in.

The copy lives for one call of `advance`; what leaves it is a new frozen value. It asks (sends a
command and waits for its answer), settles, forgets and announces; what to do when is said in
`advance.py` and the files it names (what a message tells) and `compass.py` (what comes next).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Never, assert_never
from uuid import UUID

from contracts.messages.base import Message, SagaCommand, Step
from contracts.messages.cart import CloseCart, RestoreLines, UnlockCart
from contracts.messages.inventory import (
    CommitReservation,
    ExtendReservation,
    ReleaseStock,
    ReserveStock,
)
from contracts.messages.order import OrderEvent, OrderPlaced, OrderShipped, StartCheckout
from contracts.messages.parts import (
    ChargedLine,
    LinePieces,
    OrderLine,
    PaymentMethod,
    ShippingLine,
    Shortage,
    StockLine,
)
from contracts.messages.payment import CapturePayment, ChargePayment, ClosePayment, RefundPayment
from contracts.values import replace
from order_service.checkout.facts import (
    NO_MORE_MONEY,
    Asked,
    Attempt,
    AttemptStatus,
    Checkout,
    Fulfilment,
    Hold,
    Order,
    Reason,
    Refund,
    RefundStatus,
    Shipment,
    State,
    Stock,
    StockStatus,
    Wait,
    order_id_of,
    order_number_of,
    payment_id_of,
    refund_id_of,
)
from order_service.checkout.outcomes import Moved
from order_service.checkout.policy import Policy
from order_service.checkout.shipments import sent


class NotAsked(AssertionError):
    """The saga was to build a command for a step that it never asks."""


class Turn:
    """The facts of one checkout while one message is taken in."""

    __slots__ = (
        "asked",
        "attempts",
        "before",
        "giving_up",
        "id",
        "messages",
        "next_method",
        "note",
        "now",
        "order",
        "policy",
        "refunds",
        "request",
        "shortages",
        "stock",
        "waits",
    )

    def __init__(self, checkout: Checkout, now: datetime, policy: Policy) -> None:
        self.before = checkout
        self.id: UUID = checkout.id
        self.request: StartCheckout = checkout.request
        self.stock: Stock = checkout.stock
        self.attempts: tuple[Attempt, ...] = checkout.attempts
        self.refunds: tuple[Refund, ...] = checkout.refunds
        self.waits: dict[Asked, Wait] = {(wait.step, wait.round): wait for wait in checkout.waits}
        self.asked: frozenset[Asked] = checkout.asked
        self.giving_up: Reason | None = checkout.giving_up
        self.shortages: tuple[Shortage, ...] = checkout.shortages
        self.next_method: PaymentMethod | None = checkout.next_method
        self.order: Order | None = checkout.order
        self.now = now
        self.policy = policy
        self.messages: list[Message] = []
        self.note = ""

    def moved(self, state: State) -> Moved:
        """The next value of the checkout, in `state`, and what to send."""
        checkout = Checkout(
            id=self.id,
            request=self.request,
            state=state,
            stock=self.stock,
            attempts=self.attempts,
            refunds=self.refunds,
            waits=tuple(self.waits.values()),
            asked=self.asked,
            giving_up=self.giving_up,
            shortages=self.shortages,
            next_method=self.next_method,
            order=self.order,
        )
        return Moved(checkout, tuple(self.messages), self.note)

    # Questions and answers.

    def awaits(self, step: Step, round_: int) -> bool:
        """Is the answer to (step, round) still open?"""
        return (step, round_) in self.waits

    def ask(self, step: Step, round_: int) -> None:
        """Send the command of (step, round) and wait for its answer; nothing if awaited already."""
        if self.awaits(step, round_):
            return
        self.asked |= {(step, round_)}
        self._send(step, round_, sends=1)

    def ask_once(self, step: Step) -> None:
        """Ask a step that a checkout asks once in its life, whatever becomes of it."""
        if (step, 1) not in self.asked:
            self.ask(step, 1)

    def ask_again(self, wait: Wait) -> None:
        """Send the command of this wait anew, with the next, longer deadline."""
        self._send(wait.step, wait.round, sends=wait.sends + 1)

    def ask_afresh(self, wait: Wait) -> None:
        """Send the command of this wait anew, as if for the first time.

        An outcome that was left open is waited for as patiently as at first: asked again, its
        service can only repeat that it is open, which is no news and would count as silence.
        """
        if wait.provisional:
            self.repeat(wait)
            self.be_patient(wait.step, wait.round, self.now + self.policy.patience(wait.step))
        else:
            self._send(wait.step, wait.round, sends=1)

    def repeat(self, wait: Wait) -> None:
        """Send the command of this wait anew; the wait stays as it is."""
        self.messages.append(self.command(wait.step, wait.round))

    def _send(self, step: Step, round_: int, *, sends: int) -> None:
        due_at = self.now + self.policy.resend_after(sends)
        self.waits[step, round_] = Wait(step, round_, due_at, sends)
        self.messages.append(self.command(step, round_))

    def resume(self, wait: Wait) -> None:
        """The command of a blocked wait is on its way after all: its deadline runs again.

        It has its whole budget too: what it had used up was spent on the dead letter. What is put
        off stays so: the dead letter was the word of its deadline, which comes again.
        """
        if wait.is_put_off:
            self.waits[wait.step, wait.round] = replace(wait, hold=None)
            return
        due_at = self.now + self.policy.resend_after(1)
        if wait.provisional:
            due_at = max(due_at, wait.due_at)
        resumed = replace(wait, due_at=due_at, sends=1, hold=None)
        self.waits[wait.step, wait.round] = resumed

    def settle(self, step: Step, round_: int) -> None:
        """The answer to (step, round) is here, or nobody needs it any more."""
        self.waits.pop((step, round_), None)

    def forget(self, *steps: Step) -> None:
        """Wait for no answer to these steps any more, whatever their round."""
        for asked in [asked for asked in self.waits if asked[0] in steps]:
            del self.waits[asked]

    def hold(self, wait: Wait, hold: Hold) -> None:
        """Stop the deadline of this wait, and say why."""
        self.waits[wait.step, wait.round] = replace(wait, hold=hold)

    def be_patient(self, step: Step, round_: int, until: datetime) -> bool:
        """An answer left (step, round) open: wait for the outcome until then.

        False when nobody waits for it.
        """
        wait = self.waits.get((step, round_))
        if wait is None:
            return False
        self.waits[step, round_] = replace(wait, due_at=until, provisional=True, hold=None)
        return True

    @property
    def stuck(self) -> bool:
        """Did something run out that no compensation can replace?"""
        for wait in self.waits.values():
            if wait.hold is Hold.EXHAUSTED:
                return True
        return RefundStatus.FAILED in [r.status for r in self.open_refunds.values()]

    # Stock.

    def stock_is(self, status: StockStatus, until: datetime | None = None) -> None:
        """The current reservation round holds this."""
        self.stock = replace(self.stock, status=status, until=until or self.stock.until)

    def reserve_again(self) -> None:
        """Reserve in a new round; the old one holds nothing."""
        self.stock = Stock(self.stock.round + 1, StockStatus.ASKED, self.now)
        self.ask(Step.RESERVE, self.stock.round)

    def extend_reservation(self) -> None:
        """Ask to hold the stock as long as the checkout may need it; the newest asking counts."""
        if self.stock.status is StockStatus.COMMITTED:
            return  # what is taken off the shelf does not expire
        self.forget(Step.EXTEND)
        self.ask(Step.EXTEND, 1 + sum(step is Step.EXTEND for step, _ in self.asked))

    # Money.

    @property
    def last_attempt(self) -> Attempt | None:
        """The newest attempt; only it can be live."""
        return self.attempts[-1] if self.attempts else None

    @property
    def no_more_money(self) -> bool:
        """Is it certain, on the provider's own word, that no attempt brings money any more?"""
        last = self.last_attempt
        return last is None or last.status in NO_MORE_MONEY

    @property
    def open_refunds(self) -> dict[int, Refund]:
        """The last refund of every attempt that has one, unless its money is back."""
        if not self.refunds:
            return {}
        last = {refund.attempt: refund for refund in self.refunds}
        return {n: r for n, r in last.items() if r.status is not RefundStatus.REFUNDED}

    @property
    def unreturned(self) -> tuple[Attempt, ...]:
        """Attempts that brought money of which no refund was asked, oldest first."""
        came = [each for each in self.attempts if each.status is AttemptStatus.SUCCEEDED]
        if not (came and self.refunds):
            return tuple(came)
        returned = {refund.attempt for refund in self.refunds}
        return tuple(attempt for attempt in came if attempt.number not in returned)

    @property
    def window_open(self) -> bool:
        """May a new attempt begin now? The end itself is told by PaymentWindowClosed."""
        return self.now < self.placed.window_closes_at

    @property
    def paid_for(self) -> bool:
        """Is there money that the order may keep, or is none due?"""
        return self.request.total_minor == 0 or bool(self.unreturned)

    @property
    def set_aside(self) -> Attempt | None:
        """The attempt whose money waits at the provider until the goods are shipped."""
        last = self.last_attempt
        if last is None or last.status is not AttemptStatus.AUTHORIZED:
            return None
        closing = self.awaits(Step.CLOSE_PAYMENT, last.number)
        wanted = not (closing or self.unreturned or self.next_method is not None)
        return last if wanted and last.method.captured_at_shipping else None

    @property
    def secured(self) -> bool:
        """May the goods be handed over for what is here, or set aside for them?"""
        return self.paid_for or self.set_aside is not None

    def charge(self, method: PaymentMethod) -> None:
        """Make the next attempt, with this method."""
        self.next_method = None
        number = len(self.attempts) + 1
        self.attempts += (Attempt(number, method),)
        self.ask(Step.CHARGE, number)

    def attempt_is(self, attempt: Attempt) -> None:
        """This is now known of the attempt of that number."""
        index = attempt.number - 1
        self.attempts = (*self.attempts[:index], attempt, *self.attempts[index + 1 :])

    def put_off_capture(self, attempt: Attempt) -> None:
        """Take the money of this attempt when the goods are shipped, or before it is lost."""
        before = attempt.expires_at or self.now
        due_at = self.policy.capture_at(self.now, before)
        self.waits[Step.CAPTURE, attempt.number] = Wait(
            Step.CAPTURE, attempt.number, due_at, sends=0
        )

    def capture(self, attempt: Attempt) -> None:
        """Take the money of this attempt now, if that is not under way."""
        wait = self.waits.get((Step.CAPTURE, attempt.number))
        if wait is not None and wait.is_put_off:
            self.settle(Step.CAPTURE, attempt.number)
        self.ask(Step.CAPTURE, attempt.number)

    def settle_attempt(self, attempt: Attempt) -> None:
        """The attempt is decided: this is its last status, no answer about it is awaited."""
        self.attempt_is(attempt)
        for step in (Step.CHARGE, Step.CAPTURE, Step.CLOSE_PAYMENT):
            self.settle(step, attempt.number)

    def close(self, attempt: Attempt) -> None:
        """Ask for the provider's word that this attempt brings no money any more."""
        self.settle(Step.CHARGE, attempt.number)
        self.settle(Step.CAPTURE, attempt.number)
        self.ask(Step.CLOSE_PAYMENT, attempt.number)

    def refund(self, attempt: int, *, by_hand: bool = False) -> None:
        """Give back all the money that this attempt brought, or have it booked as given back."""
        number = len(self.refunds) + 1
        amount_minor = self.before.brought_minor(self.attempts[attempt - 1])
        self.refunds += (Refund(number, attempt, amount_minor, by_hand=by_hand),)
        self.ask(Step.REFUND, number)

    def refund_is(self, refund: Refund) -> None:
        """This is now known of the refund of that number."""
        index = refund.number - 1
        self.refunds = (*self.refunds[:index], refund, *self.refunds[index + 1 :])

    # The order.

    def place_order(self) -> None:
        """The order exists from here on: its window runs, its cart is done."""
        self.order = Order(
            id=order_id_of(self.id),
            number=order_number_of(self.id),
            placed_at=self.now,
            window_closes_at=self.now + timedelta(seconds=self.request.payment_window_seconds),
        )
        self.announce(
            OrderPlaced,
            email=self.request.email,
            lines=self.request.lines,
            shipping=self.request.shipping,
        )
        self.ask_once(Step.CLOSE_CART)

    def renew_window(self) -> None:
        """Whoever is kept waiting by us has the whole payment window from now on."""
        if self.order is not None:
            ends = self.now + timedelta(seconds=self.request.payment_window_seconds)
            latest = max(ends, self.order.window_closes_at)
            self.order = replace(self.order, window_closes_at=latest)

    def ready_to_ship(self, event: type[OrderEvent], **facts: Any) -> None:
        """Tell fulfilment to begin: paid for, or with the money set aside."""
        to_capture = self.set_aside is not None
        self.order = replace(self.placed, fulfilment=Fulfilment.READY, to_capture=to_capture)
        self.announce(
            event,
            email=self.request.email,
            shipping_address=self.request.shipping_address,
            lines=self.request.lines,
            shipping=self.request.shipping,
            **facts,
        )

    def ship(self, shipment: Shipment) -> None:
        """These goods leave the house; where no lines are named, all that is left."""
        order = sent(self.placed, self.request.lines, shipment, self.now)
        left = order.shipments[-1]
        self.order = order
        if left.lines:
            pieces = sum(one.pieces for one in left.lines)
            self.note = f"shipment {len(order.shipments)}: {pieces} pieces"
        self.announce(
            OrderShipped,
            carrier=left.carrier,
            tracking=left.tracking,
            shipment_number=len(order.shipments),
            lines=tuple(LinePieces(line_no=one.line_no, quantity=one.pieces) for one in left.lines),
            complete=order.fulfilment is Fulfilment.SHIPPED,
        )

    def ship_later(self) -> None:
        """No shipment waits any more: the shop asks for it anew, if it comes to that."""
        if self.order is not None and self.order.shipment is not None:
            self.order = replace(self.order, shipment=None)

    def do_not_ship(self, fulfilment: Fulfilment) -> None:
        """The order is not ready, or not any more: it is pending again, or cancelled."""
        self.order = replace(self.placed, fulfilment=fulfilment, to_capture=False, shipment=None)

    def announce(self, event: type[OrderEvent], **facts: Any) -> None:
        """Tell the world, under the order's next `event_seq`."""
        self.order = replace(self.placed, event_seq=self.placed.event_seq + 1)
        self.messages.append(event_of(event, self.request, self.order, self.now, **facts))

    @property
    def placed(self) -> Order:
        """The order, where there must be one. Raises `NotAsked`."""
        if self.order is None:
            raise NotAsked(f"checkout {self.id} has no order")
        return self.order

    # Commands.

    def command(self, step: Step, round_: int) -> SagaCommand:
        """The command that asks (step, round): the same effect whenever it is built."""
        request = self.request
        match step:
            case Step.RESERVE:
                return ReserveStock(
                    shop_id=request.shop_id,
                    checkout_id=self.id,
                    round=round_,
                    lines=self._stock_lines(),
                    expires_at=self._needed_until(),
                )
            case Step.EXTEND:
                return ExtendReservation(
                    shop_id=request.shop_id,
                    checkout_id=self.id,
                    round=round_,
                    reservation_round=self.stock.round,
                    expires_at=self._needed_until(),
                )
            case Step.COMMIT:
                return CommitReservation(
                    shop_id=request.shop_id,
                    checkout_id=self.id,
                    round=round_,
                    lines=self._stock_lines(),
                )
            case Step.RELEASE:
                return ReleaseStock(
                    shop_id=request.shop_id,
                    checkout_id=self.id,
                    round=round_,
                    reason=self._taken_back_for(),
                    line_count=len(request.lines),
                )
            case Step.CHARGE:
                method = self.attempts[round_ - 1].method
                return ChargePayment(
                    shop_id=request.shop_id,
                    checkout_id=self.id,
                    round=round_,
                    attempt=round_,
                    payment_id=payment_id_of(self.id),
                    order_id=self.placed.id,
                    order_number=self.placed.number,
                    customer_id=request.customer_id,
                    amount_minor=request.total_minor,
                    currency=request.currency,
                    method=method,
                    window_closes_at=self.placed.window_closes_at,
                    lines=self._lines_paid() if method.hosted else (),
                )
            case Step.CAPTURE:
                return CapturePayment(
                    shop_id=request.shop_id,
                    checkout_id=self.id,
                    round=round_,
                    attempt=round_,
                    payment_id=payment_id_of(self.id),
                    amount_minor=request.total_minor,
                )
            case Step.CLOSE_PAYMENT:
                return ClosePayment(
                    shop_id=request.shop_id,
                    checkout_id=self.id,
                    round=round_,
                    attempt=round_,
                    payment_id=payment_id_of(self.id),
                    reason=self._closed_for(),
                )
            case Step.REFUND:
                refund = self.refunds[round_ - 1]
                short = self.attempts[refund.attempt - 1].short_minor is not None
                return RefundPayment(
                    shop_id=request.shop_id,
                    checkout_id=self.id,
                    round=round_,
                    attempt=refund.attempt,
                    payment_id=payment_id_of(self.id),
                    refund_id=refund_id_of(self.id, round_),
                    amount_minor=refund.amount_minor,
                    reason="captured_in_part" if short else self._taken_back_for(),
                    by_hand=refund.by_hand,
                )
            case Step.UNLOCK_CART:
                return UnlockCart(
                    shop_id=request.shop_id,
                    checkout_id=self.id,
                    cart_id=request.cart_id,
                    reason=self._taken_back_for(),
                    shortages=self.shortages,
                    line_count=len(request.lines),
                )
            case Step.CLOSE_CART:
                return CloseCart(
                    shop_id=request.shop_id,
                    checkout_id=self.id,
                    cart_id=request.cart_id,
                    order_id=self.placed.id,
                )
            case Step.RESTORE_LINES:
                return RestoreLines(
                    shop_id=request.shop_id,
                    checkout_id=self.id,
                    cart_id=request.cart_id,
                    currency=request.currency,
                    lines=request.lines,
                )
            case Step.START:
                self._never_asked(step)
        assert_never(step)

    def _never_asked(self, step: Step) -> Never:
        raise NotAsked(f"checkout {self.id} was to ask {step}")

    def _stock_lines(self) -> tuple[StockLine, ...]:
        return stock_lines((line.sku, line.quantity) for line in self.request.lines)

    def _lines_paid(self) -> tuple[ChargedLine, ...]:
        """Goods and shipping as the shopper pays them."""
        lines: tuple[OrderLine | ShippingLine, ...] = (*self.request.lines, *self.request.shipping)
        return tuple(
            ChargedLine(name=line.name, quantity=line.quantity, amount_minor=line.gross_minor)
            for line in lines
        )

    def _needed_until(self) -> datetime:
        """Until when the stock may be needed; beyond it the backstop asks."""
        until = self.now
        if self.order is None:
            until += timedelta(seconds=self.request.payment_window_seconds)
        else:
            until = max(until, self.order.window_closes_at)
        last = self.last_attempt
        if last is not None and last.live and last.expected_by is not None:
            until = max(until, last.expected_by)
        return until + timedelta(seconds=self.policy.reservation_backstop_seconds)

    def _taken_back_for(self) -> str:
        """Why stock, cart or money is given back, in the word that other services see."""
        return "paid_twice" if self.giving_up is None else self.giving_up.value

    def _closed_for(self) -> str:
        """Why an attempt is closed, in the word that payment sees."""
        if self.giving_up is not None:
            return self.giving_up.value
        if self.next_method is not None:
            return "replaced"
        return "paid_already" if self.unreturned else "unanswered"


def event_of(
    event: type[OrderEvent], request: StartCheckout, order: Order, now: datetime, **facts: Any
) -> OrderEvent:
    """The event under the order's present `event_seq`, with these facts of its own."""
    return event(
        shop_id=request.shop_id,
        event_seq=order.event_seq,
        order_id=order.id,
        checkout_id=request.checkout_id,
        number=order.number,
        customer_id=request.customer_id,
        currency=request.currency,
        total_minor=request.total_minor,
        occurred_at=now,
        **facts,
    )


def stock_lines(pieces: Iterable[tuple[str, int]]) -> tuple[StockLine, ...]:
    """Pieces by SKU: several of one SKU are its sum."""
    sums: dict[str, int] = {}
    for sku, quantity in pieces:
        sums[sku] = sums.get(sku, 0) + quantity
    return tuple(StockLine(sku=sku, quantity=quantity) for sku, quantity in sums.items())
