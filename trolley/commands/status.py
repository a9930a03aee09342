"""`trolley status`: the status table, once."""

import asyncio

import typer
from rich.console import Console

from trolley.commands.options import HomeOption
from trolley.figures import Figures, Reading
from trolley.runtime.home import Home
from trolley.settings import RuntimeSettings
from trolley.table import picture


def status(home: HomeOption) -> None:
    """Show what runs: processes, ports, restarts, consumer lag, checkouts by state."""
    place = Home(home)
    state = place.state()
    if state is None:
        typer.echo(f"Nothing runs in {place.path}; `trolley up` starts it.")
        raise typer.Exit(3)
    reading = asyncio.run(_read(place))
    Console().print(picture(state, reading, state.state))


async def _read(home: Home) -> Reading:
    figures = Figures(timeout_seconds=RuntimeSettings().figures_timeout_seconds)
    try:
        return await figures.read(home.written_environment())
    finally:
        await figures.close()
