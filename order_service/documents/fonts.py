"""The fonts that PDFs embed, from packages, and which characters they have.

FiraGO has Latin, Greek, Cyrillic, Arabic, Hebrew, Devanagari, Thai and Georgian; Noto Sans CJK has
Chinese, Japanese and Korean, in the forms that Japanese uses where these differ. Both are under
the SIL Open Font License.
"""

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from fontTools.ttLib import TTFont

SUBSTITUTE = "□"
"""Stands for a character that none of the fonts has."""

SHAPED = range(0x0590, 0x1100)
"""Scripts whose letters join, stack or run from right to left: Hebrew to Georgian."""


_LAYOUT = ("GDEF", "GPOS", "GSUB", "vhea", "vmtx", "VORG", "DSIG")
"""Tables that only shaping needs. Reading them is most of what embedding a font takes."""


@dataclass(frozen=True, slots=True)
class Font:
    """A font as a file, as a file without the tables of shaping, and its code points."""

    whole: Path
    plain: Path
    characters: frozenset[int]


def _opened(name: str, content: bytes) -> Font:
    whole, plain = _directory() / name, _directory() / f"plain-{name}"
    whole.write_bytes(content)
    with TTFont(whole, lazy=True, recalcTimestamp=False, recalcBBoxes=False) as font:
        characters = frozenset(font.getBestCmap())
        for table in _LAYOUT:
            if table in font:
                del font[table]
        font.save(plain)
    return Font(whole, plain, characters)


@lru_cache(1)
def _directory() -> Path:
    """Where fonts are laid down, once, until the process ends."""
    directory = Path(tempfile.mkdtemp(prefix="trolley-fonts-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


@lru_cache(1)
def regular() -> Font:
    """FiraGO."""
    from pymupdf_fonts import FiraGO_Regular  # unpacks it

    return _opened("regular.ttf", FiraGO_Regular.fontbuffer)


@lru_cache(1)
def bold() -> Font:
    """FiraGO Bold, of the same characters."""
    from pymupdf_fonts import FiraGO_Bold  # unpacks it

    return _opened("bold.ttf", FiraGO_Bold.fontbuffer)


@lru_cache(1)
def east_asian() -> Font:
    """Noto Sans CJK: sixteen megabytes, so only who needs it asks for it."""
    packed = files("noto_cjk_sans_jp_regular") / "NotoSansCJKjp-Regular.otf"
    return _opened("east-asian.otf", packed.read_bytes())


@dataclass(frozen=True, slots=True)
class Writing:
    """What it takes to set a text."""

    east_asian: bool
    shaped: bool
    missing: frozenset[int]


def writing_of(text: str) -> Writing:
    """Which fonts a text needs, and which of its characters none has."""
    characters = frozenset(map(ord, text))
    beyond = characters - regular().characters
    missing = beyond - east_asian().characters if beyond else beyond
    return Writing(
        # The substitute is one of its characters.
        east_asian=bool(beyond),
        shaped=any(one in SHAPED for one in characters),
        missing=missing,
    )
