"""Every message that travels, and how a record's type finds its class."""

from collections.abc import Mapping
from types import MappingProxyType

from contracts.messages import cart, catalog, inventory, order, payment, relay, replays
from contracts.messages.base import Message

MESSAGES: tuple[type[Message], ...] = tuple(
    sorted(
        (
            value
            for module in (cart, catalog, inventory, order, payment, relay, replays)
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, Message) and "type" in vars(value)
        ),
        key=lambda message: message.type,
    )
)
"""All message classes, sorted by type."""

MESSAGES_BY_TYPE: Mapping[str, type[Message]] = MappingProxyType(
    {message.type: message for message in MESSAGES}
)
