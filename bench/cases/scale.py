"""One, two and four replicas of each service, on the same machine."""

from bench.case import Case, Session
from bench.meter import Meter
from bench.pipeline import SKUS, pipeline
from bench.progress import steady_per_second, watched
from bench.report import Figure, Turn


async def _turn(session: Session) -> Turn:
    settings = session.settings
    meter, figures = Meter({}), []
    for replicas in session.settings.replicas:
        async with pipeline(replicas=replicas) as services:
            await services.put_on_shelves(SKUS)
            warm, count = settings.warm_checkouts, settings.checkouts
            placed = await services.fill_carts(warm + count, SKUS)
            await services.place(placed[:warm])
            await watched(services.ended, warm, "warming up")
            part = Meter(services.processes)
            await services.place(placed[warm:])
            marks = await watched(services.ended, warm + count, "sagas")
            found = [Figure("sagas a second", "1/s", steady_per_second(marks))]
            found += part.load(count, "a saga")
            await services.settle({"paid": warm + count})
        figures += [Figure(f"{replicas}: {one.name}", one.unit, one.value) for one in found]
    return meter.turn(figures)


SCALE = Case(
    "scale",
    "The backlog of *saga* with so many replicas of each service, on this one machine: where all "
    "processors are busy already, more replicas cannot be faster.",
    _turn,
)
