"""`trolley checkout`: what became of one, which are stuck, and what is decided of them."""

import asyncio
import getpass
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from contracts.shops import DEFAULT_SHOP
from messaging.clock import utc_now
from trolley.audit.snapshots import Snapshots, database_urls
from trolley.checkouts.picture import picture_of, picture_of_stuck
from trolley.checkouts.reading import snapshots_of
from trolley.checkouts.story import Story, UnknownCheckout, story_of
from trolley.checkouts.stuck import Stuck, stuck_checkouts
from trolley.client import ClientError, Refused
from trolley.commands.options import HomeOption
from trolley.operators import NoServiceRuns, operator
from trolley.printing import as_json_text, console
from trolley.runtime.home import Home

checkout = typer.Typer(
    help="Show one checkout over all services, or those that are stuck, and decide of them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Decision(StrEnum):
    """What an operator may decide of a checkout that needs attention."""

    RETRY = "retry"
    REFUNDED_BY_HAND = "refunded_by_hand"
    CANCELLED = "cancelled"


@checkout.command("show")
def show(
    home: HomeOption,
    checkout_id: Annotated[UUID, typer.Argument(help="The checkout's id.")],
    as_json: JsonOption = False,
) -> None:
    """Show the timeline of a checkout over all services, and what it waits for."""

    async def read() -> Story:
        async with _snapshots(home) as snapshots:
            return await story_of(snapshots, checkout_id)

    try:
        story = asyncio.run(read())
    except UnknownCheckout as error:
        typer.echo(f"trolley: {error}", err=True)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(as_json_text(story))
    else:
        console().print(picture_of(story, utc_now()))


@checkout.command("stuck")
def stuck(
    home: HomeOption,
    most: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List checkouts that are late, blocked, overdue or need a decision; exit 1 if there are."""

    async def read() -> list[Stuck]:
        async with _snapshots(home) as snapshots:
            return await stuck_checkouts(snapshots, most)

    found = asyncio.run(read())
    if as_json:
        typer.echo(as_json_text(found))
    elif found:
        console().print(picture_of_stuck(found, utc_now()))
    else:
        typer.echo("No checkout is stuck.")
    raise typer.Exit(1 if found else 0)


@checkout.command("resolve")
def resolve(
    home: HomeOption,
    checkout_id: Annotated[UUID, typer.Argument(help="The checkout's id.")],
    decision: Annotated[
        Decision,
        typer.Option(
            "--as",
            help="retry: ask again what ran out or is blocked, and refund anew what failed; a "
            "blocked step stays blocked until its answer comes. refunded_by_hand: "
            "book failed refunds as made on another way. cancelled: give the checkout up.",
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why; it is kept with who decided.")],
    who: Annotated[
        str, typer.Option(default_factory=getpass.getuser, help="Who you are, for the record.")
    ],
    shop: Annotated[str, typer.Option(help="The shop it belongs to.")] = DEFAULT_SHOP,
    url: Annotated[str | None, typer.Option(help="Where the order service answers.")] = None,
) -> None:
    """Decide what a checkout that needs attention could not decide by itself."""

    async def decide() -> tuple[str, bool]:
        urls = {"order": url} if url else None
        async with operator(Home(home), who, "operator", ["order"], urls=urls, shop=shop) as one:
            body = {"reason": reason}
            act = "cancel"
            if decision is not Decision.CANCELLED:
                act, body["decision"] = "resolve", decision.value
            answer = await one.client.command(
                "POST", "order", f"/checkouts/{checkout_id}/{act}", body, headers=one.headers
            )
            return str(answer.body["state"]), bool(answer.body["blocked"])

    try:
        state, blocked = asyncio.run(decide())
    except Refused as refused:
        detail = refused.problem.get("detail")
        told = f"{refused.problem.get('title')}: {detail}" if detail else refused.problem["title"]
        typer.echo(f"trolley: {told}.", err=True)
        raise typer.Exit(1) from refused
    except (NoServiceRuns, ClientError) as error:
        typer.echo(f"trolley: {error}", err=True)
        raise typer.Exit(1) from error
    still = ", and blocked until an answer comes, or its dead letter is settled" if blocked else ""
    typer.echo(f"The checkout is {state} now{still}.")


def _snapshots(home: Path) -> AbstractAsyncContextManager[Snapshots]:
    return snapshots_of(database_urls(Home(home).environment()))
