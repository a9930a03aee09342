"""How a change of the catalog is made: lock, load, decide, save, announce, in one transaction."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from catalog_service import store
from catalog_service.domain import ImportRow, Product, RefusedRow, import_rows, settle
from catalog_service.settings import CatalogSettings
from catalog_service.store import Saving
from messaging.database import Connection
from messaging.outbox import emit

SOURCE = "catalog"

Decide = Callable[[Product | None, Mapping[str, str]], Product]
"""From the product as it is, if it is, and the owners of the SKUs in question: as it shall be."""


@dataclass(frozen=True, slots=True)
class ImportDone:
    """What an import changed; what the rows that were not refused say is now true."""

    products_changed: int
    items_changed: int
    refused: tuple[RefusedRow, ...]


@dataclass(frozen=True, slots=True)
class Catalog:
    """One shop's catalog, to be changed in the transaction of `connection`."""

    connection: Connection
    shop_id: str
    settings: CatalogSettings
    now: datetime

    async def change(self, code: str, decide: Decide, *, skus: Collection[str] = ()) -> Product:
        """Change one product, and tell of the items that changed with it.

        What `decide` raises goes to the caller, and nothing is changed.
        """
        await store.lock_catalog(self.connection, self.shop_id)
        known = await store.products_by_code(self.connection, self.shop_id, [code])
        owners = await store.owners_of(self.connection, self.shop_id, skus) if skus else {}
        before = known.get(code)
        after = decide(before, owners)
        savings = _savings(known, [after])
        await self._save(savings)
        return savings[0].settled.product if savings else after

    async def merge(self, rows: Sequence[ImportRow], *, all_or_none: bool) -> ImportDone:
        """Merge the rows of an import, all good ones; with `all_or_none` none if any is refused.

        Takes a constant number of statements for every `save_chunk_rows` rows.
        """
        codes = {row.product_code for row in rows}
        await store.lock_catalog(self.connection, self.shop_id)
        known = await store.products_by_code(self.connection, self.shop_id, codes)
        owners = await store.owners_of(self.connection, self.shop_id, {row.sku for row in rows})
        # Thousands of rows take a while to decide; other requests go on meanwhile.
        refused, savings = await asyncio.to_thread(self._decide_import, rows, known, owners)
        if refused and all_or_none:
            return ImportDone(0, 0, refused)
        await self._save(savings)
        items = sum(len(saving.settled.items) for saving in savings)
        return ImportDone(len(savings), items, refused)

    def _decide_import(
        self, rows: Sequence[ImportRow], known: Mapping[str, Product], owners: Mapping[str, str]
    ) -> tuple[tuple[RefusedRow, ...], list[Saving]]:
        imported = import_rows(
            self.shop_id,
            rows,
            existing=known,
            owners=owners,
            most_variants=self.settings.variants_per_product,
        )
        return imported.refused, _savings(known, imported.products)

    async def _save(self, savings: Sequence[Saving]) -> None:
        chunk_rows = self.settings.save_chunk_rows
        await store.save_products(
            self.connection, self.shop_id, savings, self.now, chunk_rows=chunk_rows
        )
        items = [item for saving in savings for item in saving.settled.items]
        for start in range(0, len(items), chunk_rows):
            chunk = items[start : start + chunk_rows]
            await emit(self.connection, chunk, source=SOURCE, now=self.now)


def _savings(known: Mapping[str, Product], changed: Iterable[Product]) -> list[Saving]:
    savings = []
    for after in changed:
        before = known.get(after.code)
        settled = settle(before, after)
        if settled is not None:
            savings.append(Saving(before, settled))
    return savings
