"""`trolley topics`: the declared topics and the broker's."""

import asyncio

import typer
from rich.console import Console
from rich.table import Table

from trolley.commands.options import HomeOption
from trolley.runtime.home import Home
from trolley.topics import apply_topics, list_topics

topics = typer.Typer(
    help="Create, alter and list the topics that contracts/topics.py declares.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_PIPE_WIDTH = 200
_DAY_MS = 24 * 60 * 60 * 1000


@topics.command("apply")
def apply(home: HomeOption) -> None:
    """Create missing topics and bring the others to their declared settings; repeatable."""
    applied = asyncio.run(apply_topics(Home(home).environment()))
    for name in applied.created:
        typer.echo(f"created {name}")
    for name in applied.altered:
        typer.echo(f"altered {name}")
    typer.echo(
        f"{len(applied.created)} created, {len(applied.altered)} altered, "
        f"{len(applied.unchanged)} as declared."
    )


@topics.command("list")
def show(home: HomeOption) -> None:
    """List every declared topic, and how the broker differs from the declaration."""
    listed = asyncio.run(list_topics(Home(home).environment()))
    table = Table(box=None, pad_edge=False)
    for title in ("topic", "key", "writers", "partitions", "kept", "on the broker"):
        table.add_column(title, justify="right" if title == "partitions" else "left", no_wrap=True)
    for one in listed:
        retention_ms = one.topic.retention_ms
        kept = one.topic.cleanup if retention_ms is None else f"{retention_ms / _DAY_MS:g} days"
        broker = "missing" if one.partitions is None else ", ".join(one.differing) or "as declared"
        if one.partitions not in (None, one.topic.partitions):
            broker = f"{one.partitions} partitions"
        table.add_row(
            one.name,
            one.topic.key,
            ", ".join(one.topic.writers),
            str(one.topic.partitions),
            kept,
            broker,
        )
    console = Console()
    # In a pipe lines are for programs: none is cut.
    console.print(table, width=None if console.is_terminal else _PIPE_WIDTH)
