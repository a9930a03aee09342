"""What an operator asks of a service that has dead letters; each service reads its own."""

from typing import ClassVar
from uuid import UUID

from contracts.messages.base import Message
from contracts.topics import Topic, replay_topic


class ReplayDeadLetter(Message):
    """It is this dead letter's turn: to be handled again, or to be discarded, as its row says."""

    dead_letter_id: UUID

    @property
    def key(self) -> str:
        return str(self.dead_letter_id)


class ReplayCartDeadLetter(ReplayDeadLetter):
    """A turn of a dead letter of the cart service."""

    type: ClassVar[str] = "cart.replay_dead_letter.v1"
    topic: ClassVar[Topic] = replay_topic("cart")


class ReplayCatalogDeadLetter(ReplayDeadLetter):
    """A turn of a dead letter of the catalog service."""

    type: ClassVar[str] = "catalog.replay_dead_letter.v1"
    topic: ClassVar[Topic] = replay_topic("catalog")


class ReplayInventoryDeadLetter(ReplayDeadLetter):
    """A turn of a dead letter of the inventory service."""

    type: ClassVar[str] = "inventory.replay_dead_letter.v1"
    topic: ClassVar[Topic] = replay_topic("inventory")


class ReplayOrderDeadLetter(ReplayDeadLetter):
    """A turn of a dead letter of the order service."""

    type: ClassVar[str] = "order.replay_dead_letter.v1"
    topic: ClassVar[Topic] = replay_topic("order")


class ReplayPaymentDeadLetter(ReplayDeadLetter):
    """A turn of a dead letter of the payment service."""

    type: ClassVar[str] = "payment.replay_dead_letter.v1"
    topic: ClassVar[Topic] = replay_topic("payment")
