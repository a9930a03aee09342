"""Which topic goes to which handler."""

from cart_service.handlers.read_models import AvailabilityHandler, CatalogHandler
from cart_service.handlers.saga import SagaHandler
from cart_service.settings import CartSettings
from contracts.topics import CART_COMMANDS, CATALOG_ITEMS, INVENTORY_AVAILABILITY
from messaging.delivery import Subscription


def subscriptions(settings: CartSettings) -> tuple[Subscription, ...]:
    """The topics that the cart service reads."""
    return (
        Subscription(CART_COMMANDS, SagaHandler(settings.limits, settings.payment_providers)),
        Subscription(CATALOG_ITEMS, CatalogHandler()),
        Subscription(INVENTORY_AVAILABILITY, AvailabilityHandler()),
    )
