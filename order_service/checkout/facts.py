"""What a checkout knows: its facts, and the questions that are answered from them alone.

A checkout is a set of facts that only grow in knowledge (the stock is held, attempt 2 was
declined, refund 1 is pending) and one state, which is what the facts amount to. Everything is
a frozen value; `turn.py` makes the next one.
"""

from collections.abc import Hashable
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias
from uuid import UUID

from contracts.ids import derived_id
from contracts.messages.base import Step
from contracts.messages.order import StartCheckout
from contracts.messages.parts import NextAction, PaymentMethod, Shortage
from contracts.values import Struct


class State(StrEnum):
    """Where a checkout stands."""

    RESERVING = "reserving"
    AWAITING_PAYMENT = "awaiting_payment"
    PAYING = "paying"
    ACTION_REQUIRED = "action_required"
    PROCESSING = "processing"
    PAYMENT_UNKNOWN = "payment_unknown"
    PAYMENT_FAILED = "payment_failed"
    AUTHORIZED = "authorized"
    CAPTURING = "capturing"
    COMMITTING = "committing"
    CLOSING_PAYMENT = "closing_payment"
    RELEASING = "releasing"
    REFUNDING = "refunding"
    NEEDS_ATTENTION = "needs_attention"
    PAID = "paid"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


ENDED = frozenset({State.PAID, State.CANCELLED, State.REJECTED})
"""States that end a checkout, once all its messages are acknowledged."""

WINDOW_RUNS = frozenset(
    {
        State.AWAITING_PAYMENT,
        State.PAYING,
        State.ACTION_REQUIRED,
        State.PAYMENT_UNKNOWN,
        State.PAYMENT_FAILED,
    }
)
"""States that the end of the payment window ends; elsewhere money is coming, here or gone."""


class Reason(StrEnum):
    """Why a checkout is given up."""

    OUT_OF_STOCK = "out_of_stock"
    STOCK_UNANSWERED = "stock_unanswered"
    STOCK_NOT_HELD = "stock_not_held"
    PAYMENT_WINDOW_CLOSED = "payment_window_closed"
    AUTHORIZATION_LAPSED = "authorization_lapsed"
    CANCELLED = "cancelled"


REJECTING = frozenset({Reason.OUT_OF_STOCK, Reason.STOCK_UNANSWERED})
"""Reasons of our side: without an order such a checkout is rejected rather than cancelled."""


class StockStatus(StrEnum):
    """What the current reservation round is known to hold."""

    ASKED = "asked"
    HELD = "held"
    COMMITTED = "committed"
    RELEASING = "releasing"
    GONE = "gone"
    REJECTED = "rejected"


NOTHING_HELD = frozenset({StockStatus.GONE, StockStatus.REJECTED})
"""Inventory said that this round holds nothing: no more, or never did."""


class Stock(Struct, frozen=True):
    """The current reservation round; `until` is its expiry as far as inventory confirmed it."""

    round: int
    status: StockStatus
    until: datetime


class AttemptStatus(StrEnum):
    """What is known of one attempt to pay."""

    REQUESTED = "requested"
    ACTION_REQUIRED = "action_required"
    PROCESSING = "processing"
    UNKNOWN = "unknown"
    AUTHORIZED = "authorized"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    CLOSED = "closed"


LIVE = frozenset(
    {
        AttemptStatus.REQUESTED,
        AttemptStatus.ACTION_REQUIRED,
        AttemptStatus.PROCESSING,
        AttemptStatus.UNKNOWN,
        AttemptStatus.AUTHORIZED,
    }
)
"""An attempt that may still bring money by itself; at most one of a checkout is live."""


NO_MORE_MONEY = frozenset({AttemptStatus.SUCCEEDED, AttemptStatus.CLOSED})
"""After these an attempt brings no further money, on the provider's own word. A decline is not
among them: a declined intent can still be confirmed with another card until it is closed."""


AUTHENTICATION_REQUIRED = "authentication_required"
"""The code of a decline: the bank wants the shopper to confirm that it is them."""


class Attempt(Struct, frozen=True):
    """One attempt to pay.

    `expected_by` is set once the provider works on it by itself (a bank debit): from then on
    the attempt's own deadline stands in place of the payment window. `short_minor` is what came
    where it was less than the total, which only somebody at the provider can do: nothing is sold
    for it, and it goes back.
    """

    number: int
    method: PaymentMethod
    status: AttemptStatus = AttemptStatus.REQUESTED
    code: str | None = None
    retryable: bool = True
    same_method_allowed: bool = True
    next_action: NextAction | None = None
    expires_at: datetime | None = None
    expected_by: datetime | None = None
    short_minor: int | None = None

    @property
    def live(self) -> bool:
        """May it still bring money by itself?"""
        return self.status in LIVE

    @property
    def needs_shopper(self) -> bool:
        """Was it declined because the shopper was not there, or did not confirm it?"""
        return self.code == AUTHENTICATION_REQUIRED


class RefundStatus(StrEnum):
    """What is known of one refund."""

    REQUESTED = "requested"
    PENDING = "pending"
    REFUNDED = "refunded"
    FAILED = "failed"


class Refund(Struct, frozen=True):
    """One refund of the saga: all the money that attempt `attempt` brought."""

    number: int
    attempt: int
    amount_minor: int
    status: RefundStatus = RefundStatus.REQUESTED
    by_hand: bool = False
    """An operator said that it went back on another way than through the provider."""


class Hold(StrEnum):
    """Why a wait has no deadline: its command is blocked, or its budget is used up."""

    BLOCKED = "blocked"
    EXHAUSTED = "exhausted"


class Wait(Struct, frozen=True):
    """An answer that is awaited: asked for `sends` times, asked again or given up at `due_at`.

    With no send yet the question is put off until `due_at`, unless something calls for it before.
    `provisional` says that an answer came which leaves the outcome open (processing, unknown,
    refund pending): asking again would only repeat it.
    """

    step: Step
    round: int
    due_at: datetime
    sends: int = 1
    provisional: bool = False
    hold: Hold | None = None

    @property
    def is_put_off(self) -> bool:
        """Was it not asked yet?"""
        return self.sends == 0


class Fulfilment(StrEnum):
    """The fulfilment axis of an order."""

    PENDING = "pending"
    READY = "ready"
    PARTLY_SHIPPED = "partly_shipped"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


LEFT = frozenset({Fulfilment.PARTLY_SHIPPED, Fulfilment.SHIPPED})
"""Goods have left the house: the money is here, and the order is not cancelled any more."""


class PaymentStatus(StrEnum):
    """The payment axis of an order: a projection of its attempts and refunds."""

    PENDING = "pending"
    PROCESSING = "processing"
    REQUIRES_ACTION = "requires_action"
    AUTHORIZED = "authorized"
    UNKNOWN = "unknown"
    FAILED = "failed"
    PAID = "paid"
    REFUND_PENDING = "refund_pending"
    REFUND_FAILED = "refund_failed"
    PARTLY_REFUNDED = "partly_refunded"
    REFUNDED = "refunded"
    DISPUTED = "disputed"
    DISPUTE_LOST = "dispute_lost"
    CANCELLED = "cancelled"
    NOT_DUE = "not_due"


class Returned(StrEnum):
    """The return axis of an order."""

    NONE = "none"
    PARTLY = "partly"
    WHOLLY = "wholly"


class Pieces(Struct, frozen=True):
    """So many pieces of one order line; lines are counted from 1."""

    line_no: int
    pieces: int


class Shipment(Struct, frozen=True):
    """Who carries the goods, and under which number; both may be empty.

    Once they have left, at `left_at`, no `lines` means the whole order; before, all that is left.
    """

    carrier: str = ""
    tracking: str = ""
    lines: tuple[Pieces, ...] = ()
    left_at: datetime | None = None


class Order(Struct, frozen=True):
    """The order that a checkout became; `event_seq` counts its public events.

    `claimed` is its payment axis once something of it was refunded, returned or disputed; from then
    on it is not cancelled any more. `to_capture`: it may be shipped, and its money is taken then.
    `shipment` waits for that money; `shipments` have left the house, but for those from before
    version 11 of the schema. `withheld` are pieces that were taken back without having left it.
    """

    id: UUID
    number: str
    placed_at: datetime
    window_closes_at: datetime
    event_seq: int = 0
    fulfilment: Fulfilment = Fulfilment.PENDING
    returned: Returned = Returned.NONE
    claimed: PaymentStatus | None = None
    to_capture: bool = False
    shipment: Shipment | None = None
    shipments: tuple[Shipment, ...] = ()
    withheld: tuple[Pieces, ...] = ()


Asked: TypeAlias = tuple[Step, int]
"""A question of the saga by its name: (step, round)."""


class Checkout(Struct, frozen=True):
    """All that the saga knows of one checkout.

    `asked` holds every (step, round) ever sent, `waits` those whose answer is still open: what
    is asked and not awaited is settled, and what was never asked has no answer.
    `giving_up` is the saga's direction: None while it tries to sell, else why it takes back.
    `next_method` is a payment that waits for the live attempt to be closed.
    """

    id: UUID
    request: StartCheckout
    state: State
    stock: Stock
    attempts: tuple[Attempt, ...] = ()
    refunds: tuple[Refund, ...] = ()
    waits: tuple[Wait, ...] = ()
    asked: frozenset[Asked] = frozenset()
    giving_up: Reason | None = None
    shortages: tuple[Shortage, ...] = ()
    next_method: PaymentMethod | None = None
    order: Order | None = None

    @property
    def key(self) -> Hashable:
        return self.id

    @property
    def final(self) -> bool:
        """Is it over: ended, and every message of it acknowledged, the cart's too?"""
        return self.state in ENDED and not self.waits

    @property
    def late(self) -> bool:
        """Had an open step to be asked again, or is one past its budget?"""
        # Loops here and below, since they are asked more often than anything else: `any` takes
        # three times as long.
        for wait in self.waits:
            if (wait.sends > 1 and not wait.provisional) or wait.hold is Hold.EXHAUSTED:
                return True
        return False

    @property
    def blocked(self) -> bool:
        """Does a dead letter stand in the way of an open step?"""
        for wait in self.waits:  # noqa: SIM110
            if wait.hold is Hold.BLOCKED:
                return True
        return False

    @property
    def live_attempt(self) -> Attempt | None:
        """The attempt that may still bring money by itself, if there is one."""
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and last.live else None

    @property
    def window_closes_at(self) -> datetime | None:
        """When the running payment window ends; None while it does not run, or is stopped."""
        if self.state not in WINDOW_RUNS or self.order is None or self.blocked:
            return None
        live = self.live_attempt
        if live is not None and live.expected_by is not None:
            return None
        return self.order.window_closes_at

    @property
    def deadline_at(self) -> datetime | None:
        """The earliest moment at which something has to happen without a message."""
        deadline = self.window_closes_at
        for wait in self.waits:
            if wait.hold is None and (deadline is None or wait.due_at < deadline):
                deadline = wait.due_at
        return deadline

    @property
    def open_refunds(self) -> tuple[Refund, ...]:
        """The last refund of every attempt that has one, unless its money is back."""
        if not self.refunds:
            return ()
        last = {refund.attempt: refund for refund in self.refunds}
        return tuple(r for r in last.values() if r.status is not RefundStatus.REFUNDED)

    @property
    def captured_minor(self) -> int:
        """All money that ever came."""
        captured_minor = 0
        for attempt in self.attempts:
            if attempt.status is AttemptStatus.SUCCEEDED:
                captured_minor += self.brought_minor(attempt)
        return captured_minor

    def brought_minor(self, attempt: Attempt) -> int:
        """What an attempt that succeeded brought."""
        return self.request.total_minor if attempt.short_minor is None else attempt.short_minor

    @property
    def kept_attempt(self) -> Attempt | None:
        """The attempt whose money the order keeps."""
        returned = {refund.attempt for refund in self.refunds}
        for attempt in self.attempts:
            if attempt.status is AttemptStatus.SUCCEEDED and attempt.number not in returned:
                return attempt
        return None

    @property
    def kept_minor(self) -> int:
        """What the order keeps of the shopper's money, before anything of it went back."""
        return 0 if self.kept_attempt is None else self.request.total_minor

    @property
    def refunded_minor(self) -> int:
        """The money that went back."""
        return self._in_refunds(RefundStatus.REFUNDED)

    @property
    def refund_pending_minor(self) -> int:
        """The money that is on its way back."""
        return self._in_refunds(RefundStatus.REQUESTED, RefundStatus.PENDING)

    @property
    def payment_status(self) -> PaymentStatus:
        """The payment axis, projected from attempts and refunds."""
        if self.order is not None and self.order.claimed is not None and self.giving_up is None:
            return self.order.claimed
        if self.request.total_minor == 0:
            return PaymentStatus.NOT_DUE
        if self.captured_minor > 0 and (self.giving_up is not None or self.kept_minor > 0):
            return self._status_of_money()
        last = self.attempts[-1] if self.attempts else None
        if last is not None and last.live:
            return _STATUS_OF_LIVE[last.status]
        if self.giving_up is not None and self.stock.status in NOTHING_HELD:
            return PaymentStatus.CANCELLED
        return PaymentStatus.PENDING if last is None else PaymentStatus.FAILED

    def _in_refunds(self, *statuses: RefundStatus) -> int:
        if not self.refunds:
            return 0
        return sum(refund.amount_minor for refund in self.refunds if refund.status in statuses)

    def _status_of_money(self) -> PaymentStatus:
        if any(refund.status is RefundStatus.FAILED for refund in self.open_refunds):
            return PaymentStatus.REFUND_FAILED
        if self.giving_up is None:
            return PaymentStatus.PAID
        if self.refunded_minor == self.captured_minor:
            return PaymentStatus.REFUNDED
        return PaymentStatus.REFUND_PENDING if self.refund_pending_minor else PaymentStatus.PAID


_STATUS_OF_LIVE = {
    AttemptStatus.REQUESTED: PaymentStatus.PROCESSING,
    AttemptStatus.PROCESSING: PaymentStatus.PROCESSING,
    AttemptStatus.ACTION_REQUIRED: PaymentStatus.REQUIRES_ACTION,
    AttemptStatus.UNKNOWN: PaymentStatus.UNKNOWN,
    AttemptStatus.AUTHORIZED: PaymentStatus.AUTHORIZED,
}


class Tombstone(Struct, frozen=True):
    """A cancel that came before its checkout: it refuses the late StartCheckout."""

    id: UUID
    shop_id: str

    @property
    def key(self) -> Hashable:
        return self.id


_IDS_KEPT = 65_536
"""A checkout asks for its ids with every message; hashing them anew costs as much as deciding."""


@lru_cache(_IDS_KEPT)
def order_id_of(checkout_id: UUID) -> UUID:
    """The order that a checkout becomes."""
    return derived_id(checkout_id, "order")


@lru_cache(_IDS_KEPT)
def payment_id_of(checkout_id: UUID) -> UUID:
    """The one payment of a checkout's order."""
    return derived_id(checkout_id, "payment")


def refund_id_of(checkout_id: UUID, number: int) -> UUID:
    """Refund `number` of a checkout's payment."""
    return derived_id(checkout_id, f"refund:{number}")


_NUMBER_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_NUMBER_LENGTH = 12


def order_number_of(checkout_id: UUID) -> str:
    """The number people use: twelve Crockford base32 digits, derived, so it reveals no volume.

    Sixty bits: among ten million orders of a shop two meet with a chance of 1 in 20,000, and a
    unique constraint refuses the second.
    """
    bits = derived_id(checkout_id, "order-number").int
    digits = []
    for _ in range(_NUMBER_LENGTH):
        digits.append(_NUMBER_ALPHABET[bits & 31])
        bits >>= 5
    return "-".join("".join(digits[i : i + 4]) for i in range(0, _NUMBER_LENGTH, 4))
