"""Lines of a charge as they are kept with its attempt."""

from collections.abc import Sequence
from typing import Any

import orjson

from contracts.messages.parts import ChargedLine


def stored_lines(lines: Sequence[ChargedLine]) -> str | None:
    """What is stored; null where there are none."""
    return orjson.dumps([line.model_dump() for line in lines]).decode() if lines else None


def lines_from(stored: Sequence[dict[str, Any]] | None) -> tuple[ChargedLine, ...]:
    """The lines that were stored."""
    return tuple(ChargedLine.model_construct(**line) for line in stored) if stored else ()
