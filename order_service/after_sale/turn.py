"""One message's turn: a working copy of an order after its sale, and the vocabulary to change it.

The copy lives for one call of `serve`; what leaves it are new frozen values.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from contracts.messages.base import Message, Step
from contracts.messages.inventory import ReturnStock
from contracts.messages.order import OrderEvent, OrderRefunded
from contracts.messages.parts import StockLine
from contracts.messages.payment import RefundPayment
from contracts.values import replace
from order_service.after_sale.facts import (
    FIRST_ROUND,
    AfterSale,
    Claim,
    ClaimedLine,
    ClaimStatus,
    Origin,
    Return,
    ReturnedLine,
)
from order_service.after_sale.outcomes import Served
from order_service.after_sale.worth import Standing, refunded_line, standing
from order_service.checkout.facts import (
    Checkout,
    Fulfilment,
    Hold,
    Order,
    PaymentStatus,
    Returned,
    Wait,
    payment_id_of,
    refund_id_of,
)
from order_service.checkout.policy import Policy
from order_service.checkout.shipments import pieces_shipped, settled
from order_service.checkout.turn import event_of, stock_lines


class Turn:
    """The facts after the sale of one order while one message is taken in."""

    __slots__ = ("after", "messages", "note", "now", "order", "policy", "saga")

    def __init__(
        self, after: AfterSale | None, saga: Checkout, order: Order, now: datetime, policy: Policy
    ) -> None:
        self.after = after or AfterSale(saga.id)
        self.saga = saga
        self.order = order
        self.now = now
        self.policy = policy
        self.messages: list[Message] = []
        self.note = ""

    def served(self) -> Served:
        """The next values, and what to send."""
        order = replace(
            self.order,
            returned=self._returned(),
            claimed=self._claimed(),
            withheld=self.after.withheld,
        )
        if order.fulfilment is Fulfilment.PARTLY_SHIPPED:
            order = settled(order, self.saga.request.lines)
        saga = replace(self.saga, order=order)
        return Served(self.after, saga, tuple(self.messages), self.note)

    # What there is.

    @property
    def rest_minor(self) -> int:
        """What can still be refunded."""
        return self.after.rest_of(self.saga.kept_minor)

    @property
    def lines(self) -> tuple[Standing, ...]:
        """Goods and shipping costs as claims have left them, counted from 1."""
        request = self.saga.request
        return standing((*request.lines, *request.shipping), self.after)

    def pieces_away(self) -> list[int]:
        """How many pieces of each line have left the house and not come back."""
        away = pieces_shipped(self.order, self.saga.request.lines)
        for each in self.after.returns:
            for line in each.lines:
                away[line.line_no - 1] -= line.shipped
        return away

    def claim(self, number: int) -> Claim | None:
        """The claim of that number."""
        return self.after.claims[number - 1] if 0 < number <= len(self.after.claims) else None

    def claim_asked(self, round_: int) -> Claim | None:
        """The claim whose refund is asked for under this round now."""
        return next((claim for claim in self.after.claims if claim.round == round_), None)

    def wait(self, step: Step, round_: int) -> Wait | None:
        """The open wait for this answer."""
        waits = (w for w in self.after.waits if (w.step, w.round) == (step, round_))
        return next(waits, None)

    # What changes.

    def add_claim(
        self, lines: Sequence[ClaimedLine], origin: Origin, reason: str, **facts: Any
    ) -> Claim:
        """One more claim, of the sum of its lines unless `amount_minor` says otherwise."""
        kept = self.saga.kept_attempt
        claim = Claim(
            number=len(self.after.claims) + 1,
            attempt=facts.pop("attempt", kept.number if kept is not None else 0),
            amount_minor=facts.pop("amount_minor", sum(line.amount_minor for line in lines)),
            origin=origin,
            reason=reason,
            lines=tuple(lines),
            **facts,
        )
        self.after = replace(self.after, claims=(*self.after.claims, claim))
        return claim

    def claim_is(self, claim: Claim) -> None:
        """This is now known of the claim of that number."""
        claims = list(self.after.claims)
        claims[claim.number - 1] = claim
        self.after = replace(self.after, claims=tuple(claims))

    def ask_refund(self, claim: Claim, *, by_hand: bool = False) -> None:
        """Ask for the refund of a claim, under a round of its own."""
        rounds = [each.round for each in self.after.claims]
        round_ = max(FIRST_ROUND, max(rounds, default=0) + 1)
        asked = replace(
            claim, round=round_, status=ClaimStatus.REQUESTED, code=None, by_hand=by_hand
        )
        self.claim_is(asked)
        self.ask(Step.REFUND, round_)

    def add_return(self, lines: Sequence[ReturnedLine], reason: str, claim: int | None) -> Return:
        """Goods that came back; inventory is asked to book them."""
        number = len(self.after.returns) + 1
        came_back = Return(number, tuple(lines), reason, claim)
        self.after = replace(self.after, returns=(*self.after.returns, came_back))
        self.ask(Step.RELEASE, came_back.round)
        return came_back

    # Questions.

    def ask(self, step: Step, round_: int, sends: int = 1) -> None:
        """Send the command of (step, round), for the so-many-th time, and wait for its answer."""
        due_at = self.now + self.policy.resend_after(sends)
        self._put(Wait(step, round_, due_at, sends))
        self.messages.append(self.command(step, round_))

    def hold(self, wait: Wait, hold: Hold) -> None:
        """Stop the deadline of this wait, and say why."""
        self._put(replace(wait, hold=hold))

    def be_patient(self, wait: Wait) -> None:
        """The answer left the outcome open; asking again would only repeat it."""
        until = self.now + self.policy.patience(wait.step)
        self._put(replace(wait, due_at=until, provisional=True, hold=None))

    def settle(self, step: Step, round_: int) -> None:
        """The answer is here, or nobody needs it any more."""
        waits = tuple(w for w in self.after.waits if (w.step, w.round) != (step, round_))
        self.after = replace(self.after, waits=waits)

    def _put(self, wait: Wait) -> None:
        self.settle(wait.step, wait.round)
        self.after = replace(self.after, waits=(*self.after.waits, wait))

    def command(self, step: Step, round_: int) -> RefundPayment | ReturnStock:
        """The command that asks (step, round): the same effect whenever it is built."""
        if step is Step.RELEASE:
            came_back = self.after.returns[round_ - FIRST_ROUND]
            return ReturnStock(
                shop_id=self.saga.request.shop_id,
                checkout_id=self.saga.id,
                round=round_,
                reservation_round=self.saga.stock.round,
                lines=_pieces(came_back.lines),
                written_off=_pieces(line for line in came_back.lines if line.write_off),
                reason=came_back.reason,
            )
        claim = self.claim_asked(round_)
        assert claim is not None  # noqa: S101 - only refunds of claims are asked for
        return RefundPayment(
            shop_id=self.saga.request.shop_id,
            checkout_id=self.saga.id,
            round=round_,
            attempt=claim.attempt,
            payment_id=payment_id_of(self.saga.id),
            refund_id=self.refund_id(claim),
            amount_minor=claim.amount_minor,
            reason=claim.origin.value,
            by_hand=claim.by_hand,
        )

    def refund_id(self, claim: Claim) -> UUID:
        """The id under which payment knows the refund of a claim."""
        return claim.refund_id or refund_id_of(self.saga.id, claim.round)

    # What the world is told.

    def announce(self, event: type[OrderEvent], **facts: Any) -> None:
        """Tell the world, under the order's next `event_seq`."""
        self.order = replace(self.order, event_seq=self.order.event_seq + 1)
        self.messages.append(event_of(event, self.saga.request, self.order, self.now, **facts))

    def announce_refunded(self, claim: Claim) -> None:
        """Tell what went back, and of which lines."""
        request = self.saga.request
        others = tuple(one for one in self.after.claims if one.status is ClaimStatus.REFUNDED)
        before = replace(
            self.after, claims=tuple(one for one in others if one.number != claim.number)
        )
        lines = standing((*request.lines, *request.shipping), before)
        self.announce(
            OrderRefunded,
            refund_id=self.refund_id(claim),
            amount_minor=claim.amount_minor,
            lines=tuple(refunded_line(lines[one.line_no - 1], one) for one in claim.lines),
        )

    def _returned(self) -> Returned:
        goods = self.saga.request.lines
        back = [self.after.returned_of(number) for number, _ in enumerate(goods, start=1)]
        if not any(back):
            return Returned.NONE
        whole = all(pieces == line.quantity for pieces, line in zip(back, goods, strict=True))
        return Returned.WHOLLY if whole else Returned.PARTLY

    def _claimed(self) -> PaymentStatus | None:
        """The payment axis as it is after the sale; None as long as the saga's is right."""
        after = self.after
        if not (after.claims or after.returns or after.disputes):
            return None
        if self.saga.kept_minor == 0 and self.saga.request.total_minor > 0:
            return None
        if after.disputed_minor:
            return PaymentStatus.DISPUTED
        if any(claim.status is ClaimStatus.FAILED for claim in after.claims):
            return PaymentStatus.REFUND_FAILED
        if after.refund_pending_minor:
            return PaymentStatus.REFUND_PENDING
        if after.refunded_minor and after.refunded_minor >= self.saga.kept_minor:
            return PaymentStatus.REFUNDED
        if after.dispute_lost_minor:
            return PaymentStatus.DISPUTE_LOST
        if after.refunded_minor:
            return PaymentStatus.PARTLY_REFUNDED
        return PaymentStatus.PAID if self.saga.kept_minor else PaymentStatus.NOT_DUE


def _pieces(lines: Iterable[ReturnedLine]) -> tuple[StockLine, ...]:
    return stock_lines((line.sku, line.pieces) for line in lines)
