"""The relay's own record on `relay.positions`."""

from typing import ClassVar
from uuid import UUID

from contracts.messages.base import Message
from contracts.topics import RELAY_POSITIONS, Topic


class RelayPosition(Message):
    """Exactly the outbox rows that one Kafka transaction published.

    A row is named by its id and its message's: after a restore of the database the same id may
    stand for another message.
    """

    type: ClassVar[str] = "relay.position.v1"
    topic: ClassVar[Topic] = RELAY_POSITIONS

    transactional_id: str
    outbox_ids: tuple[int, ...]
    message_ids: tuple[UUID, ...] = ()

    @property
    def key(self) -> str:
        return self.transactional_id
