"""The floor under the cases: the same rows and records, without a pipeline."""

from bench.case import Case, Session
from bench.floor import measure, written
from bench.meter import Meter
from bench.report import Figure, Turn
from bench.servers import kafka_and_postgres


async def _turn(session: Session) -> Turn:
    settings, checkout = session.settings, session.checkout
    assert checkout is not None  # noqa: S101 - it is counted wherever the floor is measured
    async with kafka_and_postgres() as servers:
        meter = Meter({})
        floor = await measure(servers, checkout.alone, checkout.together, settings.floor_seconds)
        posts = await written(
            servers.postgres, checkout.post, settings.floor_seconds, settings.connections
        )
    return meter.turn(
        [
            Figure("checkouts a second", "1/s", floor.slowest),
            Figure("rows of a backlog, checkouts a second", "1/s", floor.rows_together),
            Figure("rows of one at a time, checkouts a second", "1/s", floor.rows_alone),
            Figure("records produced, checkouts a second", "1/s", floor.produced),
            Figure("records consumed, checkouts a second", "1/s", floor.consumed),
            Figure("rows of POST checkout, requests a second", "1/s", posts),
        ]
    )


FLOOR = Case(
    "floor",
    "The rows of a checkout written by `pgbench`, and its records carried by a bare client. "
    "*Checkouts a second* is the slowest of the rows of a backlog, producing and consuming, each "
    "with the machine for itself; a pipeline does all of them at once.",
    _turn,
)
