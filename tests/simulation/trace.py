"""What happened in a world, in order: enough to tell two runs apart and to read one checkout."""

import hashlib
from typing import TypeAlias

Line: TypeAlias = tuple[int, str, str, int, str]
"""Microseconds since the world began, where, what, whose (number of a checkout), how it went."""

SHORT_LINES = 60
"""Lines of a shortened trace: the last ones are nearest to the violation."""

NOBODY = 0
"""Whose a line is that is about no checkout, such as the loss of a topic."""


class Trace:
    """The lines of one world."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def note(self, at_us: int, where: str, what: str, whose: int, how: str) -> None:
        """Add a line."""
        self.lines.append((at_us, where, what, whose, how))

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
    return f"{at_us / 1e6:12.6f} s  {whose or '-':>6}  {where:<20} {what}  {how}\n"
