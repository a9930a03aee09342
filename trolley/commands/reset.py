"""`trolley reset`: back to an empty machine."""

import sys
from typing import Annotated

import typer

from trolley.commands.options import HomeOption
from trolley.runtime.children import Children
from trolley.runtime.errors import AlreadyRunning
from trolley.runtime.home import Home


def reset(
    home: HomeOption,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete the state directory: every cart, order, payment and message in it."""
    place = Home(home)
    if not place.path.exists():
        typer.echo(f"There is nothing in {place.path}.")
        return
    if not place.is_ours():
        typer.echo(f"trolley: {place.path} is no state directory of Trolley.", err=True)
        raise typer.Exit(1)
    if place.held():
        state = place.state()
        raise AlreadyRunning(place.path, state.pid if state else None)
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete all data in {place.path}?", abort=True)
    Children(place.path).clear_leftovers()
    place.remove()
    typer.echo(f"{place.path} is gone.")
