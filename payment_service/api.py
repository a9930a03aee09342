"""The REST API of the payment service: operators look at payments.

Payments are made, closed and refunded by the saga; shoppers see theirs through their order.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from messaging.http.commands import ReadConnection
from messaging.http.problems import Problem
from messaging.http.tokens import Customer, require_role
from payment_service.domain.outcomes import NAMES, facts_of
from payment_service.domain.payment import Payment
from payment_service.store import payments as store

router = APIRouter(tags=["payments"])

Operator = Annotated[Customer, Depends(require_role("operator"))]


class AmountsView(BaseModel):
    """Amounts in minor units, as the ledger adds up."""

    authorized_minor: int
    captured_minor: int
    refund_pending_minor: int
    refunded_minor: int
    refundable_minor: int


class AttemptView(BaseModel):
    """One try to get the money; `details` are the facts of its status."""

    attempt: int
    status: str
    details: dict[str, Any]
    live: bool
    provider: str | None
    flow: str | None
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
