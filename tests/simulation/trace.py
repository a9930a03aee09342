"""What happened in a world, in order: enough to tell two runs apart and to read one checkout."""

import hashlib
from typing import TypeAlias

How: TypeAlias = str | type
"""How it went: a word, or the class of the result."""

Line: TypeAlias = tuple[int, str, str, int, How]
"""Microseconds since the world began, where, what, whose (number of a checkout), how it went."""

SHORT_LINES = 60
"""Lines of a shortened trace: the last ones are nearest to the violation."""

NOBODY = 0
"""Whose a line is that is about no checkout, such as the loss of a topic."""


class Trace:
    """The lines of one world; they become text only where somebody reads them."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines: list[Line] = []

    @property
    def digest(self) -> str:
        """The same for the same lines in the same order (SHA-256, hex)."""
        told = hashlib.sha256()
        for line in self.lines:
            told.update(_text(line).encode())
        return told.hexdigest()

    def shortened(self, whose: int) -> list[str]:
        """The last lines about one checkout; of a world's own matter, the last lines at all."""
        about = [line for line in self.lines if whose == NOBODY or line[3] in (NOBODY, whose)]
        cut = about[-SHORT_LINES:]
        left_out = len(about) - len(cut)
        first = [f"({left_out} earlier lines)"] if left_out else []
        return first + [_text(line).rstrip() for line in cut]


def _text(line: Line) -> str:
    at_us, where, what, whose, how = line
    word = how.__name__ if isinstance(how, type) else how
    return f"{at_us / 1e6:12.6f} s  {whose or '-':>6}  {where:<20} {what}  {word}\n"
