"""How checkouts and orders are shown."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from typing_extensions import TypedDict

from contracts.ids import first_id_at
from order_service.after_sale import AfterSale
from order_service.checkout import Checkout, State
from order_service.checkout.facts import Attempt, Refund, Shipment

RECEIVED = "received"
"""The state of a checkout that the cart has issued and the saga has not seen yet."""


class ShortageView(TypedDict):
    """A line that stock could not serve, and what was left."""

    sku: str
    requested: int
    available: int


class NextActionView(TypedDict):
    """What the shopper must do before the attempt can go on: at `url`, or on the shop's own page.

    There the provider's script goes on by `client_secret`; Stripe.js: `handleNextAction`.
    """

    type: str
    url: str | None
    expires_at: datetime | None
    client_secret: str | None


class AttemptView(TypedDict):
    """One attempt to pay.

    `code` says why it ended without money, in the provider's words or in ours. One of ours is
    `provider_unavailable`: the provider does not answer at present, so it was not asked and nothing
    was charged. The order is kept, and may be paid later or otherwise until its window closes.
    `retryable`: the same again may work. `same_method_allowed`: the method may be used again.
    `needs_shopper`: declined because the bank wants the shopper to confirm it. Who is there can pay
    with a token or on the provider's page; who is not, by a link.
    """

    attempt: int
    status: str
    provider: str
    code: str | None
    retryable: bool
    same_method_allowed: bool
    needs_shopper: bool
    next_action: NextActionView | None


class RefundView(TypedDict):
    """All the money of an attempt on its way back, because the order was given up or paid twice."""

    refund: int
    amount_minor: int
    status: str


class ClaimedLineView(TypedDict):
    """What a refund takes of one line: money, for so many pieces or for none in particular."""

    line_no: int
    pieces: int
    amount_minor: int


class ClaimView(TypedDict):
    """Money of a paid order that goes back; `origin` is asked, return, or provider."""

    refund: int
    amount_minor: int
    status: str
    code: str | None
    origin: str
    reason: str
    lines: list[ClaimedLineView]


class ShippedLineView(TypedDict):
    """Pieces of one line in a shipment."""

    line_no: int
    pieces: int


class ShipmentView(TypedDict):
    """Goods that have left the house; without lines it was the whole order."""

    shipment: int
    carrier: str
    tracking: str
    left_at: datetime | None
    lines: list[ShippedLineView]


class ReturnedLineView(TypedDict):
    """Pieces that came back, or never left; `shipped` of them had left the house."""

    line_no: int
    sku: str
    pieces: int
    write_off: bool
    shipped: int


class ReturnView(TypedDict):
    """Goods that came back; `refund` is the number of the money's refund."""

    return_number: int
    lines: list[ReturnedLineView]
    reason: str
    refund: int | None
    booked: bool


class DisputeView(TypedDict):
    """Money that the shopper's bank has withdrawn: open, won or lost."""

    dispute_id: str
    amount_minor: int
    status: str


class AfterSaleView(TypedDict):
    """What happened to an order after it was paid for; amounts in minor units."""

    refunded_minor: int
    refund_pending_minor: int
    disputed_minor: int
    dispute_lost_minor: int
    refundable_minor: int
    needs_attention: bool
    refunds: list[ClaimView]
    returns: list[ReturnView]
    disputes: list[DisputeView]


class WaitView(TypedDict):
    """An answer that the saga waits for."""

    step: str
    round: int
    sends: int
    due_at: datetime
    hold: str | None


class EntryView(TypedDict):
    """What came to a checkout, and what became of it."""

    at: datetime
    message: str
    step: str | None
    round: int | None
    outcome: str
    state: str
    note: str


class CheckoutView(TypedDict):
    """A checkout: its state, what it waits for and what happened, oldest first.

    `final` says that nothing more will happen by itself. `late` and `blocked` are flags.
    """

    checkout_id: UUID
    state: str
    final: bool
    late: bool
    blocked: bool
    reason: str | None
    order_id: UUID | None
    order_number: str | None
    currency: str | None
    total_minor: int | None
    window_closes_at: datetime | None
    shortages: list[ShortageView]
    attempts: list[AttemptView]
    waits: list[WaitView]
    history: list[EntryView]


class LineView(TypedDict):
    """A line of an order."""

    sku: str
    name: str
    quantity: int
    unit_price_minor: int
    net_minor: int
    gross_minor: int
    discounts: list[Any]
    taxes: list[Any]


class ShippingView(TypedDict):
    """A shipping cost of an order."""

    method: str
    name: str
    quantity: int
    unit_price_minor: int
    net_minor: int
    gross_minor: int
    discounts: list[Any]
    taxes: list[Any]


class OrderSummaryView(TypedDict):
    """An order in a list."""

    order_id: UUID
    checkout_id: UUID
    number: str
    currency: str
    total_minor: int
    payment_status: str
    fulfilment_status: str
    return_status: str
    placed_at: datetime


class OrderView(OrderSummaryView):
    """An order with all that belongs to it; the timeline is the checkout's, oldest first."""

    state: str
    email: str
    shipping_address: Any
    window_closes_at: datetime | None
    lines: list[LineView]
    shipping: list[ShippingView]
    attempts: list[AttemptView]
    refunds: list[RefundView]
    shipments: list[ShipmentView]
    after_sale: AfterSaleView
    timeline: list[EntryView]


class PaymentLinkView(TypedDict):
    """A link to pay an order by, for whoever has it, until `expires_at`."""

    url: str
    expires_at: datetime


class OrderPage(TypedDict):
    """Some of a customer's orders, the newest first."""

    items: list[OrderSummaryView]
    next_cursor: str | None


def attempt_view(attempt: Attempt) -> AttemptView:
    """An attempt, without the token of its method."""
    action = attempt.next_action
    return AttemptView(
        attempt=attempt.number,
        status=attempt.status.value,
        provider=attempt.method.provider,
        code=attempt.code,
        retryable=attempt.retryable,
        same_method_allowed=attempt.same_method_allowed,
        needs_shopper=attempt.needs_shopper,
        next_action=None
        if action is None
        else NextActionView(
            type=action.type,
            url=action.url,
            expires_at=action.expires_at,
            client_secret=action.client_secret,
        ),
    )


def _refund_view(refund: Refund) -> RefundView:
    return RefundView(
        refund=refund.number, amount_minor=refund.amount_minor, status=refund.status.value
    )


def _shipment_view(number: int, shipment: Shipment) -> ShipmentView:
    return ShipmentView(
        shipment=number,
        carrier=shipment.carrier,
        tracking=shipment.tracking,
        left_at=shipment.left_at,
        lines=[ShippedLineView(line_no=one.line_no, pieces=one.pieces) for one in shipment.lines],
    )


def entry_view(row: Any) -> EntryView:
    """An entry of the history."""
    return EntryView(
        at=row.at,
        message=row.message_type,
        step=row.step,
        round=row.round,
        outcome=row.outcome,
        state=row.state,
        note=row.note,
    )


def unbegun_view(checkout_id: UUID, *, cancelled: bool, late_since: datetime) -> CheckoutView:
    """A checkout that has not begun: it is on its way, or was cancelled before it came.

    One on its way is late when it was issued before `late_since`: its id, a UUIDv7, says when.
    """
    return CheckoutView(
        checkout_id=checkout_id,
        state=State.CANCELLED if cancelled else RECEIVED,
        final=cancelled,
        late=not cancelled and checkout_id < first_id_at(late_since),
        blocked=False,
        reason=None,
        order_id=None,
        order_number=None,
        currency=None,
        total_minor=None,
        window_closes_at=None,
        shortages=[],
        attempts=[],
        waits=[],
        history=[],
    )


def checkout_view(checkout: Checkout, history: Sequence[Any]) -> CheckoutView:
    """A checkout that has begun."""
    return CheckoutView(
        checkout_id=checkout.id,
        state=checkout.state.value,
        final=checkout.final,
        late=checkout.late,
        blocked=checkout.blocked,
        reason=None if checkout.giving_up is None else checkout.giving_up.value,
        order_id=None if checkout.order is None else checkout.order.id,
        order_number=None if checkout.order is None else checkout.order.number,
        currency=checkout.request.currency,
        total_minor=checkout.request.total_minor,
        window_closes_at=checkout.window_closes_at,
        shortages=[
            ShortageView(sku=each.sku, requested=each.requested, available=each.available)
            for each in checkout.shortages
        ],
        attempts=[attempt_view(attempt) for attempt in checkout.attempts],
        waits=[
            WaitView(
                step=wait.step.value,
                round=wait.round,
                sends=wait.sends,
                due_at=wait.due_at,
                hold=None if wait.hold is None else wait.hold.value,
            )
            for wait in checkout.waits
        ],
        history=[entry_view(row) for row in history],
    )


def summary_view(row: Any) -> OrderSummaryView:
    """An order as it stands in the table."""
    return OrderSummaryView(
        order_id=row.order_id,
        checkout_id=row.checkout_id,
        number=row.number,
        currency=row.currency,
        total_minor=row.total_minor,
        payment_status=row.payment_status,
        fulfilment_status=row.fulfilment_status,
        return_status=row.return_status,
        placed_at=row.placed_at,
    )


def after_sale_view(after: AfterSale, checkout: Checkout) -> AfterSaleView:
    """What happened to the order of a checkout after it was paid for."""
    is_sold = checkout.giving_up is None
    return AfterSaleView(
        refunded_minor=after.refunded_minor,
        refund_pending_minor=after.refund_pending_minor,
        disputed_minor=after.disputed_minor,
        dispute_lost_minor=after.dispute_lost_minor,
        refundable_minor=after.rest_of(checkout.kept_minor) if is_sold else 0,
        needs_attention=after.needs_attention,
        refunds=[
            ClaimView(
                refund=claim.number,
                amount_minor=claim.amount_minor,
                status=claim.status.value,
                code=claim.code,
                origin=claim.origin.value,
                reason=claim.reason,
                lines=[
                    ClaimedLineView(
                        line_no=line.line_no, pieces=line.pieces, amount_minor=line.amount_minor
                    )
                    for line in claim.lines
                ],
            )
            for claim in after.claims
        ],
        returns=[
            ReturnView(
                return_number=each.number,
                lines=[
                    ReturnedLineView(
                        line_no=line.line_no,
                        sku=line.sku,
                        pieces=line.pieces,
                        write_off=line.write_off,
                        shipped=line.shipped,
                    )
                    for line in each.lines
                ],
                reason=each.reason,
                refund=each.claim,
                booked=each.booked,
            )
            for each in after.returns
        ],
        disputes=[
            DisputeView(
                dispute_id=dispute.id, amount_minor=dispute.amount_minor, status=dispute.status
            )
            for dispute in after.disputes
        ],
    )


def order_view(
    checkout: Checkout, after: AfterSale, lines: Sequence[Any], history: Sequence[Any]
) -> OrderView:
    """The order that a checkout has become."""
    order = checkout.order
    assert order is not None  # noqa: S101 - its caller found the order
    return OrderView(
        order_id=order.id,
        checkout_id=checkout.id,
        number=order.number,
        currency=checkout.request.currency,
        total_minor=checkout.request.total_minor,
        payment_status=checkout.payment_status.value,
        fulfilment_status=order.fulfilment.value,
        return_status=order.returned.value,
        placed_at=order.placed_at,
        state=checkout.state.value,
        email=checkout.request.email,
        shipping_address=checkout.request.shipping_address.model_dump(mode="json"),
        window_closes_at=checkout.window_closes_at,
        lines=[_line_view(row) for row in lines if row.sku is not None],
        shipping=[_shipping_view(row) for row in lines if row.method is not None],
        attempts=[attempt_view(attempt) for attempt in checkout.attempts],
        refunds=[_refund_view(refund) for refund in checkout.refunds],
        shipments=[
            _shipment_view(number, shipment)
            for number, shipment in enumerate(order.shipments, start=1)
        ],
        after_sale=after_sale_view(after, checkout),
        timeline=[entry_view(row) for row in history],
    )


def _line_view(row: Any) -> LineView:
    return LineView(
        sku=row.sku,
        name=row.name,
        quantity=row.quantity,
        unit_price_minor=row.unit_price_minor,
        net_minor=row.net_minor,
        gross_minor=row.gross_minor,
        discounts=row.discounts,
        taxes=row.taxes,
    )


def _shipping_view(row: Any) -> ShippingView:
    return ShippingView(
        method=row.method,
        name=row.name,
        quantity=row.quantity,
        unit_price_minor=row.unit_price_minor,
        net_minor=row.net_minor,
        gross_minor=row.gross_minor,
        discounts=row.discounts,
        taxes=row.taxes,
    )
