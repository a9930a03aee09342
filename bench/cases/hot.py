"""Many buyers of one thing, and as many of five hundred things."""

from bench.case import Case, Session
from bench.meter import Meter
from bench.pipeline import SKUS, pipeline
from bench.progress import WrongState, steady_per_second, watched
from bench.report import Figure, Goal, Turn

HOT = ("BENCH-HOT",)
SPREAD = tuple(f"BENCH-SPREAD-{number}" for number in range(500))


async def _turn(session: Session) -> Turn:
    settings = session.settings
    pieces, buyers = settings.hot_pieces, settings.checkouts
    if pieces % len(SPREAD) and len(SPREAD) % pieces:
        raise WrongState(f"{pieces} pieces cannot be spread evenly over {len(SPREAD)} goods")
    spread = SPREAD[: min(len(SPREAD), pieces)]
    speeds, paid = {}, settings.warm_checkouts
    async with pipeline() as services:
        await services.put_on_shelves(SKUS)
        await services.put_on_shelves(HOT, pieces)
        await services.put_on_shelves(spread, pieces // len(spread))
        await services.place(await services.fill_carts(paid, SKUS))
        await watched(services.ended, paid, "warming up")
        meter = Meter(services.processes)
        rejected = 0
        for name, skus in (("spread", spread), ("hot", HOT)):
            carts = await services.fill_carts(buyers, skus, lines=1)
            await services.place(carts)
            marks = await watched(services.ended, paid + rejected + buyers, f"{name} buyers")
            speeds[name] = steady_per_second(marks)
            paid, rejected = paid + min(pieces, buyers), rejected + max(0, buyers - pieces)
            await services.settle({"paid": paid, "rejected": rejected})
        figures = meter.load(2 * buyers, "a buyer")
    return meter.turn(
        [
            Figure("hot: sagas a second", "1/s", speeds["hot"]),
            Figure("spread: sagas a second", "1/s", speeds["spread"]),
            Figure("hot, part of spread", "", speeds["hot"] / speeds["spread"]),
            *figures,
        ]
    )


HOT_CASE = Case(
    "hot",
    "A backlog of buyers for one SKU, and one for 500 SKUs with as many pieces in all: exactly "
    "these are sold in both.",
    _turn,
    goals=(Goal("hot, part of spread", at_least=0.8),),
)
