"""The cart's requests alone: POST checkout, GET cart, a line added."""

from collections.abc import Awaitable, Callable, Iterator, Sequence

from bench.case import Case, Session
from bench.cases.latency import check_out
from bench.load import Load, as_answered
from bench.meter import Meter, quantiles, waits
from bench.pipeline import LINES, SKUS, Pipeline, Placed, pipeline
from bench.progress import WrongState
from bench.report import Figure, Goal, Series, Turn
from bench.requests import Connection, connections, put_off

OTHERS = ("catalog", "inventory", "order", "payment")
"""Services that stand still while the cart is measured."""

SERVERS = ("kafka", "postgres")

Send = Callable[[Connection, Placed], Awaitable[None]]


async def _turn(session: Session) -> Turn:
    settings = session.settings
    figures: list[Figure] = []
    series: dict[str, Series] = {}
    async with pipeline() as services:
        await services.offer(SKUS)
        skus = SKUS[:-1]  # a line of another one is added
        carts = await services.fill_carts(settings.most_carts, skus, checking_out=False)
        bought = iter(carts)
        for name in OTHERS:
            await services.runtime.stop_service(name)
        meter = Meter({"cart": services.processes["cart"], **_servers(services)})
        sent = 0
        async with connections(services.runtime.url("cart"), settings.connections) as senders:
            for name, send, some in (
                ("GET cart", _show, _again(carts)),
                ("add line", _add, iter(carts)),
                ("POST checkout", _check_out, bought),
            ):
                await _load(senders, send, some, settings.warm_seconds)
                part = Meter({"cart": services.processes["cart"], **_servers(services)})
                load = await _load(senders, send, some, settings.measured_seconds)
                figures.append(Figure(f"{name}, requests a second", "1/s", load.per_second))
                figures += waits(name, load.waits)
                figures += part.load(len(load.waits), name)
                series[name] = quantiles(load.waits)
            figures += [put_off(senders), *meter.memory()]
        sent = len(carts) - sum(1 for _ in bought)
        for name in OTHERS:
            services.runtime.start_service(name)
        await services.runtime.wait_ready()
        await services.settle({"paid": sent})
    return meter.turn(figures, series)


def _servers(services: Pipeline) -> dict[str, int]:
    return {name: pid for name, pid in services.processes.items() if name in SERVERS}


def _again(carts: Sequence[Placed]) -> Iterator[Placed]:
    while True:
        yield from carts


async def _load(
    senders: Sequence[Connection], send: Send, carts: Iterator[Placed], seconds: float
) -> Load:
    async def one(connection: Connection, number: int) -> None:
        del number
        cart = next(carts, None)
        if cart is None:
            raise WrongState("more carts were needed than TROLLEY_BENCH_MOST_CARTS")
        await send(connection, cart)

    return await as_answered(senders, one, seconds)


async def _show(connection: Connection, cart: Placed) -> None:
    answer = await connection.ask("GET", f"/carts/{cart.cart_id}", token=cart.token)
    if len(answer.expect(200)["lines"]) != LINES:
        raise WrongState(f"a cart of other lines: {answer.content!r}")


async def _add(connection: Connection, cart: Placed) -> None:
    body = {"sku": SKUS[-1], "quantity": 1}
    answer = await connection.ask(
        "POST", f"/carts/{cart.cart_id}/lines", token=cart.token, body=body
    )
    if len(answer.expect(200)["lines"]) != LINES + 1:
        raise WrongState(f"a cart of other lines: {answer.content!r}")


async def _check_out(connection: Connection, cart: Placed) -> None:
    await check_out(connection, cart)


HTTP = Case(
    "http",
    "Requests to one worker of the cart service, by as many connections as stated; the other "
    "services stand still meanwhile, and finish every checkout behind it.",
    _turn,
    goals=(
        Goal("POST checkout, requests a second", at_least=2_500),
        Goal(
            "POST checkout, requests a second",
            at_least=0.3,
            part_of="floor: rows of POST checkout, requests a second",
        ),
        Goal("GET cart, requests a second", at_least=5_000),
        Goal("add line, requests a second", at_least=2_500),
        Goal("POST checkout, p99", at_most=60),
        Goal("GET cart, p99", at_most=60),
        Goal("add line, p99", at_most=60),
    ),
)
