"""What requests carry and what answers look like."""

from collections.abc import Iterable
from typing import Annotated, Protocol, TypeVar

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from catalog_service.domain import (
    LARGEST_PRICE_MINOR,
    Amounts,
    Product,
    ProductChange,
    Status,
    Variant,
    VariantChange,
    prices_of,
)
from contracts.codes import LONGEST_CODE, is_code
from contracts.money import EXPONENTS
from messaging.http.bodies import RequestBody

LONGEST_NAME = 255
MOST_ATTRIBUTES = 50
LONGEST_ATTRIBUTE_NAME = 60
LONGEST_ATTRIBUTE = 500


def _code(text: str) -> str:
    if not is_code(text):
        raise ValueError("must be printable, without slashes, and without blanks at its ends")
    return text


def _currency(text: str) -> str:
    if text not in EXPONENTS:
        raise ValueError("is no currency that is taken here (ISO 4217, upper case)")
    return text


Code = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=LONGEST_CODE),
    AfterValidator(_code),
]
"""A product code or SKU; case-sensitive."""

Currency = Annotated[str, StringConstraints(strict=True), AfterValidator(_currency)]

Name = Annotated[
    str,
    StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=LONGEST_NAME),
]
OwnName = Annotated[
    str, StringConstraints(strict=True, strip_whitespace=True, max_length=LONGEST_NAME)
]
"""The name of a variant; empty for that of its product."""

AttributeName = Annotated[
    str,
    StringConstraints(
        strict=True, strip_whitespace=True, min_length=1, max_length=LONGEST_ATTRIBUTE_NAME
    ),
]
AttributeText = Annotated[str, StringConstraints(strict=True, max_length=LONGEST_ATTRIBUTE)]
Attributes = Annotated[dict[AttributeName, AttributeText], Field(max_length=MOST_ATTRIBUTES)]

BaseMinor = Annotated[int, Field(strict=True, ge=0, le=LARGEST_PRICE_MINOR)]
AdditionalMinor = Annotated[
    int, Field(strict=True, ge=-LARGEST_PRICE_MINOR, le=LARGEST_PRICE_MINOR)
]


class BasePrice(RequestBody):
    """What every variant of the product costs in one currency, before its additional price."""

    currency: Currency
    amount_minor: BaseMinor


class AdditionalPrice(RequestBody):
    """What a variant costs on top of the base price, in one currency; may be negative."""

    currency: Currency
    amount_minor: AdditionalMinor


class InCurrency(Protocol):
    """Something that is said for one currency."""

    @property
    def currency(self) -> str:
        """The ISO 4217 code."""


AnyPrice = TypeVar("AnyPrice", bound=InCurrency)


def once_per_currency(prices: list[AnyPrice]) -> list[AnyPrice]:
    """The prices, if none contradicts another. Raises `ValueError`."""
    if len({price.currency for price in prices}) < len(prices):
        raise ValueError("has a currency twice")
    return prices


BasePrices = Annotated[list[BasePrice], AfterValidator(once_per_currency)]
AdditionalPrices = Annotated[list[AdditionalPrice], AfterValidator(once_per_currency)]


def amounts(prices: Iterable[BasePrice | AdditionalPrice]) -> Amounts:
    """Minor units by currency."""
    return {price.currency: price.amount_minor for price in prices}


class NewVariant(RequestBody):
    """A variant to add."""

    sku: Code
    name: OwnName = ""
    status: Status = "active"
    attributes: Attributes = Field(default_factory=dict)
    additional_prices: AdditionalPrices = Field(default_factory=list)

    def variant(self) -> Variant:
        """The variant of the domain."""
        return Variant(
            sku=self.sku,
            name=self.name,
            status=self.status,
            attributes=self.attributes,
            additional_prices=amounts(self.additional_prices),
        )


class NewProduct(RequestBody):
    """A product to create, with its first variants."""

    code: Code
    name: Name
    status: Status = "active"
    attributes: Attributes = Field(default_factory=dict)
    base_prices: BasePrices = Field(default_factory=list)
    variants: list[NewVariant] = Field(default_factory=list)

    def product(self, shop_id: str) -> Product:
        """The product of the domain, still without its variants."""
        return Product(
            shop_id=shop_id,
            code=self.code,
            name=self.name,
            status=self.status,
            attributes=self.attributes,
            base_prices=amounts(self.base_prices),
        )


class NewVariants(RequestBody):
    """Variants to add to a product: all of them, or none."""

    variants: list[NewVariant] = Field(min_length=1)


class ChangedProduct(RequestBody):
    """What to change; what is absent or null stays. Prices and attributes are replaced whole."""

    name: Name | None = None
    status: Status | None = None
    attributes: Attributes | None = None
    base_prices: BasePrices | None = None

    def change(self) -> ProductChange:
        """The change of the domain."""
        prices = None if self.base_prices is None else amounts(self.base_prices)
        return ProductChange(self.name, self.status, self.attributes, prices)


class ChangedVariant(RequestBody):
    """What to change; what is absent or null stays. Prices and attributes are replaced whole."""

    name: OwnName | None = None
    status: Status | None = None
    attributes: Attributes | None = None
    additional_prices: AdditionalPrices | None = None

    def change(self) -> VariantChange:
        """The change of the domain."""
        prices = None if self.additional_prices is None else amounts(self.additional_prices)
        return VariantChange(self.name, self.status, self.attributes, prices)


class PriceAnswer(BaseModel):
    """An amount of minor units in one currency."""

    currency: str
    amount_minor: int


class VariantAnswer(BaseModel):
    """A variant: `prices` is what one piece costs, base and additional together."""

    sku: str
    name: str
    status: Status
    attributes: dict[str, str]
    additional_prices: list[PriceAnswer]
    prices: list[PriceAnswer]


class ProductAnswer(BaseModel):
    """A product with all its variants; `version` is its ETag."""

    code: str
    name: str
    status: Status
    attributes: dict[str, str]
    base_prices: list[PriceAnswer]
    variants: list[VariantAnswer]
    version: int


class ItemAnswer(BaseModel):
    """What can be sold, as `catalog.items` tells of it; `version` is its ETag."""

    sku: str
    name: str
    product_code: str
    status: Status
    prices: list[PriceAnswer]
    version: int


class PriceRangeAnswer(BaseModel):
    """The least and the most that an active variant costs in one currency."""

    currency: str
    min_minor: int
    max_minor: int


class ListedProductAnswer(BaseModel):
    """A product in a list."""

    code: str
    name: str
    status: Status
    attributes: dict[str, str]
    prices: list[PriceRangeAnswer]
    variant_count: int
    version: int


class ProductPage(BaseModel):
    """Products in the order asked for; `next_cursor` is null on the last page."""

    items: list[ListedProductAnswer]
    next_cursor: str | None


def product_answer(product: Product) -> ProductAnswer:
    """A product as it is shown."""
    return ProductAnswer(
        code=product.code,
        name=product.name,
        status=product.status,
        attributes=dict(product.attributes),
        base_prices=_prices(product.base_prices),
        variants=[
            VariantAnswer(
                sku=variant.sku,
                name=variant.name,
                status=variant.status,
                attributes=dict(variant.attributes),
                additional_prices=_prices(variant.additional_prices),
                prices=_prices(prices_of(product, variant)),
            )
            for _, variant in sorted(product.variants.items())
        ],
        version=product.version,
    )


def _prices(prices: Amounts) -> list[PriceAnswer]:
    return [
        PriceAnswer(currency=currency, amount_minor=amount)
        for currency, amount in sorted(prices.items())
    ]
