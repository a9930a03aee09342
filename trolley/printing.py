"""How commands print: a console that fits its reader, and plain tables."""

import json
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 240
TABLE_ROWS = 300
"""More than fit any screen."""


def console(*, stderr: bool = False) -> Console:
    """A console; in a pipe lines are for programs, and none is cut."""
    made = Console(highlight=False, stderr=stderr)
    return made if made.is_terminal else Console(highlight=False, stderr=stderr, width=_PIPE_WIDTH)


def as_json_text(content: Any) -> str:
    """Plain values and dataclasses as indented JSON; times in UTC with Z, numbers of any size."""
    return json.dumps(content, indent=2, default=_plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def plain_table(*titles: str) -> Table:
    """A table without lines."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title)
    return table


def add_row(table: Table, *cells: str) -> None:
    """A row as it is: what others wrote is no markup of ours."""
    table.add_row(*map(Text, cells))


def listing(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> RenderableType:
    """Rows under titles; long lists are set in plain lines, which costs a hundredth of a table."""
    if len(rows) <= TABLE_ROWS:
        table = plain_table(*titles)
        for row in rows:
            add_row(table, *row)
        return table
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (titles, *rows)
    )
    return _Lines(list(lines))


class _Lines:
    """Text as it is, without being looked at."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._lines:
            yield Segment(line)
            yield Segment.line()


def age(since: datetime, now: datetime) -> str:
    """How long ago, in the unit that a reader would take."""
    return span(max(now - since, timedelta()))


def span(passed: timedelta) -> str:
    """How long, in the unit that a reader would take."""
    seconds = passed.total_seconds()
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if passed.days < 3 else f"{passed.days} days"
