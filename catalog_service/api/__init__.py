"""The REST API of the catalog: reads are public, writes need a role."""

from catalog_service.api.imports import router as imports
from catalog_service.api.products import router as products

ROUTERS = (products, imports)

__all__ = ["ROUTERS"]
