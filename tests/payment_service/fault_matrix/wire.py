"""What goes over the wire to Stripe, noted for each run through a flow, and troubled once in it.

A request belongs to the payment that the worker's task is about. So a fault is aimed at the n-th
call of one kind about one payment, while a hundred others are under way and are left alone. So is
an error at a point that such a task comes to between two calls (`messaging.points`).
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp

from messaging.points import Point
from payment_service.providers.stripe.client import StripeHttp
from stripe_sandbox.faults import HEADER, RequestFault
from stripe_sandbox.routes import route_of
from tests.torture.injection import Injected, Kind

DETACH = "POST /v1/payment_methods/{payment_method}/detach"
"""The one call that is about no payment, but about what a customer had kept by one."""


@dataclass(frozen=True, slots=True)
class Aim:
    """The `number`-th call of an operation in a run, or point, and what is to go wrong with it."""

    operation: str
    number: int
    fault: RequestFault | Kind
    milliseconds: int = 0

    @property
    def call(self) -> str:
        """The call alone."""
        return self.operation if self.number == 1 else f"{self.operation} {self.number}"


@dataclass
class Run:
    """A run through a flow: the payments that it is about, and the calls and points on its way.

    `names` are those of each payment, by its place in the run: our id of it from its begin on, then
    Stripe's of its intents, as soon as a call bears them. `hears_name` is told of each.
    """

    flow: str
    aim: Aim | None = None
    hears_name: Callable[[int, str], None] = lambda place, name: None
    payments: list[UUID] = field(default_factory=list)
    names: list[list[str]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    is_struck: bool = False

    def begin(self, payment_id: UUID) -> None:
        """One more payment of it begins."""
        self.payments.append(payment_id)
        self.names.append([])
        self.is_named(payment_id, str(payment_id))

    def is_named(self, payment_id: UUID, name: str) -> None:
        """A name of one of its payments was used."""
        place = self.payments.index(payment_id)
        if name not in self.names[place]:
            self.names[place].append(name)
            self.hears_name(place, name)

    def comes_by(self, operation: str) -> str | None:
        """One more call or point; gives the header that troubles it, if it is the one."""
        self.calls.append(operation)
        aim = self.aim
        if aim is None or operation != aim.operation or self.calls.count(operation) != aim.number:
            return None
        self.is_struck = True
        option = f";milliseconds={aim.milliseconds}" if aim.milliseconds else ""
        return f"{aim.fault}{option}"


class Runs:
    """All runs, by what their requests are about."""

    def __init__(self) -> None:
        self._of: dict[str, Run] = {}
        self.strange: list[str] = []
        """Requests that are about no run, and such that do something without a key."""

    def belongs(self, name: str, run: Run) -> None:
        """What is about this payment of ours, or this method that was kept, is of that run."""
        self._of[name] = run

    def header(self, method: str, path: str, headers: Mapping[str, str]) -> str | None:
        """Note a request; gives the header that troubles it."""
        route = route_of(method, path)
        if method == "POST" and not any(name.lower() == "idempotency-key" for name in headers):
            self.strange.append(f"{route.name} without a key")
        run = self._run(route.name, route.ids)
        if run is None:
            self.strange.append(f"{route.name} about no run")
            return None
        return run.comes_by(route.name)

    async def at_point(self, point: Point, _service: str, _under_way: Iterable[str]) -> None:
        """Note a point that a call has come to; an error there, if it is the one."""
        run = self._of.get(_about())
        if run is not None and run.comes_by(point) is not None:
            raise Injected(point)

    def _run(self, operation: str, ids: Mapping[str, str]) -> Run | None:
        if operation == DETACH:
            return self._of.get(ids["payment_method"])
        about = _about()
        run = self._of.get(about)
        if run is not None and "intent" in ids:
            run.is_named(UUID(about), ids["intent"])
        return run


def _about() -> str:
    """Our id of the payment that the worker's task is about."""
    task = asyncio.current_task()
    return "" if task is None else task.get_name().removeprefix("call ").partition(":")[0]


class Wire(StripeHttp):
    """The SDK's client over HTTP, with somebody who looks at what it sends."""

    def __init__(self, timeout: aiohttp.ClientTimeout, runs: Runs) -> None:
        super().__init__(timeout=timeout)
        self._runs = runs

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """As the SDK has it; the one request that is aimed at asks for its trouble."""
        fault = self._runs.header(method.upper(), urlsplit(url).path, headers)
        troubled = headers if fault is None else {**headers, HEADER: fault}
        return await super().request_async(method, url, troubled, post_data)
