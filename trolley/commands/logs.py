"""`trolley logs`: what the processes say."""

import contextlib
import time
from pathlib import Path
from typing import Annotated

import typer

from trolley.commands.options import HomeOption
from trolley.runtime.home import Home

_POLL_SECONDS = 0.2


def logs(
    home: HomeOption,
    service: Annotated[
        str | None,
        typer.Argument(help="A service (cart), a replica (cart-1), kafka, postgres, supervisor."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Last lines of each.")] = 40,
) -> None:
    """Print the last lines of one log or of all, each line after the name of its process."""
    place = Home(home)
    wanted = _wanted(place.logs, service)
    if not wanted:
        known = ", ".join(sorted(log.stem for log in place.logs.glob("*.log"))) or "none yet"
        typer.echo(
            f"There is no log of {service or 'anything'} in {place.logs}: {known}.", err=True
        )
        raise typer.Exit(1)
    width = max(len(log.stem) for log in wanted)
    ends = {log: _print_last(log, lines, width) for log in wanted}
    with contextlib.suppress(KeyboardInterrupt):
        while follow:
            time.sleep(_POLL_SECONDS)
            for log in _wanted(place.logs, service):
                ends[log] = _print_new(log, ends.get(log, 0), width)


def _wanted(logs: Path, service: str | None) -> list[Path]:
    found = sorted(logs.glob("*.log"))
    if service is None:
        return found
    return [log for log in found if service in (log.stem, log.stem.rpartition("-")[0])]


def _print_last(log: Path, lines: int, width: int) -> int:
    content = log.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    for line in whole.splitlines()[-lines:] if lines else []:
        _print(log, line, width)
    return len(whole)


def _print_new(log: Path, end: int, width: int) -> int:
    """Prints the whole lines after byte `end`; returns the new end."""
    with log.open("rb") as opened:
        size = opened.seek(0, 2)
        opened.seek(end if end <= size else 0)  # it was rotated
        start = opened.tell()
        content = opened.read()
    whole = content[: content.rfind(b"\n") + 1]
    for line in whole.splitlines():
        _print(log, line, width)
    return start + len(whole)


def _print(log: Path, line: bytes, width: int) -> None:
    name = typer.style(f"{log.stem:<{width}} |", dim=True)
    typer.echo(f"{name} {line.decode(errors='replace')}")
