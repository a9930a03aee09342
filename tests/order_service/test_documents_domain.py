"""What documents say, and when they are due: pure examples."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr, ValidationError

from contracts.messages.parts import Address, Discount, OrderLine, ShippingLine, Tax
from order_service.checkout import Checkout
from order_service.documents.domain import (
    CreditNote,
    Head,
    InvalidSeries,
    Invoice,
    Kind,
    NotOfTheLine,
    Receipt,
    Seller,
    Share,
    SharesDisagree,
    TaxSum,
    UnknownTimeZone,
    buyer_of,
    credit_note,
    in_part,
    lines_of,
    numbered,
    spread,
    taxes_by_rate,
    whole,
)
from order_service.documents.issuing import Draft, documents_due
from order_service.exploration import explore, silhouette, start
from order_service.settings import OrderSettings

ADDRESS = Address(name="Ada", line1="1 Mill Lane", city="Leeds", postal_code="LS1", country="GB")
SETTINGS: dict[str, Any] = {"signing_key": SecretStr("k" * 32)}
NEW_YEAR = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)

GOODS = (
    OrderLine(
        sku="TEAPOT",
        name="Teapot",
        unit_price_minor=1000,
        quantity=2,
        discounts=(Discount(source="SUMMER", amount_minor=200),),
        taxes=(Tax(rate=Decimal("0.2"), inclusive=True, amount_minor=300),),
        net_minor=1500,
        gross_minor=1800,
    ),
    OrderLine(
        sku="BOOK",
        name="The Book of Tea",
        unit_price_minor=899,
        quantity=1,
        net_minor=899,
        gross_minor=899,
    ),
)
POST = (
    ShippingLine(
        method="post",
        name="Post",
        unit_price_minor=500,
        quantity=1,
        taxes=(
            Tax(rate=Decimal("0.2"), inclusive=False, amount_minor=100),
            Tax(rate=Decimal("0.05"), inclusive=False, amount_minor=25),
        ),
        net_minor=500,
        gross_minor=625,
    ),
)
LINES = lines_of(GOODS, POST)
TOTAL = 1800 + 899 + 625


def head(currency: str = "GBP", **seller: str) -> Head:
    """The head of a document of the last minutes of a year."""
    return Head(
        shop_id="main",
        order_id=UUID(int=7),
        order_number="7K3M",
        currency=currency,
        seller=Seller(**seller),  # type: ignore[arg-type]  # only texts are given
        buyer=buyer_of(ADDRESS, "ada@example.org"),
        issued_at=NEW_YEAR,
    )


class TestAnInvoice:
    def test_says_every_part_of_every_line(self) -> None:
        invoice = Invoice(head(), 1, LINES)
        assert (invoice.net_minor, invoice.gross_minor) == (2899, TOTAL)
        assert [(line.line_no, line.code, line.shipping) for line in LINES] == [
            (1, "TEAPOT", False),
            (2, "BOOK", False),
            (3, "post", True),
        ]
        assert LINES[0].discount_minor == 200

    def test_sums_taxes_by_rate_and_untaxed_goods_by_themselves(self) -> None:
        assert taxes_by_rate(LINES) == (
            TaxSum(Decimal("0.2"), 2000, 400),
            TaxSum(Decimal("0.05"), 500, 25),
            TaxSum(None, 899, 0),
        )

    def test_is_of_the_day_and_year_at_the_shop(self) -> None:
        assert head().issued_on.isoformat() == "2026-12-31"
        assert head(time_zone="Europe/Berlin").issued_on.isoformat() == "2027-01-01"

    def test_leaves_out_what_an_address_does_not_have(self) -> None:
        assert buyer_of(ADDRESS, "a@b.c").address == ("1 Mill Lane", "LS1 Leeds", "GB")


class TestNumbers:
    def test_have_six_digits_and_more_when_they_are_used_up(self) -> None:
        assert numbered("INV", 2026, 123) == "INV-2026-000123"
        assert numbered("INV", 2026, 1_234_567) == "INV-2026-1234567"

    @pytest.mark.parametrize("series", ["", "inv", "INV-", "I/V", "A" * 13])
    def test_begin_with_what_can_be_read_out(self, series: str) -> None:
        with pytest.raises(InvalidSeries):
            Seller(invoice_series=series)

    def test_of_two_kinds_are_never_of_one_series(self) -> None:
        with pytest.raises(InvalidSeries):
            Seller(invoice_series="DOC", credit_note_series="DOC")

    def test_are_of_a_year_that_there_is(self) -> None:
        with pytest.raises(UnknownTimeZone):
            Seller(time_zone="Middle/Earth")


class TestSellers:
    def test_are_set_by_shop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told = {
            "main": {"name": "Mill Lane", "address": ["1 Mill Lane"], "time_zone": "Asia/Tokyo"}
        }
        monkeypatch.setenv("ORDER_SELLERS", json.dumps(told))
        assert OrderSettings(**SETTINGS).sellers == {
            "main": Seller("Mill Lane", ("1 Mill Lane",), time_zone="Asia/Tokyo")
        }

    @pytest.mark.parametrize("wrong", [{"time_zone": "Mars"}, {"invoice_series": "in voice"}])
    def test_that_cannot_be_are_refused_at_the_start(
        self, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str]
    ) -> None:
        monkeypatch.setenv("ORDER_SELLERS", json.dumps({"main": wrong}))
        with pytest.raises(ValidationError):
            OrderSettings(**SETTINGS)


class TestACreditNote:
    def test_over_everything_says_what_the_invoice_said(self) -> None:
        invoice = Invoice(head(), 1, LINES)
        note = credit_note(head(), 1, 1, LINES, whole(LINES), TOTAL)
        assert (note.net_minor, note.gross_minor) == (invoice.net_minor, invoice.gross_minor)
        assert taxes_by_rate(note.lines) == taxes_by_rate(invoice.lines)

    def test_over_a_part_splits_its_tax_over_the_rates_of_the_line(self) -> None:
        note = credit_note(head(), 1, 2, LINES, [Share(3, 1, 200, 51, 251)], 251)
        (line,) = note.lines
        assert [tax.amount_minor for tax in line.taxes] == [41, 10]
        assert (note.net_minor, note.gross_minor) == (200, 251)

    def test_over_an_amount_of_no_line_is_that_amount_to_the_unit(self) -> None:
        for amount_minor in range(1, TOTAL + 1):
            shares = spread(LINES, amount_minor)
            note = credit_note(head(), 1, 1, LINES, shares, amount_minor)
            assert note.gross_minor == amount_minor
            assert all(line.quantity == 0 for line in note.lines)

    def test_is_not_made_of_shares_that_are_another_amount(self) -> None:
        with pytest.raises(SharesDisagree):
            credit_note(head(), 1, 1, LINES, whole(LINES), TOTAL - 1)

    @pytest.mark.parametrize(
        "share",
        [
            Share(4, 1, 0, 0, 0),
            Share(1, 3, 0, 0, 0),
            Share(1, 1, 1501, 0, 1501),
            Share(2, 1, 0, 1, 1),
            Share(1, 1, 100, 20, 100),
        ],
        ids=["no line", "pieces", "net", "tax", "sum"],
    )
    def test_is_not_made_of_more_than_a_line_has(self, share: Share) -> None:
        with pytest.raises(NotOfTheLine):
            credit_note(head(), 1, 1, LINES, [share], share.gross_minor)


@cache
def drafts_of_all_moves() -> tuple[tuple[Draft, ...], ...]:
    """What each move that a saga can make calls for, of a paid order and of one that is free."""
    return tuple(
        tuple(documents_due(move.after, None, move.outcome.messages, {}, NEW_YEAR))
        for request in (start(), start(total_minor=0))
        for move in explore(request, alike=silhouette)
        if isinstance(move.after, Checkout)
    )


def amounts(kind: Kind) -> set[tuple[int, bool]]:
    """Gross amounts of a kind, and whether an attempt brought them."""
    return {
        (draft.document.gross_minor, draft.document.attempt > 0)
        for drafts in drafts_of_all_moves()
        for draft in drafts
        if draft.document.kind is kind
    }


class TestWhatIsDue:
    def test_nothing_is_received_for_an_order_that_costs_nothing(self) -> None:
        assert amounts(Kind.INVOICE) == {(2500, True), (1, True), (0, False)}
        assert amounts(Kind.RECEIPT) == amounts(Kind.CREDIT_NOTE) == {(2500, True), (1, True)}

    def test_a_capture_in_part_is_invoiced_and_credited_for_what_came(self) -> None:
        lines = in_part(LINES, 400)
        assert sum(line.gross_minor for line in lines) == 400
        assert all(line.net_minor + line.tax_minor == line.gross_minor for line in lines)
        assert {line.quantity for line in lines} == {0}
        note = credit_note(head(), 1, 1, lines, whole(lines), 400)
        assert note.gross_minor == 400

    def test_a_credit_note_comes_with_its_invoice_unless_that_is_there(self) -> None:
        crediting = [
            drafts
            for drafts in drafts_of_all_moves()
            if any(isinstance(draft.document, CreditNote) for draft in drafts)
        ]
        assert crediting
        for invoice, receipt, note in crediting:
            assert isinstance(invoice.document, Invoice)
            assert isinstance(receipt.document, Receipt)
            assert invoice.document.attempt == note.document.attempt == receipt.document.attempt
            assert (invoice.unless, receipt.unless) == ((invoice.key,), (receipt.key,))
