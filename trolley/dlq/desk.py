"""The dead letters of all services as one: every call goes to each of them, or to the right one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from trolley.client import Client, Refused
from trolley.operators import operator
from trolley.runtime.home import Home

T = TypeVar("T")

SERVICES = ("cart", "inventory", "order", "payment")
"""The services that read messages."""

ROLE = "operations"
LARGEST_PAGE = 10_000
"""Letters asked for at a time."""

Letter = dict[str, Any]


class UnknownLetter(LookupError):
    """No service has a dead letter of this id."""

    def __init__(self, letter_id: str) -> None:
        super().__init__(f"No service has a dead letter {letter_id}.")


class Rejected(Exception):
    """A service refused what was asked, and said why."""

    def __init__(self, service: str, problem: Mapping[str, Any]) -> None:
        errors = "; ".join(f"{e['location']}: {e['reason']}" for e in problem.get("errors", ()))
        told = " ".join(str(part) for part in (problem.get("detail"), errors) if part)
        super().__init__(f"{service}: {problem.get('title')}. {told}".strip())


@dataclass(frozen=True)
class Chosen:
    """Which letters are meant, as the API names it; what is None does not matter."""

    ids: tuple[str, ...] = ()
    fingerprint: str | None = None
    consumer: str | None = None
    type: str | None = None
    key: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return bool(self.ids) or any(value is not None for value in self._given().values())

    def _given(self) -> dict[str, Any]:
        return {
            "fingerprint": self.fingerprint,
            "consumer": self.consumer,
            "type": self.type,
            "key": self.key,
            "since": None if self.since is None else self.since.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
        }

    def as_body(self) -> dict[str, Any]:
        """For the body of a new run."""
        given = {name: value for name, value in self._given().items() if value is not None}
        return {**given, "ids": list(self.ids)} if self.ids else given

    def as_query(self) -> list[tuple[str, str]]:
        """For the query of a list or a dry run."""
        given = [(name, str(value)) for name, value in self._given().items() if value is not None]
        return given + [("id", one) for one in self.ids]


class Desk:
    """What an operator does with the dead letters of these services."""

    def __init__(self, client: Client, services: Sequence[str], headers: Mapping[str, str]) -> None:
        self._client = client
        self._services = services
        self._headers = headers

    async def letters(
        self, chosen: Chosen, *, statuses: Sequence[str] = (), most: int
    ) -> list[Letter]:
        """The newest of all services, each with its `service`, the newest first."""

        async def of(service: str) -> list[Letter]:
            found: list[Letter] = []
            cursor: list[tuple[str, str]] = []
            while len(found) < most:
                query = [*chosen.as_query(), *(("status", one) for one in statuses), *cursor]
                query.append(("limit", str(min(LARGEST_PAGE, most - len(found)))))
                page = await self._get(service, f"?{urlencode(query)}")
                found += page["items"]
                if page["next_cursor"] is None:
                    break
                cursor = [("cursor", page["next_cursor"])]
            return [{"service": service, **one} for one in found]

        all_of_them = [one for found in await self._of_each(of) for one in found]
        return sorted(all_of_them, key=lambda one: str(one["created_at"]), reverse=True)[:most]

    async def figures(self) -> list[dict[str, Any]]:
        """What is unsettled, by service and fault, the most frequent first."""

        async def of(service: str) -> list[dict[str, Any]]:
            items = (await self._get(service, "/figures"))["items"]
            return [{"service": service, **one} for one in items]

        found = [one for figures in await self._of_each(of) for one in figures]
        return sorted(found, key=lambda one: -int(one["dead"]))

    async def letter(self, letter_id: str) -> Letter:
        """A letter whole. Raises `UnknownLetter`."""

        async def of(service: str) -> Letter | None:
            try:
                return dict(await self._get(service, f"/{letter_id}"))
            except Refused as refused:
                if refused.status == 404:
                    return None
                raise

        for found in await self._of_each(of):
            if found is not None:
                return found
        raise UnknownLetter(letter_id)

    async def edit(self, letter: Letter, value: Any, reason: str) -> None:
        """Have another value replayed. Raises `Rejected`."""
        body = {"value": value, "reason": reason}
        await self._post(letter["service"], f"/{letter['id']}/edits", body)

    async def dry_run(self, chosen: Chosen, most: int) -> list[dict[str, Any]]:
        """What replays would come to now, letter by letter; at most so many of a service."""

        async def of(service: str) -> list[dict[str, Any]]:
            query = urlencode([*chosen.as_query(), ("limit", str(most))])
            items = (await self._get(service, f"/dry-run?{query}"))["items"]
            return [{"service": service, **one} for one in items]

        return [one for trials in await self._of_each(of) for one in trials]

    async def begin(
        self, action: str, chosen: Chosen, reason: str, rate_per_second: float | None
    ) -> list[dict[str, Any]]:
        """Begin a run in every service that has such letters; none if no service has."""
        body = {"action": action, "reason": reason, **chosen.as_body()}
        if rate_per_second is not None:
            body["rate_per_second"] = rate_per_second

        async def of(service: str) -> dict[str, Any] | None:
            try:
                return {"service": service, **await self._post(service, "/runs", body)}
            except Refused as refused:
                if refused.slug == "no-such-dead-letters":
                    return None
                raise Rejected(service, refused.problem) from refused

        return [run for run in await self._of_each(of) if run is not None]

    async def runs(self, most: int) -> list[dict[str, Any]]:
        """The latest runs of all services, the newest first."""

        async def of(service: str) -> list[dict[str, Any]]:
            items = (await self._get(service, f"/runs?limit={most}"))["items"]
            return [{"service": service, **one} for one in items]

        found = [run for runs in await self._of_each(of) for run in runs]
        return sorted(found, key=lambda run: str(run["created_at"]), reverse=True)[:most]

    async def run(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """How far a run is now."""
        service = run["service"]
        return {"service": service, **await self._get(service, f"/runs/{run['id']}")}

    async def stop(self, run_id: str, reason: str) -> dict[str, Any]:
        """Leave the rest of a run untried. Raises `Rejected`."""
        problem: Mapping[str, Any] = {}
        for service in self._services:
            try:
                return dict(await self._post(service, f"/runs/{run_id}/stop", {"reason": reason}))
            except Refused as refused:
                problem = refused.problem
        raise Rejected("every service", problem)

    async def _of_each(self, ask: Callable[[str], Awaitable[T]]) -> list[T]:
        return list(await asyncio.gather(*(ask(service) for service in self._services)))

    async def _get(self, service: str, path: str) -> Any:
        answer = await self._client.get(service, f"/dead-letters{path}", headers=self._headers)
        return answer.body

    async def _post(self, service: str, path: str, body: Any) -> Any:
        answer = await self._client.command(
            "POST", service, f"/dead-letters{path}", body, headers=self._headers
        )
        return answer.body


@asynccontextmanager
async def open_desk(home: Home, who: str, urls: Mapping[str, str]) -> AsyncIterator[Desk]:
    """A desk for the services at these addresses, by default those that run in `home`.

    Raises `NoServiceRuns`.
    """
    async with operator(home, who, ROLE, SERVICES, urls=urls) as one:
        yield Desk(one.client, one.services, one.headers)
