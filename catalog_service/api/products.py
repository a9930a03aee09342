"""Routes of products, their variants and the items that can be sold."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AfterValidator
from starlette.responses import Response

from catalog_service import store
from catalog_service.api.bodies import (
    ChangedProduct,
    ChangedVariant,
    Currency,
    ItemAnswer,
    ListedProductAnswer,
    NewProduct,
    NewVariants,
    PriceRangeAnswer,
    ProductAnswer,
    ProductPage,
    product_answer,
)
from catalog_service.api.problems import refusals_as_problems
from catalog_service.domain import (
    LARGEST_PRICE_MINOR,
    Product,
    Status,
    UnknownProduct,
    add_variants,
    change_product,
    change_variant,
    create,
    item_of,
)
from catalog_service.handlers import Catalog
from catalog_service.settings import CatalogSettings
from contracts.codes import LONGEST_CODE, is_code
from contracts.shops import DEFAULT_SHOP
from messaging.database import Connection
from messaging.http.commands import CommandConnection, CommandRoute, Now, ReadConnection
from messaging.http.declared import answers_with
from messaging.http.etags import IfMatch, RequiredIfMatch, Versions, etag_of, stale_etag
from messaging.http.pages import PageSize, decode_cursor, encode_cursor, page
from messaging.http.problems import Problem
from messaging.http.rendering import JsonResponse
from messaging.http.tokens import Customer, require_role

WRITER_ROLES = ("catalog_admin", "operator")

router = APIRouter(route_class=CommandRoute, tags=["products"])


async def catalog_settings(request: Request) -> CatalogSettings:
    """The settings of this process."""
    settings = request.app.state.settings
    assert isinstance(settings, CatalogSettings)  # noqa: S101 - set by the service
    return settings


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be printable")
    return value


Settings = Annotated[CatalogSettings, Depends(catalog_settings)]
allowed_writer = require_role(*WRITER_ROLES)
Writer = Annotated[Customer, Depends(allowed_writer)]
Shop = Annotated[
    str,
    Query(min_length=1, max_length=LONGEST_CODE, description="The shop whose catalog is read."),
    AfterValidator(_printable),
]
PriceBound = Annotated[
    int | None,
    Query(ge=0, le=LARGEST_PRICE_MINOR, description="Minor units; needs `currency`; included."),
]


@router.post(
    "/products",
    status_code=201,
    response_model=ProductAnswer,
    responses={201: answers_with("Location")},
)
async def create_product(
    body: NewProduct, connection: CommandConnection, writer: Writer, settings: Settings, now: Now
) -> Response:
    """Create a product, with its first variants: all of it, or nothing."""

    def decide(known: Product | None, owners: Mapping[str, str]) -> Product:
        return create(
            body.product(writer.shop),
            [variant.variant() for variant in body.variants],
            existing=known,
            owners=owners,
            most_variants=settings.variants_per_product,
        )

    skus = [variant.sku for variant in body.variants]
    catalog = Catalog(connection, writer.shop, settings, now)
    with refusals_as_problems():
        return _product(await catalog.change(body.code, decide, skus=skus), status=201)


@router.get("/products", response_model=ProductPage)
async def list_products(
    connection: ReadConnection,
    shop: Shop = DEFAULT_SHOP,
    status: Annotated[
        Status | None, Query(description="Absent lists the active and the inactive ones.")
    ] = None,
    name: Annotated[
        str | None,
        Query(min_length=1, max_length=255, description="Part of the name, in any case."),
        AfterValidator(lambda value: value and _printable(value)),
    ] = None,
    currency: Annotated[
        Currency | None, Query(description="Only products with a price in this currency.")
    ] = None,
    min_price_minor: PriceBound = None,
    max_price_minor: PriceBound = None,
    sort: store.Sort = "code",
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: PageSize = 50,
) -> Response:
    """Products in a total order, page by page; a price is that of any active variant."""
    bounds = (min_price_minor, max_price_minor)
    if currency is None and bounds != (None, None):
        raise Problem(422, "currency-missing", "A price can only be compared in one currency")
    if None not in bounds and min_price_minor > max_price_minor:  # type: ignore[operator]
        raise Problem(422, "empty-price-range", "The least price is above the greatest")
    after = None if cursor is None else _decoded(cursor, sort)
    wanted = store.ProductFilter(shop, status, name, currency, min_price_minor, max_price_minor)
    found = await store.list_products(connection, wanted, sort=sort, after=after, most=limit + 1)
    shown = found[:limit]
    more = encode_cursor(sort, *shown[-1].sort_values) if len(found) > limit else None
    return JsonResponse(page([_listed(product) for product in shown], more))


@router.get("/products/{code}", response_model=ProductAnswer)
async def read_product(
    code: str, connection: ReadConnection, shop: Shop = DEFAULT_SHOP
) -> Response:
    """A product with all its variants, active or not."""
    return _product(await _read(connection, shop, code))


@router.patch("/products/{code}", response_model=ProductAnswer)
async def update_product(
    code: str,
    body: ChangedProduct,
    connection: CommandConnection,
    writer: Writer,
    expected: RequiredIfMatch,
    settings: Settings,
    now: Now,
) -> Response:
    """Change a product as its If-Match names it. A new base price moves all its variants."""

    def decide(known: Product | None, _: Mapping[str, str]) -> Product:
        return change_product(_expected(known, code, expected), body.change())

    catalog = Catalog(connection, writer.shop, settings, now)
    with refusals_as_problems():
        return _product(await catalog.change(_path_code(code), decide))


@router.post(
    "/products/{code}/variants",
    status_code=201,
    response_model=ProductAnswer,
    responses={201: answers_with("Location")},
)
async def create_variants(
    code: str,
    body: NewVariants,
    connection: CommandConnection,
    writer: Writer,
    expected: IfMatch,
    settings: Settings,
    now: Now,
) -> Response:
    """Add variants to a product: all of them, or none. If-Match is optional here."""

    def decide(known: Product | None, owners: Mapping[str, str]) -> Product:
        return add_variants(
            _expected(known, code, expected),
            [variant.variant() for variant in body.variants],
            owners=owners,
            most_variants=settings.variants_per_product,
        )

    skus = [variant.sku for variant in body.variants]
    catalog = Catalog(connection, writer.shop, settings, now)
    with refusals_as_problems():
        return _product(await catalog.change(_path_code(code), decide, skus=skus), status=201)


@router.patch("/products/{code}/variants/{sku}", response_model=ProductAnswer)
async def update_variant(
    code: str,
    sku: str,
    body: ChangedVariant,
    connection: CommandConnection,
    writer: Writer,
    expected: RequiredIfMatch,
    settings: Settings,
    now: Now,
) -> Response:
    """Change a variant. If-Match names its product's version, which every variant shares."""

    def decide(known: Product | None, _: Mapping[str, str]) -> Product:
        return change_variant(_expected(known, code, expected), sku, body.change())

    catalog = Catalog(connection, writer.shop, settings, now)
    with refusals_as_problems():
        return _product(await catalog.change(_path_code(code), decide))


@router.get("/items/{sku}", response_model=ItemAnswer)
async def read_item(sku: str, connection: ReadConnection, shop: Shop = DEFAULT_SHOP) -> Response:
    """What can be sold under a SKU, as `catalog.items` tells of it."""
    owners = await store.owners_of(connection, shop, [sku] if is_code(sku) else [])
    if sku not in owners:
        raise Problem(404, "unknown-sku", "There is no variant of this SKU")
    product = await _read(connection, shop, owners[sku])
    item = item_of(product, product.variants[sku])
    content = item.model_dump(mode="json", exclude={"shop_id"})
    return JsonResponse(content, headers={"ETag": etag_of(item.version)})


def _path_code(code: str) -> str:
    """The code in a path, if anything can have it. Raises `UnknownProduct`."""
    if not is_code(code):
        raise UnknownProduct(code[:LONGEST_CODE])
    return code


def _expected(known: Product | None, code: str, expected: Versions) -> Product:
    """The product in a version that the client saw."""
    if known is None:
        raise UnknownProduct(code)
    if expected is not None and known.version not in expected:
        raise stale_etag(known.version)
    return known


async def _read(connection: Connection, shop: str, code: str) -> Product:
    with refusals_as_problems():
        known = await store.products_by_code(connection, shop, [_path_code(code)])
        if code not in known:
            raise UnknownProduct(code)
        return known[code]


def _product(product: Product, status: int = 200) -> Response:
    headers = {"ETag": etag_of(product.version)}
    if status == 201:
        headers["Location"] = f"/products/{quote(product.code, safe='')}"
    return JsonResponse(product_answer(product), status, headers=headers)


def _listed(product: store.ListedProduct) -> ListedProductAnswer:
    return ListedProductAnswer(
        code=product.code,
        name=product.name,
        status=product.status,
        attributes=dict(product.attributes),
        prices=[PriceRangeAnswer(**asdict(prices)) for prices in product.prices],
        variant_count=product.variant_count,
        version=product.version,
    )


def _decoded(cursor: str, sort: store.Sort) -> tuple[str, ...]:
    kinds = (str,) * (1 + len(store.SORT_VALUES[sort]))
    sorted_by, *after = decode_cursor(cursor, *kinds)
    if sorted_by != sort:
        raise Problem(422, "invalid-cursor", "The cursor belongs to another sort order")
    return tuple(after)
