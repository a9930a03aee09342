"""Which topic goes to which handler."""

from contracts.topics import ORDER_COMMANDS, ORDER_REPLIES
from messaging.delivery import Subscription
from order_service.handlers import CheckoutHandler


def subscriptions(handler: CheckoutHandler) -> tuple[Subscription, ...]:
    """What the saga listens to; the two topics are not ordered relative to each other."""
    return (Subscription(ORDER_COMMANDS, handler), Subscription(ORDER_REPLIES, handler))
