"""How commands print: a console that fits its reader, and plain tables."""

from datetime import datetime, timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 240


def console(*, stderr: bool = False) -> Console:
    """A console; in a pipe lines are for programs, and none is cut."""
    made = Console(highlight=False, stderr=stderr)
    return made if made.is_terminal else Console(highlight=False, stderr=stderr, width=_PIPE_WIDTH)


def plain_table(*titles: str) -> Table:
    """A table without lines."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title)
    return table


def add_row(table: Table, *cells: str) -> None:
    """A row as it is: what others wrote is no markup of ours."""
    table.add_row(*map(Text, cells))


def age(since: datetime, now: datetime) -> str:
    """How long ago, in the unit that a reader would take."""
    passed = max(now - since, timedelta())
    seconds = passed.total_seconds()
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if passed.days < 3 else f"{passed.days} days"
