"""The catalog service, put together."""

from catalog_service.api import ROUTERS
from catalog_service.settings import CatalogSettings
from messaging.service import Service, start


def build(settings: CatalogSettings | None = None) -> Service:
    """The service, ready to run; reads its settings from the environment unless given."""
    return Service(
        "catalog",
        settings or CatalogSettings(),
        title="Trolley catalog",
        routers=ROUTERS,
    )


if __name__ == "__main__":
    start(build)
