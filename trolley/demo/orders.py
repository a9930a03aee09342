"""The wholesaler's order lines as they become products, prices and shoppers. Pure.

Every stock code is a product and every distinct price of it a variant with a SKU of its own, so
that each line of the file has its exact price in the catalog.
"""

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from contracts.money import NotAnAmount, parse_minor

CURRENCY = "GBP"
CANCELLATION_PREFIX = "C"
COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "UnitPrice",
    "CustomerID",
    "Country",
)
"""What is read of a line; further columns are ignored."""

LONGEST_CODE = 48
"""Characters of a product code: with its price behind it a SKU stays within 64."""

LONGEST_NAME = 200
"""Characters of a product name that are kept."""

_DIGEST_CHARACTERS = 16
_ESCAPED = "~"
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,9}(?:\.[0-9]*)?|\.[0-9]+)")


class OrdersError(ValueError):
    """The file cannot be read as order lines; the text says where and why."""


class MissingColumns(OrdersError):
    """The header lacks columns."""

    def __init__(self, columns: Sequence[str]) -> None:
        super().__init__(f"the header has no {', '.join(columns)}")
        self.columns = tuple(columns)


class UnreadableLine(OrdersError):
    """A field of a line is not what its column holds; `line` counts the lines of the file."""

    def __init__(self, line: int, column: str, text: str) -> None:
        super().__init__(f"line {line}: {text[:40]!r} is no {column}")
        self.line, self.column = line, column


class NothingSellable(OrdersError):
    """The file has no line that is a sale."""

    def __init__(self) -> None:
        super().__init__("no line of it is a sale")


class SkipReason(StrEnum):
    """Why a line is no sale; of several reasons the first in this order counts."""

    CANCELLATION = "cancellation"
    PRICE_NOT_POSITIVE = "price_not_positive"
    QUANTITY_NOT_POSITIVE = "quantity_not_positive"
    PRICE_OVER_TWO_DECIMALS = "price_over_two_decimals"


@dataclass(frozen=True, slots=True)
class Variant:
    """One price of a product: a SKU at base price plus `additional_minor`."""

    sku: str
    additional_minor: int


@dataclass(frozen=True, slots=True)
class Product:
    """A stock code with the variants that its prices make; the lowest price is the base price."""

    code: str
    name: str
    base_minor: int
    variants: tuple[Variant, ...]
    currency: str = CURRENCY

    def prices_minor(self) -> dict[str, int]:
        """The price of every SKU."""
        return {one.sku: self.base_minor + one.additional_minor for one in self.variants}


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """So many pieces of one SKU: the file's lines of this invoice with its code and price."""

    sku: str
    quantity: int
    price_minor: int

    @property
    def total_minor(self) -> int:
        """Quantity x price, exactly."""
        return self.quantity * self.price_minor


@dataclass(frozen=True, slots=True)
class CancelledLine:
    """Pieces that a cancellation of the file takes back, as positive figures.

    `invoices_before` of the file's invoices had begun by then: what they sold can come back.
    """

    number: str
    customer_id: str | None
    sku: str
    quantity: int
    price_minor: int
    invoices_before: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """What one shopper buys; `file_lines` counts the sellable lines before merging."""

    number: str
    customer_id: str | None
    country: str
    lines: tuple[InvoiceLine, ...]
    file_lines: int

    @property
    def total_minor(self) -> int:
        """Quantity x price over all lines, exactly."""
        return sum(line.total_minor for line in self.lines)


@dataclass(frozen=True, slots=True)
class Orders:
    """A whole file: what is sold, to whom, and what was skipped.

    Of the skipped cancellations `cancelled` has those that name pieces at a price.
    """

    invoices: tuple[Invoice, ...]
    products: tuple[Product, ...]
    skipped: Mapping[SkipReason, int]
    file_lines: int
    cancelled: tuple[CancelledLine, ...] = ()

    @property
    def sellable_lines(self) -> int:
        """Lines of the file that are sales, before merging."""
        return sum(invoice.file_lines for invoice in self.invoices)

    @property
    def total_minor(self) -> int:
        """What all invoices cost together."""
        return sum(invoice.total_minor for invoice in self.invoices)

    def prices_minor(self) -> dict[str, int]:
        """The price of every SKU."""
        return {sku: price for one in self.products for sku, price in one.prices_minor().items()}

    def needed(self) -> dict[str, int]:
        """How many pieces of every SKU the sellable lines need."""
        pieces: Counter[str] = Counter()
        for invoice in self.invoices:
            for line in invoice.lines:
                pieces[line.sku] += line.quantity
        return dict(pieces)

    def shoppers(self) -> tuple[tuple[Invoice, ...], ...]:
        """The invoices that must run one after the other: a customer's in file order, each guest's
        alone; longest first, so that no long row of invoices is left for the end."""
        rows: dict[str, list[Invoice]] = {}
        guests: list[tuple[Invoice, ...]] = []
        for invoice in self.invoices:
            if invoice.customer_id is None:
                guests.append((invoice,))
            else:
                rows.setdefault(invoice.customer_id, []).append(invoice)
        everyone = [*(tuple(row) for row in rows.values()), *guests]
        return tuple(sorted(everyone, key=len, reverse=True))


@dataclass(frozen=True, slots=True)
class _Sale:
    """A sellable line of the file."""

    invoice: str
    stock_code: str
    name: str
    quantity: int
    price_minor: int
    customer_id: str
    country: str


def decode_orders(content: bytes) -> str:
    """The text of a file: UTF-8 with or without a byte order mark, else Latin-1.

    The data set is published in Latin-1; every byte has a meaning there, so this never fails.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def parse_orders(text: str) -> Orders:
    """The order lines in CSV with a header; a row with nothing in any column is no line.

    Raises `OrdersError` where that is not what it is.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    if missing := [column for column in COLUMNS if column not in reader.fieldnames]:
        raise MissingColumns(missing)
    skipped: Counter[SkipReason] = Counter(dict.fromkeys(SkipReason, 0))
    sales: list[_Sale] = []
    cancelled: list[CancelledLine] = []
    begun: set[str] = set()
    file_lines = 0
    try:
        for row in reader:
            if _empty(row):
                continue
            file_lines += 1
            sale = _sale(row, reader.line_num)
            if isinstance(sale, SkipReason):
                skipped[sale] += 1
                if sale is SkipReason.CANCELLATION and (line := _cancelled(row, len(begun))):
                    cancelled.append(line)
            else:
                sales.append(sale)
                begun.add(sale.invoice)
    except csv.Error as error:
        raise OrdersError(f"line {reader.reader.line_num}: {error}") from error
    if not sales:
        raise NothingSellable
    return Orders(_invoices(sales), _products(sales), dict(skipped), file_lines, tuple(cancelled))


def sku_of(stock_code: str, price_minor: int) -> str:
    """The SKU of a stock code at a price: no two (code, price) share one.

    Readable where the code allows: `85123A@255`.
    """
    return f"{product_code_of(stock_code)}@{price_minor}"


def product_code_of(stock_code: str) -> str:
    """The code itself, or a digest behind its legible part where it cannot stand in a catalog.

    A catalog takes printable characters without a slash, up to a length.
    """
    fits = (
        0 < len(stock_code) <= LONGEST_CODE
        and stock_code.isprintable()
        and not {"/", _ESCAPED} & set(stock_code)
        and stock_code not in {".", ".."}
    )
    if fits:
        return stock_code
    digest = hashlib.sha256(stock_code.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    legible = "".join(one for one in stock_code if one.isascii() and one.isalnum())
    return f"{legible[: LONGEST_CODE - len(digest) - 1]}{_ESCAPED}{digest}"


def _empty(row: Mapping[str | None, Any]) -> bool:
    """Whether nothing stands in any column: spreadsheets leave such rows behind their last line."""
    return not any(each.strip() for value in row.values() for each in _texts(value))


def _texts(value: str | list[str] | None) -> Sequence[str]:
    """A column's text; columns without a name come as a list, those that are not there as None."""
    return value if isinstance(value, list) else (value or "",)


def _fields(row: Mapping[str, str | None]) -> dict[str, str]:
    return {column: (row[column] or "").strip() for column in COLUMNS}


def _cancelled(row: Mapping[str, str | None], invoices_before: int) -> CancelledLine | None:
    """The pieces of a cancellation, which nobody promised to be legible; None without any."""
    fields = _fields(row)
    if not all(_NUMBER.fullmatch(fields[column]) for column in ("Quantity", "UnitPrice")):
        return None
    quantity = Decimal(fields["Quantity"])
    try:
        price_minor = parse_minor(fields["UnitPrice"], CURRENCY)
    except NotAnAmount:
        return None
    if quantity >= 0 or quantity != int(quantity) or price_minor <= 0:
        return None
    return CancelledLine(
        number=fields["InvoiceNo"],
        customer_id=fields["CustomerID"] or None,
        sku=sku_of(fields["StockCode"], price_minor),
        quantity=-int(quantity),
        price_minor=price_minor,
        invoices_before=invoices_before,
    )


def _sale(row: Mapping[str, str | None], line: int) -> _Sale | SkipReason:
    fields = _fields(row)
    if fields["InvoiceNo"].startswith(CANCELLATION_PREFIX):
        return SkipReason.CANCELLATION
    price = _number(fields["UnitPrice"], "UnitPrice", line)
    quantity = _number(fields["Quantity"], "Quantity", line)
    if price <= 0:
        return SkipReason.PRICE_NOT_POSITIVE
    if quantity <= 0:
        return SkipReason.QUANTITY_NOT_POSITIVE
    if quantity != int(quantity):
        raise UnreadableLine(line, "Quantity", fields["Quantity"])
    try:
        price_minor = parse_minor(format(price, "f"), CURRENCY)
    except NotAnAmount:
        return SkipReason.PRICE_OVER_TWO_DECIMALS
    return _Sale(
        invoice=fields["InvoiceNo"],
        stock_code=fields["StockCode"],
        name=_tidy(fields["Description"]),
        quantity=int(quantity),
        price_minor=price_minor,
        customer_id=fields["CustomerID"],
        country=_tidy(fields["Country"]),
    )


def _number(text: str, column: str, line: int) -> Decimal:
    if _NUMBER.fullmatch(text) is None:
        raise UnreadableLine(line, column, text)
    return Decimal(text)


def _tidy(text: str) -> str:
    """Text on one line, without stray blanks and control characters."""
    printable = "".join(one if one.isprintable() else " " for one in text)
    return " ".join(printable.split())[:LONGEST_NAME]


def _invoices(sales: Sequence[_Sale]) -> tuple[Invoice, ...]:
    by_number: dict[str, list[_Sale]] = {}
    for sale in sales:
        by_number.setdefault(sale.invoice, []).append(sale)
    return tuple(_invoice(number, its_sales) for number, its_sales in by_number.items())


def _invoice(number: str, sales: Sequence[_Sale]) -> Invoice:
    pieces: dict[tuple[str, int], int] = {}
    for sale in sales:
        merged = (sale.stock_code, sale.price_minor)
        pieces[merged] = pieces.get(merged, 0) + sale.quantity
    return Invoice(
        number=number,
        customer_id=next((sale.customer_id for sale in sales if sale.customer_id), None),
        country=next((sale.country for sale in sales if sale.country), ""),
        lines=tuple(
            InvoiceLine(sku_of(code, price), quantity, price)
            for (code, price), quantity in pieces.items()
        ),
        file_lines=len(sales),
    )


def _products(sales: Sequence[_Sale]) -> tuple[Product, ...]:
    by_code: dict[str, list[_Sale]] = {}
    for sale in sales:
        by_code.setdefault(sale.stock_code, []).append(sale)
    return tuple(_product(code, its_sales) for code, its_sales in by_code.items())


def _product(stock_code: str, sales: Sequence[_Sale]) -> Product:
    prices = sorted({sale.price_minor for sale in sales})
    code = product_code_of(stock_code)
    return Product(
        code=code,
        name=next((sale.name for sale in sales if sale.name), code),
        base_minor=prices[0],
        variants=tuple(Variant(sku_of(stock_code, price), price - prices[0]) for price in prices),
    )
