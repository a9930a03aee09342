"""Options that several commands share."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from messaging.clock import utc_now
from trolley.runtime.home import default_home

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        default_factory=default_home,
        show_default=".trolley",
        help="The state directory.",
    ),
]

_SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str) -> datetime:
    """A time as in RFC 3339, or a span before now such as 90m, 12h or 3d."""
    span = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if span is not None:
        try:
            return utc_now() - timedelta(**{_SPANS[span[2]]: int(span[1])})
        except OverflowError:
            raise typer.BadParameter("no time is so long ago") from None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("a time such as 2026-01-31T12:00Z, or 90m, 12h, 3d") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
