"""What no database column holds: a text with NUL, a whole number beyond 64 bits.

Found at the door it costs its sender an answer, or itself a dead letter. Found by the database it
costs the whole batch it came in, which is then searched for it.
"""

import json
import re
from typing import Any

from pydantic import BaseModel

_SUSPECT = re.compile(rb"\\u0000|[0-9]{19}")
"""A value without any of these holds nothing of the kind; most have none."""


def unstorable(document: bytes, decoded: BaseModel) -> str | None:
    """What of a JSON document that was decoded no column holds, in words; None if all is well.

    Numbers are looked for in what was decoded: in the document they may stand as text.
    """
    if not _SUSPECT.search(document):
        return None
    if has_nul(json.loads(document)):
        return "a text has the NUL character in it"
    return "a number is beyond 64 bits" if _has_giant(decoded.model_dump()) else None


def has_nul(value: Any) -> bool:
    """Whether a text anywhere in a JSON value has the NUL character in it."""
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any("\x00" in name or has_nul(item) for name, item in value.items())
    return isinstance(value, list) and any(map(has_nul, value))


def _has_giant(value: Any) -> bool:
    if isinstance(value, int):
        return not -(2**63) <= value < 2**63
    if isinstance(value, dict):
        return any(map(_has_giant, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_giant, value))
