"""The cart's own copies of catalog and stock; only what is newer is taken over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from messaging.database import Connection, sql


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A SKU as the catalog last told of it; `prices` are minor units by currency."""

    shop_id: str
    sku: str
    name: str
    active: bool
    prices: Mapping[str, int]
    version: int

    @property
    def key(self) -> tuple[str, str]:
        """Shop and SKU."""
        return (self.shop_id, self.sku)


@dataclass(frozen=True, slots=True)
class StockEntry:
    """What is available of a SKU, as inventory last told."""

    shop_id: str
    sku: str
    available: int
    version: int

    @property
    def key(self) -> tuple[str, str]:
        """Shop and SKU."""
        return (self.shop_id, self.sku)


_SAVE_CATALOG = sql("""
    INSERT INTO catalog_items (shop_id, sku, name, active, prices, version)
    SELECT * FROM unnest(
        CAST(:shop_ids AS text[]), CAST(:skus AS text[]), CAST(:names AS text[]),
        CAST(:active AS boolean[]), CAST(:prices AS jsonb[]), CAST(:versions AS bigint[]))
    ON CONFLICT (shop_id, sku) DO UPDATE
    SET name = excluded.name, active = excluded.active, prices = excluded.prices,
        version = excluded.version
    WHERE catalog_items.version < excluded.version
""")

_SAVE_STOCK = sql("""
    INSERT INTO stock_availability (shop_id, sku, available, version)
    SELECT * FROM unnest(
        CAST(:shop_ids AS text[]), CAST(:skus AS text[]), CAST(:available AS bigint[]),
        CAST(:versions AS bigint[]))
    ON CONFLICT (shop_id, sku) DO UPDATE
    SET available = excluded.available, version = excluded.version
    WHERE stock_availability.version < excluded.version
""")


async def save_catalog(connection: Connection, entries: Sequence[CatalogEntry]) -> None:
    """Take over entries that are newer than what is stored, in order of their keys."""
    ordered = sorted(entries, key=lambda entry: entry.key)
    await connection.execute(
        _SAVE_CATALOG,
        {
            "shop_ids": [entry.shop_id for entry in ordered],
            "skus": [entry.sku for entry in ordered],
            "names": [entry.name for entry in ordered],
            "active": [entry.active for entry in ordered],
            "prices": [orjson.dumps(dict(entry.prices)).decode() for entry in ordered],
            "versions": [entry.version for entry in ordered],
        },
    )


async def save_stock(connection: Connection, entries: Sequence[StockEntry]) -> None:
    """Take over entries that are newer than what is stored, in order of their keys."""
    ordered = sorted(entries, key=lambda entry: entry.key)
    await connection.execute(
        _SAVE_STOCK,
        {
            "shop_ids": [entry.shop_id for entry in ordered],
            "skus": [entry.sku for entry in ordered],
            "available": [entry.available for entry in ordered],
            "versions": [entry.version for entry in ordered],
        },
    )
