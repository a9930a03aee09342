"""From POST checkout to the order paid: alone, and under loads that come as they come."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from bench.case import Case, Session
from bench.dissection import CHECKOUT_BODY
from bench.load import as_answered, as_it_comes
from bench.meter import Meter, quantiles, waits
from bench.pipeline import SKUS, Pipeline, Placed, pipeline
from bench.report import Figure, Goal, Series, Turn
from bench.requests import Connection, connections, put_off

LOOK_SECONDS = 0.003
"""How often is looked for orders that were paid: by so much a wait may be told too long."""
_PAID = "SELECT checkout_id FROM checkouts WHERE checkout_id = ANY($1::uuid[]) AND state = 'paid'"


@dataclass(slots=True)
class Paid:
    """Tells when orders are paid."""

    _orders: asyncpg.Connection
    _open: dict[UUID, asyncio.Future[float]] = field(default_factory=dict)

    async def wait(self, checkout_id: str) -> float:
        """When it was paid."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._open[UUID(checkout_id)] = future
        return await future

    def give_up(self) -> None:
        """Nobody looks any more: whoever still waits is cancelled."""
        for future in self._open.values():
            future.cancel()

    async def look(self) -> None:
        """Goes on looking."""
        while True:
            if self._open:
                found = await self._orders.fetch(_PAID, list(self._open))
                now = time.perf_counter()
                for row in found:
                    self._open.pop(row["checkout_id"]).set_result(now)
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def paid(services: Pipeline) -> AsyncIterator[Paid]:
    """Looks for paid orders until the end of the block."""
    orders = await asyncpg.connect(services.runtime.database_url("order"))
    made = Paid(orders)
    looking = asyncio.create_task(made.look())
    try:
        yield made
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        made.give_up()
        await orders.close()


async def check_out(connection: Connection, one: Placed) -> str:
    """POST checkout; the id of the checkout."""
    answer = await connection.ask(
        "POST", f"/carts/{one.cart_id}/checkout", token=one.token, body=CHECKOUT_BODY
    )
    checkout_id: str = answer.expect(202)["checkout_id"]
    return checkout_id


async def _turn(session: Session) -> Turn:
    settings = session.settings
    async with pipeline() as services:
        await services.offer(SKUS)
        carts = await services.fill_carts(settings.most_carts, SKUS, checking_out=False)
        some = iter(carts)
        meter = Meter(services.processes)
        url = services.runtime.url("cart")
        async with paid(services) as watch, connections(url, settings.connections) as senders:
            load = _Load(senders, watch, some)
            await load.fill(settings.warm_seconds)
            most = await load.fill(min(settings.measured_seconds, LONGEST_FILL_SECONDS))
            alone = [await load.one() for _ in range(settings.alone_checkouts)]
            figures = [
                *waits("alone", alone),
                Figure("most checkouts a second", "1/s", most),
            ]
            series: dict[str, Series] = {"alone": quantiles(alone)}
            void = None
            for share in settings.load_shares:
                name = f"{share:.0%} of the maximum"
                made = await as_it_comes(share * most, settings.measured_seconds, load.due)
                figures += [Figure(f"{name}, checkouts a second", "1/s", share * most)]
                figures += [*waits(name, made.waits), *made.lag(name)]
                series[name] = quantiles(made.waits)
                void = void or made.late(settings.longest_lag_ms)
            figures.append(put_off(senders))
        figures += [*meter.load(load.sent, "a checkout"), *meter.memory()]
        await services.settle({"paid": load.sent})
    return meter.turn(figures, series, void)


LONGEST_FILL_SECONDS = 15.0
"""The maximum is found by a backlog that is made for so long at most."""


class NoMoreCarts(RuntimeError):
    """More carts were needed than were made ready: see `most_carts`."""


class _Load:
    """Carts that check out one after the other, over connections that take turns."""

    def __init__(self, senders: Sequence[Connection], watch: Paid, carts: Iterator[Placed]) -> None:
        self.sent = 0
        self._senders = senders
        self._watch, self._carts = watch, carts
        self._free: asyncio.Queue[Connection] = asyncio.Queue()
        for sender in senders:
            self._free.put_nowait(sender)

    async def one(self) -> float:
        """Seconds from sending one checkout until it is paid."""
        began = time.perf_counter()
        return await self._followed() - began

    async def due(self, due: float, number: int) -> None:
        """One of many that come as they come."""
        del due, number
        await self._followed()

    async def fill(self, seconds: float) -> float:
        """Checkouts as fast as they are taken; how many a second were paid, to the last."""
        waiting: list[asyncio.Task[float]] = []
        began = time.perf_counter()

        async def send(connection: Connection, number: int) -> None:
            del number
            checkout_id = await self._checked_out(connection)
            waiting.append(asyncio.create_task(self._watch.wait(checkout_id)))

        await as_answered(self._senders, send, seconds)
        last = max(await asyncio.gather(*waiting))
        return len(waiting) / (last - began)

    async def _followed(self) -> float:
        connection = await self._free.get()
        try:
            checkout_id = await self._checked_out(connection)
        finally:
            self._free.put_nowait(connection)
        return await self._watch.wait(checkout_id)

    async def _checked_out(self, connection: Connection) -> str:
        cart = next(self._carts, None)
        if cart is None:
            raise NoMoreCarts
        self.sent += 1
        return await check_out(connection, cart)


LATENCY = Case(
    "latency",
    "From sending POST checkout to the order paid: one at a time, and at parts of the maximum "
    "that a backlog of the same requests reaches, counted from the moment at which each was to "
    f"be sent. Orders are looked for every {1e3 * LOOK_SECONDS:g} ms.",
    _turn,
    goals=(
        Goal("alone, p50", at_most=25),
        Goal("alone, p99", at_most=60),
        Goal("60% of the maximum, p99", at_most=250),
    ),
)
