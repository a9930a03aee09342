"""`trolley demo`: a fresh stack of its own, nine acts, a report."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trolley.client import Client
from trolley.demo.limits import environment_for
from trolley.demo.orders import Orders, OrdersError, decode_orders, parse_orders
from trolley.demo.pace import Pace
from trolley.demo.play import ACTS, Played, play
from trolley.demo.report import report as report_of
from trolley.demo.report import write_report
from trolley.demo.screen import Screen
from trolley.demo.settings import DemoSettings
from trolley.demo.shop import Shop
from trolley.demo.stage import Stage
from trolley.runtime.children import Children
from trolley.runtime.errors import AlreadyRunning, DirectoryUnwritable
from trolley.runtime.home import Home, default_home, python_environment
from trolley.runtime.stack import Runtime
from trolley.services import SERVICES, STRIPE_SANDBOX

DEFAULT_ORDERS = "online_retail.csv"
_INTERRUPTED = 130


def demo(
    orders: Annotated[
        Path | None,
        typer.Option(
            help="Order lines in CSV, in the form of the Online Retail data set; at most 1,000 "
            "different lines of one invoice.",
            show_default="350 invoices of it",
            exists=True,
            dir_okay=False,
            readable=True,
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write what was found as JSON to this file.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running at the end.")
    ] = False,
    home: Annotated[
        Path | None,
        typer.Option(
            help="The state directory; what an earlier demo left there is removed first.",
            show_default=".trolley/demo",
        ),
    ] = None,
) -> None:
    """Sell a wholesaler's real orders, take some back, make trouble, and check it all."""
    source = orders or Path(str(files("trolley.demo") / "data" / DEFAULT_ORDERS))
    try:
        read = parse_orders(decode_orders(source.read_bytes()))
        environment = environment_for(read)
    except OrdersError as error:
        typer.echo(f"trolley: {source} cannot be sold: {error}.", err=True)
        raise typer.Exit(1) from None
    run = _Run(
        home=Home(home or default_home() / "demo"),
        orders=read,
        source=source,
        environment={**environment_at_stand_in(), **environment},
        report=report,
        screen=Screen(Console()),
    )
    held = _interruptible(run)
    if keep:
        run.keep()
    raise typer.Exit(0 if held else 1)


class _Run:
    """One demo, from an empty state directory to its report."""

    def __init__(
        self,
        *,
        home: Home,
        orders: Orders,
        source: Path,
        environment: Mapping[str, str],
        report: Path | None,
        screen: Screen,
    ) -> None:
        self._home = home
        self._orders = orders
        self._source = source
        self._environment = environment
        self._report = report
        self._screen = screen
        self._settings = DemoSettings()

    async def play(self) -> bool:
        """Starts everything, plays, stops everything; whether everything held."""
        began = time.monotonic()
        clear(self._home)
        runtime = Runtime(
            self._home.path,
            environment=self._environment,
            services=(*SERVICES, STRIPE_SANDBOX),
        )
        played = Played()
        with self._screen.working(lambda: runtime.step):
            await runtime.start()
        started = time.monotonic()
        try:
            self._screen.say(f"Everything runs after {started - began:.1f} s.\n")
            urls = {service.name: runtime.url(service.name) for service in SERVICES}
            async with Client(urls, self._settings) as client:
                shop = Shop(client, runtime.signing_key, pace_of(self._settings))
                stage = Stage(runtime, shop, self._orders, self._settings, self._screen)
                await play(stage, played)
        finally:
            ended = time.monotonic()
            with self._screen.working(lambda: runtime.step):
                await runtime.stop()
        stopped = time.monotonic()
        durations = {
            "start": started - began,
            **{f"act_{act.number}": act.seconds for act in played.acts},
            "stop": stopped - ended,
            "total": stopped - began,
        }
        made = report_of(
            source=self._source.name,
            orders=self._orders,
            invoices=played.invoices,
            acts=played.acts,
            audit=played.audit,
            totals=played.totals,
            durations=durations,
            acts_wanted=len(ACTS),
        )
        if self._report is not None:
            write_report(self._report, made)
        self._screen.show_end(played.acts, stopped - began)
        if not made["held"]:
            self._screen.say(f"Not everything held. The logs are in {self._home.logs}.")
        return bool(made["held"])

    def keep(self) -> None:
        """Starts the same state again, in the background, and tells how to reach and stop it."""
        home = self._home.path
        command = [sys.executable, "-m", "trolley", "up", "--detach", "--home", str(home)]
        environment = python_environment(self._environment)
        done = subprocess.run(command, env=environment, check=False)  # noqa: S603 - ours
        if done.returncode != 0:
            raise typer.Exit(done.returncode)
        written = self._home.written_environment()
        self._screen.say("\nThe shop of the demo is open; its APIs are described at")
        for service in SERVICES:
            host, port = written[service.host_setting], written[service.port_setting]
            self._screen.say(f"  http://{host}:{port}/docs  {service.name}")
        name = f"--home '{home}'"
        self._screen.say(f"Watch it with `trolley status {name}`.")
        self._screen.say(f"Get a token with `trolley token {name} --sub me --role operator`.")
        self._screen.say(f"Check it with `trolley audit {name}`.")
        self._screen.say(f"Stop it with `trolley down {name}`.")


def environment_at_stand_in() -> Mapping[str, str]:
    """Settings under which payments go to the stand-in for Stripe, whatever keys the shell has."""
    return {
        **dict(STRIPE_SANDBOX.gives),
        "PAYMENT_PRODUCTION": "false",
        "PAYMENT_STRIPE_CALL_SECONDS": str(DemoSettings().provider_call_seconds),
    }


def pace_of(settings: DemoSettings) -> Pace:
    """The pace of a run that has just begun."""
    return Pace(
        settings.follow_expected_seconds,
        shortest=settings.follow_shortest_seconds,
        longest=settings.follow_longest_seconds,
    )


def clear(home: Home) -> None:
    """Removes what an earlier demo left. Raises `AlreadyRunning`, `DirectoryUnwritable`."""
    if not home.path.exists():
        return
    if not home.is_ours():  # asked first: asking who holds it makes it look like ours
        if home.path.is_dir() and not any(home.path.iterdir()):
            return
        raise DirectoryUnwritable(home.path, "it holds something else than an earlier run")
    if home.held():
        state = home.state()
        raise AlreadyRunning(home.path, state.pid if state else None)
    Children(home.path).clear_leftovers()
    home.remove()


def _interruptible(run: _Run) -> bool:
    """Plays; Ctrl-C, SIGTERM and SIGHUP stop everything first, a second one leaves it at once."""

    async def main() -> bool:
        loop = asyncio.get_running_loop()
        playing = asyncio.ensure_future(run.play())
        asked = False

        def end() -> None:
            nonlocal asked
            if asked:
                os._exit(_INTERRUPTED)  # the guardian stops what is left
            asked = True
            playing.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, end)
        return await playing

    with contextlib.suppress(asyncio.CancelledError):
        return asyncio.run(main())
    typer.echo("Stopped before the end; nothing runs any more.", err=True)
    raise typer.Exit(_INTERRUPTED)
