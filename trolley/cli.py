"""The `trolley` command: one table of commands, each imported only when it is called."""

import importlib
import importlib.util
import logging
import sys
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from trolley.runtime.errors import RuntimeStartError

COMMANDS = {
    "up": "trolley.commands.up:up",
    "down": "trolley.commands.down:down",
    "status": "trolley.commands.status:status",
    "logs": "trolley.commands.logs:logs",
    "reset": "trolley.commands.reset:reset",
    "demo": "trolley.demo.command:demo",
    "audit": "trolley.audit.command:audit",
    "token": "trolley.commands.token:token",
    "topics": "trolley.commands.topics:topics",
    "migrate": "trolley.commands.migrate:migrate",
}
"""Name to `module:function`; a function's parameters and docstring are its options and help."""


class Commands(TyperGroup):
    """Finds a command in the table above, so that `trolley token` does not import the demo."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in the order of the table, which is the order of the help."""
        del ctx
        return [name for name, target in COMMANDS.items() if _is_there(target)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Imports the command; None when there is none of that name."""
        del ctx
        target = COMMANDS.get(cmd_name)
        if target is None or not _is_there(target):
            return None
        module, _, attribute = target.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, typer.Typer):
            group = get_group(found)
            group.name = cmd_name
            return group
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(cmd_name)(found)
        return get_command(single)


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


def _is_there(target: str) -> bool:
    module = target.partition(":")[0]
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
