"""The REST API of the payment service: operators look at payments, and at their providers.

Payments are made, closed and refunded by the saga; shoppers see theirs through their order.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from messaging.clock import utc_now
from messaging.http.commands import ReadConnection
from messaging.http.problems import Problem
from messaging.http.tokens import Customer, require_role
from payment_service.domain.outcomes import NAMES, facts_of
from payment_service.domain.payment import Payment
from payment_service.lane import LaneState
from payment_service.store import payments as store
from payment_service.store.operations import waiting

router = APIRouter(tags=["payments"])

Operator = Annotated[Customer, Depends(require_role("operator"))]


class AmountsView(BaseModel):
    """Amounts in minor units, as the ledger adds up."""

    authorized_minor: int
    captured_minor: int
    refund_pending_minor: int
    refunded_minor: int
    disputed_minor: int
    dispute_lost_minor: int
    over_refunded_minor: int
    refundable_minor: int


class AttemptView(BaseModel):
    """One try to get the money; `details` are the facts of its status."""

    attempt: int
    status: str
    details: dict[str, Any]
    live: bool
    provider: str | None
    flow: str | None
    hosted: bool
    amount_minor: int
    charge_key: str
    provider_payment_id: str | None
    window_closes_at: datetime | None
    close_reason: str | None
    created_at: datetime


class RefundView(BaseModel):
    """Money to be given back."""

    refund_id: UUID
    attempt: int
    status: str
    details: dict[str, Any]
    amount_minor: int
    reason: str
    created_at: datetime


class OperationView(BaseModel):
    """Something wanted of the provider; open while due, leased or reported."""

    operation_id: UUID
    attempt: int
    refund_id: UUID | None
    kind: str
    idempotency_key: str
    status: str
    next_call: str
    claimable_at: datetime
    makes: int
    asks: int
    created_at: datetime


class FactView(BaseModel):
    """An entry of the ledger."""

    seq: int
    attempt: int
    kind: str
    amount_minor: int
    currency: str
    refund_id: UUID | None
    provider_reference: str | None
    recorded_at: datetime


class PaymentView(BaseModel):
    """A payment with everything that is known of it."""

    payment_id: UUID
    checkout_id: UUID
    order_id: UUID | None
    customer_id: str | None
    currency: str | None
    status: str
    amounts: AmountsView
    attempts: list[AttemptView]
    refunds: list[RefundView]
    operations: list[OperationView]
    ledger: list[FactView]
    created_at: datetime


class PaymentList(BaseModel):
    """The payments of an order."""

    items: list[PaymentView]


class ProviderView(BaseModel):
    """A provider, as the replica that answers sees it; what waits is the same for all replicas.

    `breaker` is closed while it is called as ever, open until `open_until`, then half_open while a
    few calls try it; it has opened `trips` times since it was closed. `requests_per_second` is what
    refusals have left of its rate, None where it has no limit. `waiting` operations are due, the
    first of them since `waiting_since`.
    """

    provider: str
    breaker: str
    open_until: datetime | None
    trips: int
    requests_per_second: float | None
    waiting: int
    waiting_since: datetime | None


class ProviderList(BaseModel):
    """The providers of this service."""

    items: list[ProviderView]


def providers_router(lanes: Callable[[], Sequence[LaneState]]) -> APIRouter:
    """What operators see of the providers. It goes before `router`: no payment has this name."""
    router = APIRouter(tags=["payments"])

    @router.get("/payments/providers")
    async def providers(connection: ReadConnection, operator: Operator) -> ProviderList:
        """How each provider is called, and what waits for it."""
        due = await waiting(connection, utc_now())
        return ProviderList(
            items=[
                ProviderView(
                    provider=lane.provider,
                    breaker=lane.breaker,
                    open_until=lane.until,
                    trips=lane.trips,
                    requests_per_second=lane.requests_per_second,
                    waiting=due[lane.provider].operations if lane.provider in due else 0,
                    waiting_since=due[lane.provider].since if lane.provider in due else None,
                )
                for lane in lanes()
            ]
        )

    return router


@router.get("/payments/{payment_id}")
async def payment(payment_id: UUID, connection: ReadConnection, operator: Operator) -> PaymentView:
    """A payment of the operator's shop."""
    found = _of_shop(await store.load_payments(connection, [payment_id]), operator.shop)
    if not found:
        raise Problem(404, "unknown-payment", "There is no such payment")
    return _view(found[0])


@router.get("/payments")
async def payments(order_id: UUID, connection: ReadConnection, operator: Operator) -> PaymentList:
    """The payments of an order: none before its first attempt."""
    ids = await store.payments_of_order(connection, operator.shop, order_id)
    found = _of_shop(await store.load_payments(connection, ids), operator.shop)
    return PaymentList(items=[_view(payment) for payment in found])


def _of_shop(payments: Sequence[Payment], shop_id: str) -> list[Payment]:
    return [payment for payment in payments if payment.shop_id == shop_id]


def _view(payment: Payment) -> PaymentView:
    return PaymentView(
        payment_id=payment.payment_id,
        checkout_id=payment.checkout_id,
        order_id=payment.order_id,
        customer_id=payment.customer_id,
        currency=payment.currency,
        status=payment.status,
        amounts=AmountsView(
            authorized_minor=payment.amounts.authorized_minor,
            captured_minor=payment.amounts.captured_minor,
            refund_pending_minor=payment.amounts.refund_pending_minor,
            refunded_minor=payment.amounts.refunded_minor,
            disputed_minor=payment.amounts.disputed_minor,
            dispute_lost_minor=payment.amounts.dispute_lost_minor,
            over_refunded_minor=payment.amounts.over_refunded_minor,
            refundable_minor=payment.amounts.refundable_minor,
        ),
        attempts=[
            AttemptView(
                attempt=attempt.number,
                status=NAMES[type(attempt.state)],
                details=facts_of(attempt.state),
                live=attempt.is_live,
                provider=attempt.method and attempt.method.provider,
                flow=attempt.method and attempt.method.flow,
                hosted=attempt.method is not None and attempt.method.hosted,
                amount_minor=attempt.amount_minor,
                charge_key=attempt.charge_key,
                provider_payment_id=attempt.provider_payment_id,
                window_closes_at=attempt.window_closes_at,
                close_reason=attempt.close_reason,
                created_at=attempt.created_at,
            )
            for attempt in payment.attempts
        ],
        refunds=[
            RefundView(
                refund_id=refund.refund_id,
                attempt=refund.attempt,
                status=NAMES[type(refund.state)],
                details=facts_of(refund.state),
                amount_minor=refund.amount_minor,
                reason=refund.reason,
                created_at=refund.created_at,
            )
            for refund in payment.refunds
        ],
        operations=[
            OperationView(
                operation_id=operation.operation_id,
                attempt=operation.attempt,
                refund_id=operation.refund_id,
                kind=operation.kind,
                idempotency_key=operation.idempotency_key,
                status=operation.status,
                next_call=operation.next_call,
                claimable_at=operation.claimable_at,
                makes=operation.makes,
                asks=operation.asks,
                created_at=operation.created_at,
            )
            for operation in payment.operations
        ],
        ledger=[
            FactView(
                seq=fact.seq,
                attempt=fact.attempt,
                kind=fact.kind,
                amount_minor=fact.amount_minor,
                currency=fact.currency,
                refund_id=fact.refund_id,
                provider_reference=fact.provider_reference,
                recorded_at=fact.recorded_at,
            )
            for fact in payment.ledger
        ],
        created_at=payment.created_at,
    )
