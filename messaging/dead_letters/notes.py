"""What the saga is told of messages that are put aside: its step is blocked, or goes on.

A blocked step is neither asked again nor given up. The question that a message asks, or answers,
is read from the message, or from the envelope of one that cannot be decoded.
"""

from typing import Literal, TypedDict
from uuid import UUID

from contracts.messages import MESSAGES
from contracts.messages.base import LARGEST_COUNT, SagaMessage, SagaReply, Step
from contracts.messages.inventory import ReservationDue
from contracts.messages.order import DeadlinePassed, StepBlocked, StepUnblocked
from messaging.delivery import Delivery

REMINDERS = (DeadlinePassed, ReservationDue)
"""They come again by themselves: without one of them its step goes on as if it had been handled."""

Note = StepBlocked | StepUnblocked


def _without_version(message_type: str) -> str:
    return message_type.rpartition(".v")[0]


_ANSWERS = frozenset(_without_version(one.type) for one in MESSAGES if issubclass(one, SagaReply))


def blocked(delivery: Delivery, service: str, dead_letter_id: UUID) -> StepBlocked | None:
    """The note that a message waits behind this dead letter, or is it; None if no saga's."""
    asked = question(delivery)
    if asked is None:
        return None
    return StepBlocked(service=service, dead_letter_id=dead_letter_id, **asked)


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
    return StepUnblocked(service=service, dead_letter_id=dead_letter_id, outcome=outcome, **asked)


def is_answer(delivery: Delivery) -> bool:
    """Is it the answer to a question of a saga, by its name, of whatever version?

    Its sender gives it again under the same id whenever it is asked again.
    """
    return _without_version(delivery.type or "") in _ANSWERS


class Question(TypedDict):
    """What a message of a saga asks or answers."""

    shop_id: str
    checkout_id: UUID
    step: Step
    round: int


def question(delivery: Delivery) -> Question | None:
    """What a message asks or answers; None if it is no saga's."""
    body = None if delivery.incoming is None else delivery.incoming.body
    if isinstance(body, StepBlocked | StepUnblocked):
        return None
    if isinstance(body, SagaMessage):
        return Question(
            shop_id=body.shop_id, checkout_id=body.checkout_id, step=body.step, round=body.round
        )
    envelope = delivery.envelope
    if envelope is None or envelope.step is None:
        return None
    if envelope.round is None or not 1 <= envelope.round <= LARGEST_COUNT:
        return None
    try:
        checkout_id, step = UUID(envelope.correlation_id), Step(envelope.step)
    except ValueError:
        return None
    return Question(
        shop_id=envelope.shop_id, checkout_id=checkout_id, step=step, round=envelope.round
    )
