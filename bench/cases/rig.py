"""The lean rig: the same pipeline without what it need not have."""

from bench.case import Case, Session
from bench.meter import Meter, waits
from bench.progress import steady_per_second
from bench.report import Figure, Turn
from bench.rig.run import running, settled
from bench.servers import kafka_and_postgres


async def _turn(session: Session) -> Turn:
    settings = session.settings
    async with kafka_and_postgres() as servers, running(servers) as rig:
        await rig.place(settings.warm_checkouts)
        await rig.finish("rig, warming up")
        meter = Meter(rig.processes)
        await rig.place(settings.checkouts)
        speed = steady_per_second(await rig.finish("rig"))
        figures = [Figure("sagas a second", "1/s", speed)]
        figures += [*meter.load(settings.checkouts, "a saga"), *meter.memory()]
        alone = [await rig.follow_one() for _ in range(settings.alone_checkouts)]
        await settled(rig)
    return meter.turn([*figures, *waits("alone", alone)])


RIG = Case(
    "rig",
    "The lean rig of the same pipeline (`bench/rig/`): no validation, tracing, metrics, deadlines, "
    "provider, ledger or public events; its state is checked by SQL.",
    _turn,
)
