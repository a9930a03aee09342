"""Documents as PDF: A4, the fonts embedded, the same bytes for the same document each time."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from fpdf import FPDF
from fpdf.enums import Align, TableBordersLayout
from fpdf.fonts import FontFace

from order_service.documents.fonts import (
    SUBSTITUTE,
    Font,
    Writing,
    bold,
    east_asian,
    regular,
    writing_of,
)
from order_service.documents.page import Page

FAMILY, EAST_ASIAN = "text", "east-asian"
BLUE, GREY, BLACK, PALE = (36, 80, 122), (86, 97, 115), (28, 36, 48), (223, 227, 232)
MARGIN_MM, COLUMN_MM, LINE_MM = 20, 80, 5.2
CELL_PERCENT = 12
TEXT_PT, SMALL_PT, TITLE_PT, TOTAL_PT = 9.5, 8, 20, 12

MISSING_NOTE = (
    f"{SUBSTITUTE} stands for a character that this file has no font for; see the web page."
)

Lines = list[tuple[str, bool]]
"""Lines of text, each bold or not."""


class _Sheet(FPDF):
    """Sheets of A4 with a footer; set by `render_pdf` alone."""

    def __init__(self, footer: str) -> None:
        super().__init__()
        self._footer = footer

    def footer(self) -> None:
        """Who sells, and which page this is."""
        self.set_y(-15)
        _font(self, SMALL_PT)
        self.set_text_color(GREY)
        self.cell(self.epw / 2, LINE_MM, self._footer)
        self.cell(self.epw / 2, LINE_MM, f"Page {self.page_no()} of {{nb}}", align=Align.R)


def render_pdf(page: Page, issued_at: datetime) -> bytes:
    """The PDF of a document. Takes tens of milliseconds, and seconds for a thousand lines."""
    everything = "".join(_texts(page))
    writing = writing_of(everything)
    known = _Known(writing.missing)
    notes = [*page.notes, *([MISSING_NOTE] if writing.missing else [])]

    sheet = _Sheet(known(page.seller.name))
    sheet.set_creation_date(issued_at)
    sheet.set_title(known(f"{page.title} {page.number}"))
    sheet.set_author(known(page.seller.name))
    sheet.set_lang("en")
    sheet.set_margin(MARGIN_MM)
    sheet.c_margin = 0
    sheet.set_auto_page_break(True, MARGIN_MM + LINE_MM)
    sheet.add_font(FAMILY, fname=_file(regular(), writing))
    sheet.add_font(FAMILY, "B", fname=_file(bold(), writing))
    if writing.east_asian:
        sheet.add_font(EAST_ASIAN, fname=_file(east_asian(), writing))
        sheet.set_fallback_fonts([EAST_ASIAN], exact_match=False)
    sheet.set_text_shaping(writing.shaped)
    sheet.add_page()
    _head(sheet, page, known)
    _parties(sheet, page, known)
    if page.items:
        _table(sheet, page, known)
    _sums(sheet, page)
    _notes(sheet, map(known, notes))
    return bytes(sheet.output())


def _file(font: Font, writing: Writing) -> Path:
    return font.whole if writing.shaped else font.plain


class _Known:
    """Makes text of what the fonts have: one line, and a box for what they lack."""

    def __init__(self, missing: Iterable[int]) -> None:
        self._replaced: dict[int, str] = dict.fromkeys(missing, SUBSTITUTE)

    def __call__(self, text: str) -> str:
        return _one_line(text).translate(self._replaced)


def _one_line(text: str) -> str:
    """Text without control characters, which fonts have no picture of."""
    return "".join(one if one.isprintable() or one == "\u200d" else " " for one in text)


def _texts(page: Page) -> Iterator[str]:
    """Everything that is set, for its characters."""
    yield from map(_one_line, (page.title, page.number, page.seller.name, *page.seller.address))
    yield from map(_one_line, (page.seller.email, page.seller.tax_id, page.buyer.name))
    yield from map(_one_line, (*page.buyer.address, page.buyer.email, *page.notes))
    for label, value in page.facts:
        yield from (_one_line(label), _one_line(value))
    for item in page.items:
        yield from map(_one_line, (item.name, item.code, *item.cells))


def _font(sheet: FPDF, size_pt: float, *, strong: bool = False) -> None:
    """Use this font from here on, whatever stands on the page.

    Behind a line in the other font the sheet takes for set what is not (`docs/facts.md`).
    """
    sheet.set_font(FAMILY, "B" if strong else "", size_pt)
    sheet.current_font_is_set_on_page = False


def _set(sheet: FPDF, lines: Lines, x: float, y: float, align: Align) -> float:
    """Set lines at a place, each broken where it is too long; where they end."""
    sheet.set_xy(x, y)
    for text, strong in lines:
        sheet.set_x(x)
        _font(sheet, TEXT_PT, strong=strong)
        sheet.multi_cell(COLUMN_MM, LINE_MM, text, align=align, new_x="LMARGIN", new_y="NEXT")
    return float(sheet.get_y())


def _head(sheet: FPDF, page: Page, known: _Known) -> None:
    top, right = sheet.get_y(), sheet.w - MARGIN_MM - COLUMN_MM
    sheet.set_text_color(BLUE)
    _font(sheet, TITLE_PT, strong=True)
    sheet.cell(COLUMN_MM, 9, page.title, new_x="LMARGIN", new_y="NEXT")
    sheet.set_text_color(GREY)
    _font(sheet, TOTAL_PT)
    sheet.cell(COLUMN_MM, 7, page.number, new_x="LMARGIN", new_y="NEXT")
    left_end = sheet.get_y()
    sheet.set_text_color(BLACK)
    seller = page.seller
    lines = [(known(seller.name), True), *((known(line), False) for line in seller.address)]
    lines += [(known(seller.email), False)] if seller.email else []
    lines += [(known(f"Tax id {seller.tax_id}"), False)] if seller.tax_id else []
    end = max(left_end, _set(sheet, lines, right, top, Align.R)) + 4
    sheet.set_draw_color(BLUE)
    sheet.set_line_width(0.8)
    sheet.line(MARGIN_MM, end, sheet.w - MARGIN_MM, end)
    sheet.set_y(end + 7)


def _parties(sheet: FPDF, page: Page, known: _Known) -> None:
    top, right = sheet.get_y(), sheet.w - MARGIN_MM - COLUMN_MM
    sheet.set_text_color(GREY)
    _font(sheet, SMALL_PT)
    sheet.cell(COLUMN_MM, LINE_MM, "BILL TO", new_x="LMARGIN", new_y="NEXT")
    sheet.set_text_color(BLACK)
    buyer = page.buyer
    lines = [(known(buyer.name), True), *((known(line), False) for line in buyer.address)]
    end = _set(sheet, [*lines, (known(buyer.email), False)], MARGIN_MM, sheet.get_y(), Align.L)
    _font(sheet, TEXT_PT)
    sheet.set_y(top)
    for label, value in page.facts:
        sheet.set_x(right)
        sheet.set_text_color(GREY)
        sheet.cell(COLUMN_MM / 2, LINE_MM, label)
        sheet.set_text_color(BLACK)
        sheet.cell(COLUMN_MM / 2, LINE_MM, known(value), align=Align.R, new_y="NEXT")
    sheet.set_y(max(end, sheet.get_y()) + 8)


def _table(sheet: FPDF, page: Page, known: _Known) -> None:
    others = len(page.columns)
    widths = (100 - CELL_PERCENT * others, *[CELL_PERCENT] * others)
    aligns = (Align.L, *[Align.R] * others)
    _font(sheet, TEXT_PT)
    sheet.set_draw_color(PALE)
    sheet.set_line_width(0.2)
    with sheet.table(
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        col_widths=widths,
        text_align=aligns,
        line_height=LINE_MM,
        padding=(1.2, 0, 1.2, 0),
        headings_style=FontFace(emphasis="", color=GREY, size_pt=SMALL_PT),
    ) as table:
        heading = table.row()
        for column in ("Item", *page.columns):
            heading.cell(column)
        for item in page.items:
            row = table.row()
            row.cell(known(f"{item.name}  ({item.code})" if item.code else item.name))
            for cell in item.cells:
                row.cell(cell)


def _sums(sheet: FPDF, page: Page) -> None:
    left = sheet.w - MARGIN_MM - COLUMN_MM
    height = LINE_MM * (len(page.sums) + 3)
    if sheet.will_page_break(height):
        sheet.add_page()
    sheet.ln(4)
    for sum_ in page.sums:
        sheet.set_x(left)
        size = TOTAL_PT if sum_.total else TEXT_PT
        _font(sheet, size, strong=sum_.total)
        if sum_.total:
            sheet.set_draw_color(BLUE)
            sheet.set_line_width(0.4)
            sheet.line(left, sheet.get_y() + 1, left + COLUMN_MM, sheet.get_y() + 1)
            sheet.ln(2.5)
            sheet.set_x(left)
        sheet.cell(COLUMN_MM / 2, LINE_MM, sum_.label)
        sheet.cell(
            COLUMN_MM / 2, LINE_MM, sum_.amount, align=Align.R, new_x="LMARGIN", new_y="NEXT"
        )


def _notes(sheet: FPDF, notes: Iterable[str]) -> None:
    sheet.ln(8)
    _font(sheet, SMALL_PT)
    sheet.set_text_color(GREY)
    for note in notes:
        sheet.multi_cell(sheet.epw, LINE_MM, note, new_x="LMARGIN", new_y="NEXT")
