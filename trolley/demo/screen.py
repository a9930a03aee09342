"""What the demo shows: bars while it works, a table of checks after every act."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from trolley.demo.checks import Act, Check

WIDEST_TABLE = 96
LEAST_NUMBER = 11
"""Characters: wider tables are harder to read along, narrower numbers do not line up."""

_HELD, _BROKEN = Text("held", style="green"), Text("BROKEN", style="bold red")


class _Step(ProgressColumn):
    """What is being done, asked anew for every frame."""

    max_refresh = None

    def __init__(self, step: Callable[[], str]) -> None:
        super().__init__()
        self._step = step

    def render(self, task: Task) -> Text:
        """The words of now."""
        del task
        return Text(self._step())


@dataclass(frozen=True, slots=True)
class Bar:
    """One progress bar."""

    progress: Progress
    task: TaskID

    def advance(self, steps: int = 1) -> None:
        """So many more are done."""
        self.progress.advance(self.task, steps)

    def show(self, done: int) -> None:
        """So many are done by now."""
        self.progress.update(self.task, completed=done)


class Screen:
    """Draws on a terminal; elsewhere only what stays is printed."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress: Progress | None = None

    @property
    def _width(self) -> int:
        return min(self.console.width, WIDEST_TABLE)

    @contextmanager
    def bars(self) -> Iterator[None]:
        """While inside, bars can be drawn; they vanish at the end."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True, expand=True) as progress:
            self._progress = progress
            try:
                yield
            finally:
                self._progress = None

    def bar(self, what: str, total: int) -> Bar:
        """A new bar towards `total`."""
        if self._progress is None:
            raise RuntimeError("bars are drawn inside of `bars`")
        return Bar(self._progress, self._progress.add_task(what, total=total))

    @contextmanager
    def working(self, step: Callable[[], str]) -> Iterator[None]:
        """While inside, tells what is being done, which `step` says in words."""
        columns = (SpinnerColumn(), _Step(step), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            progress.add_task("", total=None)
            yield

    def say(self, sentence: str) -> None:
        """A line that stays."""
        self.console.print(sentence, highlight=False)

    def show_act(self, act: Act) -> None:
        """The checks of an act and its figures."""
        self.console.print(act_table(act, self._width))
        if act.figures:
            for name, value in act.figures.items():
                self.console.print(Text(f"{name}: {_shown(value)}", style="dim"))
        self.console.print()

    def show_end(self, acts: Sequence[Act], seconds: float) -> None:
        """One line for every act, and whether everything held."""
        self.console.print(end_table(acts, seconds, self._width))


def act_table(act: Act, width: int) -> Table:
    """The checks of an act: what, expected, found, held."""
    table = _table("check", "expected", "found", width=width)
    table.title = f"{act.number}. {act.title}  ({act.seconds:.1f} s)"
    for check in act.checks:
        table.add_row(*_row(check))
    if not act.checks:
        table.add_row("nothing was checked", "", "", _BROKEN)
    return table


def end_table(acts: Sequence[Act], seconds: float, width: int) -> Table:
    """The last word: per act how many checks held, and how long it took."""
    table = _table("act", "checks held", "seconds", width=width)
    for act in acts:
        table.add_row(
            f"{act.number}. {act.title}",
            f"{sum(check.held for check in act.checks)} of {len(act.checks)}",
            f"{act.seconds:.1f}",
            _HELD if act.held else _BROKEN,
        )
    held = sum(check.held for act in acts for check in act.checks)
    every = sum(len(act.checks) for act in acts)
    whole = _HELD if acts and all(act.held for act in acts) else _BROKEN
    table.add_section()
    table.add_row("everything", f"{held} of {every}", f"{seconds:.1f}", whole, style="bold")
    return table


def _table(first: str, *numbers: str, width: int) -> Table:
    """What stands first gives way on narrow screens, numbers and the verdict never do."""
    table = Table(
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=None,
        pad_edge=False,
        width=width,
    )
    table.add_column(first, ratio=1)
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True, min_width=LEAST_NUMBER)
    table.add_column("", no_wrap=True, min_width=len(_BROKEN.plain))
    return table


def _row(check: Check) -> tuple[str, str, str, Text]:
    return check.what, check.expectation, check.finding, _HELD if check.held else _BROKEN


def _shown(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return str(value)
