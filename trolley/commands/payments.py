"""`trolley payments`: our ledger against the books of the payment providers."""

import asyncio
import getpass
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from contracts.shops import DEFAULT_SHOP
from trolley.client import ClientError, Refused
from trolley.commands.options import HomeOption, moment
from trolley.operators import NoServiceRuns, Operator, operator
from trolley.printing import as_json_text, console, listing
from trolley.runtime.home import Home

LOOK_AGAIN_SECONDS = 0.5

payments = typer.Typer(
    help="Compare our ledger with the providers' books, and repair or report what differs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@payments.callback()
def _only_here() -> None:
    """Keeps `reconcile` a command of its own name while it is the only one."""


@payments.command("reconcile")
def reconcile(
    home: HomeOption,
    who: Annotated[
        str, typer.Option(default_factory=getpass.getuser, help="Who you are, for the record.")
    ],
    since: Annotated[
        datetime,
        typer.Option(
            parser=moment, metavar="TIME", help="Money that moved then or later; 12h is ago."
        ),
    ] = "24h",  # type: ignore[assignment]  # parsed like what is typed
    provider: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    shop: Annotated[str, typer.Option(help="The operator's shop.")] = DEFAULT_SHOP,
    url: Annotated[str | None, typer.Option(help="Where the payment service answers.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare, have what is missing here booked, and list what differs; exit 1 if some still does.

    Payments of which something is under way are counted and left for the next time.
    """

    async def run(tell: Callable[[str], None]) -> list[dict[str, Any]]:
        urls = {"payment": url} if url else None
        async with operator(Home(home), who, "operator", ["payment"], urls=urls, shop=shop) as one:
            body = {"since": since.isoformat(), "provider": provider}
            asked = await one.client.command(
                "POST", "payment", "/reconciliations", body, headers=one.headers
            )
            return [await _finished(one, run["run_id"], tell) for run in asked.body["items"]]

    try:
        with console(stderr=True).status("asking") as status:
            runs = asyncio.run(run(status.update))
    except Refused as refused:
        typer.echo(f"trolley: {refused.problem.get('title')}.", err=True)
        raise typer.Exit(1) from refused
    except (NoServiceRuns, ClientError) as error:
        typer.echo(f"trolley: {error}", err=True)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(as_json_text(runs))
    else:
        _show(runs)
    agree = all(run["state"] == "done" and not _left(run) for run in runs)
    raise typer.Exit(0 if agree else 1)


async def _finished(one: Operator, run_id: str, tell: Callable[[str], None]) -> dict[str, Any]:
    """The run once it has ended; meanwhile it is told how far it is."""
    while True:
        answer = await one.client.get("payment", f"/reconciliations/{run_id}", headers=one.headers)
        run: dict[str, Any] = answer.body
        if run["state"] in ("done", "failed"):
            return run
        tell(f"{run['provider']}: {run['compared']} payments compared")
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


def _left(run: dict[str, Any]) -> Sequence[dict[str, Any]]:
    return [one for one in run["found"] if one["state"] != "repaired"]


def _show(runs: Sequence[dict[str, Any]]) -> None:
    for run in runs:
        what = f"{run['provider']}: {run['compared']} payments compared"
        if run["state"] == "failed":
            typer.echo(f"{what}, then its books could not be read: {run['error']}")
            continue
        if run["under_way"]:
            what += f", {run['under_way']} of them under way"
        if run["foreign_payments"]:
            what += f", {run['foreign_payments']} there that are none of ours"
        repaired = len(run["found"]) - len(_left(run))
        typer.echo(f"{what}. {len(run['found'])} differ, {repaired} of them repaired.")
    rows = [
        (run["provider"], one["name"], one["kind"], one["state"], _sides(one))
        for run in runs
        for one in run["found"]
    ]
    if rows:
        console().print(listing(("provider", "payment", "difference", "state", "money"), rows))


def _sides(one: dict[str, Any]) -> str:
    """Both sides, as far as they differ: `captured 1000 here, 400 there`."""
    ours, theirs = one["ours"] or {}, one["theirs"] or {}
    return "; ".join(
        f"{name.removesuffix('_minor').replace('_', ' ')} "
        f"{ours.get(name, 0)} here, {theirs.get(name, 0)} there"
        for name in sorted({*ours, *theirs})
        if ours.get(name, 0) != theirs.get(name, 0)
    )
