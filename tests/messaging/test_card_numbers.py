"""What is a card number, where in a raw request one is found, and what is not taken for one."""

import json
import sys
import unicodedata
import uuid
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from messaging.http.card_fields import (
    DEEPEST,
    card_number_in_body,
    card_number_in_query,
    is_exempt,
)
from messaging.http.card_numbers import (
    ISSUERS,
    LONGEST,
    WITHHELD,
    checks,
    has_card_number,
    is_card_number,
    may_have_card_number,
    without_card_numbers,
)
from messaging.http.problems import Problem, card_number_refused

CARD = "4242424242424242"
JSON, CSV = "application/json", "text/csv"

PUBLISHED = {
    "Visa": ("4242424242424242", "4000000000000002", "4111111111111111"),
    "Mastercard": ("5555555555554444", "2223003122003222", "5105105105105100"),
    "American Express": ("378282246310005", "371449635398431"),
    "Diners Club": ("3056930009020004", "36227206271667", "30569309025904", "38520000023237"),
    "Discover": ("6011111111111117", "6011000990139424"),
    "JCB": ("3566002020360505", "3530111333300000"),
    "UnionPay": ("6205500000000000004", "6200000000000005"),
    "Maestro": ("6759649826438453", "6799990100000000019"),
}
"""Numbers that schemes and providers publish for tests."""


def completed(digits: str) -> str:
    """The digits with their check digit."""
    return next(digits + last for last in "0123456789" if checks(digits + last))


@st.composite
def card_numbers(draw: st.DrawFn) -> str:
    """A number of any issuer, in any of its lengths."""
    issuer = draw(st.sampled_from(ISSUERS))
    beginning = str(draw(st.integers(*draw(st.sampled_from(issuer.begins)))))
    rest = draw(st.sampled_from(issuer.digits)) - len(beginning) - 1
    return completed(beginning + draw(st.text("0123456789", min_size=rest, max_size=rest)))


BETWEEN = [
    "",
    " ",
    "-",
    ".",
    "_",
    "  ",
    " - ",
    "\n",
    "\r\n",
    "\t",
    "\u00a0",
    "\u200b",
    "\u2009",
    "\u2011",
]
DIGITS = [
    "0123456789",
    *("".join(map(chr, range(zero, zero + 10))) for zero in (0xFF10, 0x660, 0x1D7CE)),
]
"""Of ASCII, full width, Arabic and in bold type."""


@st.composite
def written(draw: st.DrawFn) -> str:
    """A card number as somebody may write it: anything between its digits, of any script."""
    digits = draw(card_numbers())
    script = draw(st.sampled_from(DIGITS))
    between = draw(st.lists(st.sampled_from(BETWEEN), min_size=len(digits), max_size=len(digits)))
    text = "".join(
        script[int(digit)] + gap for digit, gap in zip(digits, between, strict=True)
    ).rstrip()
    # What reads as a date within a number is taken for one; the chance of that is not tried here.
    assume("19" not in digits and "20" not in digits)
    return text


WORDS = st.text(st.sampled_from("abc ,:/()äЖ漢'!?\"\\"), max_size=12)


@st.composite
def texts_with_a_card_number(draw: st.DrawFn) -> str:
    return draw(WORDS) + "x" + draw(written()) + ":" + draw(WORDS)


@pytest.mark.parametrize("issuer", PUBLISHED)
def test_the_numbers_that_issuers_publish_are_card_numbers(issuer: str) -> None:
    (known,) = (one for one in ISSUERS if one.name == issuer)
    for number in PUBLISHED[issuer]:
        assert len(number) in known.digits
        assert any(first <= int(number[:4]) <= last for first, last in known.begins)
        assert is_card_number(number)


@pytest.mark.parametrize(
    "digits",
    [
        "4242424242424241",  # another check digit
        "1234567812345670",  # no issuer begins so
        "4222222222222",  # 13 digits
        "42424242424242424242",  # 20 digits
        "41111111111116",  # a Visa of 14 digits
        "5105105105105105106",  # a Mastercard of 19 digits
        "0" * 16,
        "",
    ],
)
def test_other_digits_are_none(digits: str) -> None:
    assert not is_card_number(digits)


@given(card_numbers())
def test_one_wrong_digit_makes_it_another_thing(number: str) -> None:
    other = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert is_card_number(number)
    assert not is_card_number(other)


@given(texts_with_a_card_number())
def test_a_card_number_is_found_however_it_is_written(text: str) -> None:
    assert has_card_number(text)


@given(texts_with_a_card_number(), st.booleans(), st.sampled_from(["note", "email", "token"]))
def test_a_card_number_is_found_in_every_field_of_a_raw_document(
    text: str, ascii_only: bool, name: str
) -> None:
    found = [
        {"sku": "A", name: text},
        {"lines": [{"sku": "A"}, {name: {"deeper": [1, text]}}]},
        {name: "x", text: 1},
        [text],
        text,
    ]
    for document in found:
        raw = json.dumps(document, ensure_ascii=ascii_only).encode()
        location = card_number_in_body(raw, JSON)
        assert location is not None
        assert not has_card_number(location)


@given(texts_with_a_card_number(), st.sampled_from(["sku", "SKU", "barcode", "EAN-13", "gtin"]))
def test_exempt_fields_hold_any_number(text: str, name: str) -> None:
    raw = json.dumps({"lines": [{name: text, "n": [{name: [text]}]}], name: text}).encode()
    assert card_number_in_body(raw, JSON) is None


@given(st.text() | texts_with_a_card_number(), st.booleans())
def test_the_quick_look_at_raw_bytes_misses_nothing(text: str, ascii_only: bool) -> None:
    assume(not any(0xD800 <= ord(character) <= 0xDFFF for character in text))
    raw = json.dumps({"a": text}, ensure_ascii=ascii_only).encode()
    assert may_have_card_number(raw) or not has_card_number(text)
    assert may_have_card_number(text.encode()) or not has_card_number(text)


def test_the_quick_look_knows_every_sign_that_may_divide_groups_of_four() -> None:
    missed = []
    for sign in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.category(sign) == "Cs":
            continue
        text = sign.join(["4242"] * 4)
        if has_card_number(text):
            raw = json.dumps({"a": text}, ensure_ascii=False).encode()
            if not (may_have_card_number(text.encode()) and may_have_card_number(raw)):
                missed.append(hex(ord(sign)))
        else:
            assert sign.isalnum() or sign == "_", hex(ord(sign))
    assert missed == []


def test_the_quick_look_knows_every_character_that_is_a_digit_or_stands_between_digits() -> None:
    missed = []
    for character in map(chr, range(0x80, sys.maxunicode + 1)):
        if unicodedata.category(character) == "Cs":
            continue
        digit = unicodedata.digit(character, None) is not None
        text = character * 16 if digit else "4242424242424" + character + "242"
        blank = not digit and has_card_number(text)
        if (digit or blank) and not may_have_card_number(text.encode()):
            missed.append(hex(ord(character)))
    assert missed == []


@pytest.mark.parametrize(
    "text",
    [
        "my card is 4242 4242 4242 4242 thanks",
        "card:4242-4242-4242-4242, 12/27, 123",
        "4242 4242 4242 4242 12 27 123",  # with its date and code
        "1. 4242 4242 4242 4242",
        "%B4242424242424242^ADA",  # a magnetic stripe
        "4 2 4 2 4 2 4 2 4 2 4 2 4 2 4 2",
        "42 42 42 42 42 42 42 42",
        "3782 822463 10005",
        "4242\u00a04242\u200b4242\u20114242",
        "4242\n4242\n4242\n4242",
        "4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣",
        "4242 4242 4242 4242 and again 4242424242424242",
        "order 12345678901234567890 paid by 4242424242424242",
        "4242/4242/4242/4242",
        "4242,4242,4242,4242",
        "my card: 4242\\4242\\4242\\4242, 12/27",
        "4242|4242|4242|4242",
        "4242\uff0f4242\uff0f4242\uff0f4242",
        "\uff14242/\uff14242/\uff14242/\uff14242",
        "1,2: 4242/4242/4242/4242",
    ],
)
def test_these_have_a_card_number(text: str) -> None:
    assert has_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4242 4242 4242",
        "4242, 4242, 4242, 4242",
        "4242/4242,4242/4242",
        "4242//4242//4242//4242",
        "4242x4242x4242x4242",
        "4242ä4242ä4242ä4242",
        "4242/4242/4242/4243",  # another check digit
        "1234/5678/1234/5670",  # no issuer begins so
        "4242,4242,4242,4242,4242",
        "1,4242,4242,4242,4242",
        "4242/4242/4242/42421",
        "14242/4242/4242/4242",
        "424/2424/2424/24242",
        "+44 20 7946 0958, +44 20 7946 0959",
        "36 37 38 39 40 41 42",  # sizes
        "12:30:45, 12:30:46, 12:30:47",
        "2026-07-14T12:30:45.123456Z",
        "23.05.2026 - 14.06.2026",
        "23.05.2026 12.30.45",
        "DE89370400440532013000",
        "42424242-4242-4242-4242-424242424242",
        "424242424242424242424242424242424242424242424242424242424242424a",
    ],
)
def test_these_have_none(text: str) -> None:
    assert not has_card_number(text)


JSON_BODIES: dict[str, tuple[str, str | None]] = {
    "a text": ('{"address": {"line1": "CARD"}}', "body.address.line1"),
    "in a list": ('{"lines": [{"sku": "a"}, {"name": "x CARD"}]}', "body.lines.1.name"),
    "the token": ('{"payment": {"token": "CARD"}}', "body.payment.token"),
    "a number": ('{"amount": CARD}', "body.amount"),
    "a negative number": ('{"amount": -CARD}', "body.amount"),
    "a fraction": ('{"amount": CARD.0}', "body.amount"),
    "a number with an exponent": ('{"amount": CARDe0}', "body.amount"),
    "escaped digits": (r'{"n": "\u0034242\u0020424242424242"}', "body.n"),
    "escaped blanks": (r'{"n": "4242\n4242\t4242\r\n4242"}', "body.n"),
    "beside escaped quotes": (r'{"n": "\"CARD\\"}', "body.n"),
    "a field's name": ('{"a": {"CARD": 1}}', "body.a"),
    "a field that is said twice": ('{"n": "CARD", "n": "x"}', "body.n"),
    "a document in a text": (r'{"n": "{\"sku\": \"CARD\"}"}', "body.n"),
    "below an exempt name": ('{"sku": {"note": "CARD"}}', "body.sku.note"),
    "behind an exempt field": ('{"sku": "CARD", "n": "CARD"}', "body.n"),
    "the whole body": ('"CARD"', "body"),
    "a body that never ends": ('{"n": "CARD', "body.n"),
    "a body that is no JSON": ("n = CARD", "body"),
    "a body with brackets of no pair": (']}{"n": "CARD"', "body.n"),
    "groups of four with slashes": (r'{"n": "4242\/4242\/4242\/4242"}', "body.n"),
    "groups of four with backslashes": (r'{"n": "4242\\4242\\4242\\4242"}', "body.n"),
    "groups of four with escaped signs": (r'{"n": "4242\u002f4242\u002F4242/4242"}', "body.n"),
    "over two fields": ('{"a": "42424242", "b": "42424242"}', None),
    "over a list": ('["4242", "4242", "4242", "4242", 4242]', None),
    "over numbers": ("[4242,4242,4242,4242]", None),
    "over a name and its value": ('{"42424242": "42424242"}', None),
    "a SKU": ('{"sku": "CARD", "skus": ["CARD"], "product_code": "CARD"}', None),
    "a barcode": ('{"attributes": {"EAN": "CARD", "GTIN-14": "CARD", "Barcode": CARD}}', None),
    "a provider's id": ('{"provider_reference": "CARD", "providerPaymentId": "CARD"}', None),
    "deeper than any parser goes": ("[" * (DEEPEST + 1) + '"CARD"', None),
}


@pytest.mark.parametrize("case", JSON_BODIES)
def test_raw_json_is_searched_field_by_field(case: str) -> None:
    body, location = JSON_BODIES[case]
    assert card_number_in_body(body.replace("CARD", CARD).encode(), JSON) == location


CSV_BODIES: dict[str, tuple[str, str | None]] = {
    "a cell": ("sku,name\na,b\nc,x CARD\n", "body.2.name"),
    "a quoted cell": ('sku,name\na,"say ""CARD"""\n', "body.1.name"),
    "an attribute": ("sku,attribute.color\na,CARD\n", "body.1.attribute.color"),
    "a cell without a column": ("sku\na,CARD\n", "body.1.2"),
    "the header": ("sku,CARD\n", "body"),
    "groups of four in a quoted cell": ('sku,name\na,"4242,4242,4242,4242"\n', "body.1.name"),
    "over four cells": ("a,b,c,d\n4242,4242,4242,4242\n", None),
    "exempt columns": ("sku,attribute.ean\nCARD,CARD\n", None),
    "with a mark of its byte order": ("\ufeffsku\nCARD\n", None),
    "over two cells": ("a,b\n42424242,42424242\n", None),
    "over two rows": ("a\n42424242\n42424242\n", None),
    "no CSV": ('a,b\n"x"y,CARD\n', None),
}


@pytest.mark.parametrize("case", CSV_BODIES)
def test_raw_csv_is_searched_cell_by_cell(case: str) -> None:
    body, location = CSV_BODIES[case]
    assert card_number_in_body(body.replace("CARD", CARD).encode(), CSV) == location


@pytest.mark.parametrize(
    ("query", "location"),
    [
        (f"name={CARD}", "query.name"),
        ("name=4242+4242+4242+4242&limit=5", "query.name"),
        ("name=%34242%204242%C2%A042424242", "query.name"),
        (f"{CARD}=1", "query"),
        (f"sku={CARD}", None),
        ("a=42424242&b=42424242", None),
        (f"id={uuid.UUID(int=0x42424242424242424242424242424242)}", None),
        ("", None),
    ],
)
def test_a_query_is_searched_by_parameter(query: str, location: str | None) -> None:
    assert card_number_in_query(query.encode()) == location


@pytest.mark.parametrize("name", ["token", "provider", "email", "name", "reason", "note", "number"])
def test_a_shoppers_fields_are_never_exempt(name: str) -> None:
    assert not is_exempt(name)


def test_digits_of_no_card_hit_by_chance_only() -> None:
    """What is documented in decision 86; the same numbers in every run."""
    random, tries = Random(86), 20_000  # noqa: S311 - no secret

    def share(make: Any) -> float:
        return sum(has_card_number(make()) for _ in range(tries)) / tries

    def digits(count: int) -> str:
        return "".join(random.choices("0123456789", k=count))

    assert share(lambda: str(uuid.UUID(int=random.getrandbits(128), version=4))) == 0
    assert share(lambda: uuid.UUID(int=random.getrandbits(128), version=4).hex) == 0
    assert share(lambda: f"+{random.randint(1, 998)} {digits(3)} {digits(7)}") == 0
    assert (
        share(lambda: f"2026-0{random.randint(1, 9)}-1{digits(1)} 1{digits(1)}:30:00.123456") == 0
    )
    assert share(lambda: str(random.randint(1_600_000_000_000_000, 2_000_000_000_000_000))) == 0
    assert share(lambda: f"{random.getrandbits(256):064x}") == 0
    for count in range(14, LONGEST + 1):
        assert share(lambda: digits(count)) < 0.05  # noqa: B023 - called at once


def test_a_problem_document_withholds_card_numbers_that_exempt_fields_hold() -> None:
    problem = Problem(422, "unknown-sku", "There is nothing here", skus=[CARD, "MUG-1"], most=7)
    assert json.loads(bytes(problem.response().body))["skus"] == [WITHHELD, "MUG-1"]
    assert without_card_numbers({"a": [CARD, 5, None]}) == {"a": [WITHHELD, 5, None]}


def test_a_refusal_names_the_field_and_its_location_is_bounded() -> None:
    document = json.loads(bytes(card_number_refused("body." + "x" * 500).response().body))
    assert document["status"] == 422
    assert document["type"].endswith("/card-number-refused")
    assert len(document["errors"][0]["location"]) == 120
