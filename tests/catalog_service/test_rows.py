"""Reading imports: CSV and JSON say the same, and every row fails by itself."""

import contextlib
import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog_service.api.rows import (
    ReadRows,
    TooManyRows,
    UnreadableImport,
    rows_of_csv,
    rows_of_json,
)
from catalog_service.domain import ImportRow

HEADER = "product_code,sku,product_name,name,status,currency,base_price,additional_price"


def read(*lines: str, header: str = HEADER, most_rows: int = 100) -> ReadRows:
    return rows_of_csv("\r\n".join([header, *lines]).encode(), most_rows)


def reasons(read_rows: ReadRows) -> dict[int, list[tuple[str, str]]]:
    return {
        row.number: [(reason["location"], reason["reason"]) for reason in row.reasons]
        for row in read_rows.unreadable
    }


def test_a_csv_row_says_what_its_cells_hold() -> None:
    (row,) = read('SHIRT,SHIRT-XL,"Shirt, linen",Extra large,active,GBP,20.00,3.5').rows
    assert row == ImportRow(
        number=1,
        product_code="SHIRT",
        sku="SHIRT-XL",
        product_name="Shirt, linen",
        name="Extra large",
        status="active",
        base_prices={"GBP": 2000},
        additional_prices={"GBP": 350},
    )


def test_an_empty_cell_says_nothing_and_blanks_around_cells_do_not_count() -> None:
    (row,) = read(" SHIRT ,SHIRT-S ,,  ,,,,").rows
    assert row == ImportRow(number=1, product_code="SHIRT", sku="SHIRT-S")


def test_attributes_have_columns_of_their_own() -> None:
    header = "sku,product_code,attribute.size,product_attribute.made in,attribute.colour"
    (row,) = read("S,P,XL,Portugal,", header=header).rows
    assert (row.attributes, row.product_attributes) == ({"size": "XL"}, {"made in": "Portugal"})


def test_the_order_of_columns_a_byte_order_mark_and_blank_lines_do_not_matter() -> None:
    file = b"\xef\xbb\xbfsku,product_code\n\nS,P\n\n\nT,P\n"
    assert [(row.number, row.sku) for row in rows_of_csv(file, 10).rows] == [(1, "S"), (2, "T")]


def test_csv_and_json_say_the_same() -> None:
    from_csv = read("P,S,Product,Variant,inactive,KWD,1.234,-0.234", "P,T,,,,,,")
    from_json = rows_of_json(
        {
            "rows": [
                {
                    "product_code": "P",
                    "sku": "S",
                    "product_name": "Product",
                    "name": "Variant",
                    "status": "inactive",
                    "prices": [
                        {"currency": "KWD", "base_minor": 1234, "additional_minor": -234},
                    ],
                },
                {"product_code": "P", "sku": "T"},
            ]
        },
        10,
    )
    assert from_csv == from_json


@pytest.mark.parametrize(
    ("line", "location"),
    [
        (",S,,,,,,", "product_code"),
        ("P,,,,,,,", "sku"),
        ("P,a/b,,,,,,", "sku"),
        ("P,S,,,gone,,,", "status"),
        ("P,S,,,,GBP,2.555,", "base_price"),
        ("P,S,,,,GBP,two,", "base_price"),
        ("P,S,,,,GBP,-1,", "prices.0.base_minor"),
        ("P,S,,,,GBP,1,0.001", "additional_price"),
        ("P,S,,,,XXX,1,", "currency"),
        ("P,S,,,,,1,", "currency"),
        ("P,S,,,,JPY,1.5,", "base_price"),
        ("P,S", ""),
        ("P,S,,,,,,,", ""),
        (f"P,S,{'x' * 256},,,,,", "product_name"),
    ],
)
def test_a_bad_row_is_refused_by_itself(line: str, location: str) -> None:
    result = read("P,A,,,,,,", line, "P,B,,,,,,")
    assert [(row.number, row.sku) for row in result.rows] == [(1, "A"), (3, "B")]
    assert [where for where, _ in reasons(result)[2]] == [location]


@pytest.mark.parametrize(
    "fields",
    [
        7,
        None,
        [],
        {"sku": "S"},
        {"product_code": "P", "sku": "S", "colour": "red"},
        {"product_code": "P", "sku": 7},
        {"product_code": "P", "sku": "S", "attributes": {"a": 1}},
        {"product_code": "P", "sku": "S", "prices": [{"currency": "GBP", "base_minor": "1"}]},
        {"product_code": "P", "sku": "S", "prices": [{"currency": "GBP", "base_minor": 1.5}]},
        {"product_code": "P", "sku": "S", "prices": [{"base_minor": 1}]},
        {
            "product_code": "P",
            "sku": "S",
            "prices": [
                {"currency": "GBP", "base_minor": 1},
                {"currency": "GBP", "base_minor": 2},
            ],
        },
    ],
)
def test_a_bad_json_row_is_refused_by_itself(fields: Any) -> None:
    result = rows_of_json({"rows": [fields, {"product_code": "P", "sku": "T"}]}, 10)
    assert [row.number for row in result.unreadable] == [1]
    assert [row.sku for row in result.rows] == ["T"]


def test_the_reasons_of_a_row_are_bounded() -> None:
    nonsense = {f"field {n} {'x' * 500}": n for n in range(1000)}
    (row,) = rows_of_json({"rows": [nonsense]}, 10).unreadable
    assert len(row.reasons) == 10
    assert all(len(reason["location"]) <= 120 for reason in row.reasons)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "columns are missing"),
        (b"product_code\nP\n", "columns are missing"),
        (b"product_code,sku,colour\nP,S,red\n", "columns are not known"),
        (b"product_code,sku,attribute.\nP,S,red\n", "columns are not known"),
        (b"product_code,sku,sku\nP,S,S\n", "a column stands twice"),
        (b"product_code,sku\n", "the file has no rows below its header"),
        (b"product_code,sku\n\xff,S\n", "the file is not UTF-8"),
        ("product_code,sku\nP,S\n".encode("utf-16"), "the file is not UTF-8"),
        (b"product_code,sku\nP,\x00\n", "the file contains the NUL character"),
        (b'product_code,sku\nP,"S\n', "the file is not well-formed"),
        (b'product_code,sku\nP,"S"x\n', "the file is not well-formed"),
        (
            b"product_code,sku," + b",".join(b"attribute.%d" % n for n in range(200)) + b"\n",
            "there are too many columns",
        ),
    ],
)
def test_a_file_that_cannot_be_read(file: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImport) as raised:
        rows_of_csv(file, 10)
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    "content", [[], {}, None, {"rows": {}}, {"rows": []}, {"rows": [], "x": 1}]
)
def test_json_that_is_no_import(content: object) -> None:
    with pytest.raises(UnreadableImport):
        rows_of_json(content, 10)


def test_rows_beyond_the_bound_are_too_many() -> None:
    assert read("P,A,,,,,,", "P,B,,,,,,", most_rows=2).count == 2
    with pytest.raises(TooManyRows):
        read("P,A,,,,,,", "P,B,,,,,,", "P,C,,,,,,", most_rows=2)
    with pytest.raises(TooManyRows):
        rows_of_json({"rows": [{}] * 3}, 2)


names = st.text(max_size=20).map(lambda text: text.replace("\x00", ""))
skus = st.text("aB1ß ,;\"'#", min_size=1, max_size=10).map(lambda text: f"s{text}".strip())


@given(
    cells=st.lists(st.tuples(skus, names), min_size=1, max_size=5),
    separator=st.sampled_from(["\n", "\r\n"]),
)
def test_whatever_a_csv_writer_writes_is_read(cells: list[tuple[str, str]], separator: str) -> None:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator=separator, quoting=csv.QUOTE_ALL)
    writer.writerow(["product_code", "sku", "name"])
    writer.writerows(("P", sku, name) for sku, name in cells)
    result = rows_of_csv(file.getvalue().encode(), 10)
    assert [(row.sku, row.name or "") for row in result.rows] == [
        (sku, name.strip()) for sku, name in cells
    ]


@given(file=st.binary(max_size=200))
def test_no_file_breaks_the_reader(file: bytes) -> None:
    for whole in (file, b"product_code,sku\n" + file):
        with contextlib.suppress(UnreadableImport, TooManyRows):
            assert rows_of_csv(whole, 5).count <= 5
