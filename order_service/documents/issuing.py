"""Which documents a decision calls for, of the saga or after the sale.

An order that is paid has an invoice of the payment that it keeps, and a receipt of it. A refund has
a credit note; money that goes back without ever having been invoiced is invoiced and receipted
first, so that every credit note corrects an invoice, and what is invoiced less what is credited is
what was kept.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from contracts.messages.base import Message
from contracts.messages.order import OrderPaid, OrderRefunded
from order_service.after_sale.facts import FIRST_ROUND, AfterSale
from order_service.checkout import Checkout
from order_service.checkout.facts import Order, Refund, RefundStatus, refund_id_of
from order_service.documents.domain import (
    Document,
    Head,
    Invoice,
    Line,
    Receipt,
    Seller,
    Share,
    buyer_of,
    credit_note,
    credit_note_id_of,
    in_part,
    lines_of,
    spread,
    whole,
)

Sellers = Mapping[str, Seller]
"""By shop; a shop that is not there has the `Seller` of no settings."""

NO_SELLERS: Sellers = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Draft:
    """A document to be issued, unless one of these was issued before."""

    document: Document
    unless: tuple[UUID, ...] = ()

    @property
    def key(self) -> UUID:
        """The document."""
        return self.document.id


def documents_due(
    checkout: Checkout,
    after: AfterSale | None,
    told: Iterable[Message],
    sellers: Sellers,
    now: datetime,
) -> Iterator[Draft]:
    """What is to be issued when an order has come to this, and these messages are told.

    `after` is what has happened after its sale, where that is what is told of.
    """
    for message in told:
        match message:
            case OrderPaid():
                kept = checkout.kept_attempt
                yield from _of_capture(checkout, kept.number if kept else 0, sellers, now)
            case OrderRefunded() if after is not None:
                yield from _of_claim(checkout, after, message, sellers, now)
            case OrderRefunded():
                yield from _of_refund(checkout, message.refund_id, sellers, now)


def _of_capture(
    checkout: Checkout, attempt: int, sellers: Sellers, now: datetime
) -> Iterator[Draft]:
    head = _head(checkout, sellers, now)
    yield Draft(Invoice(head, attempt, _lines_of_capture(checkout, attempt)))
    if attempt > 0:
        paid = checkout.attempts[attempt - 1]
        yield Draft(Receipt(head, attempt, paid.method.provider, checkout.brought_minor(paid)))


def _lines_of_capture(checkout: Checkout, attempt: int) -> tuple[Line, ...]:
    """What was captured for: the whole order, or shares of it where less was captured."""
    lines = lines_of(checkout.request.lines, checkout.request.shipping)
    short_minor = checkout.attempts[attempt - 1].short_minor if attempt > 0 else None
    return lines if short_minor is None else in_part(lines, short_minor)


def _of_refund(
    checkout: Checkout, refund_id: UUID, sellers: Sellers, now: datetime
) -> Iterator[Draft]:
    head = _head(checkout, sellers, now)
    refund = next(r for r in checkout.refunds if refund_id_of(checkout.id, r.number) == refund_id)
    for draft in _of_capture(checkout, refund.attempt, sellers, now):
        yield Draft(draft.document, unless=(draft.key,))
    lines = _lines_of_capture(checkout, refund.attempt)
    note = credit_note(
        head, refund.attempt, refund.number, lines, whole(lines), refund.amount_minor
    )
    yield Draft(note, unless=_credited_already(head.order_id, refund, checkout.refunds))


def _of_claim(
    checkout: Checkout, after: AfterSale, told: OrderRefunded, sellers: Sellers, now: datetime
) -> Iterator[Draft]:
    """The credit note of money that went back after the sale, once, however often it was tried."""
    claim = next(
        one
        for one in after.claims
        if told.refund_id in (one.refund_id, refund_id_of(checkout.id, one.round))
    )
    if not claim.credited:
        return
    for draft in _of_capture(checkout, claim.attempt, sellers, now):
        yield Draft(draft.document, unless=(draft.key,))
    request = checkout.request
    lines = lines_of(request.lines, request.shipping)
    shares: Sequence[Share] = [
        Share(
            line.line_no,
            line.quantity,
            line.net_minor,
            line.gross_minor - line.net_minor,
            line.gross_minor,
        )
        for line in told.lines
    ]
    if sum(share.gross_minor for share in shares) != told.amount_minor:
        shares = spread(lines, told.amount_minor)
    number = FIRST_ROUND - 1 + claim.number
    note = credit_note(
        _head(checkout, sellers, now), claim.attempt, number, lines, shares, told.amount_minor
    )
    yield Draft(note, unless=(note.id,))


def _credited_already(
    order_id: UUID, refund: Refund, refunds: Sequence[Refund]
) -> tuple[UUID, ...]:
    """Credit notes that this refund makes good on: a bank had sent the money of theirs back.

    The buyer was credited then, and is once.
    """
    return tuple(
        credit_note_id_of(order_id, earlier.number)
        for earlier in refunds[: refund.number - 1]
        if earlier.status is RefundStatus.FAILED
        and (earlier.attempt, earlier.amount_minor) == (refund.attempt, refund.amount_minor)
    )


def _head(checkout: Checkout, sellers: Sellers, now: datetime) -> Head:
    request, order = checkout.request, _order(checkout)
    return Head(
        shop_id=request.shop_id,
        order_id=order.id,
        order_number=order.number,
        currency=request.currency,
        seller=sellers.get(request.shop_id) or Seller(),
        buyer=buyer_of(request.shipping_address, request.email),
        issued_at=now,
    )


def _order(checkout: Checkout) -> Order:
    assert checkout.order is not None  # noqa: S101 - an order event was told of it
    return checkout.order
