"""The order service put together: `python -m order_service.app`."""

from messaging.periodic import BackgroundTask, every
from messaging.service import Service, start
from order_service.api.after_sale import router as after_sale
from order_service.api.operations import router as operations
from order_service.api.payment_pages import router as payment_pages
from order_service.api.routes import router
from order_service.consumers import subscriptions
from order_service.documents.api import Press
from order_service.documents.api import router as documents
from order_service.handlers import SERVICE, CheckoutHandler
from order_service.settings import OrderSettings
from order_service.sweeper import count_states, note_deadlines


def build(settings: OrderSettings | None = None) -> Service:
    """The service on these settings, by default those of the environment; nothing runs yet."""
    settings = settings or OrderSettings()
    service = Service(
        SERVICE,
        settings,
        title="Trolley orders",
        subscriptions=subscriptions(CheckoutHandler(settings.policy(), settings.sellers)),
        routers=[operations, router, after_sale, payment_pages, documents],
        tasks=[
            BackgroundTask(
                "deadline-sweeper",
                every(settings.sweep_interval_seconds, note_deadlines(settings)),
            ),
            BackgroundTask("states", every(settings.states_interval_seconds, count_states)),
        ],
    )
    service.app.state.press = Press(settings.pdf_renders_at_once)
    return service


if __name__ == "__main__":
    start(build)
