"""How long an audit takes: the first one of a shop, and one of what changed since.

    python -m bench.audit --orders N [--published N] [--turns N]

Starts the embedded Kafka and PostgreSQL in a temporary directory, fills every database with N
orders that are over, by SQL, and publishes the events of the newest `--published` of them (all
without the option; with 0 none, as if retention had taken them). Then it audits everything, and
lets an auditor that goes on look at what changes: 1,000 orders more at each turn.
Printed are the seconds of each look and the CPU seconds of this process in it, with the facts that
were checked, and at the end the most memory that it had.
"""

import argparse
import asyncio
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from uuid import uuid4

from bench.servers import kafka_and_postgres, own_database
from bench.shop import Shop
from messaging.garbage import look_for_garbage_seldom
from messaging.migrations import upgrade
from messaging.settings import KafkaSettings
from trolley.audit import AuditSettings, Sources, audit
from trolley.audit.findings import Findings
from trolley.audit.invariant import DATABASES, Source
from trolley.audit.watch import Watch
from trolley.topics import apply_topics

ORDERS_PER_SKU = 100
CHANGED = 1_000
"""Orders of an increment."""


async def main(orders: int, published: int, turns: int) -> None:
    """Measure and print."""
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(kafka_and_postgres())
        name = f"bench_{uuid4().hex[:8]}"
        urls: dict[Source, str] = {
            source: await stack.enter_async_context(
                own_database(servers.postgres, f"{name}_{source}")
            )
            for source in DATABASES
        }
        for source, url in urls.items():
            await asyncio.to_thread(upgrade, _migrations(source), url)
        kafka = KafkaSettings(bootstrap_servers=servers.kafka, topic_prefix=f"{name}.")
        await apply_topics(
            {
                "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
                "KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
            }
        )
        shop = Shop(urls, kafka, skus=max(100, orders // ORDERS_PER_SKU))
        with _told("fill the databases"):
            await shop.stock()
            await shop.sell(orders)
            await shop.analyze()
        with _told("publish"):
            if published < orders:
                await shop.forget()
            events = await shop.publish(orders - published + 1, orders)
        print(f"{orders:,} orders, {events:,} events on the topics")
        look_for_garbage_seldom()  # as the auditor's programs do
        sources, settings = Sources(urls, kafka), AuditSettings()
        for turn in range(1, turns + 1):
            cpu = time.process_time()
            report = await audit(sources, settings)
            print(
                f"audit {turn}: {report.seconds:.1f} s, {report.facts_checked:,} facts, "
                f"{report.violations} violations{_load(cpu)}"
            )
        findings = Findings(":memory:", resolved_kept=timedelta(days=1))
        async with Watch.opened(sources, findings, settings) as watch:
            await _look("first look", watch)
            await _look("nothing changed", watch)
            for turn in range(1, turns + 1):
                await shop.sell(CHANGED)
                await shop.publish(orders + (turn - 1) * CHANGED + 1, orders + turn * CHANGED)
                await _look(f"{CHANGED:,} orders more", watch)
        most_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{len(findings.open())} violations, {most_mib:,.0f} MiB of memory at most")


async def _look(what: str, watch: Watch) -> None:
    cpu = time.process_time()
    looked = await watch.look()
    print(
        f"{what}: {looked.seconds:.2f} s, {looked.keys:,} keys, {looked.facts:,} facts, "
        f"{looked.statements} statements, {looked.due:,} due, {looked.suspected} suspected"
        f"{_load(cpu)}"
    )


def _load(since: float) -> str:
    """How busy the machine is with everything, and this process was since then."""
    cpu = time.process_time() - since
    return f" ({cpu:.1f} s of CPU here; load {os.getloadavg()[0]:.1f})"


def _migrations(source: Source) -> str:
    if source is Source.SIMULATED_PROVIDER:
        return "payment_service.providers.simulated"
    return f"{source}_service"


@contextmanager
def _told(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - began:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--published", type=int)
    parser.add_argument("--turns", type=int, default=2)
    given = parser.parse_args()
    published = given.orders if given.published is None else given.published
    asyncio.run(main(given.orders, published, given.turns))
