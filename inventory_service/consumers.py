"""Which topic goes to which handler."""

from contracts.topics import INVENTORY_COMMANDS
from inventory_service.handlers import StockHandler
from messaging.delivery import Subscription


def subscriptions() -> tuple[Subscription, ...]:
    """What inventory listens to."""
    return (Subscription(INVENTORY_COMMANDS, StockHandler()),)
