"""How soon a webhook of Stripe's is acknowledged, beside the least that keeping it can take.

    python -m bench.webhooks [--events N] [--turns N]

Starts the embedded Kafka and PostgreSQL in a temporary directory and the payment service in a
process of its own, with a payment for each event. In turns, signed events, each about a payment of
its own, are sent to `POST /webhooks/stripe` one at a time and 16 at once; and as many rows are
inserted into the same table by autocommit, over as many connections: the floor. Printed are
milliseconds from the sending of a request to its answer, and the ratio to the floor.
"""

import argparse
import asyncio
import hashlib
import hmac
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from itertools import count, islice

import aiohttp
import asyncpg
import orjson

from bench.payments import payment_service
from bench.servers import kafka_and_postgres

AT_ONCE = (1, 16)
MOST = max(AT_ONCE)
SECRET = "whsec_of_the_bench"  # noqa: S105 - of nothing but this run
NOBODY = "http://127.0.0.1:9"
"""Nothing is asked of Stripe here."""
LIKE_STRIPES_BYTES = 3_000
"""About the size of an event about a payment intent."""

_PAYMENTS = """
    INSERT INTO payments (payment_id, shop_id, checkout_id, currency, status, authorized_minor,
        captured_minor, refund_pending_minor, refunded_minor, event_seq, created_at, updated_at)
    SELECT md5('payment ' || n)::uuid, 'main', md5('checkout ' || n)::uuid, 'GBP', 'succeeded',
        1000, 1000, 0, 0, 1, now(), now() FROM generate_series(0, $1 - 1) n
"""
_ATTEMPTS = """
    INSERT INTO attempts (payment_id, attempt, status, details, provider, method_token, flow,
        amount_minor, charge_key, provider_payment_id, charge_round, created_at, updated_at)
    SELECT md5('payment ' || n)::uuid, 1, 'succeeded',
        jsonb_build_object('provider_payment_id', 'pi_' || n, 'amount_minor', 1000), 'stripe',
        'pm_card_visa', 'automatic', 1000, 'charge ' || n, 'pi_' || n, 1, now(), now()
    FROM generate_series(0, $1 - 1) n
"""
_FLOOR = """
    INSERT INTO webhooks (provider, event_id, type, provider_payment_id, charge_key, state,
        received_at, due_at)
    VALUES ('floor', $1, 'payment_intent.succeeded', $2, $3, 'heeded', now(), now())
"""
_HEEDED = "SELECT count(*) FROM webhooks WHERE provider = 'stripe' AND state = 'heeded'"

Send = Callable[[int], Awaitable[None]]
"""Sends the event of that number, and has it acknowledged."""


async def main(events: int, turns: int) -> None:
    """Measure and print."""
    in_all = (turns + 1) * len(AT_ONCE) * events
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(kafka_and_postgres())
        service = await stack.enter_async_context(
            payment_service(
                servers, stripe_url=NOBODY, PAYMENT_STRIPE_WEBHOOK_SECRETS=f'["{SECRET}"]'
            )
        )
        pool = await stack.enter_async_context(
            asyncpg.create_pool(service.database_url, min_size=MOST, max_size=MOST)
        )
        await pool.execute(_PAYMENTS, in_all)
        await pool.execute(_ATTEMPTS, in_all)
        await pool.execute("ANALYZE")
        session = await stack.enter_async_context(
            aiohttp.ClientSession(service.url, connector=aiohttp.TCPConnector(limit=MOST))
        )

        async def acknowledge(number: int) -> None:
            body = _event(number)
            headers = {"Stripe-Signature": _signature(body), "Content-Type": "application/json"}
            async with session.post("/webhooks/stripe", data=body, headers=headers) as answer:
                answer.raise_for_status()

        async def insert(number: int) -> None:
            await pool.execute(_FLOOR, f"evt_{number}", f"pi_{number}", f"charge {number}")

        found: dict[tuple[str, int], list[float]] = {}
        sent, inserted = count(), count()
        for turn in range(turns + 1):
            for at_once in AT_ONCE:
                for what, send, numbers in (
                    ("webhook", acknowledge, sent),
                    ("floor", insert, inserted),
                ):
                    waits = await _timed(send, numbers, events, at_once)
                    if turn:  # the first one warms up
                        found.setdefault((what, at_once), []).extend(waits)
            print(f"turn {turn} of {turns}", file=sys.stderr)
        heeded = await pool.fetchval(_HEEDED)
        if heeded != in_all:
            raise SystemExit(f"{in_all:,} events were sent, {heeded:,} were heeded")
    _show(found)


async def _timed(send: Send, numbers: Iterator[int], events: int, at_once: int) -> list[float]:
    """Milliseconds that each of so many took, by so many senders."""
    left, waits = islice(numbers, events), []

    async def sender() -> None:
        for number in left:
            began = time.perf_counter()
            await send(number)
            waits.append(1000 * (time.perf_counter() - began))

    await asyncio.gather(*(sender() for _ in range(at_once)))
    return waits


def _event(number: int) -> bytes:
    """One that ends a payment, as Stripe sends it."""
    intent = {
        "id": f"pi_{number}",
        "object": "payment_intent",
        "amount": 1000,
        "currency": "gbp",
        "status": "succeeded",
        "metadata": {"charge_key": f"charge {number}"},
        "description": "x" * LIKE_STRIPES_BYTES,
    }
    return orjson.dumps(
        {
            "id": f"evt_{number}",
            "object": "event",
            "type": "payment_intent.succeeded",
            "livemode": False,
            "data": {"object": intent},
        }
    )


def _signature(body: bytes) -> str:
    at = int(time.time())
    digest = hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def _show(found: Mapping[tuple[str, int], list[float]]) -> None:
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores; milliseconds")
    print(f"{'':24}" + "".join(f"{name:>9}" for name in ("min", "median", "p95", "p99")))
    for at_once in AT_ONCE:
        webhook, floor = (_marks(found[what, at_once]) for what in ("webhook", "floor"))
        ratio = [mine / least for mine, least in zip(webhook, floor, strict=True)]
        for what, marks in (("webhook", webhook), ("floor", floor), ("ratio", ratio)):
            title = f"{what}, {at_once} at once" if what != "ratio" else what
            print(f"{title:24}" + "".join(f"{one:9.2f}" for one in marks))


def _marks(waits: list[float]) -> list[float]:
    """The least, the median, and what 95 and 99 of 100 do not exceed."""
    in_order = sorted(waits)
    return [in_order[int(share * (len(in_order) - 1))] for share in (0, 0.5, 0.95, 0.99)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=500, help="of each kind in each turn")
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.events, given.turns))
