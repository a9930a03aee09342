"""What catalog and inventory tell of the SKUs."""

from collections.abc import Sequence
from datetime import datetime

from cart_service.store.read_models import CatalogEntry, StockEntry, save_catalog, save_stock
from contracts.messages.catalog import CatalogItem
from contracts.messages.inventory import StockAvailability
from contracts.money import LARGEST_AMOUNT_MINOR
from messaging.database import Connection
from messaging.fold import Decision, Handler, Row, Rows


class UnusablePrice(ValueError):
    """The catalog tells of a price that no order could carry."""

    def __init__(self, sku: str, amount_minor: int) -> None:
        super().__init__(f"a price of {amount_minor} minor units for {sku!r}")


class CatalogHandler(Handler[CatalogItem]):
    """Keeps the newest version of each catalog item."""

    async def lock(self, connection: Connection, messages: Sequence[CatalogItem]) -> None:
        """Nothing: the rows are written in order of their keys, in one statement."""

    async def load(self, connection: Connection, messages: Sequence[CatalogItem]) -> Rows:
        """Nothing: what is stored and newer is kept by the statement that writes."""
        return Rows()

    def decide(self, rows: Rows, message: CatalogItem, now: datetime) -> Decision:
        """The item as an entry, unless this batch had a newer one. Raises `UnusablePrice`."""
        for price in message.prices:
            if not 0 <= price.amount_minor <= LARGEST_AMOUNT_MINOR:
                raise UnusablePrice(message.sku, price.amount_minor)
        entry = CatalogEntry(
            shop_id=message.shop_id,
            sku=message.sku,
            name=message.name,
            active=message.status == "active",
            prices={price.currency: price.amount_minor for price in message.prices},
            version=message.version,
        )
        known = rows.find(CatalogEntry, entry.key)
        newer = known is None or known.version < entry.version
        return Decision(changed=(entry,)) if newer else Decision()

    async def save(self, connection: Connection, changed: Sequence[Row]) -> None:
        """Write all entries in one statement."""
        await save_catalog(connection, [row for row in changed if isinstance(row, CatalogEntry)])


class AvailabilityHandler(Handler[StockAvailability]):
    """Keeps the newest availability of each SKU."""

    async def lock(self, connection: Connection, messages: Sequence[StockAvailability]) -> None:
        """Nothing: the rows are written in order of their keys, in one statement."""

    async def load(self, connection: Connection, messages: Sequence[StockAvailability]) -> Rows:
        """Nothing: what is stored and newer is kept by the statement that writes."""
        return Rows()

    def decide(self, rows: Rows, message: StockAvailability, now: datetime) -> Decision:
        """The availability as an entry, unless this batch had a newer one."""
        entry = StockEntry(
            shop_id=message.shop_id,
            sku=message.sku,
            available=max(message.available, 0),
            version=message.version,
        )
        known = rows.find(StockEntry, entry.key)
        newer = known is None or known.version < entry.version
        return Decision(changed=(entry,)) if newer else Decision()

    async def save(self, connection: Connection, changed: Sequence[Row]) -> None:
        """Write all entries in one statement."""
        await save_stock(connection, [row for row in changed if isinstance(row, StockEntry)])
