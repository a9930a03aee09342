"""The `trolley` command: one table of commands, each imported only when it is called."""

import importlib
import importlib.util
import logging
import sys
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from trolley.runtime.errors import RuntimeStartError


@dataclass(frozen=True)
class Listed:
    """A command in the list of all."""

    target: str
    """`module:function`; the function's parameters and docstring are its options and help."""
    summary: str
    """Its line in `trolley --help`, which thereby imports nothing."""

    @property
    def module(self) -> str:
        """The module to import when it is called."""
        return self.target.partition(":")[0]

    def is_there(self) -> bool:
        """True if its module exists."""
        try:
            return importlib.util.find_spec(self.module) is not None
        except ModuleNotFoundError:
            return False

    def load(self) -> Any:
        """Imports it."""
        return getattr(importlib.import_module(self.module), self.target.partition(":")[2])


COMMANDS = {
    "up": Listed("trolley.commands.up:up", "Start everything and watch it; Ctrl-C stops it."),
    "down": Listed("trolley.commands.down:down", "Stop what runs; nothing is lost."),
    "status": Listed("trolley.commands.status:status", "Show what runs, with lag and checkouts."),
    "logs": Listed("trolley.commands.logs:logs", "Print what the processes say."),
    "reset": Listed("trolley.commands.reset:reset", "Delete all data of this runtime."),
    "demo": Listed("trolley.demo.command:demo", "Send real orders through, checked to the penny."),
    "chaos": Listed(
        "trolley.chaos.command:chaos", "Kill everything in turn while shoppers buy, and account."
    ),
    "bench": Listed("bench.command:bench", "Measure how fast all of this is, beside its floor."),
    "audit": Listed("trolley.audit.command:audit", "Check money and stock over all databases."),
    "checkout": Listed(
        "trolley.checkouts.command:checkout", "Show one checkout or the stuck ones; decide of them."
    ),
    "dlq": Listed("trolley.dlq.command:dlq", "List, try, mend, replay and discard dead letters."),
    "payments": Listed(
        "trolley.commands.payments:payments", "Compare our ledger with the providers' books."
    ),
    "token": Listed("trolley.commands.token:token", "Print a signed customer token."),
    "topics": Listed("trolley.commands.topics:topics", "Create, alter and list the topics."),
    "retire": Listed(
        "trolley.commands.retire:retire", "Free the partitions of a replica that is gone for good."
    ),
    "migrate": Listed("trolley.commands.migrate:migrate", "Bring databases to the newest schema."),
}


class Commands(TyperGroup):
    """Finds a command in the table above, so that `trolley token` does not import the demo."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in the order of the table, which is the order of the help."""
        del ctx
        return [name for name, listed in COMMANDS.items() if listed.is_there()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Imports the command; None when there is none of that name."""
        del ctx
        listed = COMMANDS.get(cmd_name)
        if listed is None or not listed.is_there():
            return None
        found = listed.load()
        if isinstance(found, typer.Typer):
            group = get_group(found)
            group.name = cmd_name
            return group
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(cmd_name)(found)
        return get_command(single)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of all commands, without an import of any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].summary) for name in self.list_commands(ctx)])


app = typer.Typer(
    cls=Commands,
    name="trolley",
    help="A checkout backend on this machine: start it, watch it, try it, check it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    pass


def main() -> None:
    """Runs a command; what keeps it from starting is told in one sentence, with exit code 1."""
    # What a client of Kafka cannot reach is told in our words, or left out of a table.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    try:
        app(prog_name="trolley")
    except RuntimeStartError as error:
        typer.echo(f"trolley: {error}", err=True)
        sys.exit(1)
