"""An operator at the services' HTTP APIs: where they answer, and as whom they are asked."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from contracts.shops import DEFAULT_SHOP
from messaging.signing import customer_token
from trolley.client import Client
from trolley.runtime.home import Home
from trolley.settings import ClientSettings

TOKEN_HOURS = 1


class NoServiceRuns(Exception):
    """There is no address of a service to ask, or no key to sign a token with."""


@dataclass(frozen=True)
class Operator:
    """A client of the services by name, and the headers that say who asks."""

    client: Client
    services: tuple[str, ...]
    headers: Mapping[str, str]


@asynccontextmanager
async def operator(
    home: Home,
    who: str,
    role: str,
    services: Collection[str],
    *,
    urls: Mapping[str, str] | None = None,
    shop: str = DEFAULT_SHOP,
) -> AsyncIterator[Operator]:
    """An operator of these services, by default at those that run in `home`.

    Raises `NoServiceRuns`, also when one of them is not ready: what it has would be left out.
    """
    found = dict(urls or {}) or _running(home, services)
    key = home.environment().get("TROLLEY_SIGNING_KEY")
    if not found or not key:
        raise NoServiceRuns(
            f"Nothing runs in {home.path}: start `trolley up`, or give --url and "
            f"TROLLEY_SIGNING_KEY."
        )
    away = [] if urls else sorted({*services} - found.keys())
    if away:
        raise NoServiceRuns(
            f"{', '.join(away)} cannot be asked now: see `trolley status`, or name the services to "
            f"ask with --url."
        )
    token = customer_token(
        SecretStr(key),
        sub=who,
        roles=frozenset({role}),
        shop=shop,
        now=datetime.now(UTC),
        valid_for=timedelta(hours=TOKEN_HOURS),
    )
    async with Client(found, ClientSettings()) as client:
        yield Operator(client, tuple(found), {"Authorization": f"Bearer {token}"})


def _running(home: Home, services: Collection[str]) -> dict[str, str]:
    """The address of a replica of each service that runs here."""
    state = home.state()
    found: dict[str, str] = {}
    for process in state.processes if state is not None else ():
        service = process.name.rpartition("-")[0]
        if service in services and process.port and process.state == "ready":
            found.setdefault(service, f"http://127.0.0.1:{process.port}")
    return found
