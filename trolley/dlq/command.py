"""`trolley dlq`: what could not be handled, and what is done about it."""

import asyncio
import getpass
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from messaging.clock import utc_now
from trolley.client import ClientError
from trolley.commands.options import HomeOption, moment
from trolley.dlq.desk import (
    SERVICES,
    Chosen,
    Desk,
    Rejected,
    UnknownLetter,
    open_desk,
)
from trolley.dlq.editor import EditorFailed, edited
from trolley.dlq.picture import (
    difference,
    picture_of_figures,
    picture_of_letter,
    picture_of_letters,
    picture_of_runs,
    picture_of_trials,
)
from trolley.operators import NoServiceRuns
from trolley.printing import as_json_text, console
from trolley.runtime.home import Home

T = TypeVar("T")

POLL_SECONDS = 0.3
OPEN = ("dead", "parked", "replaying", "discarding")

dlq = typer.Typer(
    help="List, try, mend, replay and discard dead letters.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


def _url(text: str) -> str:
    service, _, url = text.partition("=")
    if service not in SERVICES or "://" not in url:
        raise typer.BadParameter(f"SERVICE=URL, the service one of {', '.join(SERVICES)}")
    return text


WhoOption = Annotated[
    str,
    typer.Option("--as", default_factory=getpass.getuser, help="Who you are, for the history."),
]
UrlOption = Annotated[
    list[str] | None,
    typer.Option(
        "--url", parser=_url, metavar="SERVICE=URL", help="Ask there; may be given many times."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is kept in the history.")]
LetterArgument = Annotated[str, typer.Argument(help="The dead letter's id.")]
LettersArgument = Annotated[list[str] | None, typer.Argument(help="Ids of dead letters.")]
FingerprintOption = Annotated[str | None, typer.Option(help="All of this fault.")]
ConsumerOption = Annotated[str | None, typer.Option(help="All of <service>.<topic>.")]
TypeOption = Annotated[str | None, typer.Option("--type", help="All messages of this type.")]
KeyOption = Annotated[str | None, typer.Option(help="All of this key, such as a checkout id.")]
MomentOption = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="TIME", help="Put aside then or later; 12h is ago."),
]
UntilOption = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="TIME", help="Put aside before."),
]


@dlq.command("list")
def list_(
    home: HomeOption,
    who: WhoOption,
    fingerprint: FingerprintOption = None,
    consumer: ConsumerOption = None,
    message_type: TypeOption = None,
    key: KeyOption = None,
    since: MomentOption = None,
    until: UntilOption = None,
    status: Annotated[
        list[str] | None, typer.Option(help="Only these; by default all that is open.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 50,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List dead letters and what waits behind them, the newest first; exit 1 if there are any."""
    chosen = Chosen((), fingerprint, consumer, message_type, key, since, until)
    found = _at(
        home, who, url, lambda desk: desk.letters(chosen, statuses=status or OPEN, most=most)
    )
    if as_json:
        typer.echo(as_json_text(found))
    elif found:
        console().print(picture_of_letters(found, utc_now()))
    else:
        typer.echo("There are no dead letters.")
    raise typer.Exit(1 if found else 0)


@dlq.command("stats")
def stats(
    home: HomeOption, who: WhoOption, url: UrlOption = None, as_json: JsonOption = False
) -> None:
    """Count what is open by fault, the most frequent first."""
    found = _at(home, who, url, lambda desk: desk.figures())
    if as_json:
        typer.echo(as_json_text(found))
    elif found:
        console().print(picture_of_figures(found, utc_now()))
    else:
        typer.echo("There are no dead letters.")


@dlq.command("show")
def show(
    home: HomeOption,
    who: WhoOption,
    letter_id: LetterArgument,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a dead letter whole: its record, its fault, what waits, and what was done with it."""
    letter = _at(home, who, url, lambda desk: desk.letter(letter_id))
    if as_json:
        typer.echo(as_json_text(letter))
    else:
        console().print(picture_of_letter(letter, utc_now()))


@dlq.command("diff")
def diff(
    home: HomeOption, who: WhoOption, letter_id: LetterArgument, url: UrlOption = None
) -> None:
    """Show what was edited in a dead letter."""
    letter = _at(home, who, url, lambda desk: desk.letter(letter_id))
    typer.echo(difference(letter) or "It was not edited.")


@dlq.command("edit")
def edit(
    home: HomeOption,
    who: WhoOption,
    letter_id: LetterArgument,
    reason: ReasonOption,
    value: Annotated[
        Path | None,
        typer.Option(help="A file with the new value as JSON, - for the input; else $EDITOR."),
    ] = None,
    url: UrlOption = None,
) -> None:
    """Have another value replayed than the one that came; it is checked, and both are kept."""
    letter = _at(home, who, url, lambda desk: desk.letter(letter_id))
    try:
        if value is None:
            shown = letter["edited_value"] or letter["value"] or {}
            written = edited(json.dumps(shown.get("json"), indent=2), ".json")
        else:
            written = sys.stdin.read() if str(value) == "-" else value.read_text()
        if written is None:
            typer.echo("Nothing was edited.")
            return
        new = json.loads(written)
    except (OSError, EditorFailed, ValueError) as error:
        _refuse(f"There is no new value: {error}")
    _at(home, who, url, lambda desk: desk.edit(letter, new, reason))
    typer.echo(difference(_at(home, who, url, lambda desk: desk.letter(letter_id))))


@dlq.command("dry-run")
def dry_run(
    home: HomeOption,
    who: WhoOption,
    letters: LettersArgument = None,
    fingerprint: FingerprintOption = None,
    consumer: ConsumerOption = None,
    message_type: TypeOption = None,
    key: KeyOption = None,
    since: MomentOption = None,
    until: UntilOption = None,
    most: Annotated[int, typer.Option(min=1, max=100, help="At most so many of a service.")] = 20,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try replays without keeping anything; exit 1 if one would fail."""
    ids = tuple(letters or ())
    chosen = Chosen(ids, fingerprint, consumer, message_type, key, since, until)
    found = _at(home, who, url, lambda desk: desk.dry_run(chosen, most))
    if as_json:
        typer.echo(as_json_text(found))
    elif found:
        console().print(picture_of_trials(found))
    else:
        typer.echo("There are no such dead letters.")
    raise typer.Exit(1 if any(one["outcome"] == "fails" for one in found) else 0)


@dlq.command("replay")
def replay(
    home: HomeOption,
    who: WhoOption,
    reason: ReasonOption,
    letters: LettersArgument = None,
    fingerprint: FingerprintOption = None,
    consumer: ConsumerOption = None,
    message_type: TypeOption = None,
    key: KeyOption = None,
    since: MomentOption = None,
    until: UntilOption = None,
    rate: Annotated[
        float | None, typer.Option(min=0.1, max=1000, help="Letters a second at most.")
    ] = None,
    url: UrlOption = None,
) -> None:
    """Replay dead letters in order, with what waits behind them; stop at the first old fault."""
    ids = tuple(letters or ())
    chosen = Chosen(ids, fingerprint, consumer, message_type, key, since, until)
    _run(home, who, url, "replay", chosen, reason, rate)


@dlq.command("discard")
def discard(
    home: HomeOption,
    who: WhoOption,
    reason: ReasonOption,
    letters: LettersArgument = None,
    fingerprint: FingerprintOption = None,
    consumer: ConsumerOption = None,
    message_type: TypeOption = None,
    key: KeyOption = None,
    since: MomentOption = None,
    until: UntilOption = None,
    url: UrlOption = None,
) -> None:
    """Give dead letters up: their sagas go on as if no answer ever came. They stay readable."""
    ids = tuple(letters or ())
    chosen = Chosen(ids, fingerprint, consumer, message_type, key, since, until)
    _run(home, who, url, "discard", chosen, reason, None)


@dlq.command("runs")
def runs(
    home: HomeOption,
    who: WhoOption,
    most: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 20,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the latest replays and discards."""
    found = _at(home, who, url, lambda desk: desk.runs(most))
    if as_json:
        typer.echo(as_json_text(found))
    else:
        console().print(picture_of_runs(found) if found else "Nothing was replayed yet.")


@dlq.command("stop")
def stop(
    home: HomeOption,
    who: WhoOption,
    run_id: Annotated[str, typer.Argument(help="The run's id.")],
    reason: ReasonOption,
    url: UrlOption = None,
) -> None:
    """Stop a run; the letters whose turn has not come stay dead."""
    _at(home, who, url, lambda desk: desk.stop(run_id, reason))
    typer.echo("It is stopped.")


def _run(
    home: Path,
    who: str,
    url: list[str] | None,
    action: str,
    chosen: Chosen,
    reason: str,
    rate: float | None,
) -> None:
    if not chosen:
        _refuse("Say which: ids, --fingerprint, --consumer, --type, --key, --since or --until.")

    async def work(desk: Desk) -> list[dict[str, Any]]:
        begun = await desk.begin(action, chosen, reason, rate)
        return await _followed(desk, begun)

    ended = _at(home, who, url, work)
    if not ended:
        _refuse("There are no such dead letters; what is parked follows the one it waits for.")
    console().print(picture_of_runs(ended))
    well = all(run["status"] == "finished" and not run["failed"] for run in ended)
    raise typer.Exit(0 if well else 1)


async def _followed(desk: Desk, begun: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs at their end; their progress is shown meanwhile."""
    latest = {str(run["id"]): run for run in begun}
    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        console=console(stderr=True),
        transient=True,
    )
    with shown:
        tasks = {
            name: shown.add_task(f"{run['action']} {run['service']}", total=run["chosen"], failed=0)
            for name, run in latest.items()
        }
        while any(run["ended_at"] is None for run in latest.values()):
            await asyncio.sleep(POLL_SECONDS)
            for name, run in latest.items():
                if run["ended_at"] is None:
                    latest[name] = now = await desk.run(run)
                    had = now["done"] + now["failed"] + now["untried"]
                    shown.update(tasks[name], completed=had, failed=now["failed"])
    return list(latest.values())


def _at(home: Path, who: str, url: list[str] | None, work: Callable[[Desk], Awaitable[T]]) -> T:
    """What `work` comes to at the desk; what keeps it from that is told in a sentence."""
    urls: Mapping[str, str] = dict(_pair(one) for one in url or ())

    async def at_desk() -> T:
        async with open_desk(Home(home), who, urls) as desk:
            return await work(desk)

    try:
        return asyncio.run(at_desk())
    except (NoServiceRuns, UnknownLetter, Rejected, ClientError) as error:
        _refuse(str(error))


def _pair(text: str) -> tuple[str, str]:
    service, _, url = text.partition("=")
    return service, url


def _refuse(why: str) -> NoReturn:
    typer.echo(f"trolley: {why}", err=True)
    raise typer.Exit(2)
