"""Set-based reads and writes of the catalog's tables."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson

from catalog_service.domain import Attributes, Product, Settled, Status, Variant
from messaging.database import Connection, Statement, sql

_INSERT_CATALOG = sql("INSERT INTO catalogs (shop_id) VALUES (:shop_id) ON CONFLICT DO NOTHING")
_LOCK_CATALOG = sql("SELECT 1 FROM catalogs WHERE shop_id = :shop_id FOR UPDATE")


async def lock_catalog(connection: Connection, shop_id: str) -> None:
    """Let nobody else change this shop's catalog until the transaction ends."""
    await connection.execute(_INSERT_CATALOG, {"shop_id": shop_id})
    await connection.execute(_LOCK_CATALOG, {"shop_id": shop_id})


# One statement, so that a product, its prices and its variants are of one moment.
_PRODUCTS = sql("""
    SELECT p.code, p.name, p.status, p.attributes::text AS attributes, p.version,
        (SELECT json_object_agg(b.currency, b.amount_minor) FROM base_prices b
         WHERE b.shop_id = p.shop_id AND b.product_code = p.code)::text AS base_prices,
        (SELECT json_agg(json_build_array(v.sku, v.name, v.status, v.attributes, v.version,
            (SELECT json_object_agg(x.currency, x.additional_minor) FROM prices x
             WHERE x.shop_id = v.shop_id AND x.sku = v.sku AND x.additional_minor <> 0))
            ORDER BY v.sku)
         FROM variants v
         WHERE v.shop_id = p.shop_id AND v.product_code = p.code)::text AS variants
    FROM products p
    WHERE p.shop_id = :shop_id AND p.code = ANY(CAST(:codes AS text[]))
""")


async def products_by_code(
    connection: Connection, shop_id: str, codes: Collection[str]
) -> dict[str, Product]:
    """The products of these codes that there are, each with all its variants."""
    found = await connection.fetch(_PRODUCTS, {"shop_id": shop_id, "codes": sorted(codes)})
    return {
        row.code: Product(
            shop_id=shop_id,
            code=row.code,
            name=row.name,
            status=row.status,
            attributes=orjson.loads(row.attributes),
            base_prices=orjson.loads(row.base_prices or "{}"),
            variants={
                sku: Variant(sku, name, status, attributes, additional_prices or {}, version)
                for sku, name, status, attributes, version, additional_prices in orjson.loads(
                    row.variants or "[]"
                )
            },
            version=row.version,
        )
        for row in found
    }


_OWNERS = sql("""
    SELECT sku, product_code FROM variants
    WHERE shop_id = :shop_id AND sku = ANY(CAST(:skus AS text[]))
""")


async def owners_of(connection: Connection, shop_id: str, skus: Collection[str]) -> dict[str, str]:
    """The product code of each of these SKUs that there are."""
    found = await connection.fetch(_OWNERS, {"shop_id": shop_id, "skus": sorted(skus)})
    return {row.sku: row.product_code for row in found}


_SAVE_PRODUCTS = sql("""
    INSERT INTO products AS p
        (shop_id, code, name, status, attributes, version, created_at, updated_at)
    SELECT :shop_id, code, name, status, attributes, version, :now, :now
    FROM unnest(CAST(:code AS text[]), CAST(:name AS text[]), CAST(:status AS text[]),
        CAST(:attributes AS jsonb[]), CAST(:version AS bigint[]))
        AS u (code, name, status, attributes, version)
    ON CONFLICT (shop_id, code) DO UPDATE SET name = excluded.name, status = excluded.status,
        attributes = excluded.attributes, version = excluded.version,
        updated_at = excluded.updated_at
""")
_SAVE_BASE_PRICES = sql("""
    INSERT INTO base_prices AS b (shop_id, product_code, currency, amount_minor)
    SELECT :shop_id, * FROM unnest(CAST(:code AS text[]), CAST(:currency AS text[]),
        CAST(:amount_minor AS bigint[]))
    ON CONFLICT (shop_id, product_code, currency)
        DO UPDATE SET amount_minor = excluded.amount_minor
        WHERE b.amount_minor <> excluded.amount_minor
""")
_DELETE_BASE_PRICES = sql("""
    DELETE FROM base_prices b
    USING unnest(CAST(:code AS text[]), CAST(:currency AS text[])) AS u (code, currency)
    WHERE b.shop_id = :shop_id AND b.product_code = u.code AND b.currency = u.currency
""")
_SAVE_VARIANTS = sql("""
    INSERT INTO variants AS v
        (shop_id, sku, product_code, name, status, attributes, version, created_at, updated_at)
    SELECT :shop_id, sku, product_code, name, status, attributes, version, :now, :now
    FROM unnest(CAST(:sku AS text[]), CAST(:product_code AS text[]), CAST(:name AS text[]),
        CAST(:status AS text[]), CAST(:attributes AS jsonb[]), CAST(:version AS bigint[]))
        AS u (sku, product_code, name, status, attributes, version)
    ON CONFLICT (shop_id, sku) DO UPDATE SET name = excluded.name, status = excluded.status,
        attributes = excluded.attributes, version = excluded.version,
        updated_at = excluded.updated_at
""")
_SAVE_PRICES = sql("""
    INSERT INTO prices AS p
        (shop_id, sku, currency, product_code, base_minor, additional_minor)
    SELECT :shop_id, sku, currency, product_code, base_minor, additional_minor
    FROM unnest(CAST(:sku AS text[]), CAST(:currency AS text[]), CAST(:product_code AS text[]),
        CAST(:base_minor AS bigint[]), CAST(:additional_minor AS bigint[]))
        AS u (sku, currency, product_code, base_minor, additional_minor)
    ON CONFLICT (shop_id, sku, currency) DO UPDATE SET base_minor = excluded.base_minor,
        additional_minor = excluded.additional_minor
        WHERE (p.base_minor, p.additional_minor)
            <> (excluded.base_minor, excluded.additional_minor)
""")
_DELETE_PRICES = sql("""
    DELETE FROM prices p
    USING unnest(CAST(:sku AS text[]), CAST(:currency AS text[])) AS u (sku, currency)
    WHERE p.shop_id = :shop_id AND p.sku = u.sku AND p.currency = u.currency
""")


@dataclass(frozen=True, slots=True)
class Saving:
    """A product to write: as it was (None when new), and as it is settled."""

    before: Product | None
    settled: Settled


async def save_products(
    connection: Connection,
    shop_id: str,
    savings: Sequence[Saving],
    now: datetime,
    *,
    chunk_rows: int,
) -> None:
    """Write what changed, in a constant number of statements for every `chunk_rows` rows.

    Called under `lock_catalog`, with what was read under it.
    """
    writer = _Writer(connection, {"shop_id": shop_id}, chunk_rows)
    now_too = {"now": now}
    await writer.write(_SAVE_PRODUCTS, _product_rows(savings), now_too)
    await writer.write(_DELETE_BASE_PRICES, _gone_base_prices(savings))
    await writer.write(_SAVE_BASE_PRICES, _base_prices(savings))
    await writer.write(_SAVE_VARIANTS, _variant_rows(savings), now_too)
    await writer.write(_DELETE_PRICES, _gone_prices(savings))
    await writer.write(_SAVE_PRICES, _prices(savings))


_Row = dict[str, Any]


class _Writer:
    """Writes rows as arrays, a bounded number with each statement."""

    def __init__(self, connection: Connection, shared: Mapping[str, Any], chunk_rows: int) -> None:
        self._connection = connection
        self._shared = shared
        self._chunk_rows = chunk_rows

    async def write(
        self, statement: Statement, rows: Iterable[_Row], more: Mapping[str, Any] | None = None
    ) -> None:
        everything = list(rows)
        for start in range(0, len(everything), self._chunk_rows):
            chunk = everything[start : start + self._chunk_rows]
            arrays = {name: [row[name] for row in chunk] for name in chunk[0]}
            await self._connection.execute(statement, {**self._shared, **(more or {}), **arrays})


def _product_rows(savings: Iterable[Saving]) -> Iterable[_Row]:
    for saving in savings:
        product = saving.settled.product
        yield {
            "code": product.code,
            "name": product.name,
            "status": product.status,
            "attributes": _json(product.attributes),
            "version": product.version,
        }


def _base_prices(savings: Iterable[Saving]) -> Iterable[_Row]:
    for saving in savings:
        product = saving.settled.product
        known = {} if saving.before is None else saving.before.base_prices
        for currency, amount in product.base_prices.items():
            if known.get(currency) != amount:
                yield {"code": product.code, "currency": currency, "amount_minor": amount}


def _gone_base_prices(savings: Iterable[Saving]) -> Iterable[_Row]:
    for saving in savings:
        if saving.before is not None:
            for currency in saving.before.base_prices:
                if currency not in saving.settled.product.base_prices:
                    yield {"code": saving.before.code, "currency": currency}


def _changed_variants(saving: Saving) -> Iterable[Variant]:
    known = {} if saving.before is None else saving.before.variants
    return (
        variant
        for sku, variant in saving.settled.product.variants.items()
        if known.get(sku) != variant
    )


def _variant_rows(savings: Iterable[Saving]) -> Iterable[_Row]:
    for saving in savings:
        for variant in _changed_variants(saving):
            yield {
                "sku": variant.sku,
                "product_code": saving.settled.product.code,
                "name": variant.name,
                "status": variant.status,
                "attributes": _json(variant.attributes),
                "version": variant.version,
            }


def _prices(savings: Iterable[Saving]) -> Iterable[_Row]:
    for saving in savings:
        product = saving.settled.product
        # A variant whose price moved has a new version, so that it is among the changed ones.
        for variant in _changed_variants(saving):
            for currency, base in product.base_prices.items():
                yield {
                    "sku": variant.sku,
                    "currency": currency,
                    "product_code": product.code,
                    "base_minor": base,
                    "additional_minor": variant.additional_prices.get(currency, 0),
                }


def _gone_prices(savings: Iterable[Saving]) -> Iterable[_Row]:
    for saving in savings:
        if saving.before is not None:
            for currency in saving.before.base_prices:
                if currency not in saving.settled.product.base_prices:
                    for sku in saving.before.variants:
                        yield {"sku": sku, "currency": currency}


def _places(columns: Sequence[str], after: Sequence[str] | None) -> dict[str, str]:
    if after is None:
        return {}
    return {f"after_{column}": value for column, value in zip(columns, after, strict=True)}


def _json(attributes: Attributes) -> str:
    return orjson.dumps(attributes).decode()


Sort = Literal["code", "name"]


@dataclass(frozen=True, slots=True)
class ProductFilter:
    """Which products to list; None does not filter.

    The price is that of any active variant in `currency`, bounds included; a currency without
    bounds finds what is sold in it at all. The name is found anywhere, in any case.
    """

    shop_id: str
    status: Status | None = None
    name: str | None = None
    currency: str | None = None
    min_price_minor: int | None = None
    max_price_minor: int | None = None


@dataclass(frozen=True, slots=True)
class PriceRange:
    """The least and the most that an active variant of a product costs in one currency."""

    currency: str
    min_minor: int
    max_minor: int


@dataclass(frozen=True, slots=True)
class ListedProduct:
    """A product as a list shows it; `sort_values` say where it stands in the list."""

    code: str
    name: str
    status: Status
    attributes: Attributes
    prices: tuple[PriceRange, ...]
    variant_count: int
    version: int
    sort_values: tuple[str, ...]


SORT_VALUES: Mapping[Sort, tuple[str, ...]] = {
    "code": ("code",),
    "name": ("folded_name", "code"),
}
"""The columns that make each order, and a place in it; the last is unique."""

_PRICED = """
    EXISTS (SELECT 1 FROM prices x JOIN variants v ON v.shop_id = x.shop_id AND v.sku = x.sku
        WHERE x.shop_id = products.shop_id AND x.product_code = products.code
        AND x.currency = :currency AND v.status = 'active'
        AND x.amount_minor >= COALESCE(CAST(:min_price_minor AS bigint), 0)
        AND x.amount_minor <= COALESCE(CAST(:max_price_minor AS bigint), x.amount_minor))
"""


async def list_products(
    connection: Connection,
    wanted: ProductFilter,
    *,
    sort: Sort,
    after: tuple[str, ...] | None,
    most: int,
) -> list[ListedProduct]:
    """At most `most` products in the order of `sort`, from the one behind `after`.

    The order is total, because it ends in the code; a product keeps its place in it for as long
    as its name does, whatever else is added.
    """
    conditions = ["shop_id = :shop_id"]
    if wanted.status is not None:
        conditions.append("status = :status")
    if wanted.name is not None:
        conditions.append("strpos(folded_name, lower(:name)) > 0")
    if wanted.currency is not None:
        conditions.append(_PRICED)
    columns = SORT_VALUES[sort]
    if after is not None:
        places = ", ".join(f":after_{column}" for column in columns)
        conditions.append(f"({', '.join(columns)}) > ({places})")
    order = ", ".join(columns)
    statement = sql(f"""
        SELECT p.code, p.name, p.folded_name, p.status, p.attributes::text AS attributes,
            p.version,
            (SELECT count(*) FROM variants v
             WHERE v.shop_id = p.shop_id AND v.product_code = p.code) AS variant_count,
            (SELECT json_agg(json_build_array(currency, min_minor, max_minor) ORDER BY currency)
             FROM (SELECT x.currency, min(x.amount_minor) AS min_minor,
                        max(x.amount_minor) AS max_minor
                   FROM prices x JOIN variants v ON v.shop_id = x.shop_id AND v.sku = x.sku
                   WHERE x.shop_id = p.shop_id AND x.product_code = p.code
                        AND v.status = 'active'
                   GROUP BY x.currency) AS ranges)::text AS prices
        FROM (SELECT * FROM products WHERE {" AND ".join(conditions)}
              ORDER BY {order} LIMIT :most) AS p
        ORDER BY {order}
    """)  # noqa: S608 - joined from the constants above
    found = await connection.fetch(
        statement,
        {
            "shop_id": wanted.shop_id,
            "status": wanted.status,
            "name": wanted.name,
            "currency": wanted.currency,
            "min_price_minor": wanted.min_price_minor,
            "max_price_minor": wanted.max_price_minor,
            "most": most,
            **_places(columns, after),
        },
    )
    return [
        ListedProduct(
            code=row.code,
            name=row.name,
            status=row.status,
            attributes=orjson.loads(row.attributes),
            prices=tuple(PriceRange(*values) for values in orjson.loads(row.prices or "[]")),
            variant_count=row.variant_count,
            version=row.version,
            sort_values=tuple(getattr(row, column) for column in columns),
        )
        for row in found
    ]
