"""The rules of products, variants and prices. Pure: a product goes in, the changed one comes out.

A product and its variants are one aggregate. A variant costs, in each currency in which its
product has a base price, base + additional price; the sum is never negative. A variant with a
SKU is what can be sold; its `CatalogItem` tells everybody else what it is and costs.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from contracts.messages.catalog import CatalogItem, Price
from contracts.money import LARGEST_AMOUNT_MINOR

T = TypeVar("T")

Status = Literal["active", "inactive"]
Attributes = Mapping[str, str]
"""Free facts by name, as text: what a spreadsheet says of a product is text as well."""

Amounts = Mapping[str, int]
"""Minor units by currency."""

MOST_PIECES_OF_A_LINE = 10_000
LARGEST_PRICE_MINOR = LARGEST_AMOUNT_MINOR // MOST_PIECES_OF_A_LINE
"""No piece costs more, so that no line of an order leaves the range of amounts."""


class CatalogError(Exception):
    """The root of everything that a change of the catalog can be refused for."""


@dataclass(unsafe_hash=True)
class ProductExists(CatalogError):
    """The code is taken by another product of the shop."""

    code: str


@dataclass(unsafe_hash=True)
class UnknownProduct(CatalogError):
    """The shop has no product of this code."""

    code: str


@dataclass(unsafe_hash=True)
class UnknownVariant(CatalogError):
    """The product has no variant of this SKU."""

    code: str
    sku: str


@dataclass(unsafe_hash=True)
class SkuTaken(CatalogError):
    """The SKU is a variant already, of this product or of another of the shop."""

    sku: str
    product_code: str


@dataclass(unsafe_hash=True)
class BasePriceMissing(CatalogError):
    """An additional price in a currency in which the product has no base price."""

    sku: str
    currency: str


@dataclass(unsafe_hash=True)
class PriceOutOfRange(CatalogError):
    """Base + additional price is negative or beyond `LARGEST_PRICE_MINOR`."""

    sku: str
    currency: str
    amount_minor: int


@dataclass(unsafe_hash=True)
class TooManyVariants(CatalogError):
    """The product would have more variants than a product may have."""

    code: str
    most: int


@dataclass(unsafe_hash=True)
class Contradiction(CatalogError):
    """A row of an import says something else than row `first_row` about the same thing."""

    about: str
    first_row: int


@dataclass(frozen=True, slots=True)
class Variant:
    """What can be sold, under a SKU that is unique and case-sensitive in its shop.

    An empty `name` means that of the product. `additional_prices` holds what is not zero.
    `version` counts the changes of the variant's `CatalogItem`; 0 is a variant not yet saved.
    """

    sku: str
    name: str = ""
    status: Status = "active"
    attributes: Attributes = field(default_factory=dict)
    additional_prices: Amounts = field(default_factory=dict)
    version: int = 0


@dataclass(frozen=True, slots=True)
class Product:
    """A product with its variants by SKU; `version` counts the changes of any of it."""

    shop_id: str
    code: str
    name: str
    status: Status = "active"
    attributes: Attributes = field(default_factory=dict)
    base_prices: Amounts = field(default_factory=dict)
    variants: Mapping[str, Variant] = field(default_factory=dict)
    version: int = 0


@dataclass(frozen=True, slots=True)
class ProductChange:
    """What to change about a product; None leaves as it is, price lists are replaced whole."""

    name: str | None = None
    status: Status | None = None
    attributes: Attributes | None = None
    base_prices: Amounts | None = None


@dataclass(frozen=True, slots=True)
class VariantChange:
    """What to change about a variant; None leaves as it is, price lists are replaced whole."""

    name: str | None = None
    status: Status | None = None
    attributes: Attributes | None = None
    additional_prices: Amounts | None = None


def prices_of(product: Product, variant: Variant) -> Amounts:
    """What one piece of a variant costs, in each currency in which its product has a base price."""
    return {
        currency: base + variant.additional_prices.get(currency, 0)
        for currency, base in sorted(product.base_prices.items())
    }


def item_of(product: Product, variant: Variant) -> CatalogItem:
    """What the rest of the world needs to know of a variant."""
    return CatalogItem(
        shop_id=product.shop_id,
        sku=variant.sku,
        name=variant.name or product.name,
        product_code=product.code,
        status="active" if product.status == variant.status == "active" else "inactive",
        prices=tuple(
            Price(currency=currency, amount_minor=amount)
            for currency, amount in prices_of(product, variant).items()
        ),
        version=variant.version,
    )


def create(
    product: Product,
    variants: Iterable[Variant],
    *,
    existing: Product | None,
    owners: Mapping[str, str],
    most_variants: int,
) -> Product:
    """A new product with its first variants.

    `owners` maps SKUs that exist in the shop to the code of their product. Raises
    `ProductExists`, `SkuTaken`, `TooManyVariants`, `BasePriceMissing` and `PriceOutOfRange`.
    """
    if existing is not None:
        raise ProductExists(product.code)
    return add_variants(product, variants, owners=owners, most_variants=most_variants)


def add_variants(
    product: Product,
    variants: Iterable[Variant],
    *,
    owners: Mapping[str, str],
    most_variants: int,
) -> Product:
    """The product with more variants: all of them, or none.

    Raises `SkuTaken`, `TooManyVariants`, `BasePriceMissing` and `PriceOutOfRange`.
    """
    joined = dict(product.variants)
    for variant in variants:
        if variant.sku in joined:
            raise SkuTaken(variant.sku, product.code)
        if variant.sku in owners:
            raise SkuTaken(variant.sku, owners[variant.sku])
        joined[variant.sku] = _tidy(variant)
    if len(joined) > most_variants:
        raise TooManyVariants(product.code, most_variants)
    return _checked(replace(product, variants=joined))


def change_product(product: Product, change: ProductChange) -> Product:
    """The product as changed. A currency without a base price loses its additional prices too.

    Raises `PriceOutOfRange` when a new base price makes any variant's price impossible.
    """
    variants = product.variants
    if change.base_prices is not None:
        variants = {
            sku: replace(
                variant, additional_prices=_only(variant.additional_prices, change.base_prices)
            )
            for sku, variant in variants.items()
        }
    return _checked(
        replace(
            product,
            name=_or_as_it_is(change.name, product.name),
            status=_or_as_it_is(change.status, product.status),
            attributes=_or_as_it_is(change.attributes, product.attributes),
            base_prices=_or_as_it_is(change.base_prices, product.base_prices),
            variants=variants,
        )
    )


def change_variant(product: Product, sku: str, change: VariantChange) -> Product:
    """The product with one variant changed.

    Raises `UnknownVariant`, `BasePriceMissing` and `PriceOutOfRange`.
    """
    variant = product.variants.get(sku)
    if variant is None:
        raise UnknownVariant(product.code, sku)
    changed = replace(
        variant,
        name=_or_as_it_is(change.name, variant.name),
        status=_or_as_it_is(change.status, variant.status),
        attributes=_or_as_it_is(change.attributes, variant.attributes),
        additional_prices=_or_as_it_is(change.additional_prices, variant.additional_prices),
    )
    return _checked(replace(product, variants={**product.variants, sku: _tidy(changed)}))


@dataclass(frozen=True, slots=True)
class Settled:
    """A product as it is to be saved, and the items that are to be announced with it."""

    product: Product
    items: tuple[CatalogItem, ...]


def settle(before: Product | None, after: Product) -> Settled | None:
    """Give what changed its next version; None when nothing did.

    The version of a product counts every change, that of a variant only those that its
    `CatalogItem` shows: nobody else is told of what they cannot see.
    """
    if before == after:
        return None
    variants: dict[str, Variant] = {}
    items: list[CatalogItem] = []
    for sku, variant in after.variants.items():
        known = before.variants.get(sku) if before is not None else None
        if before is None or known is None or item_of(before, known) != item_of(after, variant):
            variant = replace(variant, version=variant.version + 1)
            items.append(item_of(after, variant))
        variants[sku] = variant
    settled = replace(after, variants=variants, version=after.version + 1)
    return Settled(settled, tuple(items))


@dataclass(frozen=True, slots=True)
class ImportRow:
    """What one row of an import says about one SKU and its product; None says nothing.

    `number` counts the rows of the import from 1.
    """

    number: int
    product_code: str
    sku: str
    product_name: str | None = None
    product_status: Status | None = None
    product_attributes: Attributes = field(default_factory=dict)
    base_prices: Amounts = field(default_factory=dict)
    name: str | None = None
    status: Status | None = None
    attributes: Attributes = field(default_factory=dict)
    additional_prices: Amounts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that was not applied, and why."""

    number: int
    error: CatalogError


@dataclass(frozen=True, slots=True)
class Imported:
    """The products as the good rows make them, by code; the rows that were refused, by number."""

    products: tuple[Product, ...]
    refused: tuple[RefusedRow, ...]


def import_rows(
    shop_id: str,
    rows: Iterable[ImportRow],
    *,
    existing: Mapping[str, Product],
    owners: Mapping[str, str],
    most_variants: int,
) -> Imported:
    """Merge rows into the products they name: what a row says is set, the rest is kept.

    `existing` has the known products by code, `owners` the product code of every known SKU.
    Each good row is applied, whatever becomes of the others. A new product without a name is
    called by its code. Of two rows that contradict each other the later one is refused. For a
    price that is impossible the rows that set the SKU's own additional price are refused, and
    where there are none, those that set the base price.
    """
    taken = dict(owners)
    by_product: dict[str, list[ImportRow]] = {}
    refused: list[RefusedRow] = []
    for row in rows:
        if taken.setdefault(row.sku, row.product_code) != row.product_code:
            refused.append(RefusedRow(row.number, SkuTaken(row.sku, taken[row.sku])))
        else:
            by_product.setdefault(row.product_code, []).append(row)
    products: list[Product] = []
    for code, its_rows in sorted(by_product.items()):
        start = existing.get(code) or Product(shop_id=shop_id, code=code, name=code)
        merged, its_refused = _merge_rows(start, its_rows, most_variants)
        refused.extend(its_refused)
        if len(its_refused) < len(its_rows):
            products.append(merged)
    return Imported(tuple(products), tuple(sorted(refused, key=lambda row: row.number)))


def _merge_rows(
    start: Product, rows: Sequence[ImportRow], most_variants: int
) -> tuple[Product, list[RefusedRow]]:
    """The product with the rows merged in, without those that are refused."""
    refused: list[RefusedRow] = []
    while True:
        draft = _Draft(start, most_variants)
        found = [
            RefusedRow(row.number, error) for row in rows if (error := draft.take(row)) is not None
        ]
        product = draft.product()
        found.extend(_blamed_for_prices(product, draft.taken))
        if not found:
            return product, refused
        refused.extend(found)
        gone = {refusal.number for refusal in found}
        # What was refused may be what others built on, such as the base price: look again.
        rows = [row for row in rows if row.number not in gone]


_Aspect = Literal["name", "status", "attribute", "price"]
_Topic = tuple[str | None, _Aspect]
"""What a row speaks about: an aspect of the variant of this SKU, or (None) of the product."""


class _Draft:
    """A product that rows are merged into, one after the other."""

    def __init__(self, start: Product, most_variants: int) -> None:
        self.taken: list[ImportRow] = []
        self._start = start
        self._most_variants = most_variants
        self._said: dict[_Topic, dict[str, tuple[Any, int]]] = {}
        self._skus = dict.fromkeys(start.variants)

    def take(self, row: ImportRow) -> CatalogError | None:
        """Take over what the row says, all of it or nothing; the error when it cannot be."""
        sayings = _sayings(row)
        for topic, values in sayings.items():
            said = self._said.get(topic, {})
            for name, value in values.items():
                if name in said and said[name][0] != value:
                    return Contradiction(" ".join(filter(None, (topic[1], name))), said[name][1])
        if row.sku not in self._skus and len(self._skus) >= self._most_variants:
            return TooManyVariants(row.product_code, self._most_variants)
        self._skus[row.sku] = None
        self.taken.append(row)
        for topic, values in sayings.items():
            said = self._said.setdefault(topic, {})
            for name, value in values.items():
                said.setdefault(name, (value, row.number))
        return None

    def product(self) -> Product:
        """The product as it is now; its prices may be impossible."""
        start = self._start
        return replace(
            start,
            name=self._values(None, "name").get("", start.name),
            status=self._values(None, "status").get("", start.status),
            attributes={**start.attributes, **self._values(None, "attribute")},
            base_prices={**start.base_prices, **self._values(None, "price")},
            variants={sku: self._variant(sku) for sku in self._skus},
        )

    def _variant(self, sku: str) -> Variant:
        start = self._start.variants.get(sku) or Variant(sku)
        return _tidy(
            replace(
                start,
                name=self._values(sku, "name").get("", start.name),
                status=self._values(sku, "status").get("", start.status),
                attributes={**start.attributes, **self._values(sku, "attribute")},
                additional_prices={**start.additional_prices, **self._values(sku, "price")},
            )
        )

    def _values(self, sku: str | None, aspect: _Aspect) -> dict[str, Any]:
        return {name: value for name, (value, _) in self._said.get((sku, aspect), {}).items()}


def _sayings(row: ImportRow) -> dict[_Topic, Mapping[str, Any]]:
    """What a row says, by topic and by name (of an attribute, of a currency)."""
    return {
        (None, "name"): _if_said(row.product_name),
        (None, "status"): _if_said(row.product_status),
        (None, "attribute"): row.product_attributes,
        (None, "price"): row.base_prices,
        (row.sku, "name"): _if_said(row.name),
        (row.sku, "status"): _if_said(row.status),
        (row.sku, "attribute"): row.attributes,
        (row.sku, "price"): row.additional_prices,
    }


def _if_said(value: str | None) -> Mapping[str, str]:
    return {} if value is None else {"": value}


def _blamed_for_prices(product: Product, rows: Sequence[ImportRow]) -> Iterator[RefusedRow]:
    """The rows behind the impossible prices of a product, each once."""
    errors = {(error.sku, error.currency): error for error in _impossible_prices(product)}
    own = {
        (row.sku, currency) for row in rows for currency in row.additional_prices
    } & errors.keys()
    general = {
        currency: error for (sku, currency), error in errors.items() if (sku, currency) not in own
    }
    for row in rows:
        blames = [errors[row.sku, c] for c in row.additional_prices if (row.sku, c) in own]
        blames += [general[c] for c in row.base_prices if c in general]
        if blames:
            yield RefusedRow(row.number, blames[0])


def _impossible_prices(product: Product) -> Iterator[BasePriceMissing | PriceOutOfRange]:
    for sku, variant in product.variants.items():
        for currency in variant.additional_prices:
            if currency not in product.base_prices:
                yield BasePriceMissing(sku, currency)
        for currency, amount in prices_of(product, variant).items():
            if not 0 <= amount <= LARGEST_PRICE_MINOR:
                yield PriceOutOfRange(sku, currency, amount)


def _checked(product: Product) -> Product:
    for error in _impossible_prices(product):
        raise error
    return product


def _tidy(variant: Variant) -> Variant:
    """The variant without additional prices of nothing, so that equal variants compare equal."""
    prices = {currency: minor for currency, minor in variant.additional_prices.items() if minor}
    return replace(variant, additional_prices=prices)


def _only(amounts: Amounts, currencies: Collection[str]) -> Amounts:
    return {currency: minor for currency, minor in amounts.items() if currency in currencies}


def _or_as_it_is(value: T | None, as_it_is: T) -> T:
    return as_it_is if value is None else value
