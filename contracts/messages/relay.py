"""The relay's own record on `relay.positions`."""

from typing import ClassVar

from contracts.messages.base import Message
from contracts.topics import RELAY_POSITIONS, Topic


class RelayPosition(Message):
    """Exactly the outbox ids that one Kafka transaction published."""

    type: ClassVar[str] = "relay.position.v1"
    topic: ClassVar[Topic] = RELAY_POSITIONS

    transactional_id: str
    outbox_ids: tuple[int, ...]

    @property
    def key(self) -> str:
        return self.transactional_id
