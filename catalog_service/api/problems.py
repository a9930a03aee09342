"""How the refusals of the domain read over HTTP."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from catalog_service.domain import (
    BasePriceMissing,
    CatalogError,
    Contradiction,
    PriceOutOfRange,
    ProductExists,
    SkuTaken,
    TooManyVariants,
    UnknownProduct,
    UnknownVariant,
)
from messaging.http.problems import Problem

PROBLEMS: Mapping[type[CatalogError], tuple[int, str, str]] = {
    ProductExists: (409, "product-exists", "There is a product of this code already"),
    UnknownProduct: (404, "unknown-product", "There is no product of this code"),
    UnknownVariant: (404, "unknown-variant", "The product has no variant of this SKU"),
    SkuTaken: (409, "sku-taken", "The SKU belongs to a variant already"),
    BasePriceMissing: (
        422,
        "base-price-missing",
        "An additional price needs a base price of the product in the same currency",
    ),
    PriceOutOfRange: (
        422,
        "price-out-of-range",
        "Base and additional price make a price that is negative or too large",
    ),
    TooManyVariants: (422, "too-many-variants", "The product would have too many variants"),
    Contradiction: (422, "contradiction", "An earlier row says something else"),
}
"""Status, slug and title of every refusal; its fields become members of the document."""


def refusal_facts(error: CatalogError) -> dict[str, Any]:
    """What programs need to know of a refusal: its slug as `reason`, and its fields."""
    _, slug, title = PROBLEMS[type(error)]
    return {"reason": slug, "title": title, **_fields(error)}


@contextmanager
def refusals_as_problems() -> Iterator[None]:
    """Turns what the domain refuses inside the block into a problem document."""
    try:
        yield
    except CatalogError as error:
        status, slug, title = PROBLEMS[type(error)]
        raise Problem(status, slug, title, **_fields(error)) from error


def _fields(error: CatalogError) -> dict[str, Any]:
    return asdict(error)  # type: ignore[call-overload,no-any-return]  # every subclass is one
