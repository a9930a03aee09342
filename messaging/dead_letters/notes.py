"""What the saga is told of messages that are put aside: its step is blocked, or goes on.

A blocked step is neither asked again nor given up. The question that a message asks, or answers,
is read from the message, or from the envelope of one that cannot be decoded.
"""

from typing import Literal
from uuid import UUID

from contracts.messages.base import SagaMessage, Step
from contracts.messages.inventory import ReservationDue
from contracts.messages.order import DeadlinePassed, StepBlocked, StepUnblocked
from messaging.delivery import Delivery

LARGEST_ROUND = 2**31 - 1
"""What a column holds; an envelope that says more is not one of ours."""

REMINDERS = (DeadlinePassed, ReservationDue)
"""They come again by themselves: without one of them its step goes on as if it had been handled."""

Note = StepBlocked | StepUnblocked


def blocked(delivery: Delivery, service: str, dead_letter_id: UUID) -> StepBlocked | None:
    """The note that a message waits behind this dead letter, or is it; None if no saga's."""
    asked = question(delivery)
    if asked is None:
        return None
    shop_id, checkout_id, step, round_ = asked
    return StepBlocked(
        shop_id=shop_id,
        checkout_id=checkout_id,
        step=step,
        round=round_,
        service=service,
        dead_letter_id=dead_letter_id,
    )


def unblocked(
    delivery: Delivery,
    service: str,
    dead_letter_id: UUID,
    outcome: Literal["replayed", "discarded"],
) -> StepUnblocked | None:
    """The note that a message was handled after all, or never will be; None if no saga's."""
    asked = question(delivery)
    if asked is None:
        return None
    if delivery.incoming is not None and isinstance(delivery.incoming.body, REMINDERS):
        outcome = "replayed"
    shop_id, checkout_id, step, round_ = asked
    return StepUnblocked(
        shop_id=shop_id,
        checkout_id=checkout_id,
        step=step,
        round=round_,
        service=service,
        dead_letter_id=dead_letter_id,
        outcome=outcome,
    )


def question(delivery: Delivery) -> tuple[str, UUID, Step, int] | None:
    """Shop, checkout, step and round that a message asks or answers; None if it is no saga's."""
    body = None if delivery.incoming is None else delivery.incoming.body
    if isinstance(body, StepBlocked | StepUnblocked):
        return None
    if isinstance(body, SagaMessage):
        return body.shop_id, body.checkout_id, body.step, body.round
    envelope = delivery.envelope
    if envelope is None or envelope.step is None or "\x00" in envelope.shop_id:
        return None
    if envelope.round is None or not 1 <= envelope.round <= LARGEST_ROUND:
        return None
    try:
        checkout_id, step = UUID(envelope.correlation_id), Step(envelope.step)
    except ValueError:
        return None
    return envelope.shop_id, checkout_id, step, envelope.round
