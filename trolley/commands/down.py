"""`trolley down`: ends a runtime that was started elsewhere."""

import os
import signal
import time

import typer

from trolley.commands.options import HomeOption
from trolley.runtime.children import Children
from trolley.runtime.home import Home
from trolley.settings import RuntimeSettings

_POLL_SECONDS = 0.05


def down(home: HomeOption) -> None:
    """Stop everything that runs in the state directory; nothing is lost."""
    place = Home(home)
    state = place.state()
    if state is None:
        # The supervisor and its guardian may have been killed together.
        left = [] if place.held() else Children(place.path).clear_leftovers()
        found = f"; {len(left)} leftover processes were stopped" if left else ""
        typer.echo(f"Nothing runs in {place.path}{found}.")
        return
    settings = RuntimeSettings()
    deadline = time.monotonic() + settings.down_seconds
    os.kill(state.pid, signal.SIGTERM)
    while state.alive() or place.held():
        if time.monotonic() > deadline:
            # Its guardian takes over what is left, and by force where it must.
            os.kill(state.pid, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(_POLL_SECONDS)
    typer.echo(f"Everything in {place.path} is stopped.")
