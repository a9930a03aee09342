"""How much of the rate that Stripe takes a backlog of charges is drained at.

    python -m bench.pace [--per-second N] [--charges N] [--turns N]

Starts the embedded Kafka and PostgreSQL in a temporary directory, and for each run the payment
service in a process of its own and the stand-in for Stripe in this one. The service is told that
Stripe takes so many requests a second. In turns, the stand-in takes whatever comes, and no more
than that in any second. Printed are the requests a second that were taken from the first to the
last of a backlog, the part of the rate that this is, and the requests that were refused.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
from aiokafka import AIOKafkaProducer

from bench.payments import Running, payment_service
from bench.servers import kafka_and_postgres
from contracts.ids import derived_id, new_id
from contracts.messages.parts import PaymentMethod
from contracts.messages.payment import ChargePayment
from messaging.clock import utc_now
from messaging.outbox import Outgoing, address
from stripe_sandbox.app import running
from stripe_sandbox.settings import SandboxSettings
from trolley.runtime.servers import Servers

POLL_SECONDS = 0.01
SLOWEST = 0.1
"""At less of the rate than this something is wrong."""

REQUESTS_OF_A_CHARGE = 2

_PAID = "SELECT count(*) FROM attempts WHERE status = 'succeeded'"


async def main(per_second: int, charges: int, turns: int) -> None:
    """Measure and print."""
    limits = {"no limit": None, "that limit": per_second}
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in limits}
    async with kafka_and_postgres() as servers:
        for turn in range(1, turns + 1):
            for name, limit in limits.items():
                found[name].append(await _drained(servers, per_second, limit, charges))
            print(f"turn {turn} of {turns}", file=sys.stderr)
    print(f"load {os.getloadavg()[0]:.1f}; told {per_second} requests a second")
    for name, runs in found.items():
        rate = statistics.median(rate for rate, _ in runs)
        refused = sum(refused for _, refused in runs) / (turns * charges * REQUESTS_OF_A_CHARGE)
        print(
            f"{name:12} {rate:6.1f} a second, {rate / per_second:.2f} of it; refused {refused:.3f}"
        )


async def _drained(
    servers: Servers, per_second: int, limit: int | None, charges: int
) -> tuple[float, int]:
    """Requests a second that a backlog was drained at, and how many were refused besides."""
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        settings = SandboxSettings(
            http_port=0, state=Path(directory) / "bench.sqlite3", requests_per_second=limit
        )
        sandbox = await stack.enter_async_context(running(settings))
        service = await stack.enter_async_context(
            payment_service(
                servers,
                stripe_url=sandbox.url,
                PAYMENT_STRIPE_REQUESTS_PER_SECOND=str(per_second),
            )
        )
        database = await asyncpg.connect(service.database_url)
        stack.push_async_callback(database.close)
        wanted = charges * REQUESTS_OF_A_CHARGE
        await stack.enter_async_context(asyncio.timeout(wanted / (SLOWEST * per_second)))
        await _place(service, charges)
        while not sandbox.limit.taken:  # noqa: ASYNC110 - the stand-in knows, no event does
            await asyncio.sleep(POLL_SECONDS)
        began, before = time.perf_counter(), sandbox.limit.taken
        while sandbox.limit.taken < wanted:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(POLL_SECONDS)
        rate = (wanted - before) / (time.perf_counter() - began)
        while await database.fetchval(_PAID) < charges:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(POLL_SECONDS)
        return rate, sandbox.limit.refused


async def _place(service: Running, charges: int) -> None:
    """Put the backlog onto the topic."""
    now = utc_now()
    async with AIOKafkaProducer(
        bootstrap_servers=service.kafka.bootstrap_servers, enable_idempotence=True
    ) as producer:
        for _ in range(charges):
            record = _charge(now)
            assert record.envelope is not None  # noqa: S101 - `address` has put it there
            await producer.send(
                service.kafka.topic_prefix + record.topic,
                record.payload,
                key=record.key,
                partition=record.partition,
                headers=record.envelope.headers(),
            )


def _charge(now: datetime) -> Outgoing:
    checkout = new_id()
    command = ChargePayment(
        checkout_id=checkout,
        round=1,
        payment_id=derived_id(checkout, "payment"),
        attempt=1,
        order_id=derived_id(checkout, "order"),
        amount_minor=1000,
        currency="GBP",
        method=PaymentMethod(provider="stripe", token="pm_card_visa"),  # noqa: S106 - a test card
        window_closes_at=now + timedelta(hours=1),
    )
    return address(command, source="order", now=now)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--per-second", type=int, default=25)
    parser.add_argument("--charges", type=int, default=250)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    asyncio.run(main(given.per_second, given.charges, given.turns))
