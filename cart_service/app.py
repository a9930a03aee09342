"""Builds the cart service; `python -m cart_service.app` runs it."""

from cart_service.api.routes import SERVICE, router
from cart_service.consumers import subscriptions
from cart_service.settings import CartSettings
from cart_service.sweeper import count_unanswered, resend_starts
from messaging.periodic import BackgroundTask, every
from messaging.service import Service, start


def build(settings: CartSettings | None = None) -> Service:
    """The service, ready to run; settings come from the environment unless given."""
    settings = settings or CartSettings()
    resend = resend_starts(SERVICE, settings.terms, settings.start_resend_batch_rows)
    unanswered = count_unanswered(settings.start_unanswered_sends)
    return Service(
        SERVICE,
        settings,
        title="Trolley carts",
        subscriptions=subscriptions(settings),
        routers=[router],
        tasks=[
            BackgroundTask("start-resender", every(settings.sweep_interval_seconds, resend)),
            BackgroundTask("unanswered", every(settings.unanswered_interval_seconds, unanswered)),
        ],
    )


if __name__ == "__main__":
    start(build)
