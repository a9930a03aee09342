"""A provider that takes its time, as real ones do."""

from dataclasses import replace

import asyncpg

from bench.case import Case, Session
from bench.meter import Meter, MostMemory
from bench.pipeline import SKUS, pipeline
from bench.progress import steady_per_second, watched
from bench.report import Figure, Goal, Turn
from contracts.messages.parts import PaymentMethod

_IN_FLIGHT = "SELECT count(*) FROM operations WHERE status = 'leased'"


async def _turn(session: Session) -> Turn:
    settings = session.settings
    slow = PaymentMethod(token=f"pm_slow_{settings.provider_ms}")
    warm, count = settings.warm_checkouts, settings.checkouts
    in_flight = str(settings.provider_in_flight)
    async with pipeline(PAYMENT_CALLS_IN_FLIGHT=in_flight) as services:
        await services.put_on_shelves(SKUS)
        carts = await services.fill_carts(warm + count, SKUS)
        placed = [replace(one, method=slow) for one in carts]
        await services.place(placed[:warm])
        await watched(services.ended, warm, "warming up")
        meter = Meter(services.processes)
        flying: list[int] = []
        payments = await asyncpg.connect(services.databases["payment"])

        async def ended() -> int:
            flying.append(await payments.fetchval(_IN_FLIGHT))
            return await services.ended()

        try:
            async with MostMemory(services.processes) as most:
                await services.place(placed[warm:])
                marks = await watched(ended, warm + count, "sagas")
        finally:
            await payments.close()
        figures = [
            Figure("sagas a second", "1/s", steady_per_second(marks)),
            *meter.load(count, "a saga"),
            Figure("calls in flight, most seen", "", max(flying)),
            Figure("memory of payment, most seen", "MiB", most.mib["payment"]),
        ]
        await services.settle({"paid": warm + count})
    return meter.turn(figures)


PROVIDER = Case(
    "provider",
    "The backlog of *saga* with a simulated provider that takes its time to answer each call, and "
    "as many calls at a time as stated.",
    _turn,
    goals=(Goal("sagas a second", at_least=1_000),),
)
