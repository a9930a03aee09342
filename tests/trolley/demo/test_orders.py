"""What a file of order lines becomes: products, prices, shoppers."""

from collections import Counter
from decimal import Decimal
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trolley.demo.orders import (
    LONGEST_CODE,
    MissingColumns,
    NothingSellable,
    Orders,
    OrdersError,
    SkipReason,
    UnreadableLine,
    decode_orders,
    parse_orders,
    product_code_of,
    sku_of,
)

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
DATE = "12/1/10 8:26"


def file_of(*lines: str) -> Orders:
    return parse_orders(HEADER + "".join(f"{line}\n" for line in lines))


def line(
    *,
    invoice: str = "1",
    code: str = "A",
    name: str = "A THING",
    quantity: object = 1,
    price: object = "1.00",
    customer: str = "7",
    country: str = "France",
) -> str:
    return f"{invoice},{code},{name},{quantity},{DATE},{price},{customer},{country}"


@pytest.fixture(scope="module")
def wholesaler() -> Orders:
    path = files("trolley.demo") / "data" / "online_retail.csv"
    return parse_orders(decode_orders(path.read_bytes()))


def test_the_wholesalers_file(wholesaler: Orders) -> None:
    assert len(wholesaler.invoices) == 303
    assert wholesaler.sellable_lines == 6510
    assert max(invoice.file_lines for invoice in wholesaler.invoices) == 593
    assert wholesaler.file_lines == 6604
    assert wholesaler.total_minor == 13_047_667
    assert wholesaler.skipped == {
        SkipReason.CANCELLATION: 80,
        SkipReason.PRICE_NOT_POSITIVE: 14,
        SkipReason.QUANTITY_NOT_POSITIVE: 0,
        SkipReason.PRICE_OVER_TWO_DECIMALS: 0,
    }
    assert len(wholesaler.products) == 1761
    assert len(wholesaler.prices_minor()) == 2718


def test_every_line_of_every_file_is_sold_or_counted(wholesaler: Orders) -> None:
    assert wholesaler.sellable_lines + sum(wholesaler.skipped.values()) == wholesaler.file_lines


def test_stock_is_what_the_lines_need_at_the_prices_they_have(wholesaler: Orders) -> None:
    prices, needed = wholesaler.prices_minor(), wholesaler.needed()

    assert needed.keys() == prices.keys()
    assert sum(needed[sku] * prices[sku] for sku in needed) == wholesaler.total_minor


def test_customers_buy_one_invoice_after_the_other_and_guests_alone(wholesaler: Orders) -> None:
    shoppers = wholesaler.shoppers()
    place = {invoice.number: index for index, invoice in enumerate(wholesaler.invoices)}

    assert len(shoppers[0]) == 34
    assert sum(map(len, shoppers)) == 303
    assert sum(row[0].customer_id is None for row in shoppers) == 19
    for row in shoppers:
        assert [place[one.number] for one in row] == sorted(place[one.number] for one in row)
        assert len({one.customer_id for one in row}) == 1
    customers = Counter(row[0].customer_id for row in shoppers if row[0].customer_id)
    assert set(customers.values()) == {1}


def test_each_price_of_a_stock_code_is_a_variant_of_one_product() -> None:
    orders = file_of(
        line(price="2.55"), line(invoice="2", price="1.95"), line(invoice="3", price="2.55")
    )

    (product,) = orders.products
    assert product.base_minor == 195
    assert product.prices_minor() == {"A@195": 195, "A@255": 255}
    assert orders.needed() == {"A@195": 1, "A@255": 2}


def test_lines_merge_only_for_the_same_code_and_price() -> None:
    orders = file_of(
        line(quantity=2, price="2.1"),
        line(quantity=3, price="2.10"),
        line(quantity=5, price="2.11"),
        line(quantity=7, price="2.1", code="a"),
    )

    (invoice,) = orders.invoices
    assert [(one.sku, one.quantity) for one in invoice.lines] == [
        ("A@210", 5),
        ("A@211", 5),
        ("a@210", 7),
    ]
    assert invoice.file_lines == 4
    assert invoice.total_minor == 5 * 210 + 5 * 211 + 7 * 210


@pytest.mark.parametrize(
    ("skipped", "reason"),
    [
        (line(invoice="C9", quantity=-1), SkipReason.CANCELLATION),
        (line(invoice="C9", quantity=1), SkipReason.CANCELLATION),
        (line(invoice="C9", quantity="?", price="?"), SkipReason.CANCELLATION),
        (line(price="0"), SkipReason.PRICE_NOT_POSITIVE),
        (line(price="0.00", quantity=-3), SkipReason.PRICE_NOT_POSITIVE),
        (line(price="-11062.06"), SkipReason.PRICE_NOT_POSITIVE),
        (line(price="-0.001"), SkipReason.PRICE_NOT_POSITIVE),
        (line(quantity=0), SkipReason.QUANTITY_NOT_POSITIVE),
        (line(quantity=-2), SkipReason.QUANTITY_NOT_POSITIVE),
        (line(price="0.001"), SkipReason.PRICE_OVER_TWO_DECIMALS),
        (line(price="2.555"), SkipReason.PRICE_OVER_TWO_DECIMALS),
        (line(price="2.55000000000000000000000000000000001"), SkipReason.PRICE_OVER_TWO_DECIMALS),
    ],
)
def test_what_is_no_sale_is_skipped_and_counted(skipped: str, reason: SkipReason) -> None:
    orders = file_of(line(), skipped)

    assert orders.sellable_lines == 1
    assert orders.skipped[reason] == 1
    assert sum(orders.skipped.values()) == 1


@pytest.mark.parametrize(
    "odd",
    [
        line(code="POST", name="POSTAGE", price="18"),
        line(code="M", name="Manual", price="607.49"),
        line(code="BANK CHARGES"),
        line(name=""),
        line(name='"A, B ""C""\nD"'),
        line(name="  "),
        line(code=" 22139 ", quantity=" 6 ", price=" 2.10 "),
        line(price="2.550"),
        line(price="3."),
        line(price=".5"),
        line(quantity="6.0"),
        line(customer="", country=""),
        line(code=""),
        line(code="A/B"),
        line(code="x" * 200),
        "",
    ],
)
def test_what_is_odd_is_sold_all_the_same(odd: str) -> None:
    orders = file_of(line(invoice="0"), odd)

    assert len(orders.invoices) == (2 if odd else 1)
    assert sum(orders.skipped.values()) == 0


@pytest.mark.parametrize("nothing", ["", ",,,,,,,", " , ,,,,,, ", ",", ",,,,,,,,,", '"",""'])
def test_a_row_with_nothing_in_any_column_is_no_line(nothing: str) -> None:
    orders = file_of(nothing, line(), nothing)

    assert (orders.file_lines, orders.sellable_lines) == (1, 1)
    assert sum(orders.skipped.values()) == 0


def test_stray_blanks_are_no_part_of_a_code_or_a_name() -> None:
    orders = file_of(line(code=" A", name=" POPPY'S  PLAYHOUSE "), line(code="A "))

    (product,) = orders.products
    assert (product.code, product.name) == ("A", "POPPY'S PLAYHOUSE")


def test_a_product_without_any_description_is_called_by_its_code() -> None:
    assert file_of(line(name="")).products[0].name == "A"
    assert file_of(line(name=""), line(name="LATER")).products[0].name == "LATER"


def test_the_lines_of_an_invoice_need_not_stand_together() -> None:
    orders = file_of(line(invoice="1"), line(invoice="2"), line(invoice="1", code="B"))

    assert [(one.number, one.file_lines) for one in orders.invoices] == [("1", 2), ("2", 1)]


@pytest.mark.parametrize(
    ("bad", "column"),
    [
        (line(quantity="many"), "Quantity"),
        (line(quantity="1.5"), "Quantity"),
        (line(quantity="٣"), "Quantity"),
        (line(price="1e2"), "UnitPrice"),
        (line(price="NaN"), "UnitPrice"),
        (line(price="1,5"), "UnitPrice"),
        (line(price="99999999999"), "UnitPrice"),
        (line(price=""), "UnitPrice"),
        ("1,A,A THING,1", "UnitPrice"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(bad: str, column: str) -> None:
    with pytest.raises(UnreadableLine) as caught:
        file_of(line(), bad.replace("1,5", '"1,5"'))

    assert caught.value.column == column
    assert str(caught.value).startswith("line 3: ")


def test_a_file_of_another_form_is_refused() -> None:
    with pytest.raises(MissingColumns, match="InvoiceNo, StockCode"):
        parse_orders("a,b\n1,2\n")
    with pytest.raises(MissingColumns):
        parse_orders("")
    with pytest.raises(NothingSellable):
        file_of(line(price=0))
    with pytest.raises(OrdersError, match="line 3"):
        file_of(line(), line(name="x" * 200_000))


def test_the_published_encoding_and_a_byte_order_mark_are_read() -> None:
    text = HEADER + line(name="£5 CAFÉ")

    for encoding in ("utf-8", "utf-8-sig", "latin-1"):
        orders = parse_orders(decode_orders(text.encode(encoding)))
        assert orders.products[0].name == "£5 CAFÉ"


CODES = st.text(max_size=80)


@given(CODES, CODES, st.integers(1, 10**6), st.integers(1, 10**6))
def test_no_two_codes_and_prices_share_a_sku(one: str, other: str, first: int, then: int) -> None:
    assert (sku_of(one, first) == sku_of(other, then)) == ((one, first) == (other, then))


@given(CODES)
def test_every_code_can_stand_in_the_catalog(code: str) -> None:
    made = product_code_of(code)

    assert 0 < len(made) <= LONGEST_CODE
    assert made.isprintable()
    assert "/" not in made


PRICES = st.decimals(min_value=Decimal("0.01"), max_value=Decimal(10_000), places=2)
SALES = st.lists(
    st.tuples(st.sampled_from("12"), st.sampled_from("Aa"), st.integers(1, 99), PRICES),
    min_size=1,
)


@given(SALES)
def test_totals_are_the_exact_sums_of_the_file(sales: list[tuple[str, str, int, Decimal]]) -> None:
    orders = file_of(
        *(line(invoice=i, code=c, quantity=q, price=p) for i, c, q, p in sales),
    )

    for invoice in orders.invoices:
        exact = sum(q * p for i, _, q, p in sales if i == invoice.number)
        assert Decimal(invoice.total_minor) / 100 == exact
