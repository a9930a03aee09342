"""`trolley retire`: a replica that is gone for good is no member any more."""

import asyncio
from typing import Annotated

import typer

from trolley.commands.options import HomeOption
from trolley.members import remove_replica
from trolley.runtime.home import Home
from trolley.services import SERVICES


def retire(
    home: HomeOption,
    service: Annotated[str, typer.Argument(help="A name such as cart.")],
    slot: Annotated[int, typer.Argument(min=0, help="The slot that the replica had.")],
) -> None:
    """Take a replica that was scaled away out of its consumer groups.

    Others read its partitions at once, instead of after its session timeout. Run it when the
    replica has stopped: one that still runs joins again.
    """
    known = {one.name for one in SERVICES}
    if service not in known:
        raise typer.BadParameter(f"{service}: not among {', '.join(sorted(known))}")
    left = asyncio.run(remove_replica(Home(home).environment(), service, slot))
    for group in left:
        typer.echo(f"taken out of {group}")
    if not left:
        typer.echo(f"{service}-{slot} is a member of no group.")
