"""Which topic goes to which handler."""

from contracts.topics import PAYMENT_COMMANDS
from messaging.delivery import Subscription
from payment_service.handlers import PaymentHandler


def subscriptions(handler: PaymentHandler) -> tuple[Subscription, ...]:
    """The subscriptions of the payment service."""
    return (Subscription(PAYMENT_COMMANDS, handler),)
