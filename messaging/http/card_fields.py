"""In which field of a raw request a card number stands.

The request is only cut into its tokens: no document is built of it, and nothing of it is kept but
the names that lead to the field. Fields that hold other people's numbers are exempt by name.
"""

import csv
import io
import json
import re
from urllib.parse import parse_qsl

from messaging.http.card_numbers import has_card_number, may_have_card_number

_GOODS = """
    sku skus barcode barcodes code productcode
    ean ean8 ean13 gtin gtin8 gtin12 gtin13 gtin14 itf14 jan isbn isbn10 isbn13 upc upca upce
"""
EXEMPT = frozenset(_GOODS.split())
"""Names of fields, without case and punctuation, whose digits say which goods are meant.

`code` is that of a product or of a warehouse, which are written as SKUs are.
"""

_OF_A_PROVIDER = re.compile(r"provider\w*(?:id|ids|reference|references)")
"""Names of fields with what a payment provider calls its own objects; `token` is none of them."""

_PUNCTUATION = re.compile(r"[\W_]+")

DEEPEST = 1024
"""Levels below which no JSON parser of ours goes: it refuses such a document itself."""

_TOKEN = re.compile(
    r"""
    "(?P<text>[^"\\]*(?:\\.[^"\\]*)*)(?:"|\\?\Z)(?P<names>[ \t\r\n]*:)?
    | (?P<mark>[\[\]{},])
    | (?P<bare>[^\s"\[\]{},:]+)
    """,
    re.VERBOSE | re.DOTALL,
)
"""A token of JSON. What is no JSON is cut as if it were."""


def is_exempt(name: str) -> bool:
    """Whether the field of this name may hold any number; of a dotted name the end counts."""
    plain = _PUNCTUATION.sub("", name.rpartition(".")[2].casefold())
    return plain in EXEMPT or _OF_A_PROVIDER.fullmatch(plain) is not None


def card_number_in_body(body: bytes, media_type: str) -> str | None:
    """Where in a raw body a card number stands, such as `body.address.line1`; None without one."""
    if not may_have_card_number(body):
        return None
    match media_type:
        case "application/json":
            return _in_json(body.decode(errors="replace"))
        case "text/csv":
            return _in_csv(body.decode("utf-8-sig", errors="replace"))
        case _:
            return "body" if has_card_number(body.decode(errors="replace")) else None


def card_number_in_query(query: bytes) -> str | None:
    """Where in a raw query string a card number stands, such as `query.name`; None without one."""
    if b"%" not in query and not may_have_card_number(query.replace(b"+", b" ")):
        return None
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if has_card_number(name):
            return "query"
        if has_card_number(value) and not is_exempt(name):
            return f"query.{name}"
    return None


def _in_json(document: str) -> str | None:
    # Of each level the name or number of the current member, and the name its values go by.
    path: list[str | int] = []
    named: list[str] = []
    for token in _TOKEN.finditer(document):
        match token["mark"]:
            case "{":
                path.append("")
                named.append("")
            case "[":
                path.append(0)
                named.append(named[-1] if named else "")
            case "}" | "]":
                if path:
                    path.pop()
                    named.pop()
            case ",":
                if path and isinstance(path[-1], int):
                    path[-1] += 1
            case _:
                text = token["bare"] or _unescaped(token["text"])
                if token["names"] and path:
                    if has_card_number(text):
                        return _location(path[:-1])
                    path[-1] = named[-1] = text
                elif has_card_number(text) and not (named and is_exempt(named[-1])):
                    return _location(path)
        if len(path) > DEEPEST:
            return None
    return None


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text


def _in_csv(text: str) -> str | None:
    """As in JSON, with rows counted from 1 below the header; what is no CSV has no cells."""
    columns: list[str] = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row, cells in enumerate(filter(None, reader)):
            for at, cell in enumerate(cells):
                if has_card_number(cell):
                    column = columns[at] if at < len(columns) else str(at + 1)
                    if row == 0:
                        return "body"
                    if not is_exempt(column):
                        return _location([row, column])
            if row == 0:
                columns = [cell.strip() for cell in cells]
    except csv.Error:
        return None
    return None


def _location(path: list[str | int]) -> str:
    return ".".join(("body", *map(str, path)))
