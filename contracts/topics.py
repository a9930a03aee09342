"""Every topic, declared once: its key, size, retention and who may write to it.

`trolley topics apply` creates them; brokers have auto-creation off. Names here are logical:
a runtime may put one prefix before all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS

TRAFFIC_PARTITIONS = 4
"""One partition leaves half of a small machine idle; the count bounds the replicas of a service."""

LARGEST_RECORD_BYTES = 2 * 1024 * 1024
"""A cart of 1,000 lines with names, discounts and taxes needs about half of this."""

DEAD_LETTER_HEADROOM_BYTES = 64 * 1024
"""Room for what a dead letter says about its record beyond the record itself."""

COMMAND_RETENTION_MS = 7 * DAY_MS
EVENT_RETENTION_MS = 30 * DAY_MS

SERVICES = ("catalog", "cart", "inventory", "order", "payment")


Lane = Literal["plain", "transactional"]
"""How a topic is written: at least once, or once for who reads committed records only."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as Trolley declares it.

    `largest_record_bytes` bounds key, value and headers of what our own writers send and what
    our readers accept. The broker itself takes twice as much, so that a foreign writer's
    oversized record reaches our dead letters rather than failing where nobody of ours sees it.
    """

    name: str
    key: str
    writers: tuple[str, ...]
    partitions: int = TRAFFIC_PARTITIONS
    retention_ms: int | None = COMMAND_RETENTION_MS
    cleanup: Literal["delete", "compact"] = "delete"
    largest_record_bytes: int = LARGEST_RECORD_BYTES
    public: bool = False
    lane: Lane = "plain"
    segment_bytes: int | None = None
    """How much of a compacted topic stays uncompacted; None leaves it to the broker."""

    @property
    def broker_max_message_bytes(self) -> int:
        """The broker's `max.message.bytes` of this topic."""
        return 2 * self.largest_record_bytes


def _commands(service: str, *writers: str) -> Topic:
    return Topic(f"{service}.commands", key="checkout id", writers=(service, *writers))


def _events(service: str, key: str) -> Topic:
    return Topic(
        f"{service}.events",
        key=key,
        writers=(service,),
        retention_ms=EVENT_RETENTION_MS,
        public=True,
        lane="transactional",
    )


ORDER_COMMANDS = _commands("order", "cart", "inventory")
INVENTORY_COMMANDS = _commands("inventory", "order")
PAYMENT_COMMANDS = _commands("payment", "order")
CART_COMMANDS = _commands("cart", "order")
ORDER_REPLIES = Topic("order.replies", key="checkout id", writers=("cart", "inventory", "payment"))

ORDER_EVENTS = _events("order", "order id")
INVENTORY_EVENTS = _events("inventory", "shop/SKU")
PAYMENT_EVENTS = _events("payment", "payment id")
CART_EVENTS = _events("cart", "cart id")

CATALOG_ITEMS = Topic(
    "catalog.items",
    key="shop/SKU",
    writers=("catalog",),
    retention_ms=None,
    cleanup="compact",
    public=True,
)
INVENTORY_AVAILABILITY = Topic(
    "inventory.availability",
    key="shop/SKU",
    writers=("inventory",),
    retention_ms=None,
    cleanup="compact",
    public=True,
)

RELAY_POSITIONS = Topic(
    "relay.positions",
    key="transactional id",
    writers=SERVICES,
    partitions=1,
    retention_ms=None,
    cleanup="compact",
    segment_bytes=8 * 1024 * 1024,  # who takes over reads what is not compacted
)


def dead_letter_topic(service: str) -> Topic:
    """The published copy of a service's dead letters; the table in its database is the truth."""
    return Topic(
        f"{service}.dead-letters",
        key="key of the dead record",
        writers=(service,),
        partitions=1,
        retention_ms=EVENT_RETENTION_MS,
        largest_record_bytes=2 * LARGEST_RECORD_BYTES + DEAD_LETTER_HEADROOM_BYTES,
    )


def replay_topic(service: str) -> Topic:
    """Where an operator's replays travel, so that the shared topic never sees one.

    One partition, so that they take their turns; a record names a dead letter.
    """
    return Topic(f"{service}.replays", key="dead letter id", writers=(service,), partitions=1)


TOPICS: tuple[Topic, ...] = (
    ORDER_COMMANDS,
    ORDER_REPLIES,
    ORDER_EVENTS,
    INVENTORY_COMMANDS,
    INVENTORY_EVENTS,
    PAYMENT_COMMANDS,
    PAYMENT_EVENTS,
    CART_COMMANDS,
    CART_EVENTS,
    CATALOG_ITEMS,
    INVENTORY_AVAILABILITY,
    RELAY_POSITIONS,
    *(dead_letter_topic(service) for service in SERVICES),
    *(replay_topic(service) for service in SERVICES),
)

TOPICS_BY_NAME: Mapping[str, Topic] = MappingProxyType({topic.name: topic for topic in TOPICS})
