"""`trolley chaos`: shoppers on a stack of their own while its processes are killed."""

import asyncio
import os
import shlex
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from trolley.chaos.errors import HomeNotEmpty, NotOurServers
from trolley.chaos.play import play
from trolley.chaos.report import Report, write_json, write_markdown
from trolley.chaos.report import report as report_of
from trolley.chaos.screen import show
from trolley.chaos.settings import ChaosSettings
from trolley.demo.screen import Screen
from trolley.printing import console
from trolley.runtime.home import Home
from trolley.services import databases

SHORTEST_MINUTES, LONGEST_MINUTES = 0.1, 24 * 60
_INTERRUPTED = 130


def chaos(
    minutes: Annotated[
        float,
        typer.Option(
            min=SHORTEST_MINUTES, max=LONGEST_MINUTES, help="How long faults strike.", metavar="N"
        ),
    ] = 10,
    seed: Annotated[
        int, typer.Option(min=0, help="The same seed gives the same faults, in the same order.")
    ] = 1,
    report: Annotated[
        Path | None,
        typer.Option(dir_okay=False, writable=True, help="Write the report to this Markdown file."),
    ] = None,
    as_json: Annotated[
        Path | None,
        typer.Option(
            "--json", dir_okay=False, writable=True, help="Write the report as JSON to this file."
        ),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(
            help="A new state directory, which is kept.",
            show_default="a temporary one, kept when something is wrong",
        ),
    ] = None,
) -> None:
    """Kill, freeze, drain and scale everything while shoppers buy; then account for every checkout.

    Ctrl-C ends the faults early and still accounts and reports. Exits 1 when anything is wrong.
    """
    _refuse_other_servers()
    for written in (report, as_json):
        _make_room(written)
    where = _home(home)
    screen = Screen(console())
    command = _command(minutes, seed)
    made = _played(where, minutes, seed, command, screen)
    show(screen, made)
    if report is not None:
        write_markdown(report, made)
    if as_json is not None:
        write_json(as_json, made)
    if home is None and made.held:
        Home(where).remove()
        shutil.rmtree(where.parent, ignore_errors=True)
    else:
        screen.say(
            f"The logs are in {where / 'logs'}; `trolley up --home '{where}'` goes on there."
        )
    raise typer.Exit(0 if made.held else 1)


def _refuse_other_servers() -> None:
    wanted = ["KAFKA_BOOTSTRAP_SERVERS", *(database.setting for database in databases())]
    if named := [name for name in wanted if name in os.environ]:
        raise NotOurServers(named)


def _make_room(written: Path | None) -> None:
    """Makes the directory of a report now: not being able to is learnt before the run."""
    if written is not None:
        try:
            written.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise typer.BadParameter(f"{written} cannot be written: {error.strerror}") from error


def _home(given: Path | None) -> Path:
    """A state directory without anything in it."""
    if given is None:
        parent = Path(tempfile.mkdtemp(prefix="trolley-chaos-"))
        parent.chmod(0o711)  # PostgreSQL's own user must pass through
        return parent / "state"
    if given.exists() and (not given.is_dir() or any(given.iterdir())):
        raise HomeNotEmpty(given)
    return given.absolute()


def _command(minutes: float, seed: int) -> str:
    """How to have the same faults again, paths left out."""
    words: Sequence[str] = ("trolley", "chaos", "--minutes", f"{minutes:g}", "--seed", str(seed))
    return shlex.join(words)


def _played(home: Path, minutes: float, seed: int, command: str, screen: Screen) -> Report:
    """Plays; a first Ctrl-C ends the faults, a second one leaves everything to the guardian."""

    async def main() -> Report:
        ended = asyncio.Event()

        def end() -> None:
            if ended.is_set():
                os._exit(_INTERRUPTED)
            ended.set()
            screen.say("It ends early: a second Ctrl-C leaves without accounts.")

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, end)
        run = await play(
            home,
            seed=seed,
            minutes=minutes,
            command=command,
            settings=ChaosSettings(),
            screen=screen,
            ended=ended,
        )
        return report_of(run)

    return asyncio.run(main())
