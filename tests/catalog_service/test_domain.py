"""The rules of the catalog, by example and by property."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog_service import domain
from catalog_service.api.problems import PROBLEMS
from catalog_service.domain import (
    LARGEST_PRICE_MINOR,
    BasePriceMissing,
    CatalogError,
    Contradiction,
    Imported,
    ImportRow,
    PriceOutOfRange,
    Product,
    ProductChange,
    ProductExists,
    SkuTaken,
    TooManyVariants,
    UnknownVariant,
    Variant,
    VariantChange,
    add_variants,
    change_product,
    change_variant,
    create,
    import_rows,
    item_of,
    prices_of,
    settle,
)
from contracts.messages.catalog import CatalogItem, Price

MOST = 4


def product(**changes: Any) -> Product:
    return replace(
        Product(
            shop_id="main",
            code="SHIRT",
            name="Shirt",
            base_prices={"GBP": 2000, "EUR": 2400},
            variants={
                "S": Variant("S", version=3),
                "XL": Variant(
                    "XL", "Extra large", additional_prices={"GBP": 350, "EUR": -400}, version=5
                ),
            },
            version=7,
        ),
        **changes,
    )


def rows(*said: dict[str, Any]) -> list[ImportRow]:
    return [
        ImportRow(**{"number": number, "product_code": "SHIRT", **row})
        for number, row in enumerate(said, start=1)
    ]


def merge(
    *said: dict[str, Any],
    start: Product | None = None,
    owners: Mapping[str, str] = MappingProxyType({}),
) -> Imported:
    existing = {} if start is None else {start.code: start}
    known = {sku: product.code for product in existing.values() for sku in product.variants}
    return import_rows(
        "main",
        rows(*said),
        existing=existing,
        owners={**known, **owners},
        most_variants=MOST,
    )


def test_a_variant_costs_base_and_additional_price_in_each_currency_of_the_product() -> None:
    shirt = product()
    assert prices_of(shirt, shirt.variants["S"]) == {"EUR": 2400, "GBP": 2000}
    assert prices_of(shirt, shirt.variants["XL"]) == {"EUR": 2000, "GBP": 2350}


def test_an_item_is_called_by_the_variant_or_else_by_the_product() -> None:
    shirt = product()
    assert item_of(shirt, shirt.variants["XL"]) == CatalogItem(
        shop_id="main",
        sku="XL",
        name="Extra large",
        product_code="SHIRT",
        status="active",
        prices=(
            Price(currency="EUR", amount_minor=2000),
            Price(currency="GBP", amount_minor=2350),
        ),
        version=5,
    )
    assert item_of(shirt, shirt.variants["S"]).name == "Shirt"


@pytest.mark.parametrize("of_product", get_args(domain.Status))
@pytest.mark.parametrize("of_variant", get_args(domain.Status))
def test_an_item_is_active_when_product_and_variant_are(of_product: Any, of_variant: Any) -> None:
    item = item_of(product(status=of_product), Variant("S", status=of_variant))
    assert (item.status == "active") == (of_product == of_variant == "active")


def test_a_product_is_created_once() -> None:
    shirt = product(variants={}, version=0)
    made = create(shirt, [Variant("S")], existing=None, owners={}, most_variants=MOST)
    assert made.variants == {"S": Variant("S")}
    with pytest.raises(ProductExists):
        create(shirt, [], existing=shirt, owners={}, most_variants=MOST)


@pytest.mark.parametrize(
    ("variants", "error"),
    [
        ([Variant("S")], SkuTaken("S", "SHIRT")),
        ([Variant("M"), Variant("M")], SkuTaken("M", "SHIRT")),
        ([Variant("CAP-1")], SkuTaken("CAP-1", "CAP")),
        ([Variant(f"N{n}") for n in range(3)], TooManyVariants("SHIRT", MOST)),
        ([Variant("M", additional_prices={"USD": 1})], BasePriceMissing("M", "USD")),
        ([Variant("M", additional_prices={"GBP": -2001})], PriceOutOfRange("M", "GBP", -1)),
        (
            [Variant("M", additional_prices={"GBP": LARGEST_PRICE_MINOR})],
            PriceOutOfRange("M", "GBP", LARGEST_PRICE_MINOR + 2000),
        ),
    ],
)
def test_variants_that_cannot_be_added(variants: list[Variant], error: CatalogError) -> None:
    with pytest.raises(type(error)) as raised:
        add_variants(product(), variants, owners={"CAP-1": "CAP"}, most_variants=MOST)
    assert raised.value == error


def test_a_price_of_zero_is_a_price() -> None:
    shirt = change_variant(product(), "S", VariantChange(additional_prices={"GBP": -2000}))
    assert prices_of(shirt, shirt.variants["S"])["GBP"] == 0


def test_a_base_price_that_makes_any_variant_negative_is_refused() -> None:
    with pytest.raises(PriceOutOfRange) as raised:
        change_product(product(), ProductChange(base_prices={"EUR": 399}))
    assert raised.value == PriceOutOfRange("XL", "EUR", -1)


def test_a_currency_that_goes_takes_its_additional_prices_along() -> None:
    shirt = change_product(product(), ProductChange(base_prices={"GBP": 1}))
    assert shirt.variants["XL"].additional_prices == {"GBP": 350}
    back = change_product(shirt, ProductChange(base_prices={"GBP": 1, "EUR": 5}))
    assert prices_of(back, back.variants["XL"]) == {"EUR": 5, "GBP": 351}


def test_an_unknown_variant_cannot_be_changed() -> None:
    with pytest.raises(UnknownVariant):
        change_variant(product(), "s", VariantChange(name="x"))


def test_nothing_that_changes_nothing_gets_a_new_version() -> None:
    shirt = product()
    assert settle(shirt, change_product(shirt, ProductChange())) is None
    same = VariantChange(name="Extra large", additional_prices={"GBP": 350, "EUR": -400})
    assert settle(shirt, change_variant(shirt, "XL", same)) is None
    zero = VariantChange(additional_prices={"GBP": 0})
    assert settle(shirt, change_variant(shirt, "S", zero)) is None


def test_a_new_product_and_all_its_variants_begin_with_version_1() -> None:
    made = create(
        product(variants={}, version=0),
        [Variant("S"), Variant("M")],
        existing=None,
        owners={},
        most_variants=MOST,
    )
    settled = settle(None, made)
    assert settled is not None
    assert settled.product.version == 1
    assert [(item.sku, item.version) for item in settled.items] == [("S", 1), ("M", 1)]


def test_only_items_that_look_different_are_announced() -> None:
    before = product()
    after = change_product(before, ProductChange(name="Tunic", attributes={"cloth": "wool"}))
    settled = settle(before, after)
    assert settled is not None
    assert settled.product.version == 8
    assert [(item.sku, item.name, item.version) for item in settled.items] == [("S", "Tunic", 4)]
    assert settled.product.variants["XL"].version == 5


def test_prices_that_move_against_each_other_announce_nothing() -> None:
    before = product(variants={"XL": Variant("XL", additional_prices={"GBP": 350}, version=5)})
    result = merge(
        {"sku": "XL", "base_prices": {"GBP": 2100}, "additional_prices": {"GBP": 250}}, start=before
    )
    settled = settle(before, result.products[0])
    assert settled is not None
    assert settled.items == ()
    assert settled.product.variants["XL"].additional_prices == {"GBP": 250}


def test_a_row_makes_product_and_variant() -> None:
    result = merge(
        {
            "sku": "S",
            "product_name": "Shirt",
            "base_prices": {"GBP": 2000},
            "additional_prices": {"GBP": 0},
            "attributes": {"size": "S"},
        }
    )
    assert result == Imported(
        (
            Product(
                shop_id="main",
                code="SHIRT",
                name="Shirt",
                base_prices={"GBP": 2000},
                variants={"S": Variant("S", attributes={"size": "S"})},
            ),
        ),
        (),
    )


def test_a_new_product_without_a_name_is_called_by_its_code() -> None:
    (made,) = merge({"sku": "S"}).products
    assert made.name == "SHIRT"


def test_what_a_row_does_not_say_stays() -> None:
    shirt = product(attributes={"cloth": "linen"})
    (merged,) = merge(
        {"sku": "XL", "status": "inactive", "product_attributes": {"origin": "PT"}}, start=shirt
    ).products
    changed = replace(shirt.variants["XL"], status="inactive")
    assert merged == replace(
        shirt,
        attributes={"cloth": "linen", "origin": "PT"},
        variants={**shirt.variants, "XL": changed},
    )


def test_rows_of_one_sku_add_up() -> None:
    (merged,) = merge(
        {"sku": "S", "base_prices": {"GBP": 5}},
        {"sku": "S", "base_prices": {"EUR": 6}, "additional_prices": {"EUR": 1}},
    ).products
    assert prices_of(merged, merged.variants["S"]) == {"EUR": 7, "GBP": 5}


def test_a_base_price_may_be_said_in_a_later_row() -> None:
    result = merge(
        {"sku": "S", "additional_prices": {"GBP": 1}}, {"sku": "M", "base_prices": {"GBP": 9}}
    )
    assert result.refused == ()
    assert prices_of(result.products[0], result.products[0].variants["S"]) == {"GBP": 10}


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        # The later of two rows that contradict each other.
        (
            [{"sku": "S", "product_name": "Shirt"}, {"sku": "M", "product_name": "Tunic"}],
            {2: Contradiction("name", 1)},
        ),
        (
            [{"sku": "S", "base_prices": {"GBP": 1}}, {"sku": "M", "base_prices": {"GBP": 2}}],
            {2: Contradiction("price GBP", 1)},
        ),
        (
            [{"sku": "S", "attributes": {"a": "1"}}, {"sku": "S", "attributes": {"a": "2"}}],
            {2: Contradiction("attribute a", 1)},
        ),
        ([{"sku": "S", "status": "active"}] * 2, {}),
        # A SKU has one product.
        ([{"sku": "CAP-1"}], {1: SkuTaken("CAP-1", "CAP")}),
        ([{"sku": "S"}, {"sku": "S", "product_code": "OTHER"}], {2: SkuTaken("S", "SHIRT")}),
        # A product has so many variants.
        (
            [{"sku": f"V{n}"} for n in range(MOST + 2)],
            {MOST + 1: TooManyVariants("SHIRT", MOST), MOST + 2: TooManyVariants("SHIRT", MOST)},
        ),
        # An additional price needs a base price.
        (
            [{"sku": "S", "additional_prices": {"GBP": 1}}, {"sku": "M"}],
            {1: BasePriceMissing("S", "GBP")},
        ),
        # A price that is impossible is the fault of the row that says the additional price ...
        (
            [
                {"sku": "S", "base_prices": {"GBP": 5}},
                {"sku": "M", "base_prices": {"GBP": 5}, "additional_prices": {"GBP": -6}},
            ],
            {2: PriceOutOfRange("M", "GBP", -1)},
        ),
        # ... and whoever built on what is refused is refused too.
        (
            [
                {"sku": "S", "base_prices": {"GBP": 5}, "additional_prices": {"GBP": -6}},
                {"sku": "M", "additional_prices": {"GBP": 1}},
                {"sku": "L"},
            ],
            {1: PriceOutOfRange("S", "GBP", -1), 2: BasePriceMissing("M", "GBP")},
        ),
    ],
)
def test_rows_that_are_refused(
    said: list[dict[str, Any]], refused: dict[int, CatalogError]
) -> None:
    result = merge(*said, owners={"CAP-1": "CAP"})
    assert {row.number: row.error for row in result.refused} == refused
    skus = {sku for product in result.products for sku in product.variants}
    good = [row["sku"] for number, row in enumerate(said, start=1) if number not in refused]
    assert skus == set(good)


def test_a_base_price_that_an_old_variant_cannot_bear_is_the_fault_of_its_rows() -> None:
    shirt = product()
    result = merge(
        {"sku": "S", "base_prices": {"EUR": 399}},
        {"sku": "M", "base_prices": {"GBP": 1900}},
        start=shirt,
    )
    assert [(row.number, row.error) for row in result.refused] == [
        (1, PriceOutOfRange("XL", "EUR", -1))
    ]
    assert result.products[0].base_prices == {"EUR": 2400, "GBP": 1900}


def test_a_product_of_which_every_row_is_refused_is_not_made() -> None:
    result = merge({"sku": "S", "additional_prices": {"GBP": 1}})
    assert result.products == ()


def test_every_error_reads_over_http() -> None:
    assert set(PROBLEMS) == set(CatalogError.__subclasses__())


# Imports by property: few names, so that rows meet each other.

codes = st.sampled_from(["P", "Q"])
skus = st.sampled_from(["a", "A", "b", "c", "d"])
currencies = st.sampled_from(["GBP", "EUR"])
maybe = st.none
import_row = st.builds(
    ImportRow,
    number=st.just(0),
    product_code=codes,
    sku=skus,
    product_name=maybe() | st.sampled_from(["x", "y"]),
    product_status=maybe() | st.sampled_from(get_args(domain.Status)),
    product_attributes=st.dictionaries(st.just("k"), st.sampled_from("12")),
    base_prices=st.dictionaries(currencies, st.integers(0, 3), max_size=2),
    name=maybe() | st.sampled_from(["", "z"]),
    status=maybe() | st.sampled_from(get_args(domain.Status)),
    attributes=st.dictionaries(st.just("k"), st.sampled_from("12")),
    additional_prices=st.dictionaries(currencies, st.integers(-3, 3), max_size=2),
)
imports = st.lists(import_row, min_size=1, max_size=10).map(
    lambda found: [replace(row, number=number) for number, row in enumerate(found, start=1)]
)


some_imports = settings(max_examples=50)
"""Each example is two whole imports."""


def merged(start: dict[str, Product], said: list[ImportRow]) -> Imported:
    owners = {sku: code for code, known in start.items() for sku in known.variants}
    return import_rows("main", said, existing=start, owners=owners, most_variants=MOST)


def saved(start: dict[str, Product], imported: Imported) -> dict[str, Product]:
    after = dict(start)
    for changed in imported.products:
        settled = settle(start.get(changed.code), changed)
        if settled is not None:
            after[changed.code] = settled.product
    return after


@given(first=imports, second=imports)
@some_imports
def test_imports_keep_every_rule(first: list[ImportRow], second: list[ImportRow]) -> None:
    start = saved({}, merged({}, first))
    imported = merged(start, second)
    after = saved(start, imported)

    for known in after.values():
        assert len(known.variants) <= MOST
        for variant in known.variants.values():
            assert set(variant.additional_prices) <= set(known.base_prices)
            assert all(amount >= 0 for amount in prices_of(known, variant).values())
    owners = [sku for known in after.values() for sku in known.variants]
    assert len(owners) == len(set(owners))

    refused = {row.number for row in imported.refused}
    assert len(refused) == len(imported.refused)
    for row in second:
        if row.number not in refused:
            assert_said(row, after[row.product_code])


def assert_said(row: ImportRow, known: Product) -> None:
    """Everything that a row which was not refused says is true now."""
    variant = known.variants[row.sku]
    assert row.product_name in (None, known.name)
    assert row.product_status in (None, known.status)
    assert row.name in (None, variant.name)
    assert row.status in (None, variant.status)
    assert row.product_attributes.items() <= known.attributes.items()
    assert row.attributes.items() <= variant.attributes.items()
    assert row.base_prices.items() <= known.base_prices.items()
    for currency, minor in row.additional_prices.items():
        assert variant.additional_prices.get(currency, 0) == minor


@given(first=imports, second=imports)
@some_imports
def test_the_good_rows_alone_lead_to_the_same(
    first: list[ImportRow], second: list[ImportRow]
) -> None:
    start = saved({}, merged({}, first))
    imported = merged(start, second)
    refused = {row.number for row in imported.refused}
    alone = merged(start, [row for row in second if row.number not in refused])
    assert alone.refused == ()
    assert alone.products == imported.products


@given(first=imports, second=imports)
@some_imports
def test_the_same_import_again_changes_nothing(
    first: list[ImportRow], second: list[ImportRow]
) -> None:
    start = saved({}, merged({}, first))
    good = merged(start, second)
    refused = {row.number for row in good.refused}
    after = saved(start, good)
    again = merged(after, [row for row in second if row.number not in refused])
    assert again.refused == ()
    assert saved(after, again) == after


@given(first=imports, second=imports)
@some_imports
def test_versions_rise_by_one_exactly_where_something_changed(
    first: list[ImportRow], second: list[ImportRow]
) -> None:
    start = saved({}, merged({}, first))
    for changed in merged(start, second).products:
        before = start.get(changed.code)
        settled = settle(before, changed)
        old = {} if before is None else before.variants
        announced = {item.sku: item for item in settled.items} if settled else {}
        for sku, variant in changed.variants.items():
            was = None if before is None or sku not in old else item_of(before, old[sku])
            now = item_of(changed, variant)
            assert (sku in announced) == (was != now)
            if sku in announced:
                assert announced[sku].version == (was.version if was else 0) + 1
