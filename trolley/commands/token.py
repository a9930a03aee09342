"""`trolley token`: signed customer tokens, until there is an identity service."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from pydantic import SecretStr

from messaging.signing import customer_token
from trolley.commands.options import HomeOption
from trolley.runtime.home import Home


def token(
    home: HomeOption,
    sub: Annotated[str, typer.Option(help="Who it is for: the customer's or the program's id.")],
    role: Annotated[
        list[str] | None, typer.Option(help="A role, such as admin; may be given many times.")
    ] = None,
    shop: Annotated[str, typer.Option(help="The shop it is good for.")] = "main",
    hours: Annotated[float, typer.Option(min=0.01, help="How long it is good for.")] = 12,
) -> None:
    """Print a token for `Authorization: Bearer ...`, signed with this runtime's key."""
    place = Home(home)
    key = place.environment().get("TROLLEY_SIGNING_KEY")
    if not key:
        typer.echo(
            f"trolley: there is no TROLLEY_SIGNING_KEY in the environment or in {place.path}: set "
            f"it or start `trolley up` once.",
            err=True,
        )
        raise typer.Exit(1)
    typer.echo(
        customer_token(
            SecretStr(key),
            sub=sub,
            roles=frozenset(role or ()),
            shop=shop,
            now=datetime.now(UTC),
            valid_for=timedelta(hours=hours),
        )
    )
