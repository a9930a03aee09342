"""Measure the rig alone.

python -m bench.rig [--checkouts 20000] [--turns 3] [--batch-records 1000] [--alone 100]
"""

import argparse
import asyncio
import statistics
from collections.abc import Sequence

from bench.rig.run import BATCH_RECORDS, backlog, running, settled
from bench.servers import kafka_and_postgres


async def main(checkouts: int, turns: int, batch_records: int, alone: int) -> None:
    """Measure and print."""
    async with kafka_and_postgres() as servers:
        made = [await backlog(servers, checkouts, batch_records) for _ in range(turns)]
        async with running(servers, batch_records) as rig:
            waits = [1e3 * await rig.follow_one() for _ in range(alone + 10)][10:]
            await settled(rig)
    _show("checkouts a second", [one.per_second for one in made])
    _show("processor, us a checkout", [sum(one.cpu_us.values()) for one in made])
    for name in made[0].cpu_us:
        _show(f"  {name}", [one.cpu_us[name] for one in made])
    _show("one alone, ms: min, median, max", waits)
    _show("spin, ms", [one.spin_ms for one in made])


def _show(what: str, found: Sequence[float]) -> None:
    low, middle, high = min(found), statistics.median(found), max(found)
    print(f"{what:32} {low:10,.1f} {middle:10,.1f} {high:10,.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkouts", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--batch-records", type=int, default=BATCH_RECORDS)
    parser.add_argument("--alone", type=int, default=100, help="checkouts one at a time")
    asked = parser.parse_args()
    asyncio.run(main(asked.checkouts, asked.turns, asked.batch_records, asked.alone))
