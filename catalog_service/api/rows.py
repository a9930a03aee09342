"""Reading the rows of an import, from CSV and from JSON, into what the domain merges.

A JSON row says something of one SKU, a CSV row of one SKU in one currency. Both go through the
same strict body, so that a row is good or refused for the same reasons in either form.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from catalog_service.api.bodies import (
    AdditionalMinor,
    Attributes,
    BaseMinor,
    Code,
    Currency,
    Name,
    OwnName,
    once_per_currency,
)
from catalog_service.domain import ImportRow, Status
from contracts.money import NotAnAmount, UnknownCurrency, parse_minor
from messaging.http.bodies import RequestBody

REQUIRED_COLUMNS = ("product_code", "sku")
TEXT_COLUMNS = (*REQUIRED_COLUMNS, "product_name", "product_status", "name", "status")
PRICE_COLUMNS = ("currency", "base_price", "additional_price")
COLUMNS = TEXT_COLUMNS + PRICE_COLUMNS
ATTRIBUTE_COLUMNS = {"attribute.": "attributes", "product_attribute.": "product_attributes"}
"""Beginnings of the columns that hold one attribute each."""

MOST_COLUMNS = 200
MOST_REASONS = 10
"""Reasons told of one row: a row of nonsense has as many as it has fields."""

LONGEST_LOCATION = 120


class RowPrice(RequestBody):
    """Prices in one currency; what is absent or null stays as it is."""

    currency: Currency
    base_minor: BaseMinor | None = None
    additional_minor: AdditionalMinor | None = None


class Row(RequestBody):
    """What a row says of one SKU and its product; what is absent or null stays as it is."""

    product_code: Code
    sku: Code
    product_name: Name | None = None
    product_status: Status | None = None
    product_attributes: Attributes = Field(default_factory=dict)
    name: OwnName | None = None
    status: Status | None = None
    attributes: Attributes = Field(default_factory=dict)
    prices: Annotated[list[RowPrice], AfterValidator(once_per_currency)] = Field(
        default_factory=list
    )

    def import_row(self, number: int) -> ImportRow:
        """The row of the domain."""
        return ImportRow(
            number=number,
            product_code=self.product_code,
            sku=self.sku,
            product_name=self.product_name,
            product_status=self.product_status,
            product_attributes=self.product_attributes,
            base_prices={
                price.currency: price.base_minor
                for price in self.prices
                if price.base_minor is not None
            },
            name=self.name,
            status=self.status,
            attributes=self.attributes,
            additional_prices={
                price.currency: price.additional_minor
                for price in self.prices
                if price.additional_minor is not None
            },
        )


class Rows(RequestBody):
    """An import as JSON."""

    rows: list[Row] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that says nothing that can be understood, and why, by location."""

    number: int
    reasons: tuple[dict[str, str], ...]


@dataclass(frozen=True, slots=True)
class ReadRows:
    """All rows of an import, in order."""

    rows: tuple[ImportRow, ...]
    unreadable: tuple[UnreadableRow, ...]

    @property
    def count(self) -> int:
        """How many rows the import has."""
        return len(self.rows) + len(self.unreadable)


class UnreadableImport(Exception):
    """The import as a whole cannot be read; `facts` say where."""

    def __init__(self, reason: str, **facts: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.facts = facts


class TooManyRows(Exception):
    """The import has more rows than one import may have."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.most = most


def rows_of_json(content: object, most_rows: int) -> ReadRows:
    """The rows of `{"rows": [...]}`. Raises `UnreadableImport` and `TooManyRows`."""
    if not isinstance(content, dict) or set(content) != {"rows"}:
        raise UnreadableImport("the body must be an object with the one member rows")
    rows = content["rows"]
    if not isinstance(rows, list) or not rows:
        raise UnreadableImport("rows must be a list that is not empty")
    if len(rows) > most_rows:
        raise TooManyRows(most_rows)
    return _read(_FieldsOf(fields) for fields in rows)


def rows_of_csv(body: bytes, most_rows: int) -> ReadRows:
    """The rows of a CSV file with a header (RFC 4180, UTF-8).

    Cells are taken without the blanks around them, and an empty cell says nothing. Raises
    `UnreadableImport` and `TooManyRows`.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableImport("the file is not UTF-8", byte=error.start) from None
    if "\x00" in text:
        raise UnreadableImport("the file contains the NUL character")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = _header(next(reader, []))
        return _read(_bounded((_cells(header, cells) for cells in reader if cells), most_rows))
    except csv.Error:
        raise UnreadableImport("the file is not well-formed", line=reader.line_num) from None


@dataclass(frozen=True, slots=True)
class _FieldsOf:
    """A row before validation; `reasons` is what is wrong with it already."""

    fields: object
    reasons: tuple[dict[str, str], ...] = ()


def _read(rows: Iterable[_FieldsOf]) -> ReadRows:
    good: list[ImportRow] = []
    unreadable: list[UnreadableRow] = []
    for number, row in enumerate(rows, start=1):
        if row.reasons:
            unreadable.append(UnreadableRow(number, row.reasons))
            continue
        try:
            good.append(Row.model_validate(row.fields).import_row(number))
        except ValidationError as error:
            unreadable.append(UnreadableRow(number, _reasons(error)))
    if not good and not unreadable:
        raise UnreadableImport("the file has no rows below its header")
    return ReadRows(tuple(good), tuple(unreadable))


def _reasons(error: ValidationError) -> tuple[dict[str, str], ...]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return tuple(
        _reason(".".join(str(part) for part in one["loc"]), one["msg"])
        for one in found[:MOST_REASONS]
    )


def _reason(location: str, reason: str) -> dict[str, str]:
    return {"location": location[:LONGEST_LOCATION], "reason": reason}


def _bounded(rows: Iterator[_FieldsOf], most_rows: int) -> Iterator[_FieldsOf]:
    for count, row in enumerate(rows, start=1):
        if count > most_rows:
            raise TooManyRows(most_rows)
        yield row


def _header(cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    known = [name for name in header if name in COLUMNS or _is_attribute(name)]
    if missing := [name for name in REQUIRED_COLUMNS if name not in header]:
        raise UnreadableImport("columns are missing", columns=missing)
    if len(known) < len(header):
        positions = [at for at, name in enumerate(header, start=1) if name not in known]
        raise UnreadableImport(
            "columns are not known", positions=positions[:MOST_REASONS], known=list(COLUMNS)
        )
    if len(set(header)) < len(header):
        raise UnreadableImport("a column stands twice")
    if len(header) > MOST_COLUMNS:
        raise UnreadableImport("there are too many columns", most=MOST_COLUMNS)
    return header


def _is_attribute(column: str) -> bool:
    return any(
        column.startswith(beginning) and len(column) > len(beginning)
        for beginning in ATTRIBUTE_COLUMNS
    )


def _cells(header: list[str], cells: list[str]) -> _FieldsOf:
    if len(cells) != len(header):
        reason = f"the row has {len(cells)} cells, the header has {len(header)}"
        return _FieldsOf(None, (_reason("", reason),))
    said = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
    fields: dict[str, Any] = {name: said[name] for name in TEXT_COLUMNS if name in said}
    try:
        if price := _price(said):
            fields["prices"] = [price]
    except _WrongCell as wrong:
        return _FieldsOf(None, (_reason(wrong.column, wrong.reason),))
    for beginning, field in ATTRIBUTE_COLUMNS.items():
        fields[field] = {
            name.removeprefix(beginning): cell
            for name, cell in said.items()
            if name.startswith(beginning)
        }
    return _FieldsOf(fields)


class _WrongCell(Exception):
    def __init__(self, column: str, reason: str) -> None:
        super().__init__(column, reason)
        self.column = column
        self.reason = reason


def _price(said: Mapping[str, str]) -> dict[str, Any] | None:
    """The price that a CSV row says, if it says one, in minor units."""
    columns = {"base_price": "base_minor", "additional_price": "additional_minor"}
    if not said.keys() & columns.keys():
        return None
    currency = said.get("currency")
    if currency is None:
        raise _WrongCell("currency", "a price needs a currency")
    price: dict[str, Any] = {"currency": currency}
    for column, field in columns.items():
        if column in said:
            try:
                price[field] = parse_minor(said[column], currency)
            except NotAnAmount:
                raise _WrongCell(column, "is no amount of this currency") from None
            except UnknownCurrency:
                raise _WrongCell("currency", "is no currency that is taken here") from None
    return price
