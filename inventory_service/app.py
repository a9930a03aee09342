"""The inventory service put together: `python -m inventory_service.app`."""

from inventory_service.api.routes import bookings, router
from inventory_service.consumers import subscriptions
from inventory_service.handlers import SERVICE
from inventory_service.settings import InventorySettings
from inventory_service.sweeper import ask_about_due
from messaging.periodic import BackgroundTask, every
from messaging.service import Service, start


def build(settings: InventorySettings | None = None) -> Service:
    """The service on these settings, by default those of the environment; nothing runs yet."""
    settings = settings or InventorySettings()
    return Service(
        SERVICE,
        settings,
        title="Trolley inventory",
        subscriptions=subscriptions(),
        routers=[router, bookings],
        tasks=[
            BackgroundTask(
                "reservation-sweeper",
                every(settings.sweep_interval_seconds, ask_about_due(settings)),
            )
        ],
    )


if __name__ == "__main__":
    start(build)
