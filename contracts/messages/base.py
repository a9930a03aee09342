"""The roots of all messages: what every message, saga message and event carries."""

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from contracts.shops import DEFAULT_SHOP
from contracts.topics import Topic

LARGEST_COUNT = 2**31 - 1

Count = Annotated[
    int,
    Field(ge=1, le=LARGEST_COUNT),
    WithJsonSchema({"type": "integer", "minimum": 1}),
]
"""Rounds, attempts and pieces, from 1 to what a 32-bit column holds.

The schema leaves the upper bound out: nobody can have written more, so that saying it now would
only look like a narrower message.
"""

Number = Annotated[int, Field(ge=0, le=LARGEST_COUNT), WithJsonSchema({"type": "integer"})]
"""Names one of several by a count, such as an attempt; bounded in the same way."""


class Value(BaseModel):
    """A part of messages: immutable; fields that a newer writer added are ignored.

    Errors do not tell the values that they are about: they come into logs.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Message(Value):
    """Something that travels: a command (imperative), a reply or an event (past tense).

    `type` is the CloudEvents type with its major version, `topic` where it travels. Within one
    major version fields are only ever added, with a default.
    """

    type: ClassVar[str]
    topic: ClassVar[Topic]

    shop_id: str = Field(DEFAULT_SHOP, min_length=1)

    @property
    def key(self) -> str:
        """The record key: messages of one key keep their order."""
        raise NotImplementedError

    @property
    def subject(self) -> str:
        """What the message is about (CloudEvents `subject`)."""
        return self.key

    @property
    def correlation_id(self) -> str:
        """What all messages of one story share: the checkout id where there is one."""
        return self.key


class AboutCheckout(Message):
    """A message about one checkout, by whose id it is keyed."""

    checkout_id: UUID

    @property
    def key(self) -> str:
        return str(self.checkout_id)


class Step(StrEnum):
    """A step of the checkout saga; with its round it names one question and its answer."""

    START = "start"
    RESERVE = "reserve"
    EXTEND = "extend"
    COMMIT = "commit"
    RELEASE = "release"
    CHARGE = "charge"
    CAPTURE = "capture"
    CLOSE_PAYMENT = "close_payment"
    REFUND = "refund"
    UNLOCK_CART = "unlock_cart"
    CLOSE_CART = "close_cart"
    RESTORE_LINES = "restore_lines"


class SagaMessage(AboutCheckout):
    """A command or reply of one checkout. (checkout id, step, round) names its effect.

    A re-send is a new message with the same three; the round grows only when the same step is
    done anew, as reserving again after a release is.
    """

    step: Step
    round: Count = 1


class SagaCommand(SagaMessage):
    """What the saga asks of a service, and the cart of the saga: answered until acknowledged."""


class SagaReply(SagaMessage):
    """An answer: recorded by its sender, and given again under its first id when asked again."""


class Event(Message):
    """A public fact. `event_seq` counts the events of one aggregate from 1, without gaps."""

    event_seq: int
