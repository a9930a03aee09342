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
        self.console.print(act_table(act))
        if act.figures:
            told = " · ".join(f"{name} {_shown(value)}" for name, value in act.figures.items())
            self.console.print(Text(told, style="dim"), highlight=False)
        self.console.print()

    def show_end(self, acts: Sequence[Act], seconds: float) -> None:
        """One line for every act, and whether everything held."""
        self.console.print(end_table(acts, seconds))


def act_table(act: Act) -> Table:
    """The checks of an act: what, expected, found, held."""
    table = Table(
        title=f"{act.number}. {act.title}  ({act.seconds:.1f} s)",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        header_style="dim",
        expand=False,
    )
    table.add_column("check", min_width=52)
    table.add_column("expected", justify="right", min_width=14)
    table.add_column("found", justify="right", min_width=14)
    table.add_column("")
    for check in act.checks:
        table.add_row(*_row(check))
    if not act.checks:
        table.add_row("nothing was checked", "", "", _BROKEN)
    return table


def end_table(acts: Sequence[Act], seconds: float) -> Table:
    """The last word: per act how many checks held, and how long it took."""
    table = Table(box=None, pad_edge=False, header_style="dim", show_footer=True)
    held = sum(check.held for act in acts for check in act.checks)
    every = sum(len(act.checks) for act in acts)
    table.add_column("act", footer="everything", min_width=52)
    table.add_column("checks held", justify="right", footer=f"{held} of {every}", min_width=14)
    table.add_column("seconds", justify="right", footer=f"{seconds:.1f}", min_width=14)
    table.add_column("", footer=_HELD if acts and all(act.held for act in acts) else _BROKEN)
    for act in acts:
        table.add_row(
            f"{act.number}. {act.title}",
            f"{sum(check.held for check in act.checks)} of {len(act.checks)}",
            f"{act.seconds:.1f}",
            _HELD if act.held else _BROKEN,
        )
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
    return str(value)
