"""What invoices, credit notes and receipts say: values that never change once they are issued.

An invoice is of a capture, a receipt of a payment, a credit note of a refund; a document is
corrected by another one. Amounts are minor units of the document's currency.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from contracts.ids import derived_id
from contracts.messages.parts import Address, OrderLine, ShippingLine
from contracts.money import allocate


class Kind(StrEnum):
    """The kinds of documents; `value` is what tables and the API say."""

    INVOICE = "invoice"
    RECEIPT = "receipt"
    CREDIT_NOTE = "credit_note"


_SERIES = re.compile(r"[A-Z0-9]+(-[A-Z0-9]+)*")
LONGEST_SERIES = 12
"""Characters; a number is to be read out over the telephone."""

SEQUENCE_DIGITS = 6
"""Digits that a number has at least; the millionth of a year has one more."""


class InvalidSeries(ValueError):
    """The name of a series is not of capital letters and digits, or the two kinds share one."""

    def __init__(self, series: str) -> None:
        super().__init__(f"{series!r} names no series of its own, such as INV")
        self.series = series


class UnknownTimeZone(ValueError):
    """Not a time zone of the IANA database, such as Europe/Berlin."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unknown time zone {name!r}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Seller:
    """Who sells, as documents of a shop say it, and how those are numbered.

    `time_zone` (IANA) says in which year a document is issued, and on which day.
    Raises `InvalidSeries`, `UnknownTimeZone`.
    """

    name: str = "Name of the shop"
    address: tuple[str, ...] = ("The seller's name, address and tax id", "are set in ORDER_SELLERS")
    tax_id: str = ""
    email: str = ""
    time_zone: str = "UTC"
    invoice_series: str = "INV"
    credit_note_series: str = "CN"

    def __post_init__(self) -> None:
        for series in (self.invoice_series, self.credit_note_series):
            if not _SERIES.fullmatch(series) or len(series) > LONGEST_SERIES:
                raise InvalidSeries(series)
        if self.invoice_series == self.credit_note_series:
            raise InvalidSeries(self.credit_note_series)
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            raise UnknownTimeZone(self.time_zone) from None


@dataclass(frozen=True, slots=True)
class Buyer:
    """Who the document is for."""

    name: str
    address: tuple[str, ...]
    email: str


def buyer_of(address: Address, email: str) -> Buyer:
    """The buyer at the address of an order; what is empty there is left out."""
    place = " ".join(part for part in (address.postal_code, address.city) if part)
    lines = (address.line1, address.line2, place, address.region, address.country)
    return Buyer(address.name, tuple(line for line in lines if line), email)


@dataclass(frozen=True, slots=True)
class TaxShare:
    """A tax within a line. `rate` is a fraction (0.2 is 20 %); inclusive tax is in the price."""

    rate: Decimal
    inclusive: bool
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a document, by its number in the order.

    `code` is the SKU, or the shipping method where `shipping` is set. On a credit note amounts are
    those that are credited, and the discount is in them.
    """

    line_no: int
    code: str
    name: str
    shipping: bool
    quantity: int
    unit_price_minor: int
    discount_minor: int
    net_minor: int
    taxes: tuple[TaxShare, ...]
    gross_minor: int

    @property
    def tax_minor(self) -> int:
        """All taxes of the line."""
        return sum(tax.amount_minor for tax in self.taxes)


@dataclass(frozen=True, slots=True)
class TaxSum:
    """What is taxed at one rate, and that tax; the rate is None for what bears no tax."""

    rate: Decimal | None
    net_minor: int
    tax_minor: int


def taxes_by_rate(lines: Iterable[Line]) -> tuple[TaxSum, ...]:
    """The taxes of these lines by rate, the highest first; a line of two taxes is in both."""
    sums: dict[Decimal | None, TaxSum] = {}
    for line in lines:
        shares: list[tuple[Decimal | None, int]]
        shares = [(tax.rate, tax.amount_minor) for tax in line.taxes]
        for rate, tax_minor in shares or [(None, 0)]:
            so_far = sums.get(rate, TaxSum(rate, 0, 0))
            sums[rate] = TaxSum(
                rate, so_far.net_minor + line.net_minor, so_far.tax_minor + tax_minor
            )
    return tuple(sorted(sums.values(), key=lambda one: (one.rate is None, -(one.rate or 0))))


@dataclass(frozen=True, slots=True)
class Head:
    """What all documents of an order have in common, as it was when this one was issued."""

    shop_id: str
    order_id: UUID
    order_number: str
    currency: str
    seller: Seller
    buyer: Buyer
    issued_at: datetime

    @property
    def issued_on(self) -> date:
        """The day at the shop."""
        return self.issued_at.astimezone(ZoneInfo(self.seller.time_zone)).date()


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a capture was for. Attempt 0 stands for an order that cost nothing."""

    head: Head
    attempt: int
    lines: tuple[Line, ...]
    kind: Literal[Kind.INVOICE] = Kind.INVOICE

    @property
    def id(self) -> UUID:
        """Derived, so that a capture has one invoice whoever issues it."""
        return invoice_id_of(self.head.order_id, self.attempt)

    @property
    def net_minor(self) -> int:
        """All lines before tax."""
        return sum(line.net_minor for line in self.lines)

    @property
    def gross_minor(self) -> int:
        """All lines with tax."""
        return sum(line.gross_minor for line in self.lines)


@dataclass(frozen=True, slots=True)
class CreditNote:
    """What a refund takes back of an invoice."""

    head: Head
    attempt: int
    refund: int
    lines: tuple[Line, ...]
    kind: Literal[Kind.CREDIT_NOTE] = Kind.CREDIT_NOTE

    @property
    def id(self) -> UUID:
        """Derived, so that a refund has one credit note whoever issues it."""
        return credit_note_id_of(self.head.order_id, self.refund)

    @property
    def net_minor(self) -> int:
        """What is credited, before tax."""
        return sum(line.net_minor for line in self.lines)

    @property
    def gross_minor(self) -> int:
        """What is credited, with tax."""
        return sum(line.gross_minor for line in self.lines)


@dataclass(frozen=True, slots=True)
class Receipt:
    """That a payment came, and through whom. Its tax stands on the invoice."""

    head: Head
    attempt: int
    provider: str
    amount_minor: int
    kind: Literal[Kind.RECEIPT] = Kind.RECEIPT

    @property
    def id(self) -> UUID:
        """Derived, so that a payment has one receipt whoever issues it."""
        return derived_id(self.head.order_id, f"receipt:{self.attempt}")

    @property
    def net_minor(self) -> int:
        """Money that came: nothing of it is split off."""
        return self.amount_minor

    @property
    def gross_minor(self) -> int:
        """The money that came."""
        return self.amount_minor


Document: TypeAlias = Invoice | CreditNote | Receipt


def invoice_id_of(order_id: UUID, attempt: int) -> UUID:
    """The invoice of what an attempt brought."""
    return derived_id(order_id, f"invoice:{attempt}")


def credit_note_id_of(order_id: UUID, refund: int) -> UUID:
    """The credit note of a refund."""
    return derived_id(order_id, f"credit_note:{refund}")


def series_of(document: Document) -> str | None:
    """The series that numbers this document without gaps; None for a receipt."""
    match document:
        case Invoice():
            return document.head.seller.invoice_series
        case CreditNote():
            return document.head.seller.credit_note_series
        case Receipt():
            return None


def numbered(series: str, year: int, sequence: int) -> str:
    """The number that people use: `INV-2026-000123`. A shop's numbers are its own."""
    return f"{series}-{year}-{sequence:0{SEQUENCE_DIGITS}}"


def receipt_number(order_number: str, attempt: int) -> str:
    """What a receipt goes by: its order and payment. It promises no sequence."""
    return f"{order_number}-P{attempt}"


def lines_of(goods: Sequence[OrderLine], shipping: Sequence[ShippingLine]) -> tuple[Line, ...]:
    """The lines of an order as a document shows them, numbered as the order numbers them."""
    every: tuple[OrderLine | ShippingLine, ...] = (*goods, *shipping)
    return tuple(
        Line(
            line_no=line_no,
            code=line.sku if isinstance(line, OrderLine) else line.method,
            name=line.name,
            shipping=isinstance(line, ShippingLine),
            quantity=line.quantity,
            unit_price_minor=line.unit_price_minor,
            discount_minor=sum(discount.amount_minor for discount in line.discounts),
            net_minor=line.net_minor,
            taxes=tuple(TaxShare(tax.rate, tax.inclusive, tax.amount_minor) for tax in line.taxes),
            gross_minor=line.gross_minor,
        )
        for line_no, line in enumerate(every, start=1)
    )


@dataclass(frozen=True, slots=True)
class Share:
    """What goes back of one line: so many pieces, at these shares of its net, tax and gross.

    No pieces where only its price is reduced.
    """

    line_no: int
    quantity: int
    net_minor: int
    tax_minor: int
    gross_minor: int


def whole(lines: Iterable[Line]) -> tuple[Share, ...]:
    """All of all lines."""
    return tuple(
        Share(line.line_no, line.quantity, line.net_minor, line.tax_minor, line.gross_minor)
        for line in lines
    )


def spread(lines: Sequence[Line], amount_minor: int) -> tuple[Share, ...]:
    """An amount that is of no line in particular, over all by what they cost; no pieces go back.

    By largest remainder, so that the shares are the amount.
    """
    parts = allocate(amount_minor, [line.gross_minor for line in lines])
    shares = []
    for line, part in zip(lines, parts, strict=True):
        net_minor, tax_minor = allocate(part, [line.net_minor, line.tax_minor])
        shares.append(Share(line.line_no, 0, net_minor, tax_minor, part))
    return tuple(share for share in shares if share.gross_minor)


def in_part(lines: Sequence[Line], amount_minor: int) -> tuple[Line, ...]:
    """Shares of these lines that are so much in all, with their taxes; of no pieces."""
    by_number = {line.line_no: line for line in lines}
    return tuple(_credited(by_number, share) for share in spread(lines, amount_minor))


class NotOfTheLine(ValueError):
    """A share names no line of the order, or is more than the line has, or does not add up."""

    def __init__(self, share: Share) -> None:
        super().__init__(f"line {share.line_no} has no such share")
        self.share = share


class SharesDisagree(ValueError):
    """The shares do not add up to what is refunded."""

    def __init__(self, shares_minor: int, amount_minor: int) -> None:
        super().__init__(f"the shares are {shares_minor}, refunded are {amount_minor}")
        self.shares_minor = shares_minor
        self.amount_minor = amount_minor


def credit_note(
    head: Head,
    attempt: int,
    refund: int,
    lines: Sequence[Line],
    shares: Sequence[Share],
    amount_minor: int,
) -> CreditNote:
    """The credit note over these shares of an order's lines, which are `amount_minor` in all.

    A share's tax is split over the line's taxes by largest remainder. Raises `NotOfTheLine`,
    `SharesDisagree`.
    """
    shares_minor = sum(share.gross_minor for share in shares)
    if shares_minor != amount_minor:
        raise SharesDisagree(shares_minor, amount_minor)
    by_number = {line.line_no: line for line in lines}
    return CreditNote(head, attempt, refund, tuple(_credited(by_number, share) for share in shares))


def _credited(lines: Mapping[int, Line], share: Share) -> Line:
    line = lines.get(share.line_no)
    if line is None or not _is_share_of(line, share):
        raise NotOfTheLine(share)
    parts = allocate(share.tax_minor, [tax.amount_minor for tax in line.taxes] or [0])
    return Line(
        line_no=line.line_no,
        code=line.code,
        name=line.name,
        shipping=line.shipping,
        quantity=share.quantity,
        unit_price_minor=line.unit_price_minor,
        discount_minor=0,
        net_minor=share.net_minor,
        taxes=tuple(
            TaxShare(tax.rate, tax.inclusive, part)
            for tax, part in zip(line.taxes, parts, strict=False)
        ),
        gross_minor=share.gross_minor,
    )


def _is_share_of(line: Line, share: Share) -> bool:
    return (
        0 <= share.quantity <= line.quantity
        and 0 <= share.net_minor <= line.net_minor
        and 0 <= share.tax_minor <= line.tax_minor
        and share.net_minor + share.tax_minor == share.gross_minor
    )
