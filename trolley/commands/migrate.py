"""`trolley migrate`: every database at its newest schema."""

import asyncio
from typing import Annotated

import typer

from trolley.commands.options import HomeOption
from trolley.databases import ensure_databases
from trolley.migrations import migrate as run_migrations
from trolley.runtime.home import Home
from trolley.services import SERVICES, databases
from trolley.settings import RuntimeSettings


def migrate(
    home: HomeOption,
    services: Annotated[
        list[str] | None, typer.Argument(help="Names such as cart; all without any.")
    ] = None,
) -> None:
    """Create missing databases and run the migrations of every service, or of those named."""
    known = {service.name for service in SERVICES}
    if unknown := sorted(set(services or ()) - known):
        raise typer.BadParameter(f"{', '.join(unknown)}: not among {', '.join(sorted(known))}")
    environment = Home(home).environment()
    chosen = tuple(one for one in SERVICES if not services or one.name in services)
    missing = [one.setting for one in databases(chosen) if one.setting not in environment]
    if missing:
        typer.echo(f"trolley: set {', '.join(missing)}, or start `trolley up` first.", err=True)
        raise typer.Exit(1)
    urls = [environment[one.setting] for one in databases(chosen)]
    asyncio.run(ensure_databases(urls, connect_seconds=RuntimeSettings().database_connect_seconds))
    for name in run_migrations(environment, [one.name for one in chosen]):
        typer.echo(f"{name}: at its newest schema")
