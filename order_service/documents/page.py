"""What a document shows, as text: one model, which HTML and PDF only lay out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import assert_never

from contracts.money import format_minor
from order_service.documents.domain import (
    Buyer,
    CreditNote,
    Invoice,
    Line,
    Receipt,
    Seller,
    taxes_by_rate,
)
from order_service.documents.store import Issued

NO_VALUE = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Item:
    """A row of the table: what it is, its code, and the cells of the other columns."""

    name: str
    code: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """A row below the table."""

    label: str
    amount: str
    total: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A document in words. `columns` are the headings of the cells of every item."""

    title: str
    number: str
    seller: Seller
    buyer: Buyer
    facts: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    items: tuple[Item, ...]
    sums: tuple[Sum, ...]
    notes: tuple[str, ...]


def page_of(issued: Issued) -> Page:
    """What this document shows."""
    document, head = issued.document, issued.document.head
    title, facts, notes = "", [("Date", _day(head.issued_on)), ("Order", head.order_number)], []
    columns: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()
    match document:
        case Invoice(lines=lines):
            title, notes = "Invoice", [_price_note(lines)]
            columns = ("Quantity", "Unit price", "Discount", "Tax", "Amount")
            items = tuple(_item(line, _sold(line, head.currency)) for line in lines)
            sums = (*_sums(lines, head.currency), _total("Total", document))
        case CreditNote(lines=lines):
            title = "Credit note"
            facts.append(("Corrects invoice", issued.invoice_number or NO_VALUE))
            columns = ("Quantity", "Net", "Tax", "Credited")
            items = tuple(_item(line, _credited(line, head.currency)) for line in lines)
            sums = (*_sums(lines, head.currency), _total("Total credited", document))
            notes = ["This amount was given back in the way it was paid."]
        case Receipt():
            title = "Receipt"
            facts += [
                ("Invoice", issued.invoice_number or NO_VALUE),
                ("Paid through", document.provider.replace("_", " ").capitalize()),
            ]
            sums = (_total("Received", document),)
            notes = ["We have received this payment, with thanks."]
        case _:
            assert_never(document)
    return Page(
        title,
        issued.number,
        head.seller,
        head.buyer,
        tuple(facts),
        columns,
        items,
        sums,
        tuple(note for note in notes if note),
    )


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _item(line: Line, cells: tuple[str, ...]) -> Item:
    return Item(line.name, "" if line.shipping else line.code, cells)


def _sold(line: Line, currency: str) -> tuple[str, ...]:
    return (
        f"{line.quantity:,}",
        _plain(line.unit_price_minor, currency),
        _plain(-line.discount_minor, currency) if line.discount_minor else NO_VALUE,
        _rates(line),
        _plain(line.gross_minor, currency),
    )


def _credited(line: Line, currency: str) -> tuple[str, ...]:
    return (
        f"{line.quantity:,}" if line.quantity else NO_VALUE,
        _plain(line.net_minor, currency),
        _plain(line.tax_minor, currency),
        _plain(line.gross_minor, currency),
    )


def _plain(amount_minor: int, currency: str) -> str:
    """An amount in a column of one currency, which stands beside the total."""
    return format_minor(amount_minor, currency).removesuffix(f" {currency}")


def _rates(line: Line) -> str:
    return " + ".join(_percent(tax.rate) for tax in line.taxes) or NO_VALUE


def _percent(rate: Decimal) -> str:
    return f"{(rate * 100).normalize():f}%"


def _sums(lines: Sequence[Line], currency: str) -> tuple[Sum, ...]:
    sums = []
    if discount_minor := sum(line.discount_minor for line in lines):
        sums.append(Sum("Discounts, taken off above", _plain(-discount_minor, currency)))
    if shipping := [line for line in lines if line.shipping]:
        goods_minor = sum(line.net_minor for line in lines if not line.shipping)
        sums.append(Sum("Goods before tax", _plain(goods_minor, currency)))
        shipping_minor = sum(line.net_minor for line in shipping)
        sums.append(Sum("Shipping before tax", _plain(shipping_minor, currency)))
    sums.append(Sum("Net", _plain(sum(line.net_minor for line in lines), currency)))
    for tax in taxes_by_rate(lines):
        if tax.rate is not None:
            label = f"Tax {_percent(tax.rate)} of {_plain(tax.net_minor, currency)}"
            sums.append(Sum(label, _plain(tax.tax_minor, currency)))
    return tuple(sums)


def _total(label: str, document: Invoice | CreditNote | Receipt) -> Sum:
    amount = format_minor(document.gross_minor, document.head.currency)
    return Sum(label, amount, total=True)


def _price_note(lines: Sequence[Line]) -> str:
    inclusive = {tax.inclusive for line in lines for tax in line.taxes}
    if not inclusive:
        return ""
    if inclusive == {True}:
        return "Unit prices include tax."
    if inclusive == {False}:
        return "Unit prices are before tax."
    return "Some unit prices include their tax, others do not; amounts always do."
