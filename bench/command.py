"""`trolley bench`: how fast this is, measured so that anybody can measure it again."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.cases import CASES
from bench.markdown import markdown
from bench.publish import publish
from bench.report import Report
from bench.session import measure
from bench.settings import BenchSettings
from trolley.printing import console

Named = StrEnum("Named", [(one.name, one.name) for one in CASES] + [("all", "all")])  # type: ignore[misc]  # made of the table


def bench(
    cases: Annotated[
        list[Named] | None, typer.Argument(help="What is measured.", show_default="all")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Write the report to this JSON file, with a table (.md) and plots beside it.",
        ),
    ] = None,
    turns: Annotated[
        int | None, typer.Option(min=1, help="How often each case is measured.", show_default="3")
    ] = None,
    checkouts: Annotated[
        int | None, typer.Option(min=10, help="Checkouts of a backlog.", show_default="50000")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="How long requests are measured.", show_default="60")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="How long the soak takes.", show_default="30")
    ] = None,
    short: Annotated[
        bool, typer.Option("--short", help="Small sizes and one turn: shows that all of it works.")
    ] = False,
    bare: Annotated[
        bool,
        typer.Option("--bare", help="No floor, rig or counts: to look at a change quickly."),
    ] = False,
) -> None:
    """Measure cases in turns, beside the floor and a lean rig; exit 1 when a state was wrong.

    Each turn has servers and services of its own. Other sizes: TROLLEY_BENCH_... in the
    environment.
    """
    settings = BenchSettings()
    if short:
        settings = settings.short()
    given = {
        "turns": turns,
        "checkouts": checkouts,
        "measured_seconds": seconds,
        "soak_minutes": minutes,
    }
    settings = settings.model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    asked = {one.value for one in cases or [Named("all")]}
    chosen = [one for one in CASES if "all" in asked or one.name in asked]
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
    options = {"turns": turns, "checkouts": checkouts, "seconds": seconds, "minutes": minutes}
    switches = {"--short": short, "--bare": bare}
    words = [
        *(one.value for one in cases or ()),
        *(f"--{name}={value}" for name, value in options.items() if value is not None),
        *(switch for switch, is_set in switches.items() if is_set),
    ]
    told = console(stderr=True)

    def keep(so_far: Report) -> None:
        if report is not None:
            report.write_bytes(so_far.as_json())

    made = asyncio.run(
        measure(
            chosen,
            settings,
            " ".join(["trolley bench", *words]),
            marks=not bare,
            say=lambda what: told.print(what, style="dim"),
            keep=keep,
        )
    )
    typer.echo(markdown(made))
    if report is not None:
        publish(report, report.with_suffix(".md"))
    raise typer.Exit(0 if made.is_right else 1)
