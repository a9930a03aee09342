"""`trolley up`: everything on this machine, kept running until it is told to stop."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from trolley.commands.options import HomeOption
from trolley.figures import Figures
from trolley.runtime.children import tail
from trolley.runtime.errors import StartFailed
from trolley.runtime.home import Home, RuntimeState, python_environment
from trolley.runtime.stack import Runtime
from trolley.services import OPERATIONS, SERVICES, stand_ins
from trolley.settings import RuntimeSettings
from trolley.table import picture

_FRAMES_PER_SECOND = 4
_INTERRUPTED = 130


def up(
    home: HomeOption,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when it is ready; it goes on alone.")
    ] = False,
    replicas: Annotated[int, typer.Option(min=1, max=4, help="Processes of each service.")] = 1,
) -> None:
    """Start Kafka, PostgreSQL and every service; stop them with Ctrl-C or `trolley down`."""
    if detach:
        _detached(home, replicas)
    else:
        services = (*SERVICES, OPERATIONS, *stand_ins(os.environ))
        asyncio.run(_foreground(Runtime(home, replicas=replicas, services=services)))


async def _foreground(runtime: Runtime) -> None:
    ended = asyncio.Event()

    def end() -> None:
        if ended.is_set():
            os._exit(_INTERRUPTED)  # asked twice: the guardian stops what is left
        ended.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end)
    console = Console()
    show = asyncio.create_task(_show(runtime, console))
    start = asyncio.create_task(runtime.start())
    wait = asyncio.create_task(ended.wait())
    try:
        await asyncio.wait({start, wait}, return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            start.result()
            await wait
    finally:
        # While it stops the table still shows what is left.
        for task in (start, wait):
            task.cancel()
        await asyncio.gather(start, wait, return_exceptions=True)
        await runtime.stop()
        show.cancel()
        await asyncio.gather(show, return_exceptions=True)
    console.print("Everything is stopped; nothing is lost. `trolley up` goes on from here.")


async def _show(runtime: Runtime, console: Console) -> None:
    """The live table on a terminal; elsewhere a line for each change of state."""
    if not console.is_terminal:
        await _tell(runtime, console)
        return
    settings = runtime.settings
    figures = Figures(timeout_seconds=settings.figures_timeout_seconds)
    reading = asyncio.create_task(_read(runtime, figures, settings.figures_seconds))
    try:
        with Live(console=console, auto_refresh=False) as live:

            def draw() -> None:
                live.update(picture(runtime.state(), figures.latest, runtime.step), refresh=True)

            try:
                while True:
                    draw()
                    await asyncio.sleep(1 / _FRAMES_PER_SECOND)
            finally:
                draw()  # how it ended
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await figures.close()


async def _read(runtime: Runtime, figures: Figures, seconds: float) -> None:
    while True:
        if runtime.state().state == "ready":
            await figures.read(runtime.environment)
        await asyncio.sleep(seconds)


async def _tell(runtime: Runtime, console: Console) -> None:
    told: dict[str, str] = {}
    step = ""
    while True:
        if runtime.step != step:
            step = runtime.step
            console.print(f"{_clock()} {step}")
        for process in runtime.processes():
            if told.get(process.name) != process.state:
                told[process.name] = process.state
                note = f" ({process.note})" if process.note else ""
                console.print(f"{_clock()} {process.name}: {process.state}{note}")
        await asyncio.sleep(1 / _FRAMES_PER_SECOND)


def _clock() -> str:
    return time.strftime("%H:%M:%S")


def _detached(path: Path, replicas: int) -> None:
    settings = RuntimeSettings()
    home = Home(path)
    home.prepare(settings.smallest_free_mib)
    log = home.logs / "supervisor.log"
    began = log.stat().st_size if log.exists() else 0
    command = [sys.executable, "-m", "trolley", "up"]
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - the command is ours
            [*command, "--home", str(home.path), "--replicas", str(replicas)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=python_environment({}),
        )
    console = Console()
    try:
        with console.status("starting") as status:
            while (state := _own(home, process.pid)) is None or state.state != "ready":
                if process.poll() is not None:
                    _give_up(log, began)
                if state is not None:
                    ready = sum(one.state == "ready" for one in state.processes)
                    status.update(f"starting: {ready} of {len(state.processes)} ready")
                time.sleep(settings.ready_wait_poll_seconds)
    except KeyboardInterrupt:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.wait()
        raise
    process.returncode = 0  # it goes on without us
    console.print(picture(state, None, state.state))
    console.print("It runs in the background; `trolley down` stops it.")


def _own(home: Home, pid: int) -> RuntimeState | None:
    state = home.state()
    return state if state is not None and state.pid == pid else None


def _give_up(log: Path, began: int) -> None:
    """The supervisor's own sentence; behind it may stand what another one says that runs here."""
    said = tail(log, since=began).strip().splitlines()
    for line in reversed(said):
        if line.startswith("trolley: "):
            typer.echo(line, err=True)
            raise typer.Exit(1)
    raise StartFailed("The supervisor", "it ended", log, said[-1] if said else None)
