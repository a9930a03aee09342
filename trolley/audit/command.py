"""`trolley audit`: is everything right that must always be right?"""

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from messaging.garbage import look_for_garbage_seldom
from trolley.audit.auditor import Sources
from trolley.audit.auditor import audit as audited
from trolley.audit.settings import AuditSettings
from trolley.audit.table import picture
from trolley.commands.options import HomeOption
from trolley.printing import as_json_text
from trolley.runtime.home import Home


def audit(
    home: HomeOption,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    settle_seconds: Annotated[
        float | None,
        typer.Option(min=0, help="How long to wait before looking again at what may be under way."),
    ] = None,
) -> None:
    """Check every invariant over all databases and what was published; exit 1 on a violation."""
    settings = AuditSettings()
    if settle_seconds is not None:
        settings = settings.model_copy(update={"audit_settle_seconds": settle_seconds})
    look_for_garbage_seldom()
    told = Console(stderr=True)
    sources = Sources.named_by(Home(home).environment())

    async def say(candidates: int) -> None:
        told.print(
            f"{candidates:,} facts may still be under way: looking again in "
            f"{settings.audit_settle_seconds:g} s.",
            style="dim",
            highlight=False,
        )

    with told.status("Reading every database, the event topics and the providers' books"):
        report = asyncio.run(audited(sources, settings, before_second_look=say))
    if as_json:
        typer.echo(as_json_text(report.as_json()))
    else:
        shown = picture(report, findings_shown=settings.audit_findings_shown)
        Console(highlight=False).print(shown)
    raise typer.Exit(0 if report.clean else 1)
