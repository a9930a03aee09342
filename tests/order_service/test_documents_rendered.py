"""What people read: the same document as words, as HTML and as PDF."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import UUID

import pypdfium2
import pytest

from contracts.messages.parts import Address
from order_service.documents.domain import (
    Buyer,
    Document,
    Head,
    Invoice,
    Line,
    Receipt,
    Seller,
    buyer_of,
    credit_note,
    whole,
)
from order_service.documents.html import render_html
from order_service.documents.page import Page, page_of
from order_service.documents.pdf import MISSING_NOTE, render_pdf
from order_service.documents.store import Issued
from tests.order_service.test_documents_domain import LINES, TOTAL

ISSUED_AT = datetime(2026, 11, 22, 14, tzinfo=UTC)
SELLER = Seller("Mill Lane Teapots", ("12 Mill Lane", "Leeds"), "GB 123", "hello@example.org")
ADA = buyer_of(
    Address(name="Ada", line1="1 High St", city="Leeds", country="GB"), "ada@example.org"
)


def head(currency: str = "GBP", buyer: Buyer = ADA) -> Head:
    return Head("main", UUID(int=7), "7K3M-Q2ZB-90AX", currency, SELLER, buyer, ISSUED_AT)


def named(name: str) -> Buyer:
    return Buyer(name, ("1 High St",), "a@example.org")


def page(document: Document) -> Page:
    return page_of(Issued(document, "INV-2026-000123", None))


def receipt(name: str) -> Page:
    return page(Receipt(head(buyer=named(name)), 1, "stripe", 3199))


@contextmanager
def opened(pdf: bytes) -> Iterator[pypdfium2.PdfDocument]:
    document = pypdfium2.PdfDocument(pdf)
    try:
        yield document
    finally:
        document.close()


def text_of(page: Page) -> str:
    """What a reader copies out of the PDF, in one line."""
    with opened(render_pdf(page, ISSUED_AT)) as document:
        texts = [sheet.get_textpage().get_text_range() for sheet in document]
    return " ".join(" ".join(texts).split())


def size_of_the_street(page: Page) -> tuple[float, float]:
    """How wide and high the first figure of the buyer's address is set, in points."""
    with opened(render_pdf(page, ISSUED_AT)) as document:
        words = document[0].get_textpage()
        place = words.search("1 High St").get_next()
        assert place is not None
        left, bottom, right, top = words.get_charbox(place[0])
    return round(right - left, 1), round(top - bottom, 1)


class TestAPage:
    def test_of_an_invoice_says_lines_taxes_shipping_and_total(self) -> None:
        shown = page(Invoice(head(), 1, LINES))
        assert [item.cells for item in shown.items] == [
            ("2", "10.00", "-2.00", "20%", "18.00"),
            ("1", "8.99", "\N{EN DASH}", "\N{EN DASH}", "8.99"),
            ("1", "5.00", "\N{EN DASH}", "20% + 5%", "6.25"),
        ]
        assert [(each.label, each.amount) for each in shown.sums] == [
            ("Discounts, taken off above", "-2.00"),
            ("Goods before tax", "23.99"),
            ("Shipping before tax", "5.00"),
            ("Net", "28.99"),
            ("Tax 20% of 20.00", "4.00"),
            ("Tax 5% of 5.00", "0.25"),
            ("Total", "33.24 GBP"),
        ]

    @pytest.mark.parametrize(
        ("currency", "total"), [("JPY", "3,324 JPY"), ("KWD", "3.324 KWD"), ("EUR", "33.24 EUR")]
    )
    def test_has_the_decimals_of_its_currency(self, currency: str, total: str) -> None:
        assert page(Invoice(head(currency), 1, LINES)).sums[-1].amount == total

    def test_of_a_credit_note_names_the_invoice(self) -> None:
        note = credit_note(head(), 1, 1, LINES, whole(LINES), TOTAL)
        shown = page_of(Issued(note, "CN-2026-000007", "INV-2026-000123"))
        assert ("Corrects invoice", "INV-2026-000123") in shown.facts
        assert shown.sums[-1].amount == "33.24 GBP"

    def test_of_a_receipt_says_through_whom_it_was_paid(self) -> None:
        assert ("Paid through", "Stripe") in receipt("Ada").facts


class TestHtml:
    def test_says_what_the_page_says(self) -> None:
        html = render_html(page(Invoice(head(), 1, LINES))).decode()
        for said in ("INV-2026-000123", "Mill Lane Teapots", "The Book of Tea", "33.24 GBP"):
            assert said in html

    def test_runs_nothing_of_what_a_buyer_calls_themselves(self) -> None:
        html = render_html(receipt("<script>alert('x')</script>&")).decode()
        assert "<script" not in html
        assert "&lt;script&gt;" in html


class TestPdf:
    def test_says_what_the_page_says(self) -> None:
        text = text_of(page(Invoice(head(), 1, LINES)))
        for said in ("INV-2026-000123", "22 November 2026", "Teapot", "GB 123", "33.24 GBP"):
            assert said in text

    def test_is_the_same_bytes_each_time(self) -> None:
        shown = receipt("山田 太郎")
        assert render_pdf(shown, ISSUED_AT) == render_pdf(shown, ISSUED_AT)

    @pytest.mark.parametrize(
        "name", ["Zoë Łukasz-Ångström", "Ωmega Σ", "Привет", "山田 太郎", "北京市", "서울특별시"]
    )
    def test_has_names_as_they_are_written(self, name: str) -> None:
        assert name in text_of(receipt(name))

    @pytest.mark.parametrize("name", ["محمد الفاتح", "שלום", "शक्ति", "ถนนสุขุมวิท"])
    def test_has_fonts_for_scripts_that_join_and_stack(self, name: str) -> None:
        assert MISSING_NOTE not in text_of(receipt(name))

    def test_shows_a_box_for_what_no_font_has_and_says_so(self) -> None:
        text = text_of(receipt("Ada 😀\x07"))
        assert "Ada □" in text
        assert MISSING_NOTE in text

    def test_sets_everything_in_its_size_behind_a_line_in_another_font(self) -> None:
        assert size_of_the_street(receipt("山田 太郎")) == size_of_the_street(receipt("Ada"))

    def test_goes_over_as_many_sheets_as_it_takes(self) -> None:
        lines = tuple(
            Line(n, f"SKU-{n}", f"Thing {n}", False, 1, 100, 0, 100, (), 100) for n in range(1, 81)
        )
        text = text_of(page(Invoice(head(), 1, lines)))
        assert re.search(r"Page 1 of \d", text)
        assert "SKU-80" in text
        assert "80.00 GBP" in text
