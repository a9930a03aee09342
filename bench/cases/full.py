"""The backlog of *saga* in a database that has seen millions of orders, and in an empty one."""

from bench.case import Case, Session
from bench.meter import Meter
from bench.pipeline import SKUS, Pipeline, pipeline
from bench.progress import WrongState, steady_per_second, watched
from bench.report import Figure, Goal, Turn
from bench.shop import Shop
from trolley.audit.invariant import DATABASES, Source
from trolley.topics import kafka_settings

ORDERS_PER_SKU = 100


async def _turn(session: Session) -> Turn:
    settings = session.settings
    meter, figures, speeds = Meter({}), [], {}
    for name, orders in (("empty", 0), ("full", settings.full_orders)):
        async with pipeline() as services:
            if orders:
                await _fill(services, orders)
            await services.put_on_shelves(SKUS)
            warm, count = settings.warm_checkouts, settings.checkouts
            before = await services.ended()
            placed = await services.fill_carts(warm + count, SKUS)
            await services.place(placed[:warm])
            await watched(services.ended, before + warm, "warming up")
            part = Meter(services.processes)
            await services.place(placed[warm:])
            marks = await watched(services.ended, before + warm + count, f"sagas, {name}")
            speeds[name] = steady_per_second(marks)
            figures.append(Figure(f"{name}: sagas a second", "1/s", speeds[name]))
            found = part.load(count, "a saga")
            figures += [Figure(f"{name}: {one.name}", one.unit, one.value) for one in found]
            states = await services.states()
            if sum(states.values()) != before + warm + count:
                raise WrongState(f"checkouts ended as {states}")
            await services.audit()
    figures.insert(0, Figure("full, part of empty", "", speeds["full"] / speeds["empty"]))
    return meter.turn(figures)


async def _fill(services: Pipeline, orders: int) -> None:
    urls: dict[Source, str] = {source: services.databases[source] for source in DATABASES}
    kafka = kafka_settings(services.runtime.environment)
    shop = Shop(urls, kafka, skus=max(100, orders // ORDERS_PER_SKU))
    await shop.stock()
    await shop.sell(orders)
    await shop.analyze()
    await shop.forget()


FULL = Case(
    "full",
    "The backlog of *saga* behind as many orders as stated, made by SQL, and in an empty database.",
    _turn,
    goals=(Goal("full, part of empty", at_least=0.85),),
)
