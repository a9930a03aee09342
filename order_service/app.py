"""The order service put together: `python -m order_service.app`."""

from messaging.periodic import BackgroundTask, every
from messaging.service import Service
from order_service.api.operations import router as operations
from order_service.api.routes import router
from order_service.consumers import subscriptions
from order_service.handlers import SERVICE, CheckoutHandler
from order_service.settings import OrderSettings
from order_service.sweeper import count_states, note_deadlines


def build(settings: OrderSettings | None = None) -> Service:
    """The service on these settings, by default those of the environment; nothing runs yet."""
    settings = settings or OrderSettings()
    return Service(
        SERVICE,
        settings,
        title="Trolley orders",
        subscriptions=subscriptions(CheckoutHandler(settings.policy())),
        routers=[operations, router],
        tasks=[
            BackgroundTask(
                "deadline-sweeper",
                every(settings.sweep_interval_seconds, note_deadlines(settings)),
            ),
            BackgroundTask("states", every(settings.states_interval_seconds, count_states)),
        ],
    )


if __name__ == "__main__":
    build().run()
