"""Card numbers: what is one, and whether a text has one in it.

A card number (ISO/IEC 7812-1) has 14 to 19 digits, begins as its issuer's do and ends in a check
digit. In a text it may have blanks, dashes, dots, underscores and what is not seen between its
digits, and the digits may be of any script. What ends a number instead (letters, commas, colons,
slashes, brackets) ends it here too, so that lists of numbers are not taken for one: but for four
groups of four digits, and no more, with the same sign of any kind between them.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

SHORTEST, LONGEST = 14, 19
"""Digits of a card number."""

SMALLEST_GROUP = 4
"""Digits that stand together in a card number; fewer only in its last group."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """How a scheme's numbers begin, from and to (four digits each), and how long they are."""

    name: str
    begins: tuple[tuple[int, int], ...]
    digits: range


ISSUERS = (
    Issuer("Visa", ((4000, 4999),), range(16, 20)),
    Issuer("Mastercard", ((5100, 5599), (2221, 2720)), range(16, 17)),
    Issuer("American Express", ((3400, 3499), (3700, 3799)), range(15, 16)),
    Issuer(
        "Diners Club",
        ((3000, 3059), (3095, 3095), (3600, 3699), (3800, 3999)),
        range(14, 20),
    ),
    Issuer("Discover", ((6011, 6011), (6440, 6599)), range(16, 20)),
    Issuer("JCB", ((3528, 3589),), range(16, 20)),
    Issuer("UnionPay", ((6200, 6299), (8100, 8199)), range(16, 20)),
    Issuer("Maestro", ((5000, 5099), (5600, 6999)), range(14, 20)),
    Issuer("Mir", ((2200, 2204),), range(16, 20)),
    Issuer("RuPay", ((8200, 8299),), range(16, 17)),
    Issuer("Troy", ((9792, 9792),), range(16, 17)),
)
"""The schemes as they publish their ranges; Maestro's take in most of the small national ones.

Ranges of six digits lie in ranges of four that are here, whatever issuer they are of.
"""

_LENGTHS: dict[int, set[int]] = {}
for _issuer in ISSUERS:
    for _first, _last in _issuer.begins:
        for _beginning in range(_first, _last + 1):
            _LENGTHS.setdefault(_beginning, set()).update(_issuer.digits)

_DOUBLED = bytes(
    sum(divmod(2 * (byte - ord("0")), 10)) if chr(byte).isdigit() else 0 for byte in range(128)
).ljust(256, b"\0")
"""The sum of the digits of twice an ASCII digit, by its byte."""


def is_card_number(digits: str) -> bool:
    """Whether these ASCII digits, nothing between them, are a card number."""
    return (
        SHORTEST <= len(digits) <= LONGEST
        and len(digits) in _LENGTHS.get(int(digits[:4]), ())
        and checks(digits)
    )


def checks(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, Annex B)."""
    raw = digits.encode("ascii")
    single, doubled = raw[-1::-2], raw[-2::-2]
    return (sum(single) - ord("0") * len(single) + sum(doubled.translate(_DOUBLED))) % 10 == 0


_BETWEEN = r"\x00-\x20\x7f._-"
_RUN = re.compile(rf"[0-9][0-9{_BETWEEN}]{{{SHORTEST - 1},}}")
_GROUP = re.compile(r"[0-9]+")
_FOURS = re.compile(r"(?<![0-9])[0-9]{4}(\W)[0-9]{4}(?:\1[0-9]{4}){2}(?![0-9])")
"""Sixteen digits as they stand on a card, with one sign three times."""
_FOREIGN = re.compile(r"[^\x00-\x7f]")
_BLANK_KINDS = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Mn", "Me", "Pd", "Pc"})
"""Blanks, what is not seen, marks upon a character, dashes and underscores of all scripts."""
_BLANKS_OF_OTHER_KINDS = frozenset(
    "\u00b7\u2024\u2027\u2043\u2212\u30fb\uff0e\u115f\u1160\u3164\uffa0\u2800"
)
"""Dots, a minus, and letters and symbols that look like nothing."""

_DAY, _MONTH, _YEAR = "(?:0?[1-9]|[12][0-9]|3[01])", "(?:0?[1-9]|1[0-2])", "(?:19|20)[0-9]{2}"
_OTHER_MEANING = re.compile(
    rf"""
    (?<![0-9A-Za-z])
    (?: [0-9A-Fa-f]{{8}} (?:-[0-9A-Fa-f]{{4}}){{3}} -[0-9A-Fa-f]{{12}}
      | [0-9A-Fa-f]{{32,}}
      | {_DAY} ([-.]) {_MONTH} \1 {_YEAR}
      | {_YEAR} - {_MONTH} - {_DAY}
    )
    (?![0-9A-Za-z])
    """,
    re.VERBOSE,
)
"""UUIDs, digests and dates: digits and what may stand between them, and never a card number."""


def has_card_number(text: str) -> bool:
    """Whether a card number stands anywhere in a text."""
    if len(text) < SHORTEST:
        return False
    if not text.isascii():
        if sum(map(str.isdigit, text)) < SHORTEST:
            return False
        text = _FOREIGN.sub(_as_ascii, text)
    if not _RUN.search(text):
        return any(map(is_card_number, _in_fours(text)))
    text = _OTHER_MEANING.sub("|", text)
    return any(
        is_card_number(digits)
        for run in _RUN.finditer(text)
        for digits in _candidates(_GROUP.findall(run[0]))
    ) or any(map(is_card_number, _in_fours(text)))


def _as_ascii(character: re.Match[str]) -> str:
    """A digit as ASCII has it, a blank for what may stand between digits; others as they are."""
    digit = unicodedata.digit(character[0], None)
    if digit is not None:
        return str(digit)
    kind = unicodedata.category(character[0])
    is_blank = kind in _BLANK_KINDS or character[0] in _BLANKS_OF_OTHER_KINDS
    return " " if is_blank else character[0]


def _candidates(groups: Sequence[str]) -> Iterator[str]:
    """The digits that may be one number, of digits that only blanks and the like divide.

    All together, whatever their groups are. In a longer row (the number, then its date and code)
    those that are written as card numbers are.
    """
    if sum(map(len, groups)) <= LONGEST:
        yield "".join(groups)
    for first in range(len(groups)):
        digits = ""
        for at in range(first, len(groups)):
            group = groups[at]
            digits += group
            if len(digits) > LONGEST:
                break
            if len(digits) >= SHORTEST:
                yield digits
            if len(group) < SMALLEST_GROUP:
                break


def _in_fours(text: str) -> Iterator[str]:
    """The digits of four groups of four that one sign divides. A longer list is none."""
    for found in _FOURS.finditer(text):
        sign, first, end = found[1], found.start(), found.end()
        goes_on = text[end : end + 1] == sign and text[end + 1 : end + 2].isdigit()
        went_on = text[first - 1 : first] == sign and text[first - 2 : first - 1].isdigit()
        if not goes_on and not went_on:
            yield found[0].replace(sign, "")


_LETTERS = frozenset(
    {*range(0xC3, 0xCC), *range(0xCE, 0xD2), *range(0xE4, 0xEA), *range(0xEB, 0xEE)}
)
"""First bytes of UTF-8 characters that are neither a digit nor what may stand between digits."""
_BLANK_BYTES = bytes((*range(0x21), 0x7F, *b"._-", *range(0x80, 0xC0)))
"""What may stand between digits, and all bytes of a UTF-8 character but its first."""
_SHAPES = bytes(
    ord("0") if byte in b"0123456789" or (byte >= 0xC0 and byte not in _LETTERS) else ord("x")
    for byte in range(256)
)
"""A zero for what may be a digit."""
_SHAPE = b"0" * SHORTEST
_SHAPE_OF_FOURS = re.compile(rb"0{4}x{1,2}0{4}x{1,2}0{4}x{1,2}0{4}")
"""A sign of ASCII may be escaped: then it has two bytes."""
_ESCAPED_CHARACTER = re.compile(rb"\\u[0-9A-Fa-f]{4}")
_ESCAPED_BLANK = re.compile(rb"\\[bfnrt]")


def may_have_card_number(raw: bytes) -> bool:
    """Whether a card number may stand in raw JSON, CSV or text in UTF-8; False is certain.

    This is all that it costs to send none: what may be a digit becomes a zero (as do characters
    beyond ASCII that are no letters for sure), and zeros are counted; only when there are enough,
    what may stand between digits is taken out, and a row of them is looked for, or four of four.
    """
    if b"\\" in raw:
        raw = _ESCAPED_BLANK.sub(b" ", _ESCAPED_CHARACTER.sub(b"0", raw))
    if raw.translate(_SHAPES).count(b"0") < SHORTEST:
        return False
    shapes = raw.translate(_SHAPES, _BLANK_BYTES)
    return _SHAPE in shapes or _SHAPE_OF_FOURS.search(shapes) is not None


WITHHELD = "(withheld)"


def without_card_numbers(value: Any) -> Any:
    """A JSON value with `WITHHELD` in place of each text that has a card number in it."""
    if isinstance(value, str):
        return WITHHELD if has_card_number(value) else value
    if isinstance(value, dict):
        return {name: without_card_numbers(item) for name, item in value.items()}
    return [without_card_numbers(item) for item in value] if isinstance(value, list) else value
