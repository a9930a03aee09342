"""What travels in the rig: JSON under the id of a checkout, on topics of four partitions."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

PARTITIONS = 4
"""One leaves half of a small machine idle."""

ORDER_COMMANDS, ORDER_REPLIES = "order.commands", "order.replies"
INVENTORY_COMMANDS, PAYMENT_COMMANDS = "inventory.commands", "payment.commands"
TOPICS = (ORDER_COMMANDS, ORDER_REPLIES, INVENTORY_COMMANDS, PAYMENT_COMMANDS)


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `id` is what an inbox knows it by."""

    topic: str
    checkout: UUID
    kind: str
    content: dict[str, Any] = field(default_factory=dict)
    id: UUID = field(default_factory=uuid7)

    @property
    def partition(self) -> int:
        """The same for all messages of a checkout, on every topic."""
        return self.checkout.int % PARTITIONS

    def value(self) -> bytes:
        """The value of its record."""
        return orjson.dumps([self.id.hex, self.checkout.hex, self.kind, self.content])


def read(topic: str, value: bytes) -> Message:
    """The message of a record."""
    number, checkout, kind, content = orjson.loads(value)
    return Message(topic, UUID(checkout), kind, content, UUID(number))
